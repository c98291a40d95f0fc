// Package before is a connection to Microsoft Graph as one writes it by hand around
// golang.org/x/oauth2, with care: a state cookie, PKCE, a token table, and a token
// source that writes renewed tokens back. docs/migrating-from-x-oauth2.md says what
// it still loses; before_test.go shows it.
package before

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"database/sql"
	"errors"
	"net/http"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// Schema is the token table.
const Schema = `CREATE TABLE oauth_tokens (
	org           TEXT PRIMARY KEY,
	access_token  TEXT NOT NULL,
	refresh_token TEXT NOT NULL,
	expiry        TIMESTAMP NOT NULL,
	frozen        BOOLEAN NOT NULL DEFAULT FALSE -- for the move: refreshed no more
)`

// App is the host.
type App struct {
	DB    *sql.DB
	OAuth *oauth2.Config
	// Org says which organization a request's user belongs to.
	Org func(*http.Request) string
}

const stateCookie = "oauth_state"

// Connect sends the browser to the provider.
func (a *App) Connect(w http.ResponseWriter, r *http.Request) {
	state, verifier := rand.Text(), oauth2.GenerateVerifier()
	http.SetCookie(w, &http.Cookie{
		Name: stateCookie, Value: state + "." + verifier, Path: "/", MaxAge: 600, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
	http.Redirect(w, r, a.OAuth.AuthCodeURL(state, oauth2.S256ChallengeOption(verifier)), http.StatusSeeOther)
}

// Callback is where the provider sends the browser back to.
func (a *App) Callback(w http.ResponseWriter, r *http.Request) {
	cookie, err := r.Cookie(stateCookie)
	if err != nil {
		http.Error(w, "begin again", http.StatusBadRequest)
		return
	}
	state, verifier, _ := strings.Cut(cookie.Value, ".")
	if subtle.ConstantTimeCompare([]byte(state), []byte(r.FormValue("state"))) != 1 {
		http.Error(w, "begin again", http.StatusBadRequest)
		return
	}
	token, err := a.OAuth.Exchange(r.Context(), r.FormValue("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		http.Error(w, "the provider refused", http.StatusBadGateway)
		return
	}
	if err := a.save(r.Context(), a.Org(r), token); err != nil {
		http.Error(w, "try again", http.StatusInternalServerError)
		return
	}
	http.Redirect(w, r, "/settings", http.StatusSeeOther)
}

// ErrFrozen: the access token of a frozen row has expired.
var ErrFrozen = errors.New("the tokens are being moved")

// Client returns a client that calls the API for an organization.
func (a *App) Client(ctx context.Context, org string) (*http.Client, error) {
	token, frozen, err := a.load(ctx, org)
	switch {
	case err != nil:
		return nil, err
	case frozen && !token.Valid():
		return nil, ErrFrozen
	case frozen:
		return oauth2.NewClient(ctx, oauth2.StaticTokenSource(token)), nil
	}
	source := &savingSource{app: a, ctx: ctx, org: org, last: token.AccessToken, source: a.OAuth.TokenSource(ctx, token)}
	return oauth2.NewClient(ctx, oauth2.ReuseTokenSource(token, source)), nil
}

// savingSource writes renewed tokens back into the table.
type savingSource struct {
	app    *App
	ctx    context.Context
	org    string
	last   string
	source oauth2.TokenSource
}

// Token implements oauth2.TokenSource.
func (s *savingSource) Token() (*oauth2.Token, error) {
	token, err := s.source.Token()
	if err != nil {
		return nil, err
	}
	if token.AccessToken != s.last {
		if err := s.app.save(s.ctx, s.org, token); err != nil {
			return nil, err
		}
		s.last = token.AccessToken
	}
	return token, nil
}

func (a *App) load(ctx context.Context, org string) (token *oauth2.Token, frozen bool, err error) {
	token = new(oauth2.Token)
	row := a.DB.QueryRowContext(ctx, `SELECT access_token, refresh_token, expiry, frozen FROM oauth_tokens WHERE org = $1`, org)
	err = row.Scan(&token.AccessToken, &token.RefreshToken, &token.Expiry, &frozen)
	return token, frozen, err
}

func (a *App) save(ctx context.Context, org string, token *oauth2.Token) error {
	_, err := a.DB.ExecContext(ctx, `INSERT INTO oauth_tokens (org, access_token, refresh_token, expiry) VALUES ($1, $2, $3, $4)
		ON CONFLICT (org) DO UPDATE SET access_token = $2, refresh_token = $3, expiry = $4`,
		org, token.AccessToken, token.RefreshToken, token.Expiry.UTC().Truncate(time.Second))
	return err
}
