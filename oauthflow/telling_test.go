package oauthflow

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// Two writers, the second of whom is back first.
func TestEventsKeepTheOrderOfTheirVersions(t *testing.T) {
	var s telling
	var told []int64
	hear := func(e Event) { told = append(told, e.Generation) }
	stored := func(version int64) *tokenstore.Connection {
		return &tokenstore.Connection{Version: version, Generation: version}
	}
	one := []tokenstore.Event{{Kind: eventRefreshed}}
	s.leave()
	s.leave()
	s.back(stored(6), one, hear)
	require.Empty(t, told, "an earlier one may be on its way")
	s.leave()
	s.back(stored(5), append(one, one...), hear)
	require.Empty(t, told)
	s.back(nil, nil, hear) // failed
	require.Equal(t, []int64{5, 5, 6}, told)
	s.leave()
	s.back(stored(7), one, hear)
	require.Equal(t, []int64{5, 5, 6, 7}, told)
}
