package oauthtest

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Config is what a [Provider] is made of. The zero value works.
type Config struct {
	// URL and APIURL are the origins at which [Provider.RoundTripper] answers:
	// sign-in and tokens at the first, users at the second, though either serves
	// all. Defaults: https://login.oauthtest.example, https://graph.oauthtest.example.
	// As an http.Handler the provider answers for every host.
	URL    string
	APIURL string

	// Title heads the pages; default "Test provider".
	Title string

	// Tenants are the directories, with their users; default [DefaultTenants].
	Tenants []Tenant

	// Clients are the registered applications; default [DefaultClient].
	Clients []Client

	// Resources are what access tokens can be had for by scope=<resource>/.default or
	// audience=<resource>, as "https://outlook.office365.com"; any other answers
	// invalid_scope. Empty: every resource is known. It says nothing about names
	// such as Directory.Read.All.
	Resources []string

	// AccessLifetime is how long access tokens live, at least a second; default 1 h.
	AccessLifetime time.Duration
	// RefreshLifetime is how long an unused refresh token lives; default 90 days.
	RefreshLifetime time.Duration
	// CodeLifetime is how long an authorization code lives; default 5 min.
	CodeLifetime time.Duration

	// Rotation says what becomes of a used refresh token; default [Strict].
	Rotation Rotation
	// Grace is the window of [Grace] and [Replace], counted from the first use;
	// default 30 s.
	Grace time.Duration
	// RefreshTokenSize pads refresh tokens to that many bytes; 0: no padding.
	RefreshTokenSize int

	// IDToken says whether an id_token comes along when the scope openid is
	// granted; default [NoIDToken].
	IDToken IDToken
	// Issuer, if set, is sent as iss with every authorization response (RFC 9207)
	// and is the iss claim. Empty: no parameter, and the claim names the tenant.
	Issuer string

	// PageSize is how many users a page has when $top does not say; default 100.
	PageSize int

	// StateFile keeps accounts, grants, refresh families and codes, so that they
	// survive kill -9: it is written, synced and renamed into place before each reply
	// that depends on it, with mode 0600. One provider at a time may use a file.
	// Empty: state is kept in memory.
	StateFile string

	// Now is the clock; default time.Now.
	Now func() time.Time
}

// Rotation is what becomes of a refresh token that was used.
type Rotation string

// The ways providers treat a used refresh token.
const (
	// Strict: each use returns a successor, and a used token that comes back
	// revokes the whole family (RFC 9700 §4.14.2).
	Strict Rotation = "strict"
	// Grace: as Strict, but while Config.Grace lasts and its successor is unused,
	// the used token returns the same successor again.
	Grace Rotation = "grace"
	// Replace: as Grace, but it returns another successor and withdraws the one
	// before; the withdrawn one revokes the family.
	Replace Rotation = "replace"
	// Reusable: each use returns a new token, and all older ones stay valid, as
	// Microsoft Entra does.
	Reusable Rotation = "reusable"
	// Static: a refresh returns no refresh token, as Google does.
	Static Rotation = "static"
)

// IDToken is the kind of id_token that is issued.
type IDToken string

// The kinds of id_token.
const (
	NoIDToken       IDToken = ""
	UnsignedIDToken IDToken = "none"
	// HS256IDToken is signed with the client's secret.
	HS256IDToken IDToken = "HS256"
)

// complete fills in the defaults and checks the whole.
func (c *Config) complete() error {
	c.URL = strings.TrimSuffix(cmp.Or(c.URL, "https://login.oauthtest.example"), "/")
	c.APIURL = strings.TrimSuffix(cmp.Or(c.APIURL, "https://graph.oauthtest.example"), "/")
	c.Title = cmp.Or(c.Title, "Test provider")
	c.Resources = slices.Clone(c.Resources)
	c.AccessLifetime = cmp.Or(c.AccessLifetime, time.Hour)
	c.RefreshLifetime = cmp.Or(c.RefreshLifetime, 90*24*time.Hour)
	c.CodeLifetime = cmp.Or(c.CodeLifetime, 5*time.Minute)
	c.Rotation = cmp.Or(c.Rotation, Strict)
	c.Grace = cmp.Or(c.Grace, 30*time.Second)
	c.PageSize = cmp.Or(c.PageSize, 100)
	if c.Now == nil {
		c.Now = time.Now
	}
	for name, origin := range map[string]string{"URL": c.URL, "APIURL": c.APIURL} {
		u, err := url.Parse(origin)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || origin != u.Scheme+"://"+u.Host {
			return fmt.Errorf("oauthtest: Config.%s %q: must be scheme://host without a path", name, origin)
		}
	}
	switch {
	case c.AccessLifetime < time.Second:
		return errors.New("oauthtest: Config.AccessLifetime: must be at least a second, because expires_in counts whole ones")
	case c.RefreshLifetime < 0 || c.CodeLifetime < 0 || c.Grace < 0 || c.PageSize < 0 || c.RefreshTokenSize < 0:
		return errors.New("oauthtest: Config: a lifetime, window or size is negative")
	case !slices.Contains([]Rotation{Strict, Grace, Replace, Reusable, Static}, c.Rotation):
		return fmt.Errorf("oauthtest: Config.Rotation: %q is none of the declared ones", c.Rotation)
	case !slices.Contains([]IDToken{NoIDToken, UnsignedIDToken, HS256IDToken}, c.IDToken):
		return fmt.Errorf("oauthtest: Config.IDToken: %q is none of the declared ones", c.IDToken)
	}
	if err := c.completeTenants(); err != nil {
		return err
	}
	return c.completeClients()
}
