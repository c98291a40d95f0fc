package oauthflow

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

const (
	// resealWorkers seal at once: a key service may be far away, and a store commits
	// what comes together together.
	resealWorkers = 16
	resealPage    = 256
	// maxComplaints bounds the lines about what does not open: with a wrong key that
	// is everything.
	maxComplaints = 100
)

// Reseal seals again, with the newest key, what connections keep under other keys, and
// returns the position of the change feed from which the next look may begin: with a
// negative after it looks at all connections, else at those written behind it.
//
// Refreshes, connects and disconnects go on meanwhile. Neither waits for the other,
// and no newer token is written over: a record is changed only if it still holds what
// was opened, without an event and within its generation. Any number of processes may
// do it at once. What does not open is logged with its key, counted and left as it is.
//
// Any error is the store's, the key service's, ctx's, or ErrClosed; what was done is
// done. Calling again goes on, because what is under the newest key is passed over;
// only if the sealer cannot tell keys (see [tokenstore.Sealer.TellsKeys]), everything
// is sealed again.
func (m *Manager) Reseal(ctx context.Context, after int64) (n tokenstore.Resealed, next int64, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(m.ctx, func() { cancel(ErrClosed) })()
	if m.ctx.Err() != nil {
		cancel(ErrClosed) // AfterFunc's own may come after the work
	}
	r := &resealing{m: m}
	todo := make(chan *tokenstore.Connection)
	var workers sync.WaitGroup
	for range resealWorkers {
		workers.Go(func() {
			for c := range todo {
				if ctx.Err() != nil {
					continue // it only has to be taken
				}
				if err := r.reseal(ctx, c); err != nil {
					cancel(err)
				}
			}
		})
	}
	if after < 0 {
		next, err = r.all(ctx, todo)
	} else {
		next, err = r.changed(ctx, after, todo)
	}
	close(todo)
	workers.Wait()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return r.n, after, fmt.Errorf("oauthflow: seal again: %w", err)
	}
	return r.n, next, nil
}

// resealing is one Reseal.
type resealing struct {
	m *Manager

	mu         sync.Mutex
	n          tokenstore.Resealed
	complaints int
}

// all takes up every connection.
func (r *resealing) all(ctx context.Context, todo chan<- *tokenstore.Connection) (next int64, err error) {
	store := r.m.cfg.Store
	// First: what is written from here on, the next look sees.
	if _, next, err = store.Changes(ctx, -1, 0); err != nil {
		return 0, err
	}
	for after := (*tokenstore.Key)(nil); ; {
		page, err := store.List(ctx, tokenstore.Match{}, after, resealPage)
		if err != nil {
			return 0, err
		}
		for _, c := range page {
			todo <- c
		}
		if len(page) < resealPage || ctx.Err() != nil {
			return next, ctx.Err()
		}
		after = &page[len(page)-1].Key
	}
}

// changed takes up the connections that were written behind a position.
func (r *resealing) changed(ctx context.Context, after int64, todo chan<- *tokenstore.Connection) (next int64, err error) {
	// What is written from here on may be this look's own work.
	_, end, err := r.m.cfg.Store.Changes(ctx, -1, 0)
	if err != nil {
		return 0, err
	}
	for next = after; next < end; {
		keys, behind, err := r.m.cfg.Store.Changes(ctx, next, resealPage)
		if err != nil {
			return 0, err
		}
		for _, key := range keys {
			todo <- &tokenstore.Connection{Key: key} // read by whoever takes it
		}
		if next = behind; len(keys) < resealPage || ctx.Err() != nil {
			break
		}
	}
	return next, ctx.Err()
}

// sealedField is one ciphertext of a record.
type sealedField struct {
	text []byte
	tokenstore.Binding
}

// sealedFields are all there are.
func sealedFields(c *tokenstore.Connection) []sealedField {
	return []sealedField{
		{c.Sealed, tokenstore.Binding{Key: c.Key, Field: tokensField, Generation: c.Generation}},
		{c.Revoking, tokenstore.Binding{Key: c.Key, Field: revocationField, Generation: c.Generation}},
	}
}

// reseal sees to one connection. Keys are used between reading and writing, never
// within Update: a key service would keep others waiting there.
func (r *resealing) reseal(ctx context.Context, c *tokenstore.Connection) error {
	store := r.m.cfg.Store
	if c.Version == 0 {
		var err error
		if c, err = store.Load(ctx, c.Key); err != nil {
			return err
		}
	}
	for {
		sealed, n, err := r.seal(ctx, c)
		if err != nil {
			return err
		}
		if n.Resealed == 0 {
			r.count(n)
			return nil
		}
		was, err := store.Update(ctx, c.Key, func(now *tokenstore.Connection, _ time.Time) error {
			if now.Generation != c.Generation || !bytes.Equal(now.Sealed, c.Sealed) || !bytes.Equal(now.Revoking, c.Revoking) {
				return errMoved
			}
			now.Sealed, now.Revoking = sealed[0], sealed[1]
			return nil
		})
		switch {
		case err == nil:
			r.count(n)
			return nil
		case !errors.Is(err, errMoved):
			return err
		}
		c = was // somebody was faster, and may have used any key
	}
}

// seal returns what the record should hold: what is under the newest key, or does
// not open, stays. The counts are of ciphertexts.
func (r *resealing) seal(ctx context.Context, c *tokenstore.Connection) (sealed [2][]byte, n tokenstore.Resealed, err error) {
	sealer := r.m.cfg.Sealer
	for i, f := range sealedFields(c) {
		sealed[i] = f.text
		if f.text == nil {
			continue
		}
		n.Seen++
		if sealer.Newest(f.text) {
			continue
		}
		again, err := sealer.Reseal(ctx, f.text, f.Binding, f.Binding)
		switch {
		case err == nil:
			sealed[i] = again
			n.Resealed++
		case errors.Is(err, tokenstore.ErrSealBroken), errors.Is(err, tokenstore.ErrUnknownKey):
			n.Failed++
			r.complain(ctx, c, err)
		default:
			return sealed, n, err
		}
	}
	return sealed, n, nil
}

func (r *resealing) count(n tokenstore.Resealed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n.Add(n)
}

// complain names a connection whose secrets do not open.
func (r *resealing) complain(ctx context.Context, c *tokenstore.Connection, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.complaints++; r.complaints > maxComplaints {
		return
	}
	r.m.log.ErrorContext(ctx, "oauthflow: what a connection keeps sealed does not open and cannot be sealed again; connect it again, or configure its key",
		"definition", c.Definition, "org", c.Org, "user", c.User, "account", c.Account, "error", err)
	if r.complaints == maxComplaints {
		r.m.log.ErrorContext(ctx, "oauthflow: further connections that do not open are counted and not named")
	}
}
