package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/internal/egress"
	"github.com/bifrost-go/bifrost/internal/loopback"
	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// integrationName is the one integration there is.
const integrationName = "Microsoft_Graph"

// settings are read from the environment; the README lists the variables.
type settings struct {
	addr    string // ADDR, host:port to listen on
	baseURL string // BASE_URL, without a slash at the end
	// database is the absolute path of the SQLite file; with PostgreSQL the one that
	// the files stand beside which would stand beside it.
	database string
	postgres string // DATABASE, if it is the URL of a PostgreSQL; a secret
	listen   string // DATABASE_LISTEN, if DATABASE is a PostgreSQL; a secret
	keys     string // BIFROST_KEY; empty: use the key file beside the database
	password string // QUICKSTART_PASSWORD; empty: loopback only, nobody is asked
	orgs     []string
	egress   []string // EGRESS, and where the stand-in is

	// standIn: OAUTH_CLIENT_ID is not set. Then client has no credentials and no
	// URLs, and apiURL is empty, until useStandIn.
	standIn  bool
	client   oauthflow.Client
	entityID string // OAUTH_ENTITY_ID
	apiURL   string
}

const (
	microsoft = "https://login.microsoftonline.com/{entity_id}/oauth2/v2.0/"
	graphAPI  = "https://graph.microsoft.com/v1.0/users"

	userScopes = "offline_access Directory.Read.All"
	// An application asks for all that it was given at a resource.
	applicationScopes = "https://graph.microsoft.com/.default"
)

// readSettings reads all variables and reports everything that is wrong with
// them, a line each. An empty variable is one that is not set.
func readSettings(getenv func(string) string) (*settings, error) {
	e := &env{get: getenv}
	s := &settings{
		addr:     e.or("ADDR", "127.0.0.1:8080"),
		keys:     e.get("BIFROST_KEY"),
		password: e.get("QUICKSTART_PASSWORD"),
		standIn:  e.get("OAUTH_CLIENT_ID") == "",
	}
	s.readAddr(e)
	s.readDatabase(e)
	s.readOrgs(e)
	s.readEgress(e)
	s.readProvider(e)
	return s, errors.Join(e.problems...)
}

// readAddr checks where to listen: anything but loopback needs a password, since
// whoever reaches the quickstart is its administrator.
func (s *settings) readAddr(e *env) {
	host, port, err := net.SplitHostPort(s.addr)
	if err != nil || port == "" {
		e.wrong("ADDR", "%q is not host:port, such as 127.0.0.1:8080", s.addr)
		return
	}
	if !loopback.Host(host) && s.password == "" {
		e.wrong("ADDR", "%q can be reached from other machines, and whoever reaches the quickstart may do everything: "+
			"listen on 127.0.0.1, or set QUICKSTART_PASSWORD", s.addr)
	}
	s.readBaseURL(e, host, port)
}

func (s *settings) readBaseURL(e *env, host, port string) {
	addr := net.ParseIP(host)
	switch {
	case e.get("BASE_URL") != "":
		s.baseURL = strings.TrimRight(e.get("BASE_URL"), "/")
	case host == "" || host == "127.0.0.1" || strings.EqualFold(host, "localhost") || (addr != nil && addr.IsUnspecified()):
		s.baseURL = "http://localhost:" + port // the name that providers accept as a redirect URI
	case loopback.Host(host):
		s.baseURL = "http://" + net.JoinHostPort(host, port)
	default:
		e.wrong("BASE_URL", "is not set, and does not follow from ADDR %q: set the https URL at which browsers reach the quickstart", s.addr)
		return
	}
	if u, err := url.Parse(s.baseURL); err == nil && u.Port() == "0" {
		e.wrong("ADDR", "%q: choose a port; providers must know the redirect URI in advance", s.addr)
	}
	e.url("BASE_URL", s.baseURL, false)
}

func (s *settings) readDatabase(e *env) {
	path := e.get("DATABASE")
	if scheme, _, ok := strings.Cut(path, "://"); ok {
		if scheme == "postgres" || scheme == "postgresql" {
			s.readPostgres(e, path)
			return
		}
		e.wrong("DATABASE", "%q is a URL of an unknown kind: name a file, or a PostgreSQL as postgres://user:password@host:5432/name", scheme+"://…")
		return
	}
	if e.get("DATABASE_LISTEN") != "" {
		e.wrong("DATABASE_LISTEN", "is set, but DATABASE is a file, where there is nothing to listen to: unset it, or name a PostgreSQL as DATABASE")
	}
	var err error
	if s.database, err = databasePath(path, e.get); err != nil {
		e.problems = append(e.problems, err)
	}
}

// readPostgres finds a place for what is kept beside a database: the sealing key,
// and where the stand-in is. Another database has another one.
func (s *settings) readPostgres(e *env, address string) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || strings.Trim(u.Path, "/") == "" {
		e.wrong("DATABASE", "is not the URL of a PostgreSQL database: write it as postgres://user:password@host:5432/name")
		return
	}
	s.postgres, s.listen = address, e.or("DATABASE_LISTEN", address)
	if u, err := url.Parse(s.listen); err != nil || u.Host == "" || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		e.wrong("DATABASE_LISTEN", "is not the URL of a PostgreSQL database: write it as postgres://user:password@host:5432/name")
	}
	file, err := databasePath("", e.get)
	if err != nil {
		e.problems = append(e.problems, err)
		return
	}
	sum := sha256.Sum256([]byte(u.Host + u.Path))
	s.database = filepath.Join(filepath.Dir(file), "postgres-"+hex.EncodeToString(sum[:4]))
}

// databaseName is how the database is called in what is printed.
func (s *settings) databaseName() string {
	if s.postgres == "" {
		return s.database
	}
	u, err := url.Parse(s.postgres)
	if err != nil {
		return "PostgreSQL"
	}
	return "PostgreSQL, " + strings.Trim(u.Path, "/") + " at " + u.Host
}

func (s *settings) readOrgs(e *env) {
	for org := range strings.SplitSeq(e.or("ORGS", "acme,globex"), ",") {
		org = strings.TrimSpace(org)
		switch {
		case !integrations.ValidOrg(org):
			e.wrong("ORGS", "%q is no id of an organization: use 1 to 128 letters, digits and ._~-, separated by commas", org)
		case slices.Contains(s.orgs, org):
			e.wrong("ORGS", "names %q twice", org)
		default:
			s.orgs = append(s.orgs, org)
		}
	}
}

// readEgress checks each entry by itself, so that all wrong ones are named.
func (s *settings) readEgress(e *env) {
	if e.get("EGRESS") == "" {
		return
	}
	for entry := range strings.SplitSeq(e.get("EGRESS"), ",") {
		entry = strings.TrimSpace(entry)
		if _, err := egress.Parse([]string{entry}, false); err != nil {
			e.wrong("EGRESS", "%s", strings.TrimPrefix(err.Error(), "egress: "))
			continue
		}
		s.egress = append(s.egress, entry)
	}
}

// readProvider reads the OAUTH_ variables and API_URL.
func (s *settings) readProvider(e *env) {
	s.readFlow(e)
	s.readClientAuth(e)
	params, err := url.ParseQuery(e.get("OAUTH_AUTHORIZATION_PARAMS"))
	if err != nil || params.Has("") {
		e.wrong("OAUTH_AUTHORIZATION_PARAMS", "is not a query string: write it as prompt=consent&login_hint=alice%%40example.com")
	}
	s.client.AuthorizationParams = params

	if s.standIn {
		for _, name := range []string{"OAUTH_CLIENT_SECRET", "OAUTH_AUTHORIZATION_URL", "OAUTH_TOKEN_URL", "OAUTH_REVOCATION_URL", "OAUTH_ISSUER", "API_URL"} {
			if e.get(name) != "" {
				e.wrong(name, "is set, but OAUTH_CLIENT_ID is not: set it too, or neither, to use the stand-in provider")
			}
		}
		return
	}
	given := func(name string) bool { return e.get(name) != "" }
	switch {
	case s.mints() && given("OAUTH_AUTHORIZATION_URL") && !given("OAUTH_TOKEN_URL"):
		e.wrong("OAUTH_TOKEN_URL", "is not set, but OAUTH_AUTHORIZATION_URL is: client_credentials needs the token URL only")
	case !s.mints() && given("OAUTH_AUTHORIZATION_URL") != given("OAUTH_TOKEN_URL"):
		e.wrong("OAUTH_AUTHORIZATION_URL, OAUTH_TOKEN_URL", "set both, or neither for Microsoft's: they belong to one provider")
	}
	s.client.ClientID = e.get("OAUTH_CLIENT_ID")
	s.client.ClientSecret = tokenstore.NewSecret(e.get("OAUTH_CLIENT_SECRET"))
	s.client.AuthorizationURL = e.get("OAUTH_AUTHORIZATION_URL")
	if s.client.AuthorizationURL == "" && !s.mints() {
		s.client.AuthorizationURL = microsoft + "authorize"
	}
	s.client.TokenURL = e.or("OAUTH_TOKEN_URL", microsoft+"token")
	s.client.RevocationURL = e.get("OAUTH_REVOCATION_URL") // Microsoft has none
	s.client.Issuer = e.get("OAUTH_ISSUER")
	s.client.RequireIss = s.client.Issuer != ""
	s.apiURL = e.or("API_URL", graphAPI)
	e.url("API_URL", s.apiURL, true)
	if len(e.problems) == 0 {
		e.problems = append(e.problems, clientProblems(&s.client, s.entityID)...)
	}
}

// readFlow reads the flow, and what has another default for each.
func (s *settings) readFlow(e *env) {
	s.client.Flow = oauthflow.Flow(e.or("OAUTH_FLOW", string(oauthflow.AuthorizationCode)))
	scopes, entity := userScopes, "common"
	switch s.client.Flow {
	case oauthflow.AuthorizationCode:
	case oauthflow.ClientCredentials:
		scopes = applicationScopes
		if s.standIn {
			entity = standInTenant // an application signs in to one tenant
		}
	default:
		e.wrong("OAUTH_FLOW", "%q is unknown: use authorization_code or client_credentials", s.client.Flow)
	}
	s.client.Scopes = strings.Fields(e.or("OAUTH_SCOPES", scopes))
	s.entityID = e.or("OAUTH_ENTITY_ID", entity)
}

// mints reports whether tokens are the application's own, so that nobody connects.
func (s *settings) mints() bool { return s.client.Flow == oauthflow.ClientCredentials }

func (s *settings) readClientAuth(e *env) {
	secret := e.get("OAUTH_CLIENT_SECRET") != ""
	if e.get("OAUTH_CLIENT_KEY") != "" || e.get("OAUTH_CLIENT_AUTH") == "private_key_jwt" {
		e.wrong("OAUTH_CLIENT_AUTH", "private_key_jwt, and OAUTH_CLIENT_KEY with it, is not built yet: use post, basic or none")
		return
	}
	switch auth := e.or("OAUTH_CLIENT_AUTH", "post"); auth {
	case "post":
		s.client.ClientAuth = oauthflow.AuthPost
	case "basic":
		s.client.ClientAuth = oauthflow.AuthBasic
	case "none":
		s.client.ClientAuth = oauthflow.AuthNone
		if secret {
			e.wrong("OAUTH_CLIENT_SECRET", "is set, but OAUTH_CLIENT_AUTH is none, which sends no secret: unset one of them")
		}
		if s.mints() {
			e.wrong("OAUTH_CLIENT_AUTH", "is none, but OAUTH_FLOW is client_credentials, which only a client with a secret can use: use post or basic")
		}
		return
	default:
		e.wrong("OAUTH_CLIENT_AUTH", "%q is unknown: use post, basic or none", auth)
	}
	if !s.standIn && !secret {
		e.wrong("OAUTH_CLIENT_SECRET", "is not set: set the secret that the provider gave to your app, or OAUTH_CLIENT_AUTH=none for a public client")
	}
}

// redirectURI is what has to be registered with the provider.
func (s *settings) redirectURI() string { return s.baseURL + "/oauth/callback/" + integrationName }

// apiHost is the one host that the access token is sent to.
func (s *settings) apiHost() string {
	u, err := url.Parse(s.apiURL)
	if err != nil {
		return ""
	}
	return u.Host
}

// env reads variables and collects what is wrong with them.
type env struct {
	get      func(string) string
	problems []error
}

func (e *env) or(name, fallback string) string {
	if value := e.get(name); value != "" {
		return value
	}
	return fallback
}

func (e *env) wrong(name, format string, args ...any) {
	e.problems = append(e.problems, fmt.Errorf(name+": "+format, args...))
}

// url accepts absolute URLs: https, or http on loopback.
func (e *env) url(name, text string, query bool) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
		e.wrong(name, "is not an absolute http or https URL")
	case u.Scheme == "http" && !loopback.Host(u.Hostname()):
		e.wrong(name, "%q: http is for this machine only: use https", u.Redacted())
	case u.User != nil || u.Fragment != "":
		e.wrong(name, "must not have a user, a password or a fragment")
	case !query && (u.RawQuery != "" || u.ForceQuery):
		e.wrong(name, "%q must not have a query", u.Redacted())
	}
}

// variables are the names under which oauthflow's fields are set here.
var variables = map[string]string{
	"AuthorizationURL": "OAUTH_AUTHORIZATION_URL", "TokenURL": "OAUTH_TOKEN_URL", "RevocationURL": "OAUTH_REVOCATION_URL",
	"Issuer": "OAUTH_ISSUER", "ClientID": "OAUTH_CLIENT_ID", "ClientSecret": "OAUTH_CLIENT_SECRET",
	"ClientAuth": "OAUTH_CLIENT_AUTH", "Scopes": "OAUTH_SCOPES", "AuthorizationParams": "OAUTH_AUTHORIZATION_PARAMS",
}

// clientProblems is what oauthflow says about the client, in terms of variables.
func clientProblems(c *oauthflow.Client, entityID string) []error {
	err := c.Validate()
	if err == nil {
		if err = c.Check(entityID, nil); err == nil {
			return nil
		}
		return []error{fmt.Errorf("OAUTH_ENTITY_ID: %w", err)}
	}
	var problems []error
	for line := range strings.SplitSeq(err.Error(), "\n") {
		text := strings.TrimPrefix(line, "oauthflow: ")
		end := strings.IndexAny(text, " [") // a field, or a part of it
		if name := variables[text[:max(end, 0)]]; name != "" {
			text = name + ": " + strings.TrimPrefix(text[end:], " ")
		}
		problems = append(problems, errors.New(text))
	}
	return problems
}
