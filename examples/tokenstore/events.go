package documentstore

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// Events implements tokenstore.Store.
func (s *Store) Events(ctx context.Context, match tokenstore.Match, before int64, limit int) ([]tokenstore.Event, error) {
	v, err := s.read(ctx)
	if err != nil {
		return nil, err
	}
	var list []tokenstore.Event
	for _, e := range slices.Backward(v.contents.Events) {
		if match.Matches(e.Key) && (before == 0 || e.ID < before) {
			list = append(list, e)
		}
	}
	return atMost(list, limit), nil
}

// AddEvents implements tokenstore.Store.
func (s *Store) AddEvents(ctx context.Context, events ...tokenstore.Event) error {
	if err := tokenstore.CheckTexts(events); err != nil {
		return err
	}
	return s.change(ctx, func(c *contents, now time.Time) error {
		for _, e := range events {
			c.log(e, now)
		}
		return nil
	})
}

// DeleteEvents implements tokenstore.Store. The id of the newest event is kept
// apart from the events, so that none is given twice.
func (s *Store) DeleteEvents(ctx context.Context, match tokenstore.Match, age time.Duration, limit int) (deleted int, err error) {
	err = s.change(ctx, func(c *contents, now time.Time) error {
		deleted = 0 // change may run again
		c.Events = slices.DeleteFunc(c.Events, func(e tokenstore.Event) bool {
			if deleted >= limit || !match.Matches(e.Key) || age > 0 && e.At.After(now.Add(-age)) {
				return false
			}
			deleted++
			return true
		})
		return nil
	})
	return deleted, err
}

// KeyCheck implements tokenstore.Store.
func (s *Store) KeyCheck(ctx context.Context, keyID string, check []byte) (checks map[string][]byte, err error) {
	if err := tokenstore.CheckTexts(keyID); err != nil {
		return nil, err
	}
	err = s.change(ctx, func(c *contents, _ time.Time) error {
		if _, ok := c.Checks[keyID]; !ok && keyID != "" {
			c.Checks[keyID] = bytes.Clone(check)
		}
		checks = map[string][]byte{}
		for id, text := range c.Checks {
			checks[id] = bytes.Clone(text)
		}
		return nil
	})
	return checks, err
}

// DeleteKeyCheck implements tokenstore.Store.
func (s *Store) DeleteKeyCheck(ctx context.Context, keyID string) error {
	return s.change(ctx, func(c *contents, _ time.Time) error {
		delete(c.Checks, keyID)
		return nil
	})
}
