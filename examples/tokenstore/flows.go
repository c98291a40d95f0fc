package documentstore

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// PutFlow implements tokenstore.Store.
func (s *Store) PutFlow(ctx context.Context, flow tokenstore.Flow, life time.Duration, maxOpen int) (tokenstore.Flow, error) {
	if err := tokenstore.CheckTexts(flow); err != nil {
		return tokenstore.Flow{}, err
	}
	err := s.change(ctx, func(c *contents, now time.Time) error {
		flow.CreatedAt, flow.ExpiresAt = now, now.Add(life)
		open := 1
		c.Flows = append(c.Flows, cloneFlow(flow))
		// From the newest: how many of this person's are younger.
		for i := len(c.Flows) - 2; i >= 0; i-- {
			f := c.Flows[i]
			tooMany := f.Principal == flow.Principal && maxOpen > 0 && open >= maxOpen
			if tooMany || f.StateHash == flow.StateHash || !f.ExpiresAt.After(now) {
				c.Flows = slices.Delete(c.Flows, i, i+1)
			} else if f.Principal == flow.Principal {
				open++
			}
		}
		return nil
	})
	return cloneFlow(flow), err
}

// GetFlow implements tokenstore.Store.
func (s *Store) GetFlow(ctx context.Context, stateHash string) (tokenstore.Flow, error) {
	v, err := s.read(ctx)
	if err != nil {
		return tokenstore.Flow{}, err
	}
	i := v.contents.flow(stateHash, s.now())
	if i < 0 {
		return tokenstore.Flow{}, tokenstore.ErrNotFound
	}
	return cloneFlow(v.contents.Flows[i]), nil
}

// TakeFlow implements tokenstore.Store. Of two callers that see the flow at the same
// time, one swaps; the other reads again, and it is gone.
func (s *Store) TakeFlow(ctx context.Context, stateHash string) (flow tokenstore.Flow, err error) {
	err = s.change(ctx, func(c *contents, now time.Time) error {
		i := c.flow(stateHash, now)
		if i < 0 {
			return tokenstore.ErrNotFound
		}
		flow = cloneFlow(c.Flows[i])
		c.Flows = slices.Delete(c.Flows, i, i+1)
		return nil
	})
	if err != nil {
		return tokenstore.Flow{}, err
	}
	return flow, nil
}

// HasFlow implements tokenstore.Store.
func (s *Store) HasFlow(ctx context.Context, key tokenstore.Key) (bool, error) {
	v, err := s.read(ctx)
	if err != nil {
		return false, err
	}
	now := s.now()
	return slices.ContainsFunc(v.contents.Flows, func(f tokenstore.Flow) bool { return f.Key == key && f.ExpiresAt.After(now) }), nil
}

// DeleteFlows implements tokenstore.Store.
func (s *Store) DeleteFlows(ctx context.Context, match tokenstore.Match) error {
	return s.change(ctx, func(c *contents, _ time.Time) error {
		c.Flows = slices.DeleteFunc(c.Flows, func(f tokenstore.Flow) bool { return match.Matches(f.Key) })
		return nil
	})
}

// flow finds an unexpired flow.
func (c *contents) flow(stateHash string, now time.Time) int {
	return slices.IndexFunc(c.Flows, func(f tokenstore.Flow) bool { return f.StateHash == stateHash && f.ExpiresAt.After(now) })
}

func cloneFlow(f tokenstore.Flow) tokenstore.Flow {
	f.Verifier, f.Scopes = bytes.Clone(f.Verifier), slices.Clone(f.Scopes)
	return f
}
