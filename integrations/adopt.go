package integrations

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/bifrost-go/bifrost/internal/scope"
	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// ImportOptions say more about tokens that come from elsewhere.
type ImportOptions struct {
	// Actor is who brings them, for the history.
	Actor string
	// Scopes are the granted ones; nil if nobody knows.
	Scopes []string
	// AccountID and AccountName are the provider's names for the connected account.
	// Without them an id_token among the token's extra members says so.
	AccountID   string
	AccountName string
	// Extra are further members of the token reply, such as instance_url, beside an
	// id_token that the token itself has.
	Extra map[string]any
	// Replace puts the tokens in the place of what is connected.
	Replace bool
}

// Import stores a token that somebody else got as the scope's connection, as if an
// account had been connected just now. Nothing is sent; whether it works shows when
// it is used. It may be called again for a whole table of tokens after a failure:
// where something is connected its error is ErrExists, unless Replace is set.
//
// The token must come from the client id, the entity and the token URL that the
// definition has for the scope. Stop whatever refreshed it before: a provider that
// rotates gives each refresh token once.
func (r *Registry) Import(ctx context.Context, name string, token *oauth2.Token, o ImportOptions, opts ...Option) (Status, error) {
	d, c, t, err := r.grantTarget(ctx, name, opts)
	if err != nil {
		return Status{}, err
	}
	fail := func(kind, err error) (Status, error) {
		return Status{}, &Error{Integration: d.Name, Org: c.scope.Org, Kind: kind, Err: err, Detail: strings.TrimPrefix(err.Error(), "oauthflow: ")}
	}
	if token == nil {
		return fail(ErrInvalid, errors.New("import: there is no token"))
	}
	extra := map[string]json.RawMessage{}
	members := maps.Clone(o.Extra)
	if id, ok := token.Extra("id_token").(string); ok {
		if members == nil {
			members = map[string]any{}
		}
		members["id_token"] = id
	}
	for member, v := range members {
		if extra[member], err = json.Marshal(v); err != nil {
			return fail(ErrInvalid, fmt.Errorf("import: Extra[%q] cannot be written as JSON", member)) // the cause may quote it
		}
	}
	_, err = r.flows.Import(ctx, t, oauthflow.Imported{
		Tokens: oauthflow.Tokens{
			AccessToken: tokenstore.NewSecret(token.AccessToken), RefreshToken: tokenstore.NewSecret(token.RefreshToken),
			TokenType: token.TokenType, ExpiresAt: token.Expiry, Scopes: o.Scopes, Extra: extra,
			AccountID: o.AccountID, AccountName: o.AccountName,
		},
		Actor: o.Actor, Replace: o.Replace,
	})
	var conn *oauthflow.ConnectionError
	switch {
	case err == nil:
		if err := r.stays(ctx, d, t, o.Actor); err != nil {
			return Status{}, err
		}
		return r.status(ctx, d, c)
	case ctx.Err() != nil:
		return Status{}, ctx.Err()
	case errors.Is(err, oauthflow.ErrConnected):
		return fail(ErrExists, err)
	case errors.As(err, &conn):
		return Status{}, r.wrap(d, c, err)
	}
	return fail(ErrInvalid, err)
}

// staysLimit bounds how long an import is taken back.
const staysLimit = 10 * time.Second

// stays takes an import back if somebody has deleted the definition meanwhile:
// that deletion has not seen the connection, and nobody would find it again. The
// tokens are as good as before.
func (r *Registry) stays(ctx context.Context, d *definition, t oauthflow.Target, actor string) error {
	if d.source == SourceCode {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), staysLimit)
	defer cancel()
	if err := r.sync(ctx); err != nil {
		r.alarm(ctx, err)
		return nil
	}
	if r.defs.Load().stored[d.id] != nil {
		return nil
	}
	gone := &Error{Integration: d.Name, Org: t.Key.Org, Kind: ErrNotFound, Detail: "somebody has deleted it meanwhile"}
	if err := r.flows.Forget(ctx, t, actor); err != nil && !errors.Is(err, oauthflow.ErrNotConnected) {
		gone.Err = err
	}
	return gone
}

// Export returns the tokens of the scope's own connection, its refresh token with
// them, for taking them elsewhere. From then on only one side may refresh: call
// [Registry.Forget] once they have arrived. Disconnecting would revoke them. actor is
// who asked, for the history.
func (r *Registry) Export(ctx context.Context, name, actor string, opts ...Option) (*oauth2.Token, error) {
	if scope.RunFrom(ctx) != nil {
		return nil, &Error{Integration: name, Kind: ErrForbiddenOrg, Detail: "workflow runs never see refresh tokens"}
	}
	d, c, t, err := r.grantTarget(ctx, name, opts)
	if err != nil {
		return nil, err
	}
	tokens, err := r.flows.Export(ctx, t, actor)
	if err != nil {
		return nil, r.wrap(d, c, err)
	}
	extra := map[string]any{}
	for member, raw := range tokens.Extra {
		var v any
		if json.Unmarshal(raw, &v) == nil {
			extra[member] = v
		}
	}
	token := &oauth2.Token{
		AccessToken: tokens.AccessToken.Reveal(), RefreshToken: tokens.RefreshToken.Reveal(),
		TokenType: tokens.TokenType, Expiry: tokens.ExpiresAt,
	}
	return token.WithExtra(extra), nil
}

// Forget removes the scope's own connection without telling the provider, so that
// tokens that were exported go on working elsewhere. Where it is disconnected, but what
// is still to be revoked of it does not open any more (its key is lost), it drops that.
// actor is who did it, for the history.
func (r *Registry) Forget(ctx context.Context, name, actor string, opts ...Option) error {
	d, c, t, err := r.own(ctx, name, opts)
	if errors.Is(err, ErrNotConnected) || errors.Is(err, ErrNotOwn) {
		if _, _, t, fault := r.grantTarget(ctx, name, opts); fault == nil && r.flows.Forget(ctx, t, actor) == nil {
			return nil
		}
	}
	if err != nil {
		return err
	}
	if err := r.flows.Forget(ctx, t, actor); err != nil {
		return r.wrap(d, c, err)
	}
	return nil
}

// grantTarget finds the chosen connection of a definition that people connect.
func (r *Registry) grantTarget(ctx context.Context, name string, opts []Option) (*definition, choice, oauthflow.Target, error) {
	if err := mayManage(ctx, name); err != nil {
		return nil, choice{}, oauthflow.Target{}, err
	}
	d, c, err := r.usable(ctx, name, opts)
	if err != nil {
		return nil, c, oauthflow.Target{}, err
	}
	if !d.interactive() {
		return nil, c, oauthflow.Target{}, &Error{Integration: d.Name, Org: c.scope.Org, Kind: ErrNotInteractive,
			Detail: "its tokens are not a person's grant"}
	}
	e, err := r.effective(ctx, d, c.scope.Org)
	if err != nil {
		return nil, c, oauthflow.Target{}, err
	}
	return d, c, r.target(d, e, c.key(d)), nil
}
