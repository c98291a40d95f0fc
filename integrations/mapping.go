package integrations

import (
	"context"
	"iter"
	"strconv"
	"time"
	"unicode/utf8"
)

// Mapping ties an organization to the external side's tenant. An entity id is
// authority: it says whose data a token reaches, so only administrators set it.
type Mapping struct {
	Org        string
	EntityID   string // the value of {entity_id} for this organization; at most 255 bytes
	EntityName string // for people; at most 200 characters; may be empty
	UpdatedAt  time.Time
	UpdatedBy  string
}

const (
	maxEntityID   = 255
	maxEntityName = 200
	// mappingsPage is how many records are read at once.
	mappingsPage = 200
)

// Mappings yields the mappings of the definition that name means in the scope,
// ordered by organization: all of them in the global scope, else the scope's own.
// It begins behind organization after, or at the first if that is empty, and
// reads as it goes; an error ends it.
func (r *Registry) Mappings(ctx context.Context, name, after string, opts ...Option) iter.Seq2[Mapping, error] {
	return func(yield func(Mapping, error) bool) {
		d, c, err := r.findWhole(ctx, name, opts)
		if err != nil {
			yield(Mapping{}, err)
			return
		}
		for {
			page, err := r.cfg.Definitions.ListSettings(ctx, d.id, &after, mappingsPage)
			if err != nil {
				yield(Mapping{}, r.unread(ctx, d.Name, c.scope.Org, err))
				return
			}
			for _, s := range page {
				after = s.Org
				if s.EntityID == "" || c.scope.Org != "" && s.Org != c.scope.Org {
					continue
				}
				if !yield(mappingOf(s), nil) {
					return
				}
			}
			if len(page) < mappingsPage {
				return
			}
		}
	}
}

func mappingOf(s SettingsRecord) Mapping {
	return Mapping{Org: s.Org, EntityID: s.EntityID, EntityName: s.EntityName, UpdatedAt: s.UpdatedAt, UpdatedBy: s.UpdatedBy}
}

// SetMapping maps an organization, instead of what it was mapped to before.
// Connections that were made under another entity id must be connected again;
// nothing is sent for them. actor is who did it, for the history. Errors are
// *[InvalidError] (fields "org", "entity_id" and "entity_name") or *Error.
func (r *Registry) SetMapping(ctx context.Context, name string, m Mapping, actor string, opts ...Option) (Mapping, error) {
	d, c, err := r.settable(ctx, name, opts)
	if err != nil {
		return Mapping{}, err
	}
	var f faults
	switch {
	case !ValidOrg(m.Org):
		f.add("org", "must match [A-Za-z0-9._~-]{1,128}, and not be \".\" or \"..\"")
	case d.Org != "" && d.Org != m.Org:
		f.add("org", "must be the one that owns the definition")
	case c.scope.Org != "" && c.scope.Org != m.Org:
		f.add("org", "must be the one that the call is about")
	}
	if m.EntityID == "" {
		f.add("entity_id", "is empty: set it, or remove the mapping")
	} else if !oneLine(m.EntityID, maxEntityID) {
		f.add("entity_id", "must be at most "+strconv.Itoa(maxEntityID)+" bytes of text without control characters")
	}
	if !oneLine(m.EntityName, 4*maxEntityName) || utf8.RuneCountInString(m.EntityName) > maxEntityName {
		f.add("entity_name", "must be at most "+strconv.Itoa(maxEntityName)+" characters of text without control characters")
	}
	if err := f.err(); err != nil {
		return Mapping{}, err
	}
	record, err := r.setSettings(ctx, d, m.Org, actor, eventMapped, func(ctx context.Context, s *settings) error {
		if s.fault != nil { // to seal again what does not open would lose it
			return s.broken(d)
		}
		s.record.EntityID, s.record.EntityName = m.EntityID, m.EntityName
		return r.fits(ctx, d, s, "entity_id")
	})
	return mappingOf(record), err
}

// RemoveMapping takes the mapping of an organization away: its entity id is the
// definition's default again. ErrNotFound if there is none.
func (r *Registry) RemoveMapping(ctx context.Context, name, org, actor string, opts ...Option) error {
	d, c, err := r.settable(ctx, name, opts)
	if err != nil {
		return err
	}
	missing := &Error{Integration: d.Name, Kind: ErrNotFound, Detail: "the organization has no mapping"}
	if !ValidOrg(org) || c.scope.Org != "" && c.scope.Org != org {
		return missing
	}
	_, err = r.setSettings(ctx, d, org, actor, eventUnmapped, func(_ context.Context, s *settings) error {
		switch {
		case s.record.EntityID == "":
			return missing
		case s.fault != nil:
			return s.broken(d)
		}
		s.record.EntityID, s.record.EntityName = "", ""
		return nil
	})
	return err
}

// oneLine reports whether s is text of at most limit bytes for one line.
func oneLine(s string, limit int) bool {
	return len(s) <= limit && printable(s)
}
