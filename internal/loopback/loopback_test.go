package loopback_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/internal/loopback"
)

func TestHost(t *testing.T) {
	for name, want := range map[string]bool{
		"localhost": true, "LOCALHOST": true, "127.0.0.1": true, "127.9.9.9": true, "::1": true, "[::1]": true,
		"::ffff:127.0.0.1": true,
		"":                 false, "localhost.": false, "localhost.evil.com": false, "127.0.0.1.nip.io": false,
		"0.0.0.0": false, "10.0.0.1": false, "2130706433": false, "0x7f.1": false, "::": false,
	} {
		require.Equal(t, want, loopback.Host(name), name)
	}
}
