package integrations

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/bifrost-go/bifrost/internal/egress"
	"github.com/bifrost-go/bifrost/oauthflow"
)

// outbound is what requests go out by. Definitions made at run time, and those
// with a variable host, are not the program's own choice: theirs are restricted.
type outbound struct {
	policy *egress.Policy
	tokens http.RoundTripper // restricted, for the provider
	api    http.RoundTripper // restricted, for the API
	open   http.RoundTripper // for the API
}

func newOutbound(cfg Config) (*outbound, error) {
	policy, err := egress.Parse(cfg.Egress, cfg.EgressProxy)
	if err != nil {
		return nil, fmt.Errorf("integrations: Config.Egress: %w", err)
	}
	o := &outbound{policy: policy, open: cfg.APITransport}
	if o.open == nil {
		o.open = http.DefaultTransport
	}
	o.api = policy.RoundTripper(o.open)
	tokens := cfg.Transport
	if tokens == nil {
		tokens = oauthflow.NewTransport()
	}
	o.tokens = policy.RoundTripper(tokens)
	return o, nil
}

// checks are what is to be checked of a definition's destinations, by field.
func (o *outbound) checks(d *definition) map[string]func(context.Context) error {
	checks := map[string]func(context.Context) error{}
	direct := func(field, text string) {
		checks[field] = func(ctx context.Context) error {
			u, err := url.Parse(text)
			if err != nil {
				return errors.New("it is not a URL")
			}
			return o.policy.Resolve(ctx, u)
		}
	}
	if d.TestURL != "" {
		direct("test_url", d.TestURL)
	}
	for i, host := range d.APIHosts {
		direct(elementPath("api_hosts", i), "https://"+host)
	}
	if c := d.OAuth; c != nil {
		for field, template := range map[string]string{
			"oauth.authorization_url": c.AuthorizationURL, "oauth.token_url": c.TokenURL,
			"oauth.refresh_url": c.RefreshURL, "oauth.revocation_url": c.RevocationURL,
		} {
			if template != "" {
				checks[field] = func(ctx context.Context) error { return o.checkTemplate(ctx, d, template) }
			}
		}
	}
	return checks
}

// checkDefinition reports, as an *InvalidError, which destinations of a definition
// are where it may not send requests. What a variable adds to a host is checked when
// it gets its value. Names are looked up side by side, so it takes no longer than
// the slowest; that they are few is checked before.
func (o *outbound) checkDefinition(ctx context.Context, d *definition) error {
	faulty := map[string]error{}
	var mu sync.Mutex
	var lookups sync.WaitGroup
	for field, check := range o.checks(d) {
		lookups.Go(func() {
			if err := check(ctx); err != nil {
				mu.Lock()
				defer mu.Unlock()
				faulty[field] = err
			}
		})
	}
	lookups.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var f faults
	for _, field := range slices.Sorted(maps.Keys(faulty)) {
		f.add(field, "leads where a definition made at run time may not: "+faulty[field].Error())
	}
	if d.OAuth != nil {
		for name, v := range d.OAuth.Variables {
			for i, host := range v.Hosts {
				u := &url.URL{Scheme: "https", Host: strings.Replace(host, "*.", "x.", 1)}
				if err := o.policy.CheckURL(u); err != nil {
					f.add(elementPath(memberPath("oauth.variables", name)+".hosts", i), "is a host that may not be reached: "+err.Error())
				}
			}
		}
	}
	return f.err()
}

func (o *outbound) checkTemplate(ctx context.Context, d *definition, template string) error {
	u, fixed, err := sample(d, template)
	if err != nil || u == nil {
		return err
	}
	if !fixed {
		return o.policy.CheckURL(u)
	}
	return o.policy.Resolve(ctx, u)
}

// sample fills a template in with values that mean nothing, and reports whether
// its host is the same with any. A nil URL: the host is wholly a variable.
func sample(d *definition, template string) (u *url.URL, fixed bool, err error) {
	var kinds map[string]oauthflow.Variable
	if d.OAuth != nil {
		kinds = d.OAuth.Variables
	}
	fill := func(text string) (*url.URL, error) {
		values := map[string]string{entityVariable: text}
		for name, v := range kinds {
			values[name] = text
			if v.Kind == oauthflow.Host {
				values[name] = "" // no text stands for a host
			}
		}
		expanded, err := oauthflow.Expand(template, kinds, values)
		if err != nil {
			return nil, err
		}
		return url.Parse(expanded)
	}
	one, err := fill("x")
	if err != nil {
		return nil, false, nil //nolint:nilerr // validation has said what is wrong; what is left is the variable host
	}
	other, err := fill("y")
	if err != nil {
		return nil, false, err
	}
	return one, one.Host == other.Host, nil
}

// checkTarget reports, as an *InvalidError about field, whether d's URLs with the
// values of e lead where they may.
func (o *outbound) checkTarget(ctx context.Context, d *definition, e *effective, field string) error {
	if !d.restricted {
		return nil
	}
	values := e.variables()
	for _, template := range []string{d.OAuth.TokenURL, d.OAuth.RefreshURL, d.OAuth.RevocationURL, d.OAuth.AuthorizationURL} {
		expanded, err := oauthflow.Expand(template, d.OAuth.Variables, values)
		if err != nil { // absent, or said before
			continue
		}
		u, err := url.Parse(expanded)
		if err == nil {
			err = o.policy.Resolve(ctx, u)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return invalid(field, "leads where requests may not go: "+err.Error())
		}
	}
	return nil
}
