package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// notifyPatience is how long a notification is waited for, on a busy machine.
const notifyPatience = 30 * time.Second

func testNotify(t *testing.T, open func(t *testing.T) tokenstore.Store) {
	s := open(t)
	n, ok := s.(tokenstore.Notifier)
	if !ok || n.Notify(t.Context()) == nil {
		t.Skip("this store hears of no writes")
	}
	first, second := n.Notify(t.Context()), n.Notify(t.Context())
	ctx, cancel := context.WithCancel(t.Context())
	left := n.Notify(ctx)
	cancel()
	_, position, err := s.Changes(t.Context(), -1, 0)
	require.NoError(t, err)
	for range 6 {
		written := update(t, s, sampleKey, nil)
		for _, news := range []<-chan struct{}{first, second} {
			heard(t, s, news, position, sampleKey)
		}
		_, position, err = s.Changes(t.Context(), position, 10)
		require.NoError(t, err)
		assert.Equal(t, written.Version, load(t, s, sampleKey).Version)
	}
	_ = left // nobody has to read what is not wanted any more
}

// heard waits until news come of a write after position. News may come of others,
// and of none.
func heard(t *testing.T, s tokenstore.Store, news <-chan struct{}, position int64, key tokenstore.Key) {
	t.Helper()
	limit := time.After(notifyPatience)
	for {
		select {
		case <-news:
		case <-limit:
			require.Fail(t, "no news of a write")
		}
		keys, _, err := s.Changes(t.Context(), position, 10)
		require.NoError(t, err)
		if len(keys) > 0 {
			assert.Equal(t, []tokenstore.Key{key}, keys)
			return
		}
	}
}
