package sqlstore

import (
	"context"
	"database/sql"
	"errors"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/internal/texts"
)

// definitions implements integrations.Store.
type definitions struct{ engine Engine }

// DefinitionStore returns the store of definitions made at run time, and of what
// organizations have set for definitions.
func DefinitionStore(e Engine) integrations.Store { return definitions{checked{e}} }

const (
	definitionColumns = `id, org, name, version, change, body, sealed, deleted, created_at, updated_at, updated_by`
	definitionVersion = `SELECT version, org, name FROM bifrost_definitions WHERE id = $1`
	// The condition is the index's, word for word.
	definitionName  = `SELECT EXISTS (SELECT 1 FROM bifrost_definitions WHERE org = $1 AND name = $2 AND deleted = 0 AND id <> $3)`
	storeDefinition = `INSERT INTO bifrost_definitions (` + definitionColumns + `)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, {now}, {now}, $9)
		ON CONFLICT (id) DO UPDATE SET version = excluded.version, change = excluded.change, body = excluded.body,
			sealed = excluded.sealed, deleted = excluded.deleted, updated_at = excluded.updated_at, updated_by = excluded.updated_by
		WHERE bifrost_definitions.version = excluded.version - 1
		RETURNING ` + definitionColumns
)

var selectDefinitions = `SELECT ` + definitionColumns + ` FROM bifrost_definitions WHERE ` + behind(Definitions) + ` ORDER BY change LIMIT $2`

// definitionDest is where definitionColumns go.
func definitionDest(d *integrations.DefinitionRecord, change any) []any {
	return []any{
		&d.ID, &d.Org, &d.Name, &d.Version, change, (*[]byte)(&d.Body), &d.Sealed, intoBool(&d.Deleted),
		intoTime(&d.CreatedAt), intoTime(&d.UpdatedAt), &d.UpdatedBy,
	}
}

// PutDefinition implements integrations.Store.
func (s definitions) PutDefinition(ctx context.Context, d integrations.DefinitionRecord) (integrations.DefinitionRecord, error) {
	if err := texts.Check(d); err != nil {
		return integrations.DefinitionRecord{}, err
	}
	var stored integrations.DefinitionRecord
	err := s.engine.Write(ctx, func(t Tx) error {
		if err := replaceable(t, d); err != nil {
			return err
		}
		position, err := t.Position(Definitions)
		if err != nil {
			return err
		}
		stored = integrations.DefinitionRecord{}
		err = t.One(definitionDest(&stored, &position), storeDefinition,
			d.ID, d.Org, d.Name, d.Version+1, position, document(d.Body), d.Sealed, flag(d.Deleted), d.UpdatedBy)
		return written(err)
	})
	if err != nil {
		return integrations.DefinitionRecord{}, err
	}
	return stored, nil
}

// written tells a comparison that failed from a fault.
func written(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return integrations.ErrConflict
	}
	return err
}

// replaceable returns why d cannot take the place of what is stored.
func replaceable(t Tx, d integrations.DefinitionRecord) error {
	var was integrations.DefinitionRecord
	err := t.One([]any{&was.Version, &was.Org, &was.Name}, definitionVersion, d.ID)
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
	if err := t.One([]any{&taken}, definitionName, d.Org, d.Name, d.ID); err != nil || !taken {
		return err
	}
	return integrations.ErrNameTaken
}

// Definitions implements integrations.Store.
func (s definitions) Definitions(ctx context.Context, after int64, limit int) (list []integrations.DefinitionRecord, next int64, err error) {
	next = after
	err = s.engine.Each(ctx, func(scan Scanner) error {
		var d integrations.DefinitionRecord
		if err := scan(definitionDest(&d, position(&next))...); err != nil {
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
