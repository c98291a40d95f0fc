package sqlite

import (
	"context"
	"database/sql"
	"errors"

	"github.com/bifrost-go/bifrost/integrations"
)

// definitions implements integrations.Store.
type definitions struct{ db *DB }

// Definitions returns the store of definitions made at run time, and of what
// organizations have set for definitions.
func (db *DB) Definitions() integrations.Store { return definitions{db} }

const (
	// nextPosition gives a position of a feed. Positions are given under the write
	// lock, so they are in the order of the commits.
	nextPosition = `UPDATE bifrost_counters SET value = value + 1 WHERE name = $1 RETURNING value`

	definitionColumns = `id, org, name, version, change, body, sealed, deleted, created_at, updated_at, updated_by`
	definitionVersion = `SELECT version, org, name FROM bifrost_definitions WHERE id = $1`
	// The condition is the index's, word for word.
	definitionName    = `SELECT EXISTS (SELECT 1 FROM bifrost_definitions WHERE org = $1 AND name = $2 AND deleted = 0 AND id <> $3)`
	selectDefinitions = `SELECT ` + definitionColumns + ` FROM bifrost_definitions WHERE change > $1 ORDER BY change LIMIT $2`
	storeDefinition   = `INSERT INTO bifrost_definitions (` + definitionColumns + `)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, {now}, {now}, $9)
		ON CONFLICT (id) DO UPDATE SET version = excluded.version, change = excluded.change, body = excluded.body,
			sealed = excluded.sealed, deleted = excluded.deleted, updated_at = excluded.updated_at, updated_by = excluded.updated_by
		RETURNING ` + definitionColumns
)

// definitionDest is where definitionColumns go.
func definitionDest(d *integrations.DefinitionRecord, change *int64) []any {
	return []any{
		&d.ID, &d.Org, &d.Name, &d.Version, change, (*[]byte)(&d.Body), &d.Sealed, &d.Deleted,
		intoTime(&d.CreatedAt), intoTime(&d.UpdatedAt), &d.UpdatedBy,
	}
}

// PutDefinition implements integrations.Store.
func (s definitions) PutDefinition(ctx context.Context, d integrations.DefinitionRecord) (integrations.DefinitionRecord, error) {
	var stored integrations.DefinitionRecord
	err := s.db.write(ctx, func(t *tx) error {
		if err := replaceable(t, d); err != nil {
			return err
		}
		var position int64
		if err := t.one([]any{&position}, nextPosition, "definitions"); err != nil {
			return err
		}
		return t.one(definitionDest(&stored, &position), storeDefinition,
			d.ID, d.Org, d.Name, d.Version+1, position, nullJSON(d.Body), d.Sealed, d.Deleted, d.UpdatedBy)
	})
	if err != nil {
		return integrations.DefinitionRecord{}, err
	}
	return stored, nil
}

// replaceable returns why d cannot take the place of what is stored.
func replaceable(t *tx, d integrations.DefinitionRecord) error {
	var was integrations.DefinitionRecord
	err := t.one([]any{&was.Version, &was.Org, &was.Name}, definitionVersion, d.ID)
	exists := err == nil
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if was.Version != d.Version || exists && (was.Org != d.Org || was.Name != d.Name) {
		return integrations.ErrConflict
	}
	if d.Deleted {
		return nil
	}
	var taken bool
	if err := t.one([]any{&taken}, definitionName, d.Org, d.Name, d.ID); err != nil || !taken {
		return err
	}
	return integrations.ErrNameTaken
}

// Definitions implements integrations.Store.
func (s definitions) Definitions(ctx context.Context, after int64, limit int) (list []integrations.DefinitionRecord, next int64, err error) {
	next = after
	err = s.db.each(ctx, func(scan scanner) error {
		var d integrations.DefinitionRecord
		if err := scan(definitionDest(&d, &next)...); err != nil {
			return err
		}
		list = append(list, d)
		return nil
	}, selectDefinitions, after, max(limit, 0))
	if err != nil {
		return nil, after, err
	}
	return list, next, nil
}
