package oauthflow_test

import (
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
)

// A token that could not be stored serves from memory until somebody connects again,
// or disconnects; not after that was seen, even if the store is away.
func TestUnsavedTokenDoesNotOutliveItsGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.connect("g")
		pass(2 * time.Hour)
		away := &faulty{Store: w.store}
		p1 := w.process(func(c *oauthflow.Config) { c.Store = away })
		w.idp.answer = func(_ url.Values) (int, string, error) {
			away.set(func(f *faulty) { f.update = errStore })
			return 0, "", nil
		}
		w.requireToken(p1, "AT2")
		w.idp.set(func(p *idp) { p.answer = nil })
		w.connect("g2")
		w.requireToken(p1, "AT3")
		away.set(func(f *faulty) { f.load = errStore })
		w.requireToken(p1, "AT3")
		require.Equal(t, []string{"g/RT1"}, w.idp.refreshes())
		away.set(func(f *faulty) { f.load, f.update = nil, nil })
	})
}
