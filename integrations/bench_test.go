package integrations_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/bifrost-go/bifrost/integrations"
)

// Warm Get beside what its users would pick instead: one cached token of one
// account, without tenants. Run with -cpu 1,2.
func BenchmarkWarmGet(b *testing.B) {
	w := newWorld(b)
	w.follow(b)
	require.NoError(b, w.Define(definition("Graph")))
	w.connect(b, "Graph", "acme", integrations.Org("acme"))
	ctx := inOrg(b.Context(), "acme")

	b.Run("Get", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := w.Get(ctx, "Graph"); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
	b.Run("ReuseTokenSource", func(b *testing.B) {
		src := oauth2.ReuseTokenSource(&oauth2.Token{AccessToken: "at", Expiry: time.Now().Add(time.Hour)}, nil)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := src.Token(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}
