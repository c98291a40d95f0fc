package oauthflow

import "github.com/bifrost-go/bifrost/tokenstore"

// HashText is how a flow's state is stored.
var HashText = hashText

// Known returns how many connections m keeps in memory.
func (m *Manager) Known() int {
	n := 0
	m.handles.Range(func(tokenstore.Key, *Handle) bool {
		n++
		return true
	})
	m.visitMu.Lock()
	defer m.visitMu.Unlock()
	return n + len(m.visits)
}
