package egress_test

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/internal/egress"
)

// resolver answers for every host with what it returns.
type resolver func(ctx context.Context, host string) ([]netip.Addr, error)

func (r resolver) LookupNetIP(ctx context.Context, _, host string) ([]netip.Addr, error) {
	return r(ctx, host)
}

func addrs(texts ...string) (all []netip.Addr) {
	for _, text := range texts {
		all = append(all, netip.MustParseAddr(text))
	}
	return all
}

// always resolves every host to these addresses.
func always(texts ...string) resolver {
	return func(context.Context, string) ([]netip.Addr, error) { return addrs(texts...), nil }
}

func unknownHost(_ context.Context, host string) ([]netip.Addr, error) {
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func TestResolve(t *testing.T) {
	const public, public6 = "93.184.215.14", "2606:4700::1111"
	for name, c := range map[string]struct {
		entry   string
		url     string
		answer  resolver
		refused string // the refused address, or what the error says if it names none
	}{
		"public":                {url: "https://example.com/", answer: always(public, public6)},
		"mapped":                {url: "https://example.com/", answer: always("::ffff:" + public)},
		"loopback":              {url: "https://example.com/", answer: always("127.0.0.1"), refused: "127.0.0.1"},
		"mapped loopback":       {url: "https://example.com/", answer: always("::ffff:127.0.0.1"), refused: "::ffff:127.0.0.1"},
		"metadata":              {url: "https://example.com/", answer: always("169.254.169.254"), refused: "169.254.169.254"},
		"any of several":        {url: "https://example.com/", answer: always(public, public6, "fd00::1"), refused: "fd00::1"},
		"a zone":                {url: "https://example.com/", answer: always("fe80::1%eth0"), refused: "fe80::1%eth0"},
		"public with a zone":    {url: "https://example.com/", answer: always(public6 + "%eth0"), refused: public6 + "%eth0"},
		"open, with a zone":     {entry: "fe80::/10", url: "https://example.com/", answer: always("fe80::1%eth0")},
		"open, mapped":          {entry: "10.0.0.0/8", url: "https://example.com/", answer: always("::ffff:10.0.0.1")},
		"unknown":               {url: "https://example.com/", answer: unknownHost},
		"nothing":               {url: "https://example.com/", answer: always()},
		"static fault":          {url: "http://example.com/", answer: always(public), refused: "https only"},
		"literal":               {url: "https://8.8.8.8/", answer: always("127.0.0.1")},
		"open by address":       {entry: "10.0.0.0/8", url: "https://example.com/", answer: always("10.0.0.1", public)},
		"open by address, port": {entry: "10.0.0.0/8:8443", url: "https://example.com:8443/", answer: always("10.0.0.1")},
		"other port":            {entry: "10.0.0.0/8:8443", url: "https://example.com/", answer: always("10.0.0.1"), refused: "10.0.0.1"},
		"public, that port":     {entry: "10.0.0.0/8:8443", url: "https://example.com:8443/", answer: always(public), refused: public},
		"local name, open":      {entry: "10.0.0.0/8", url: "https://idp.corp.internal/", answer: always("10.0.0.1")},
		"local name, public":    {entry: "10.0.0.0/8", url: "https://idp.corp.internal/", answer: always(public), refused: public},
		"localhost":             {entry: "127.0.0.1:9000", url: "http://localhost:9000/", answer: always("127.0.0.1")},
		"localhost, other":      {entry: "127.0.0.1:9000", url: "http://localhost:9000/", answer: always("127.0.0.1", "::1"), refused: "::1"},
		"open by name":          {entry: "*.corp.internal", url: "https://idp.corp.internal:1/", answer: always("169.254.169.254")},
	} {
		t.Run(name, func(t *testing.T) {
			var entries []string
			if c.entry != "" {
				entries = []string{c.entry}
			}
			p := parse(t, entries...)
			p.Resolver = c.answer
			err := p.Resolve(t.Context(), parseURL(t, c.url))
			if c.refused == "" {
				require.NoError(t, err)
				return
			}
			var refused *egress.Error
			require.ErrorAs(t, err, &refused)
			if refused.Addr.IsValid() {
				require.Equal(t, c.refused, refused.Addr.String())
				require.NotContains(t, err.Error(), c.refused, "customers could map the network with it")
				require.ErrorContains(t, err, "Config.Egress")
			} else {
				require.ErrorContains(t, err, c.refused)
			}
		})
	}
}

func TestResolveIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := parse(t)
		p.Resolver = resolver(func(ctx context.Context, _ string) ([]netip.Addr, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		began := time.Now()
		require.NoError(t, p.Resolve(t.Context(), parseURL(t, "https://example.com/")))
		require.Equal(t, 3*time.Second, time.Since(began))

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, p.Resolve(ctx, parseURL(t, "https://example.com/")), context.DeadlineExceeded)
	})
}

func TestOpenNamesAreNotLookedUp(t *testing.T) {
	var asked atomic.Int32
	p := parse(t, "idp.example")
	p.Resolver = resolver(func(context.Context, string) ([]netip.Addr, error) {
		asked.Add(1)
		return addrs("127.0.0.1"), nil
	})
	require.NoError(t, p.Resolve(t.Context(), parseURL(t, "https://idp.example/")))
	require.Zero(t, asked.Load())
}
