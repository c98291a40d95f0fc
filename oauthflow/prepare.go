package oauthflow

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// prepareAtOnce is how many connections are prepared for their removal at once.
const prepareAtOnce = 16

// Prepared is what [Manager.Prepare] has sealed: what is to be revoked of connections
// that are about to be removed. It is good for one transaction, however often that is
// tried. It is not safe for concurrent use.
type Prepared struct {
	m    *Manager
	list map[tokenstore.Key]prepared
	// left is for how long the key service may still be asked within the transaction.
	left time.Duration
}

type prepared struct {
	target Target
	how    removal // for one generation
	result Revocation
}

// TargetOf says how to talk about a connection that is to be removed. Several
// goroutines may ask at once.
type TargetOf = func(context.Context, tokenstore.Key) (Target, error)

// Prepare seals what [Manager.Remove] will write down for every connection that
// matches, and writes nothing: call it before the transaction, for the key service may
// be far away, and a transaction keeps others waiting. What is renewed or connected
// after that is prepared within the transaction. Of o, NoHistory counts. target is
// asked for each connection. Errors are the store's or ctx's.
func (m *Manager) Prepare(ctx context.Context, match tokenstore.Match, target TargetOf, o RemoveOptions) (*Prepared, error) {
	if err := refuseAll(match); err != nil {
		return nil, err
	}
	p := newPrepared(m)
	err := m.matching(ctx, match, func(page []*tokenstore.Connection) error {
		p.page(ctx, page, target, o)
		return ctx.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("oauthflow: prepare a removal: %w", err)
	}
	return p, nil
}

func newPrepared(m *Manager) *Prepared {
	return &Prepared{m: m, list: map[tokenstore.Key]prepared{}, left: prepareLimit}
}

// page prepares connections, a few at a time. Once the key service does not answer it
// is asked no more, nor within the transaction.
func (p *Prepared) page(ctx context.Context, page []*tokenstore.Connection, target TargetOf, o RemoveOptions) {
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex // of p
		turn = make(chan struct{}, prepareAtOnce)
	)
	defer wg.Wait()
	for _, c := range page {
		turn <- struct{}{}
		mu.Lock()
		over := p.left <= 0 || ctx.Err() != nil
		mu.Unlock()
		if over {
			return
		}
		wg.Go(func() {
			defer func() { <-turn }()
			if !c.Connected() {
				return
			}
			t, err := target(ctx, c.Key)
			if err != nil {
				return // within the transaction it is asked again
			}
			one := prepared{target: t, how: o.removal()}
			began := time.Now()
			one.result = p.m.prepare(ctx, prepareLimit, t, c, &one.how)
			mu.Lock()
			defer mu.Unlock()
			if time.Since(began) >= prepareLimit {
				p.left = 0
			}
			p.list[c.Key] = one
		})
	}
}

// of returns what is prepared for c, and prepares it now if that is out of date: the
// tokens were renewed since, or there is another grant.
func (p *Prepared) of(ctx context.Context, c *tokenstore.Connection, target TargetOf, o RemoveOptions) prepared {
	one, ok := p.list[c.Key]
	if ok && one.how.generation == c.Generation+1 {
		one.how.reason, one.how.actor = o.Reason, o.Actor
		return one
	}
	if p.left <= 0 { // target may ask the key service as well
		return p.unprepared(ctx, c, o, errors.New("oauthflow: the key service takes too long for a transaction"))
	}
	began := time.Now()
	defer func() { p.left -= time.Since(began) }()
	t, err := target(ctx, c.Key)
	if err != nil {
		return p.unprepared(ctx, c, o, err)
	}
	one = prepared{target: t, how: o.removal()}
	one.result = p.m.prepare(ctx, p.left-time.Since(began), t, c, &one.how)
	p.list[c.Key] = one
	return one
}

// unprepared is for a connection that is removed without revoking it.
func (p *Prepared) unprepared(ctx context.Context, c *tokenstore.Connection, o RemoveOptions, why error) prepared {
	one := prepared{target: Target{Key: c.Key}, how: o.removal(), result: RevocationFailed}
	one.how.revoke = false
	p.m.logger(one.target).WarnContext(ctx, "oauthflow: a removed connection is not revoked; the person can remove the access in the account's settings there", "error", why)
	return one
}
