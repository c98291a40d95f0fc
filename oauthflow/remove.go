package oauthflow

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// removePage is how many connections are read at once.
const removePage = 200

// Removed are the connections that [Manager.Remove] has removed.
type Removed struct {
	m    *Manager
	list []removed
	// blind: the key service does not answer. It is not waited for again and again
	// while a transaction is open.
	blind bool
}

type removed struct {
	event  Event
	target Target
	how    removal
	result Revocation
}

// RemoveOptions say how connections are removed.
type RemoveOptions struct {
	// Reason and Actor are for the history of each.
	Reason string
	Actor  string
	// NoHistory keeps out of the history what later comes of revoking them, for
	// organizations whose history is deleted with them. [Config].Events hears of it.
	NoHistory bool
}

// Connections returns how many there were.
func (r *Removed) Connections() int { return len(r.list) }

// Remove disconnects every connection that matches and drops their open flows, for
// definitions and organizations that are about to be removed. An empty match is
// refused. What is to be revoked is written down with each, as by
// [Manager.Disconnect].
//
// It writes with ctx and nothing beside, so it may be part of a transaction of the
// store, which may still be undone. Therefore it sends nothing and forgets nothing:
// call [Removed.Revoke] when the transaction is committed. target is asked at once
// for each connection, as long as the definitions are there. Errors are the store's.
func (m *Manager) Remove(
	ctx context.Context, match tokenstore.Match, target func(context.Context, tokenstore.Key) (Target, error), o RemoveOptions,
) (*Removed, error) {
	if match.Definition == "" && match.Org == nil {
		return nil, errors.New("oauthflow: remove: the match is empty, which would be every connection; say a definition or an organization")
	}
	if err := m.cfg.Store.DeleteFlows(ctx, match); err != nil {
		return nil, fmt.Errorf("oauthflow: remove: drop open flows: %w", err)
	}
	r := &Removed{m: m}
	var after *tokenstore.Key
	for {
		page, err := m.cfg.Store.List(ctx, match, after, removePage)
		if err != nil {
			return nil, fmt.Errorf("oauthflow: remove: list connections: %w", err)
		}
		for _, c := range page {
			key := c.Key
			after = &key
			if err := r.remove(ctx, c, target, o); err != nil {
				return nil, fmt.Errorf("oauthflow: remove: %w", err)
			}
		}
		if len(page) < removePage {
			return r, nil
		}
	}
}

func (r *Removed) remove(
	ctx context.Context, c *tokenstore.Connection, target func(context.Context, tokenstore.Key) (Target, error), o RemoveOptions,
) error {
	m, key := r.m, c.Key
	if !c.Connected() {
		return nil
	}
	t, gone := target(ctx, key)
	if gone != nil {
		t = Target{Key: key}
	}
	one := removed{target: t, how: removal{reason: o.Reason, actor: o.Actor, quiet: o.NoHistory, revoke: gone == nil && !r.blind}}
	for c.Connected() {
		began := time.Now()
		one.result = m.prepare(ctx, t, c, &one.how)
		r.blind = r.blind || time.Since(began) >= prepareLimit
		// Not Handle.update: what is read here may never be committed.
		left, err := m.cfg.Store.Update(ctx, key, func(c *tokenstore.Connection, now time.Time) error { return disconnect(c, now, one.how) })
		switch {
		case err == nil:
			one.event = eventOf(left, tokenstore.Event{Kind: eventDisconnected, Reason: o.Reason, Actor: o.Actor})
			if !one.how.revoke {
				m.logger(t).WarnContext(ctx, "oauthflow: not revoked, because the definition cannot be had, or the key service does not answer", "error", gone)
				one.result = RevocationFailed
			}
			r.list = append(r.list, one)
			return nil
		case !errors.Is(err, errMoved):
			return err
		}
		c = left
	}
	return nil // somebody else was quicker
}

// Revoke is to be called when the removal is committed. It makes sure that this
// process uses nothing of what was removed, and begins to revoke it, a few at a time;
// it does not wait for that. It returns of how many connections the tokens are being
// revoked now, how many belong to providers that cannot revoke, and how many will not
// be revoked for reasons that are in the log.
func (r *Removed) Revoke() (pending, unsupported, failed int) {
	var list []revokeJob
	for _, one := range r.list {
		if h := r.m.handles.Load(one.target.Key); h != nil {
			h.epoch.Add(1)
		}
		if r.m.cfg.Events != nil {
			r.m.tell(one.event)
		}
		switch one.result {
		case RevocationPending:
			pending++
		case RevocationUnsupported:
			unsupported++
		default:
			failed++
		}
		if r.m.ended(one.target, &one.how) {
			list = append(list, revokeJob{one.target.Key, one.target.Transport, time.Now()})
		}
	}
	r.m.revokeAll(list)
	return pending, unsupported, failed
}
