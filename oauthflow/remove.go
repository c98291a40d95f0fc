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
}

type removed struct {
	prepared
	event Event
}

// RemoveOptions say how connections are removed.
type RemoveOptions struct {
	// Reason and Actor are for the history of each.
	Reason string
	Actor  string
	// NoHistory keeps out of the history what later comes of revoking them, for
	// organizations whose history is deleted with them. [Config].Events hears of it.
	NoHistory bool
	// Prepared is what [Manager.Prepare] has sealed. Without it all is sealed within
	// the transaction.
	Prepared *Prepared
}

func (o RemoveOptions) removal() removal {
	return removal{reason: o.Reason, actor: o.Actor, quiet: o.NoHistory, revoke: true}
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
// call [Removed.Revoke] when the transaction is committed. The key service is asked
// only for what o.Prepared does not have, and for 5 s in all; what is left then is
// removed without revoking it. target is asked for the same, as long as the
// definitions are there. Errors are the store's.
func (m *Manager) Remove(ctx context.Context, match tokenstore.Match, target TargetOf, o RemoveOptions) (*Removed, error) {
	if err := refuseAll(match); err != nil {
		return nil, err
	}
	if err := m.cfg.Store.DeleteFlows(ctx, match); err != nil {
		return nil, fmt.Errorf("oauthflow: remove: drop open flows: %w", err)
	}
	if o.Prepared == nil {
		o.Prepared = newPrepared(m)
	}
	r := &Removed{m: m}
	err := m.matching(ctx, match, func(page []*tokenstore.Connection) error {
		for _, c := range page {
			if err := r.remove(ctx, c, target, o); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("oauthflow: remove: %w", err)
	}
	return r, nil
}

func refuseAll(match tokenstore.Match) error {
	if match.Definition == "" && match.Org == nil {
		return errors.New("oauthflow: remove: the match is empty, which would be every connection; say a definition or an organization")
	}
	return nil
}

// matching shows see the connections that match, page by page.
func (m *Manager) matching(ctx context.Context, match tokenstore.Match, see func([]*tokenstore.Connection) error) error {
	var after *tokenstore.Key
	for {
		page, err := m.cfg.Store.List(ctx, match, after, removePage)
		if err != nil {
			return fmt.Errorf("list connections: %w", err)
		}
		if err := see(page); err != nil || len(page) < removePage {
			return err
		}
		key := page[len(page)-1].Key
		after = &key
	}
}

func (r *Removed) remove(ctx context.Context, c *tokenstore.Connection, target TargetOf, o RemoveOptions) error {
	for c.Connected() {
		one := o.Prepared.of(ctx, c, target, o)
		// Not Handle.update: what is read here may never be committed.
		left, err := r.m.cfg.Store.Update(ctx, c.Key, func(c *tokenstore.Connection, now time.Time) error { return disconnect(c, now, one.how) })
		switch {
		case err == nil:
			event := eventOf(left, tokenstore.Event{Kind: eventDisconnected, Reason: o.Reason, Actor: o.Actor})
			r.list = append(r.list, removed{one, event})
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
