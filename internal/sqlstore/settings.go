package sqlstore

import (
	"context"
	"database/sql"
	"errors"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/internal/texts"
)

const (
	settingsColumns = `definition, org, version, entity_id, entity_name, config, sealed, updated_at, updated_by`
	settingsNotNone = `(entity_id <> '' OR entity_name <> '' OR config IS NOT NULL OR sealed IS NOT NULL)`

	selectSettings  = `SELECT ` + settingsColumns + ` FROM bifrost_settings WHERE definition = $1 AND org = $2`
	settingsVersion = `SELECT version FROM bifrost_settings WHERE definition = $1 AND org = $2`
	storeSettings   = `INSERT INTO bifrost_settings (` + settingsColumns + `, change)
		VALUES ($1, $2, $3, $4, $5, $6, $7, {now}, $8, $9)
		ON CONFLICT (definition, org) DO UPDATE SET version = excluded.version, entity_id = excluded.entity_id,
			entity_name = excluded.entity_name, config = excluded.config, sealed = excluded.sealed,
			updated_at = excluded.updated_at, updated_by = excluded.updated_by, change = excluded.change
		WHERE bifrost_settings.version = excluded.version - 1
		RETURNING ` + settingsColumns
)

var settingsChanges = `SELECT change, definition, org FROM bifrost_settings WHERE ` + behind(Settings) + ` ORDER BY change LIMIT $2`

// settingsDest is where settingsColumns go.
func settingsDest(r *integrations.SettingsRecord) []any {
	return []any{
		&r.Definition, &r.Org, &r.Version, &r.EntityID, &r.EntityName, (*[]byte)(&r.Config), &r.Sealed, intoTime(&r.UpdatedAt), &r.UpdatedBy,
	}
}

// PutSettings implements integrations.Store.
func (s definitions) PutSettings(ctx context.Context, r integrations.SettingsRecord) (integrations.SettingsRecord, error) {
	if err := texts.Check(r); err != nil {
		return integrations.SettingsRecord{}, err
	}
	var stored integrations.SettingsRecord
	err := s.engine.Write(ctx, func(t Tx) error {
		var version int64
		err := t.One([]any{&version}, settingsVersion, r.Definition, r.Org)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if version != r.Version {
			return integrations.ErrConflict
		}
		stored, err = putSettings(t, r)
		return err
	})
	if err != nil {
		return integrations.SettingsRecord{}, err
	}
	return stored, nil
}

// putSettings stores the next version of r.
func putSettings(t Tx, r integrations.SettingsRecord) (stored integrations.SettingsRecord, err error) {
	position, err := t.Position(Settings)
	if err != nil {
		return stored, err
	}
	err = t.One(settingsDest(&stored), storeSettings, r.Definition, r.Org, r.Version+1,
		r.EntityID, r.EntityName, document(r.Config), r.Sealed, r.UpdatedBy, position)
	return stored, written(err)
}

// Settings implements integrations.Store.
func (s definitions) Settings(ctx context.Context, definition, org string) (integrations.SettingsRecord, error) {
	r := integrations.SettingsRecord{SettingsKey: integrations.SettingsKey{Definition: definition, Org: org}}
	err := s.engine.One(ctx, settingsDest(&r), selectSettings, definition, org)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return integrations.SettingsRecord{}, err
	}
	return r, nil
}

// ListSettings implements integrations.Store.
func (s definitions) ListSettings(ctx context.Context, definition string, after *string, limit int) ([]integrations.SettingsRecord, error) {
	q := &conditions{text: `SELECT ` + settingsColumns + ` FROM bifrost_settings WHERE ` + settingsNotNone}
	q.add(` AND definition = ?`, definition)
	if after != nil {
		q.add(` AND org > ?`, *after)
	}
	q.add(` ORDER BY org LIMIT ?`, max(limit, 0))
	var list []integrations.SettingsRecord
	err := s.engine.Each(ctx, func(scan Scanner) error {
		var r integrations.SettingsRecord
		if err := scan(settingsDest(&r)...); err != nil {
			return err
		}
		list = append(list, r)
		return nil
	}, q.text, q.args...)
	return list, err
}

// ClearSettings implements integrations.Store. Each record gets a position of its
// own, or a reader of the feed could not stop between two.
func (s definitions) ClearSettings(ctx context.Context, definition, org string) error {
	if definition == "" && org == "" {
		return errors.New("integrations: ClearSettings needs a definition or an organization")
	}
	q := clearedSettings(definition, org)
	return s.engine.Write(ctx, func(t Tx) error {
		var cleared []integrations.SettingsRecord // locked, so that each write is of the next version
		err := t.Each(func(scan Scanner) error {
			var r integrations.SettingsRecord
			if err := scan(&r.Definition, &r.Org, &r.Version); err != nil {
				return err
			}
			cleared = append(cleared, r)
			return nil
		}, q.text+` {lock}`, q.args...)
		if err != nil {
			return err
		}
		for _, r := range cleared {
			if _, err := putSettings(t, r); err != nil {
				return err
			}
		}
		return nil
	})
}

// clearedSettings is the query for what ClearSettings empties.
func clearedSettings(definition, org string) *conditions {
	q := &conditions{text: `SELECT definition, org, version FROM bifrost_settings WHERE ` + settingsNotNone}
	if definition != "" {
		q.add(` AND definition = ?`, definition)
	}
	if org != "" {
		q.add(` AND org = ?`, org)
	}
	return q
}

// SettingsChanges implements integrations.Store.
func (s definitions) SettingsChanges(ctx context.Context, after int64, limit int) (keys []integrations.SettingsKey, next int64, err error) {
	if after < 0 {
		err := s.engine.One(ctx, []any{&next}, `SELECT value FROM bifrost_counters WHERE name = 'settings'`)
		return nil, next, err
	}
	next = after
	err = s.engine.Each(ctx, func(scan Scanner) error {
		var k integrations.SettingsKey
		if err := scan(position(&next), &k.Definition, &k.Org); err != nil {
			return err
		}
		keys = append(keys, k)
		return nil
	}, settingsChanges, after, max(limit, 0))
	if err != nil {
		return nil, after, err
	}
	return keys, next, nil
}
