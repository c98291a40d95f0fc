package httpadapter

import (
	"net/http"
	"net/url"
	"strconv"

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
	// ofUser and account choose one connection within the scope, see personal; empty:
	// the scope's own.
	ofUser, account string
}

// access decides what a principal's request is about. Members are about their own
// organization, whatever they say; administrators about the one that ?org= names,
// and about the global scope without it.
func access(p Principal, r *http.Request) (caller, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return caller{}, malformed("The query string is malformed.")
	}
	said, named, err := saidOnce(query, "org")
	if err != nil {
		return caller{}, err
	}
	c := caller{Principal: p}
	switch p.Role {
	case Admin:
		if named {
			c.org = said
		}
	case Member:
		if named && said != p.Org {
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

// saidOnce returns a parameter of the query, and whether it is there.
func saidOnce(query url.Values, name string) (value string, said bool, err error) {
	switch values := query[name]; len(values) {
	case 0:
		return "", false, nil
	case 1:
		return values[0], true, nil
	default:
		return "", false, malformed(name + " is given twice.")
	}
}

// maxLabel is how long ?user= and ?account= may be, in bytes.
const maxLabel = 256

// personal reads ?user= and ?account=, which choose one connection within the
// scope. "me" is whoever asks. A member can name no other user: for him, another
// one's connections do not exist.
func (c caller) personal(r *http.Request) (caller, error) {
	query := r.URL.Query()
	var err error
	if c.ofUser, err = label(query, "user"); err != nil {
		return c, err
	}
	if c.account, err = label(query, "account"); err != nil {
		return c, err
	}
	if c.ofUser == "me" {
		c.ofUser = c.User
	}
	if c.ofUser != "" && !c.mayKnow(tokenstore.Key{User: c.ofUser}) {
		return c, errNotFound
	}
	return c, nil
}

// label reads a parameter that is part of a connection's key; empty if it is not
// there. An empty one is a forgotten one, and must not mean the scope's own.
func label(query url.Values, name string) (string, error) {
	value, said, err := saidOnce(query, name)
	if err == nil && said && (value == "" || !plainLine(value, maxLabel)) {
		err = invalidField(name, "must be 1 to "+strconv.Itoa(maxLabel)+" bytes of text without control characters")
	}
	return value, err
}

func (c caller) admin() bool { return c.Role == Admin }

// options say to package integrations what the request is about.
func (c caller) options() []integrations.Option {
	opts := []integrations.Option{scopeOption(c.org)}
	if c.ofUser != "" {
		opts = append(opts, integrations.User(c.ofUser))
	}
	if c.account != "" {
		opts = append(opts, integrations.Account(c.account))
	}
	return opts
}

func scopeOption(org string) integrations.Option {
	if org == "" {
		return integrations.Global()
	}
	return integrations.Org(org)
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

// mayKnow reports whether the principal may know of connections that are key's
// user's, in a scope that is his to see. Empty: nobody's in particular.
func (p Principal) mayKnow(key tokenstore.Key) bool {
	return p.Role == Admin || key.User == "" || key.User == p.User
}

// mayConnect reports whether p may connect an account under key. The callback
// asks again, because roles change while people sign in.
func (p Principal) mayConnect(key tokenstore.Key) bool {
	return p.Role == Admin || p.Role == Member && p.Org != "" && key.Org == p.Org && p.mayKnow(key)
}

// about is p's request about a connection that they may connect.
func (p Principal) about(key tokenstore.Key) caller {
	c := caller{Principal: p}
	if p.mayConnect(key) {
		c.org, c.ofUser, c.account = key.Org, key.User, key.Account
	}
	return c
}
