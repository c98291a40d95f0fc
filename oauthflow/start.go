package oauthflow

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// StartOptions says who connects, and where to go afterwards.
type StartOptions struct {
	// Principal is the host's user; only the same one can finish. Required.
	Principal string
	// ReturnTo is handed back by Callback, unread. The caller has checked it.
	ReturnTo string
}

// Started is a flow that waits for a person's consent.
type Started struct {
	// AuthorizationURL is where to send the browser. It holds the state: do not
	// log it.
	AuthorizationURL string
	// Origin is its scheme, host and port, for a page's form-action.
	Origin string
	// Cookie is to be set in the browser, which alone can finish the flow.
	Cookie    *http.Cookie
	ExpiresAt time.Time // by this machine's clock
}

// Start begins the authorization code flow (RFC 6749 §4.1, with PKCE): it stores
// a flow and says where to send the browser. A connection that exists is not
// touched before the flow is finished.
func (m *Manager) Start(ctx context.Context, t Target, o StartOptions) (*Started, error) {
	switch {
	case o.Principal == "":
		return nil, errors.New("oauthflow: StartOptions.Principal is missing: the flow is bound to who starts it")
	case t.Client == nil || t.Client.Flow != AuthorizationCode && t.Client.Flow != "":
		return nil, errors.New("oauthflow: only the authorization code flow can be started in a browser")
	}
	if _, err := t.Client.TokenHost(t.EntityID, t.Values); err != nil {
		return nil, err
	}
	state, cookie := randomText(), randomText()
	flow := tokenstore.Flow{
		StateHash: hashText(state), CookieHash: hashText(cookie),
		Key: t.Key, Principal: o.Principal, EntityID: t.EntityID,
		RedirectURI: t.RedirectURI, ReturnTo: o.ReturnTo, Scopes: t.Client.Scopes,
	}
	// The name differs per flow, so that two tabs do not overwrite each other's.
	flow.CookieName = m.cookieName(flow.StateHash)
	var (
		challenge string
		sealed    sealedFlow
		err       error
	)
	if sealed.For, err = codeForTarget(t); err != nil {
		return nil, err
	}
	if !t.Client.DisablePKCE {
		sealed.Verifier = randomText()
		sum := sha256.Sum256([]byte(sealed.Verifier))
		challenge = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	if flow.Verifier, err = sealed.seal(ctx, m.cfg.Sealer, flow); err != nil {
		return nil, fmt.Errorf("oauthflow: start: %w", err)
	}
	target, err := t.Client.BuildAuthorizationURL(AuthorizationRequest{
		EntityID: t.EntityID, Values: t.Values, RedirectURI: t.RedirectURI, State: state, Challenge: challenge,
	})
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(target)
	if err != nil {
		return nil, errors.New("oauthflow: the authorization URL of " + t.Name + " is not a URL")
	}
	expires := time.Now().Add(m.cfg.FlowLife)
	if _, err := m.cfg.Store.PutFlow(ctx, flow, m.cfg.FlowLife, m.cfg.MaxOpenFlows); err != nil {
		err = m.unread(ctx, t, err)
		var e *ConnectionError
		if errors.As(err, &e) {
			e.Message = "the token store has not confirmed the flow; start another one"
		}
		return nil, err
	}
	if err := m.confirm(ctx, t.Key); errors.Is(err, ErrGone) {
		// Whoever deleted the definition did not see the flow, which must not stay.
		_, _ = m.cfg.Store.TakeFlow(ctx, flow.StateHash)
		return nil, err
	}
	return &Started{
		AuthorizationURL: target, Origin: u.Scheme + "://" + u.Host,
		Cookie: m.flowCookie(flow.CookieName, cookie, m.cfg.FlowLife), ExpiresAt: expires,
	}, nil
}

// randomText returns 32 random bytes as base64url: 43 characters.
func randomText() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// hashText is how state and cookie are stored: what is read from a database
// cannot be replayed.
func hashText(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func (m *Manager) cookieName(stateHash string) string {
	name := "bifrost_flow_" + stateHash[:8]
	if m.cfg.Secure {
		return "__Host-" + name
	}
	return name
}

// flowCookie makes the flow cookie; a negative life deletes it.
func (m *Manager) flowCookie(name, value string, life time.Duration) *http.Cookie {
	age := int(life / time.Second)
	if life < 0 {
		age = -1
	}
	return &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: age,
		Secure: m.cfg.Secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
}
