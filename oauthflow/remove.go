package oauthflow

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// Limits of removing many connections at once.
const (
	removePage   = 200
	removeLimit  = 10 * time.Second // for all revocations together
	removeAtOnce = 4                // of them under way
)

// Removed are the connections that [Manager.Remove] has removed.
type Removed struct {
	m    *Manager
	list []removed
}

type removed struct {
	conn   *tokenstore.Connection // as it was
	event  Event
	target Target
	err    error // why there is no target
}

// Connections returns how many there were.
func (r *Removed) Connections() int { return len(r.list) }

// Remove disconnects every connection that matches and drops their open flows, for
// definitions and organizations that are about to be removed. An empty match is
// refused. reason and actor go into the history of each.
//
// It writes with ctx and nothing beside, so it may be part of a transaction of the
// store, which may still be undone. Therefore it sends nothing and forgets nothing:
// call [Removed.Revoke] when the transaction is committed. target is asked at once
// for each connection, as long as the definitions are there. Errors are the store's.
func (m *Manager) Remove(
	ctx context.Context, match tokenstore.Match, target func(context.Context, tokenstore.Key) (Target, error), reason, actor string,
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
			if !c.Connected() {
				continue
			}
			if err := r.remove(ctx, key, target, reason, actor); err != nil {
				return nil, fmt.Errorf("oauthflow: remove: %w", err)
			}
		}
		if len(page) < removePage {
			return r, nil
		}
	}
}

func (r *Removed) remove(
	ctx context.Context, key tokenstore.Key, target func(context.Context, tokenstore.Key) (Target, error), reason, actor string,
) error {
	var was *tokenstore.Connection
	// Not Handle.update: what is read here may never be committed.
	left, err := r.m.cfg.Store.Update(ctx, key, func(c *tokenstore.Connection, _ time.Time) error {
		was = c.Clone()
		return disconnect(c, reason, actor)
	})
	switch {
	case errors.Is(err, errMoved): // somebody else was quicker
		return nil
	case err != nil:
		return err
	}
	one := removed{conn: was, event: eventOf(left, tokenstore.Event{Kind: eventDisconnected, Reason: reason, Actor: actor})}
	one.target, one.err = target(ctx, key)
	r.list = append(r.list, one)
	return nil
}

// Revoke is to be called when the removal is committed. It makes sure that this
// process uses nothing of what was removed, and asks the providers to revoke it:
// each once, tokens only where they came from, all within ten seconds or until ctx
// ends. It returns how many connections were revoked, how many belong to providers
// that cannot revoke, and how many were not revoked for other reasons, which are in
// the log.
func (r *Removed) Revoke(ctx context.Context) (revoked, unsupported, failed int) {
	for _, one := range r.list {
		if h := r.m.handles.Load(one.conn.Key); h != nil {
			h.epoch.Add(1)
		}
		if r.m.cfg.Events != nil {
			r.m.tell(one.event)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, removeLimit)
	defer cancel()
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		results = map[Revocation]int{}
		room    = make(chan struct{}, removeAtOnce)
	)
	for _, one := range r.list {
		room <- struct{}{} // each gives it back when ctx ends
		wg.Go(func() {
			defer func() { <-room }()
			result := r.m.revokeRemoved(ctx, one)
			mu.Lock()
			defer mu.Unlock()
			results[result]++
		})
	}
	wg.Wait()
	return results[Revoked], results[RevocationUnsupported], results[RevocationFailed]
}

func (m *Manager) revokeRemoved(ctx context.Context, one removed) Revocation {
	minted := m.mints.forget(one.conn.Key)
	t, log := one.target, m.log.With("definition", one.conn.Definition, "org", one.conn.Org)
	switch {
	case one.err != nil:
		log.WarnContext(ctx, "oauthflow: not revoked, because the definition cannot be had", "error", one.err)
		return RevocationFailed
	case ctx.Err() != nil:
		log.WarnContext(ctx, "oauthflow: not revoked, because revoking all that was removed takes too long")
		return RevocationFailed
	case one.conn.Sealed == nil:
		return m.revokeSnapshots(ctx, t, minted)
	}
	return m.revokeStored(ctx, t, one.conn)
}
