package integrations_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/integrations"
)

func TestValidOrg(t *testing.T) {
	for org, want := range map[string]bool{
		"acme": true, "org-123": true, "a.b_c~D9": true, "...": true, strings.Repeat("x", 128): true,
		"": false, ".": false, "..": false, "a b": false, "a/b": false, "a%62": false, "a\x00": false,
		"ацме": false, "a:b": false, "a\n": false, strings.Repeat("x", 129): false,
	} {
		require.Equal(t, want, integrations.ValidOrg(org), "%q", org)
	}
}
