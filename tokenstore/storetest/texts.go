package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// testTexts checks that texts which not every database can keep are refused, and
// found nowhere.
func testTexts(t *testing.T, open func(t *testing.T) tokenstore.Store) {
	s := open(t)
	_, position, err := s.Changes(t.Context(), -1, 0)
	require.NoError(t, err)
	set := func(change func(c *tokenstore.Connection)) func(ctx context.Context) error {
		return func(ctx context.Context) error {
			_, err := s.Update(ctx, sampleKey, func(c *tokenstore.Connection, now time.Time) error {
				fill(c, now)
				change(c)
				return nil
			})
			return err
		}
	}
	for _, text := range []string{"\x00", "a\x00", "\xff", "a\xc3\x28"} {
		flow := func(change func(f *tokenstore.Flow)) func(ctx context.Context) error {
			return func(ctx context.Context) error {
				f := sampleFlow("s1")
				change(&f)
				_, err := s.PutFlow(ctx, f, time.Minute, 8)
				return err
			}
		}
		for name, write := range map[string]func(ctx context.Context) error{
			"Update, definition": func(ctx context.Context) error {
				_, err := s.Update(ctx, tokenstore.Key{Definition: text}, func(*tokenstore.Connection, time.Time) error { return nil })
				return err
			},
			"Update, account": func(ctx context.Context) error {
				_, err := s.Update(ctx, tokenstore.Key{Account: text}, func(*tokenstore.Connection, time.Time) error { return nil })
				return err
			},
			"Update, a field": set(func(c *tokenstore.Connection) { c.AccountName = text }),
			"Update, a scope": set(func(c *tokenstore.Connection) { c.ScopesGranted = []string{"a", text} }),
			"Update, a part":  set(func(c *tokenstore.Connection) { c.LastError.Message = text }),
			"Update, an event": set(func(c *tokenstore.Connection) {
				c.Log("connected", "", "")
				c.Log("connected", text, "")
			}),
			"PutFlow":        flow(func(f *tokenstore.Flow) { f.StateHash = text }),
			"PutFlow, scope": flow(func(f *tokenstore.Flow) { f.Scopes = []string{text} }),
			"AddEvents": func(ctx context.Context) error {
				return s.AddEvents(ctx, tokenstore.Event{Kind: "a"}, tokenstore.Event{Actor: text})
			},
			"KeyCheck": func(ctx context.Context) error {
				_, err := s.KeyCheck(ctx, text, []byte("x"))
				return err
			},
		} {
			assert.ErrorContains(t, write(t.Context()), "not valid UTF-8", "%s %q", name, text)
		}
		assert.Zero(t, load(t, s, tokenstore.Key{Definition: text}).Version)
		noFlow(t, s, text)
		assert.False(t, hasFlow(t, s, tokenstore.Key{Org: text}))
		for _, match := range []tokenstore.Match{{Definition: text}, {Org: &text}} {
			list, err := s.List(t.Context(), match, nil, 10)
			require.NoError(t, err)
			assert.Empty(t, list)
			events, err := s.Events(t.Context(), match, 0, 10)
			require.NoError(t, err)
			assert.Empty(t, events)
			require.NoError(t, s.DeleteFlows(t.Context(), match))
			require.NoError(t, s.DeleteKeyCheck(t.Context(), text))
			n, err := s.DeleteEvents(t.Context(), match, 0, 10)
			require.NoError(t, err)
			assert.Zero(t, n)
		}
	}
	keys, _, err := s.Changes(t.Context(), position, 10)
	require.NoError(t, err)
	assert.Empty(t, keys, "nothing was written")
	assert.Empty(t, reasons(t, s, tokenstore.Match{}))
	checks, err := s.KeyCheck(t.Context(), "", nil)
	require.NoError(t, err)
	assert.Empty(t, checks)
}
