package oauthtest

import (
	"cmp"
	"fmt"
	"slices"
)

// Client is a registered application.
type Client struct {
	ID     string
	Secret string // empty for a public client
	// Name is shown on the consent page; default ID.
	Name string
	// Auth is the one client authentication that is accepted. Default: post or
	// basic for a client with a secret, none for one without.
	Auth ClientAuth
	// RedirectURIs are compared exactly. Without any, every http URI on a loopback
	// host is accepted.
	RedirectURIs []string
	// LoopbackRedirects accepts those in addition to RedirectURIs.
	LoopbackRedirects bool
	// PKCEOptional accepts authorization requests without a code_challenge. One
	// that was sent is always checked.
	PKCEOptional bool
}

// ClientAuth is how a client proves itself at the token endpoint (RFC 6749 §2.3).
type ClientAuth string

// The client authentication methods, by their registered names.
const (
	AuthPost  ClientAuth = "client_secret_post"
	AuthBasic ClientAuth = "client_secret_basic"
	AuthNone  ClientAuth = "none"
)

// DefaultClient is registered when Config.Clients is empty: any loopback
// redirect URI, secret in body or header.
func DefaultClient() Client {
	return Client{ID: "test-client", Secret: "test-client-secret", Name: "Test application"}
}

func (c *Config) completeClients() error {
	if c.Clients = slices.Clone(c.Clients); len(c.Clients) == 0 {
		c.Clients = []Client{DefaultClient()}
	}
	seen := map[string]bool{}
	for i := range c.Clients {
		cl := &c.Clients[i]
		cl.Name = cmp.Or(cl.Name, cl.ID)
		switch {
		case cl.ID == "" || seen[cl.ID]:
			return fmt.Errorf("oauthtest: Config.Clients[%d]: ID is empty or used twice", i)
		case !slices.Contains([]ClientAuth{"", AuthPost, AuthBasic, AuthNone}, cl.Auth):
			return fmt.Errorf("oauthtest: Config.Clients[%d].Auth: %q is none of the declared ones", i, cl.Auth)
		case cl.Auth == AuthNone && cl.Secret != "":
			return fmt.Errorf("oauthtest: Config.Clients[%d]: Auth none and a Secret exclude each other", i)
		case (cl.Auth == AuthPost || cl.Auth == AuthBasic) && cl.Secret == "":
			return fmt.Errorf("oauthtest: Config.Clients[%d]: Auth %s needs a Secret", i, cl.Auth)
		}
		seen[cl.ID] = true
		cl.RedirectURIs = slices.Clone(cl.RedirectURIs)
	}
	return nil
}

func (c *Config) client(id string) *Client {
	for i := range c.Clients {
		if c.Clients[i].ID == id {
			return &c.Clients[i]
		}
	}
	return nil
}
