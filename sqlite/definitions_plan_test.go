package sqlite

import (
	"testing"
)

// Following the feeds and looking settings up must not cost more as there are more
// definitions and organizations, nor may one's writing.
func TestDefinitionQueriesUseIndexes(t *testing.T) {
	db := openTemp(t)
	s := db.Definitions()
	after := "o"
	requireIndexes(t, db, map[string]func() error{
		"Definitions":         func() error { _, _, err := s.Definitions(t.Context(), 0, 1); return err },
		"Settings":            func() error { _, err := s.Settings(t.Context(), "d", "o"); return err },
		"ListSettings":        func() error { _, err := s.ListSettings(t.Context(), "d", nil, 1); return err },
		"ListSettings, paged": func() error { _, err := s.ListSettings(t.Context(), "d", &after, 1); return err },
		"SettingsChanges":     func() error { _, _, err := s.SettingsChanges(t.Context(), 0, 1); return err },
		"SettingsChanges, position": func() error {
			_, _, err := s.SettingsChanges(t.Context(), -1, 1)
			return err
		},
	})
}
