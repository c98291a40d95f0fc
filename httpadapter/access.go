package httpadapter

import (
	"net/http"
	"net/url"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/tokenstore"
	"github.com/bifrost-go/bifrost/workflow"
)

// caller is who asks, and on whose behalf.
type caller struct {
	Principal
	// org is the organization the request is about; empty for the global scope,
	// which only administrators reach.
	org string
}

// access decides what a principal's request is about. Members are about their own
// organization, whatever they say; administrators about the one that ?org= names,
// and about the global scope without it.
func access(p Principal, r *http.Request) (caller, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return caller{}, &problem{Status: http.StatusBadRequest, Type: "malformed", Detail: "The query string is malformed."}
	}
	said, named := query["org"]
	if len(said) > 1 {
		return caller{}, &problem{Status: http.StatusBadRequest, Type: "malformed", Detail: "org is given twice."}
	}
	c := caller{Principal: p}
	switch p.Role {
	case Admin:
		if named {
			c.org = said[0]
		}
	case Member:
		if named && said[0] != p.Org {
			return caller{}, errNotFound
		}
		c.org, named = p.Org, true
	default:
		return caller{}, errForbidden
	}
	// An empty org is a forgotten one, and must not mean the global scope.
	if named && !integrations.ValidOrg(c.org) {
		return caller{}, errNotFound
	}
	return c, nil
}

func (c caller) admin() bool { return c.Role == Admin }

// option says the scope to package integrations.
func (c caller) option() integrations.Option {
	if c.org == "" {
		return integrations.Global()
	}
	return integrations.Org(c.org)
}

// scope says it to package workflow.
func (c caller) scope() workflow.Scope {
	if c.org == "" {
		return workflow.Global()
	}
	return workflow.Org(c.org)
}

// view hides from members what is not their organization's business.
func (c caller) view(s integrations.Status) integrations.Status {
	if c.admin() {
		return s
	}
	return s.WithoutFallback()
}

// mayExecute reports whether the caller may execute a workflow.
func (c caller) mayExecute(w workflow.Info) bool { return c.admin() || w.AllowMembers }

// maySee reports whether the caller may see an execution.
func (c caller) maySee(rec *workflow.Record) bool {
	return c.admin() && c.org == "" || rec.Scope == c.scope()
}

// mayConnect reports whether p may connect an account under key. The callback
// asks again, because roles change while people sign in.
func (p Principal) mayConnect(key tokenstore.Key) bool {
	return p.Role == Admin || p.Role == Member && p.Org != "" && key.Org == p.Org
}
