package postgres

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/integrations"
)

// A primary that is replaced by one that has not seen its last writes, or a backup that
// is restored: who follows a feed has a position that was not given yet.
func TestFeedsOfALostHistory(t *testing.T) {
	for name, feed := range map[string]struct {
		table string
		write func(db *DB, name string) error
		read  func(db *DB, after int64) (names []string, next int64, err error)
	}{
		"connections": {
			"bifrost_connections",
			func(db *DB, name string) error {
				_, err := db.Tokens().Update(t.Context(), keyOf(name), touch)
				return err
			},
			func(db *DB, after int64) (names []string, next int64, err error) {
				keys, next, err := db.Tokens().Changes(t.Context(), after, 10)
				for _, key := range keys {
					names = append(names, key.Definition)
				}
				return names, next, err
			},
		},
		"definitions": {
			"bifrost_definitions",
			func(db *DB, name string) error {
				_, err := db.Definitions().PutDefinition(t.Context(), integrations.DefinitionRecord{ID: name, Name: name, Body: []byte(`{}`)})
				return err
			},
			func(db *DB, after int64) (names []string, next int64, err error) {
				records, next, err := db.Definitions().Definitions(t.Context(), after, 10)
				for _, r := range records {
					names = append(names, r.ID)
				}
				return names, next, err
			},
		},
		"settings": {
			"bifrost_settings",
			func(db *DB, name string) error {
				r := integrations.SettingsRecord{EntityID: "e"}
				r.Definition = name
				_, err := db.Definitions().PutSettings(t.Context(), r)
				return err
			},
			func(db *DB, after int64) (names []string, next int64, err error) {
				keys, next, err := db.Definitions().SettingsChanges(t.Context(), after, 10)
				for _, key := range keys {
					names = append(names, key.Definition)
				}
				return names, next, err
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			db := openTemp(t)
			for i := range 5 {
				require.NoError(t, feed.write(db, fmt.Sprint("d", i)))
			}
			_, position, err := feed.read(db, 0)
			require.NoError(t, err)
			names, next, err := feed.read(db, position)
			require.NoError(t, err)
			assert.Empty(t, names)
			assert.Equal(t, position, next)

			_, err = db.pool.Exec(t.Context(), `DELETE FROM `+feed.table+` WHERE change > 2; UPDATE bifrost_counters SET value = least(value, 2)`)
			require.NoError(t, err)
			names, next, err = feed.read(db, position)
			require.NoError(t, err)
			assert.Equal(t, []string{"d0", "d1"}, names, "they may not be as they were")
			require.NoError(t, feed.write(db, "new"))
			names, next, err = feed.read(db, next)
			require.NoError(t, err)
			assert.Equal(t, []string{"new"}, names)
			assert.Equal(t, int64(3), next)
		})
	}
}
