package integrations

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// Config returns the configuration of the definition that name means in the
// scope: in the global one the defaults, else what the organization comes to, and
// where each value comes from. Secrets say only whether they are set.
func (r *Registry) Config(ctx context.Context, name string, opts ...Option) ([]ConfigValue, error) {
	d, c, err := r.findWhole(ctx, name, opts)
	if err != nil {
		return nil, err
	}
	e, err := r.effectiveView(ctx, d, c.scope.Org)
	if err != nil {
		return nil, err
	}
	return e.config.list(), nil
}

// SetConfig sets configuration values, and leaves the others: in the global scope
// the defaults for everybody, else the organization's overrides. A nil or empty
// value takes a value away, so that the default holds again. Values are what
// encoding/json makes of them. actor is who did it, for the history. Errors are
// *[InvalidError], whose fields are keys, or *Error.
func (r *Registry) SetConfig(ctx context.Context, name string, values map[string]any, actor string, opts ...Option) ([]ConfigValue, error) {
	d, c, err := r.settable(ctx, name, opts)
	if err != nil {
		return nil, err
	}
	set, err := newConfigChange(d.Config, values)
	if err != nil {
		return nil, err
	}
	_, err = r.setSettings(ctx, d, c.scope.Org, actor, eventConfigured, func(ctx context.Context, s *settings) error {
		if opensLater(s.fault) {
			return s.broken(d)
		}
		if err := set.replaces(s, d.Config); err != nil {
			return err
		}
		set.apply(s, d.Config)
		if err := r.complete(ctx, d, s, set.removed); err != nil {
			return err
		}
		for _, key := range d.variables {
			if _, touched := values[key]; !touched {
				continue
			}
			if err := r.fits(ctx, d, s, key); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return r.Config(ctx, name, opts...)
}

// replaces reports whether the change may be written over s. Where the secrets do
// not open any more, it must say something about each: those it left out would be lost.
func (c configChange) replaces(s *settings, fields []ConfigField) error {
	if s.fault == nil {
		return nil
	}
	var f faults
	for _, field := range fields {
		_, set := c.secrets[field.Key]
		if field.Type == ConfigSecret && !set && !slices.Contains(c.removed, field.Key) {
			f.addKey(field.Key, "must be given again, or taken away with null: what is stored cannot be opened")
		}
	}
	return f.err()
}

// apply makes the change to settings that are not stored yet. What was text before
// its key became a secret must not stay beside it in clear; and what is no longer
// declared goes.
func (c configChange) apply(s *settings, fields []ConfigField) {
	if s.values == nil {
		s.values = map[string]json.RawMessage{}
	}
	if s.secrets == nil {
		s.secrets = map[string]tokenstore.Secret{}
	}
	maps.Copy(s.values, c.plain)
	maps.Copy(s.secrets, c.secrets)
	for _, key := range c.removed {
		delete(s.values, key)
		delete(s.secrets, key)
	}
	types := make(map[string]ConfigType, len(fields))
	for _, field := range fields {
		types[field.Key] = field.Type
	}
	maps.DeleteFunc(s.values, func(key string, _ json.RawMessage) bool { return types[key] == ConfigSecret || types[key] == "" })
	maps.DeleteFunc(s.secrets, func(key string, _ tokenstore.Secret) bool { return types[key] != ConfigSecret })
}

// complete reports whether values that were taken away leave a required one
// without any.
func (r *Registry) complete(ctx context.Context, d *definition, s *settings, removed []string) error {
	e, err := r.with(ctx, d, s)
	if err != nil {
		return err
	}
	var f faults
	for _, key := range e.missing {
		if slices.Contains(removed, key) {
			f.addKey(key, "is required: set a value")
		}
	}
	return f.err()
}

// with is what d comes to with settings that are not stored yet.
func (r *Registry) with(ctx context.Context, d *definition, s *settings) (*effective, error) {
	e := &effective{own: s}
	if org := s.record.Org; org != "" {
		var err error
		if e.baseEntry, e.base, err = r.settingsOf(ctx, d.id, ""); err != nil {
			return nil, r.unread(ctx, d.Name, org, err)
		}
	}
	e.fill(d)
	return e, nil
}

// fits reports whether d's URLs can be built with settings that are not stored
// yet, and lead where they may; field is the one that was changed.
func (r *Registry) fits(ctx context.Context, d *definition, s *settings, field string) error {
	if d.OAuth == nil {
		return nil
	}
	e, err := r.with(ctx, d, s)
	if err != nil {
		return err
	}
	err = d.OAuth.Check(e.entityID, e.values)
	var t *oauthflow.TemplateError
	switch {
	case errors.As(err, &t) && t.Missing && t.Variable != field:
		return nil // another one is still to be set
	case err != nil:
		return invalid(field, "does not fit the definition: "+strings.TrimPrefix(err.Error(), "oauthflow: "))
	}
	return r.out.checkTarget(ctx, d, e, field)
}

// setSettings changes the settings of org for d in one transaction, with an event.
// change may run several times.
func (r *Registry) setSettings(ctx context.Context, d *definition, org, actor, kind string,
	change func(ctx context.Context, s *settings) error,
) (SettingsRecord, error) {
	for try := 1; ; try++ {
		// From the store: what is known may be a moment old, and this is a comparison.
		record, err := r.cfg.Definitions.Settings(ctx, d.id, org)
		if err != nil {
			return record, r.unread(ctx, d.Name, org, err)
		}
		s := r.openSettings(ctx, record)
		if err := ctx.Err(); err != nil {
			return record, err
		}
		s.values, s.secrets = maps.Clone(s.values), maps.Clone(s.secrets)
		if err := change(ctx, s); err != nil {
			return record, err
		}
		if record, err = r.sealSettings(ctx, d, s, actor); err != nil {
			return record, err
		}
		position := r.known()
		err = r.cfg.InTx(ctx, func(ctx context.Context) error {
			if err := r.remains(ctx, d, position); err != nil {
				return err
			}
			var err error
			if record, err = r.cfg.Definitions.PutSettings(ctx, record); err != nil {
				return err
			}
			return r.cfg.Tokens.AddEvents(ctx, tokenstore.Event{
				Key: tokenstore.Key{Definition: d.id, Org: org}, Kind: kind, Actor: actor,
			})
		})
		if errors.Is(err, ErrConflict) && try < writeAgain {
			continue
		}
		var gone *Error
		switch {
		case errors.As(err, &gone):
			return record, err
		case err != nil:
			return record, r.unwritten(ctx, d.Name, org, err)
		}
		if err := r.sync(ctx); err != nil && ctx.Err() == nil { // it is written; the feed brings it later
			r.alarm(ctx, err)
		}
		return record, nil
	}
}

// sealSettings makes a record of changed settings.
func (r *Registry) sealSettings(ctx context.Context, d *definition, s *settings, actor string) (SettingsRecord, error) {
	record := s.record
	record.UpdatedBy, record.Config = actor, nil
	if len(s.values) > 0 {
		text, err := json.Marshal(s.values)
		if err != nil {
			return record, fmt.Errorf("integrations: encode settings: %w", err)
		}
		record.Config = text
	}
	var err error
	record.Sealed, err = r.sealSecrets(ctx, s.secrets, settingsBinding(record.SettingsKey, record.Version+1))
	if err != nil {
		return record, r.unsealed(ctx, d.Name, record.Org, fmt.Errorf("integrations: seal settings: %w", err))
	}
	return record, nil
}
