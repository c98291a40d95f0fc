package integrations

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/bifrost-go/bifrost/internal/scope"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// Kinds of events in the history of definitions and settings.
const (
	eventCreated     = "definition_created"
	eventChanged     = "definition_changed"
	eventDeleted     = "definition_deleted"
	eventMapped      = "mapping_set"
	eventUnmapped    = "mapping_removed"
	eventConfigured  = "config_changed"
	eventOrgDeleted  = "org_deleted"
	reasonDeleted    = "definition_deleted"
	reasonOrgDeleted = "org_deleted"
)

// writeAgain is how often a write is tried against others.
const writeAgain = 5

// Create stores a definition made at run time. Its requests go to public
// addresses only, unless Config.Egress opens others. actor is who did it, for the
// history.
//
// Errors are *[InvalidError], which names the fields that are wrong, or *Error:
// ErrExists if the organization (or the global scope) has one of this name.
func (r *Registry) Create(ctx context.Context, d Definition, actor string) (Status, error) {
	if err := mayManage(ctx, d.Name); err != nil {
		return Status{}, err
	}
	if err := r.upToDate(ctx); err != nil {
		return Status{}, r.unread(ctx, d.Name, d.Org, err)
	}
	record := DefinitionRecord{ID: uuid.Must(uuid.NewV7()).String(), Org: d.Org, Name: d.Name}
	d.secretKept = false
	if err := r.fit(ctx, d, record.ID); err != nil {
		return Status{}, err
	}
	if r.defs.Load().byName[defName{d.Org, d.Name}] != nil {
		return Status{}, &Error{Integration: d.Name, Org: d.Org, Kind: ErrExists}
	}
	record, err := r.write(ctx, d, newAuthority(d.OAuth), record, actor, eventCreated)
	if errors.Is(err, ErrNameTaken) {
		return Status{}, &Error{Integration: d.Name, Org: d.Org, Kind: ErrExists, Err: err}
	}
	if err != nil {
		return Status{}, err
	}
	return r.written(ctx, record)
}

// Update changes a stored definition. change gets it without its client secret;
// where it leaves that empty, the secret stays. It may run several times, and its
// error is returned as it is. Name and Org cannot change. opts say whose
// definition it is: an organization's own, or the global one.
//
// Whoever changes where secrets and tokens go must know the client secret: with a
// change of a URL, the issuer, the API hosts, the client id, its authentication, the
// flow, the variables or the response mapping, it must be given again. Connections
// made before a change of a URL, the issuer or the client must be connected again;
// they are not sent anything, and work once more if the change is taken back.
//
// What is given proves that only if it is the secret that the definition was created
// with, or changed with in this way when a connection was made. If it is another
// client's, was replaced since, or there is none, such connections must be connected
// again, unless the change is taken back with that secret.
func (r *Registry) Update(ctx context.Context, name, actor string, change func(d *Definition) error, opts ...Option) (Status, error) {
	for try := 1; ; try++ {
		old, err := r.changeable(ctx, name, opts)
		switch {
		case err != nil:
			return Status{}, err
		// What this version cannot read it must not write over; nor what is only sealed
		// for now: no connection would have been made under a new authority.
		case old.unreadable, old.authority.salt == "" && opensLater(old.fault):
			return Status{}, old.broken(old.Org)
		}
		d := old.withoutSecret()
		if err := change(&d); err != nil {
			return Status{}, err
		}
		by, err := authorize(&d, old)
		if err != nil {
			return Status{}, err
		}
		if d.Name != old.Name || d.Org != old.Org {
			return Status{}, invalid("name", "and org never change: create another definition instead")
		}
		if err := r.fit(ctx, d, old.id); err != nil {
			return Status{}, err
		}
		record, err := r.write(ctx, d, by, old.record, actor, eventChanged)
		if errors.Is(err, ErrConflict) && try < writeAgain {
			if err := r.sync(ctx); err != nil {
				return Status{}, r.unread(ctx, name, old.Org, err)
			}
			continue
		}
		if err != nil {
			return Status{}, err
		}
		return r.written(ctx, record)
	}
}

// Definition returns the definition that name means in the scope, without its
// client secret.
func (r *Registry) Definition(ctx context.Context, name string, opts ...Option) (Definition, error) {
	d, c, err := r.find(ctx, name, opts)
	switch {
	case err != nil:
		return Definition{}, err
	case d.unreadable:
		return Definition{}, d.broken(c.scope.Org)
	}
	return d.withoutSecret(), nil
}

// fit reports whether a definition can be stored.
func (r *Registry) fit(ctx context.Context, d Definition, id string) error {
	if err := validateStored(d); err != nil {
		return err
	}
	def := &definition{Definition: d, id: id, source: SourceStored, restricted: true}
	if err := def.prepare(r.cfg.BaseURL); err != nil {
		return err
	}
	return r.out.checkDefinition(ctx, def)
}

// write stores a definition over the record that was read, with its event, and
// returns what is stored.
func (r *Registry) write(ctx context.Context, d Definition, by authority, record DefinitionRecord, actor, kind string) (DefinitionRecord, error) {
	record, err := r.seal(ctx, d, by, record, actor)
	if err != nil {
		return record, err
	}
	var stored DefinitionRecord
	err = r.cfg.InTx(ctx, func(ctx context.Context) (err error) {
		if stored, err = r.cfg.Definitions.PutDefinition(ctx, record); err != nil {
			return err
		}
		return r.cfg.Tokens.AddEvents(ctx, tokenstore.Event{
			Key: tokenstore.Key{Definition: record.ID, Org: record.Org}, Kind: kind, Actor: actor,
		})
	})
	switch {
	case err == nil, errors.Is(err, ErrConflict), errors.Is(err, ErrNameTaken), ctx.Err() != nil:
		return stored, err
	}
	return stored, r.unwritten(ctx, d.Name, d.Org, err)
}

// written returns the status of a definition that was just stored. That is done: if
// the store is away by now, the feed brings it later.
func (r *Registry) written(ctx context.Context, record DefinitionRecord) (Status, error) {
	if err := r.sync(ctx); err != nil && ctx.Err() == nil {
		r.alarm(ctx, err)
	}
	def := r.defs.Load().stored[record.ID]
	if def == nil {
		def = r.open(ctx, record)
	}
	r.warnGrace(def)
	s := scope.Scope{Kind: scope.Global}
	if def.Org != "" {
		s = scope.Of(def.Org)
	}
	return r.status(ctx, def, choice{scope: s})
}

// changeable finds the stored definition that a scope owns.
func (r *Registry) changeable(ctx context.Context, name string, opts []Option) (*definition, error) {
	if err := mayManage(ctx, name); err != nil {
		return nil, err
	}
	d, c, err := r.findWhole(ctx, name, opts)
	if err != nil {
		return nil, err
	}
	e := &Error{Integration: d.Name, Org: c.scope.Org}
	switch {
	case c.scope.Kind == scope.Org && d.Org != c.scope.Org:
		e.Kind, e.Detail = ErrNotOwnDefinition, "it uses the global one, which is changed in the global scope"
		return nil, e
	case d.source == SourceCode:
		e.Kind, e.Detail = ErrCodeDefined, "change it there, and deploy"
		return nil, e
	}
	return d, nil
}

// withoutSecret returns a copy of the definition for showing and changing.
func (d *definition) withoutSecret() Definition {
	c := d.Definition
	c.APIHosts = append([]string(nil), c.APIHosts...)
	c.Config = copyFields(c.Config)
	if c.OAuth != nil {
		c.OAuth = copyClient(c.OAuth)
		c.secretKept = !c.OAuth.ClientSecret.IsZero()
		c.OAuth.ClientSecret = tokenstore.Secret{}
	}
	return c
}

func invalid(field, message string) error {
	return &InvalidError{Fields: []FieldError{{field, message}}}
}
