package oauthflow

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// finish exchanges the code and stores the grant. It goes on when ctx ends: the
// code is spent by then, and the tokens would be orphans.
func (p *pending) finish(ctx context.Context) (*Finished, error) {
	type result struct {
		f   *Finished
		err error
	}
	done := make(chan result, 1)
	if !p.m.start(func() {
		f, err := p.exchange()
		done <- result{f, err}
	}) {
		return nil, p.fail(CallbackFailed, reasonClosed, "the server is shutting down; start again", ErrClosed)
	}
	select {
	case r := <-done:
		return r.f, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// exchange sends the code once: a code that is sent twice revokes what the first
// one brought (RFC 6749 §4.1.2).
func (p *pending) exchange() (*Finished, error) {
	m, t := p.m, p.target
	params := url.Values{
		"grant_type": {"authorization_code"}, "code": {p.query.code}, "redirect_uri": {p.flow.RedirectURI},
	}
	if p.verifier != "" {
		params.Set("code_verifier", p.verifier)
	}
	begun := startStopwatch()
	ctx, cancel := detached(m.cfg.Timing.Request)
	defer cancel()
	key, err := breakerOf(t, "TokenURL")
	if err != nil {
		return nil, p.fail(CallbackFailed, reasonURLs, "the definition's URLs are wrong", err)
	}
	// A person waits, and the code does not: it goes out whatever the breaker says,
	// which learns from the answer.
	through := &pass{breakers: &m.breakers, key: key, connection: p.flow.Key}
	sent := startStopwatch()
	reply, err := m.ask(ctx, t, RequestExchange, false, TokenRequest{
		Client: t.Client, EntityID: p.flow.EntityID, Values: t.Values, Transport: t.Transport, Params: params,
		Gate: func() error {
			sent = startStopwatch()
			return nil
		},
	})
	log := m.logger(t)
	if err != nil {
		te := asTokenError(err, false) // Do knows; no attempt says otherwise
		why := explain(te, t.Client)
		through.failed(te, t.Client, why.jitter)
		log.Warn("oauthflow: the code could not be exchanged", "class", te.Class, "code", why.code, "error", te)
		if reply != nil { // a refresh token beside an unusable access token: nobody else knows of it
			m.revokeLate(t, (*tokens)(nil).merge(reply, "", time.Time{}).revocable())
		}
		return nil, p.fail(CallbackFailed, why.code, why.message, te)
	}
	got := (*tokens)(nil).merge(reply, "", time.Time{})
	through.succeeded()
	if gone := p.gone(ctx); gone != nil {
		return nil, p.giveBack(got, gone)
	}
	g, err := p.grant(reply)
	if err == nil {
		err = p.store(g, got, sent)
	}
	ctx, cancel = m.afterwards(begun)
	defer cancel()
	// Once more: whoever deletes the definition from here on finds the connection.
	if gone := p.gone(ctx); err == nil && gone != nil {
		switch _, err := m.end(ctx, t, removal{reason: reasonDefinitionGone, revoke: true}); {
		case err == nil, errors.Is(err, ErrNotConnected): // what was stored is revoked
			return nil, p.fail(CallbackFailed, reasonDefinitionGone, "the integration is no longer defined", gone)
		default:
			log.Error("oauthflow: a connection of a definition that went away could not be removed", "error", err)
		}
		return nil, p.giveBack(got, gone)
	}
	switch {
	case errors.Is(err, errOtherAccount):
		return nil, p.otherAccount()
	case errors.Is(err, errMoved):
		return nil, p.late(ctx, got)
	case err != nil:
		log.Error("oauthflow: the tokens of a new connection could not be stored", "error", err)
		return nil, p.fail(CallbackFailed, reasonStore, "the connection could not be stored; connect again", err)
	}
	log.Info("oauthflow: connected", "user", p.flow.Principal)
	return &Finished{
		Key: p.flow.Key, Name: t.Name, ReturnTo: p.flow.ReturnTo, ExpiredCookie: p.cookie,
		AccountID: g.accountID, AccountName: g.accountName,
	}, nil
}

// afterwards returns a context for what follows a grant that was stored, or not: a
// provider and a store that are slow have left nothing of the time for the request.
func (m *Manager) afterwards(begun stopwatch) (context.Context, context.CancelFunc) {
	limit := m.cfg.Timing.Record
	if m.ctx.Err() != nil { // Close waits half a second longer than this, at least
		limit = min(limit, m.cfg.Timing.Request+m.cfg.Timing.Record+time.Second/2-begun.elapsed())
	}
	return detached(limit)
}

// late ends a flow whose grant could not be stored before somebody else
// disconnected, or connected again. As with a refresh, only after a disconnect is it
// revoked.
func (p *pending) late(ctx context.Context, got *tokens) error {
	log := p.m.logger(p.target)
	c, err := p.m.cfg.Store.Load(ctx, p.flow.Key)
	switch {
	case err != nil:
		log.Error("oauthflow: it is not known whether a grant that came late is to be revoked", "error", err)
	case !c.Connected():
		log.Info("oauthflow: somebody disconnected while a grant was stored; revoking it")
		p.m.revokeLate(p.target, got.revocable())
	}
	return p.fail(CallbackFailed, "overtaken", "somebody disconnected, or connected again, meanwhile; start again", nil)
}

// gone is not nil if the definition was deleted while the provider was asked:
// nobody would ever find what is stored under it then.
func (p *pending) gone(ctx context.Context) error {
	if err := p.m.confirm(ctx, p.flow.Key); errors.Is(err, ErrGone) {
		return err
	}
	return nil
}

// confirm asks whether the definition of a connection is still there, of the store
// where the targets can.
func (m *Manager) confirm(ctx context.Context, key tokenstore.Key) error {
	switch targets := m.cfg.Targets.(type) {
	case nil:
		return nil
	case interface {
		Confirm(ctx context.Context, key tokenstore.Key) error
	}:
		return targets.Confirm(ctx, key)
	default:
		_, err := targets.Target(ctx, key)
		return err
	}
}

// giveBack revokes what came for a definition that is gone.
func (p *pending) giveBack(got *tokens, gone error) error {
	p.m.logger(p.target).Info("oauthflow: the definition went away during an exchange; revoking what came")
	p.m.revokeLate(p.target, got.revocable())
	return p.fail(CallbackFailed, reasonDefinitionGone, "the integration is no longer defined", gone)
}

// grant describes the new grant; what depends on the stored generation is missing.
func (p *pending) grant(reply *Reply) (grant, error) {
	host, err := p.target.Client.TokenHost(p.flow.EntityID, p.target.Values)
	if err != nil {
		return grant{}, err
	}
	g := grant{
		id: uuid.NewString(), received: receive(reply, (*tokens)(nil).merge(reply, "", time.Time{}), 0),
		entityID: p.flow.EntityID, clientID: p.target.Client.ClientID, tokenHost: host,
		fingerprint: p.target.Fingerprint,
		by:          p.flow.Principal, requested: p.flow.Scopes,
		anotherAccountOK: p.target.AllowAccountChange,
	}
	g.accountID, g.accountName = account(reply.Extra)
	return g, nil
}

// store stores the grant, and tries again for a while: the code is spent.
func (p *pending) store(g grant, tok *tokens, sent stopwatch) error {
	ctx, cancel := detached(p.m.cfg.Timing.Record)
	defer cancel()
	var refused error
	storing := connecting{h: p.m.Handle(p.flow.Key), g: g, tok: tok, obtained: sent}
	err := repeat(ctx, func(ctx context.Context) error {
		err := storing.try(ctx)
		if errors.Is(err, errOtherAccount) {
			refused, err = err, nil
		}
		return err
	})
	if refused != nil {
		return refused
	}
	return err
}

// otherAccount ends a flow that came back with another account than the connected
// one. That stays as it is. The tokens that came are dropped and not revoked: some
// providers count them as one grant with what the same person, or the same tenant,
// gave before, and would end what is connected here.
func (p *pending) otherAccount() error {
	m, log := p.m, p.m.logger(p.target)
	log.Warn("oauthflow: refused to connect another account than the connected one", "user", p.flow.Principal)
	ctx, cancel := detached(m.cfg.Timing.Record)
	defer cancel()
	err := m.cfg.Store.AddEvents(ctx, tokenstore.Event{
		Key: p.flow.Key, Kind: eventRefused, Reason: reasonOtherAccount, Actor: p.flow.Principal,
	})
	if err != nil {
		log.Error("oauthflow: a refusal could not be put into the history", "error", err)
	}
	return p.fail(CallbackFailed, reasonOtherAccount, "another account is connected here, and stays connected; "+
		"disconnect it first, or choose the same account", errOtherAccount)
}

// account reads who connected from the id_token (OpenID Connect Core §2). Its
// signature is not checked: it came from the token endpoint over TLS, which
// §3.1.3.7 accepts in the signature's place, and nothing is granted by it.
func account(extra map[string]json.RawMessage) (id, name string) {
	var token string
	if json.Unmarshal(extra["id_token"], &token) != nil {
		return "", ""
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return "", ""
	}
	var claims map[string]json.RawMessage
	if json.Unmarshal(payload, &claims) != nil {
		return "", ""
	}
	first := func(names ...string) string {
		for _, n := range names {
			var s string
			if json.Unmarshal(claims[n], &s) == nil && s != "" {
				return scrubber{}.display(s, maxAccount)
			}
		}
		return ""
	}
	// Entra's sub differs from client to client, its oid does not.
	return first("oid", "sub"), first("preferred_username", "email", "name")
}

// maxAccount caps what is shown of an account, in characters.
const maxAccount = 200
