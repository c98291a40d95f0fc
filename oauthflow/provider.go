package oauthflow

import (
	"net/url"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// Flow is a way of getting tokens (an RFC 6749 grant).
type Flow string

// The supported flows; the zero value means AuthorizationCode.
const (
	// AuthorizationCode is the interactive grant of RFC 6749 §4.1, with PKCE (RFC 7636).
	AuthorizationCode Flow = "authorization_code"
	// ClientCredentials is the grant of RFC 6749 §4.4: tokens for the client
	// itself, minted when they are needed, without a person and without a refresh
	// token.
	ClientCredentials Flow = "client_credentials"
)

// ClientAuth is how the client proves itself at the token endpoint (RFC 6749
// §2.3.1). It is never guessed: a wrong guess spends a one-time code.
type ClientAuth string

// The supported client authentication methods; the zero value means post.
const (
	// AuthPost sends client_id and client_secret in the form body.
	AuthPost ClientAuth = "client_secret_post"
	// AuthBasic sends them in the Authorization header, form-encoded first as
	// RFC 6749 §2.3.1 says.
	AuthBasic ClientAuth = "client_secret_basic"
	// AuthNone is a public client: client_id alone, no secret parameter.
	AuthNone ClientAuth = "none"
)

// RefreshPolicy decides what happens when the outcome of a refresh is unknown:
// the request left, and no reply came back.
type RefreshPolicy string

const (
	// Ask presents the old refresh token again, once the attempt's deadline has
	// passed and the access token is no longer usable, and lets the provider's
	// answer decide. The default.
	Ask RefreshPolicy = "ask"
	// Grace presents it again once, inside Provider.ReuseGrace, and then behaves
	// as Ask.
	Grace RefreshPolicy = "grace"
	// Reusable presents it again as soon as the attempt's deadline has passed, though
	// the access token may be good still: for providers that say that an old refresh
	// token goes on working after a new one was given.
	Reusable RefreshPolicy = "reusable"
	// Never never presents it again. The connection becomes reauth_required
	// (lost_rotation) once the access token has ended; it is for providers where
	// a second use does more harm than connecting again.
	Never RefreshPolicy = "never"
)

// Provider is how to talk OAuth to one provider: public facts and no secret.
// URLs may contain {variables}; {entity_id} is always declared.
type Provider struct {
	// AuthorizationURL and TokenURL are required, for ClientCredentials TokenURL
	// alone. A query in them is kept.
	AuthorizationURL string
	TokenURL         string
	// RefreshURL is used instead of TokenURL for refreshes where it is set.
	RefreshURL string
	// RevocationURL is the RFC 7009 endpoint, where there is one.
	RevocationURL string

	// Issuer is compared with the iss parameter of authorization responses
	// (RFC 9207). RequireIss refuses responses without it.
	Issuer     string
	RequireIss bool

	// Variables declares template variables other than entity_id, and may
	// redeclare that one; undeclared placeholders are an error.
	Variables map[string]Variable

	// AuthorizationParams, TokenParams and RefreshParams are sent in addition to
	// the standard parameters: prompt=consent, access_type=offline, audience=….
	AuthorizationParams url.Values
	TokenParams         url.Values
	RefreshParams       url.Values

	// DisablePKCE switches PKCE off for providers that reject it. The method is
	// S256 always; plain cannot be configured.
	DisablePKCE bool

	// ClientAuth is the method this provider wants; default AuthPost.
	ClientAuth ClientAuth

	// ScopeSeparator joins scopes; default one space.
	ScopeSeparator string

	// Response says where the reply differs from RFC 6749 §5.1.
	Response ResponseMapping

	// DefaultLifetime is assumed for access tokens whose reply says none. Zero:
	// such a token is used until the API answers 401.
	DefaultLifetime time.Duration

	// RefreshPolicy is Ask, Grace, Reusable or Never; default Ask, or Grace if
	// ReuseGrace is set. While it is not declared, and a grant's refresh token has
	// survived two refreshes in a row, Reusable counts for that grant.
	RefreshPolicy RefreshPolicy
	// ReuseGrace is how long after its first use the provider accepts a rotated
	// refresh token again (Okta: 30 s).
	ReuseGrace time.Duration

	// DeadGrantErrors names further error codes by which this provider says that
	// a grant is dead, beside invalid_grant and the others every provider shares.
	DeadGrantErrors []string
}

// ResponseMapping says where a token reply keeps things. Paths are dotted
// member names: "authed_user.access_token". Empty fields mean RFC 6749's names.
type ResponseMapping struct {
	// Root is the path of the object that holds all token members: "data.token".
	Root string
	// AccessToken, RefreshToken, Scope and ExpiresIn are paths of single members,
	// below Root.
	AccessToken  string
	RefreshToken string
	Scope        string
	ExpiresIn    string
	// ExpiresAt is the path of an absolute expiry: seconds or milliseconds since
	// 1970, or RFC 3339.
	ExpiresAt string
}

// Client is a provider, and as whom to talk to it.
type Client struct {
	Provider
	// Flow is the grant; default AuthorizationCode.
	Flow Flow
	// ClientID is required. ClientSecret is, unless ClientAuth is AuthNone, which
	// ClientCredentials cannot have.
	ClientID     string
	ClientSecret tokenstore.Secret
	// Scopes are asked for, in this order.
	Scopes []string
	// Audience is sent as the audience parameter of authorization and client
	// credentials requests, for providers that want it (Auth0); usually empty. The
	// resource parameter of RFC 8707 belongs into AuthorizationParams and
	// TokenParams instead.
	Audience string
}
