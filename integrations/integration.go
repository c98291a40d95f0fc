package integrations

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/bifrost-go/bifrost/internal/scope"
	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// Integration is one external API as one organization sees it, with a token
// that was fresh when Get returned. It is immutable and shared; ask for it again
// rather than keeping it.
type Integration struct {
	reg   *Registry
	bound *bound
	snap  *oauthflow.Snapshot // nil without OAuth
	run   *scope.Run          // the workflow run it was handed to, or nil
}

// forRun returns a copy that tells run every secret before handing it out, so
// that the run's history can be cleaned of it.
func (i *Integration) forRun(run *scope.Run) *Integration {
	j := *i
	j.run = run
	j.tell(j.snap)
	for _, secret := range j.bound.config.secrets() {
		run.Redact(secret.Reveal())
	}
	return &j
}

func (i *Integration) tell(snap *oauthflow.Snapshot) {
	if i.run != nil && snap != nil {
		i.run.Redact(snap.AccessToken().Reveal())
	}
}

// Name returns the integration's name.
func (i *Integration) Name() string { return i.bound.def.Name }

// Description returns the definition's description.
func (i *Integration) Description() string { return i.bound.def.Description }

// EntityID returns the external tenant: the one that the organization is mapped
// to, else the definition's default. Where the integration-level connection
// answers, it may have been made under another one.
func (i *Integration) EntityID() string { return i.bound.entityID }

// EntityName returns the mapped tenant's name, if the mapping has one.
func (i *Integration) EntityName() string { return i.bound.entityName }

// Config returns the configuration: the definition's defaults, with what the
// organization has set over them.
func (i *Integration) Config() Values { return i.bound.config }

// Fallback reports whether an organization asked and the integration-level
// connection answers.
func (i *Integration) Fallback() bool {
	return i.snap != nil && i.snap.Key().Org != i.org()
}

// org is the organization that asked; empty in the global scope.
func (i *Integration) org() string { return i.bound.slot.choice.scope.Org }

// OAuth returns what is known of the token. It is never nil; an integration
// without OAuth says so by Configured.
func (i *Integration) OAuth() OAuth { return OAuth{i} }

// OAuth is the OAuth side of an [Integration].
type OAuth struct{ in *Integration }

// Configured reports whether the integration uses OAuth at all.
func (o OAuth) Configured() bool { return o.in.snap != nil }

// AccessToken returns the access token as it was when Get returned, or "" without
// OAuth. Keep it out of logs and URLs. Where a request is made over a long time,
// use [Integration.Client], which renews.
func (o OAuth) AccessToken() string {
	if o.in.snap == nil {
		return ""
	}
	return o.in.snap.AccessToken().Reveal()
}

// TokenType returns the token's type in the provider's words: "Bearer" mostly,
// but Slack says "bot". Client sends Bearer all the same.
func (o OAuth) TokenType() string {
	if o.in.snap == nil {
		return ""
	}
	return o.in.snap.TokenType()
}

// ExpiresAt returns when the access token stops working by this machine's clock;
// zero if nobody knows.
func (o OAuth) ExpiresAt() time.Time {
	if o.in.snap == nil {
		return time.Time{}
	}
	return o.in.snap.ExpiresAt()
}

// Scopes returns the granted scopes; nil if the provider did not say.
func (o OAuth) Scopes() []string {
	if o.in.snap == nil {
		return nil
	}
	return slices.Clone(o.in.snap.Scopes())
}

// Extra returns a further member of the token reply, such as Salesforce's
// instance_url, as encoding/json decodes it into an any. It survives storage.
func (o OAuth) Extra(name string) (any, bool) {
	if o.in.snap == nil {
		return nil, false
	}
	raw, ok := o.in.snap.Extra(name)
	if !ok {
		return nil, false
	}
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return nil, false
	}
	if o.in.run != nil {
		tellSecrets(o.in.run, name, v)
	}
	return v, true
}

// tellSecrets tells run the credentials in a member of a token reply, however
// deep they are: Slack gives the user's token as authed_user.access_token.
func tellSecrets(run *scope.Run, name string, v any) {
	switch v := v.(type) {
	case string:
		if secretMember(name) {
			run.Redact(v)
		}
	case []any:
		for _, item := range v {
			tellSecrets(run, name, item)
		}
	case map[string]any:
		for inner, item := range v {
			tellSecrets(run, inner, item)
		}
	}
}

// secretMember reports whether a member of a token reply is by its name a
// credential (id_token, bot_token, client_secret).
func secretMember(name string) bool {
	name = strings.ToLower(name)
	return strings.Contains(name, "token") || strings.Contains(name, "secret")
}

// TokenSource returns a source of this connection's access tokens, for libraries
// that take an oauth2.TokenSource. Each Token call returns a fresh token and
// obeys ctx; no need to wrap it into oauth2.ReuseTokenSource.
func (i *Integration) TokenSource(ctx context.Context) oauth2.TokenSource {
	return tokenSource{i, ctx}
}

type tokenSource struct {
	in  *Integration
	ctx context.Context
}

func (s tokenSource) Token() (*oauth2.Token, error) {
	in, err := s.in.now(s.ctx)
	if err != nil {
		return nil, err
	}
	return &oauth2.Token{
		AccessToken: in.snap.AccessToken().Reveal(), TokenType: "Bearer", Expiry: in.snap.ExpiresAt(),
	}, nil
}

// now returns the integration as of now, for the same run.
func (i *Integration) now(ctx context.Context) (*Integration, error) {
	sl := i.bound.slot
	now, err := i.reg.get(ctx, sl.name, &sl.choice)
	switch {
	case err != nil:
		return nil, err
	case now.snap == nil:
		return nil, &Error{Integration: i.Name(), Org: i.org(), Kind: ErrInvalid, Detail: "the definition has no OAuth"}
	case i.run != nil:
		return now.forRun(i.run), nil
	}
	return now, nil
}

// Client returns an HTTP client for the API. Per request it looks the token up,
// and sends it to the definition's APIHosts only; a request to any other host is
// an error, a redirect to one goes without the token. When the API answers 401,
// it renews the token once and repeats the request, if the body can be replayed;
// else the 401 is returned, and the next request has the new token.
func (i *Integration) Client() *http.Client {
	return &http.Client{Transport: &apiTransport{in: i}}
}

// secrets returns the secret values.
func (v Values) secrets() []tokenstore.Secret {
	var list []tokenstore.Secret
	for _, e := range v.entries() {
		if !e.datum.secret.IsZero() {
			list = append(list, e.datum.secret)
		}
	}
	return list
}
