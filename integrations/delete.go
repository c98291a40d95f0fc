package integrations

import (
	"context"
	"errors"
	"fmt"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// Removal says what a deletion took along, and what becomes of it at the providers.
type Removal struct {
	Definitions int // that the organization owned
	Connections int
	// Of the connections: how many are being revoked now, see
	// oauthflow.Manager.Disconnect; how many belong to providers that cannot revoke;
	// and how many may not be sent there, because the definition was changed since or
	// the tokens cannot be opened, so that they work until they expire or the person
	// removes the access there.
	Pending     int
	Unsupported int
	Failed      int
}

// Delete removes a stored definition, with the connections, mappings and
// configuration under it, in all organizations; the history stays. What is to be
// revoked is written down in the same transaction, and sent without waiting for it.
// opts say whose definition it is. A definition made later under the same name is
// another one.
func (r *Registry) Delete(ctx context.Context, name, actor string, opts ...Option) (Removal, error) {
	d, err := r.changeable(ctx, name, opts)
	if err != nil {
		return Removal{}, err
	}
	for try := 1; ; try++ {
		prepared, err := r.prepare(ctx, tokenstore.Match{Definition: d.id}, false)
		if err != nil {
			return Removal{}, r.unread(ctx, d.Name, d.Org, err)
		}
		var gone departed
		err = r.cfg.InTx(ctx, func(ctx context.Context) error {
			gone = departed{prepared: prepared}
			return r.deleteDefinition(ctx, d, actor, &gone)
		})
		if errors.Is(err, ErrConflict) && try < writeAgain {
			if err := r.sync(ctx); err != nil {
				return Removal{}, r.unread(ctx, name, d.Org, err)
			}
			// By its id: another one may have the name by now.
			next := r.defs.Load().stored[d.id]
			if next == nil {
				return Removal{}, &Error{Integration: d.Name, Org: d.Org, Kind: ErrNotFound, Detail: "somebody has deleted it meanwhile"}
			}
			d = next
			continue
		}
		if err != nil {
			return Removal{}, r.unwritten(ctx, d.Name, d.Org, err)
		}
		return r.departed(ctx, &gone), nil
	}
}

// DeleteOrg removes everything of an organization: the definitions it owns, its
// connections, those of its users, mappings, configuration and history. What is to be
// revoked is written down in the same transaction, and sent without waiting for it.
// What comes of that is told to Config.Events, and goes into no history any more. What
// stays of each connection is a tombstone: its ids and counters, without which a token
// that arrives late could pass for a new one, and until it is revoked what that takes,
// sealed. The organization may come back later, as an empty one.
//
// also, unless nil, removes what others have of the organization, in the same
// transaction. actor is for the log alone: the history goes as well.
func (r *Registry) DeleteOrg(ctx context.Context, org, actor string, also func(ctx context.Context) error) (Removal, error) {
	if err := mayManage(ctx, ""); err != nil {
		return Removal{}, err
	}
	if !ValidOrg(org) {
		return Removal{}, &Error{Kind: ErrNoOrg, Detail: "ids of organizations match [A-Za-z0-9._~-]{1,128}"}
	}
	var gone departed
	for try := 1; ; try++ {
		if err := r.sync(ctx); err != nil {
			return Removal{}, r.unread(ctx, "", org, err)
		}
		position := r.known()
		prepared, err := r.prepare(ctx, tokenstore.Match{Org: &org}, true)
		if err != nil {
			return Removal{}, r.unread(ctx, "", org, err)
		}
		err = r.cfg.InTx(ctx, func(ctx context.Context) error {
			gone = departed{org: true, prepared: prepared}
			if err := r.deleteOrg(ctx, org, position, actor, &gone); err != nil || also == nil {
				return err
			}
			return also(ctx)
		})
		if errors.Is(err, ErrConflict) && try < writeAgain {
			continue
		}
		if err != nil {
			return Removal{}, fmt.Errorf("integrations: delete organization %s: %w", org, err)
		}
		break
	}
	r.cfg.Logger.InfoContext(ctx, "integrations: an organization was deleted", "org", org, "actor", actor)
	return r.departed(ctx, &gone), nil
}

// deleteOrg removes what is here of an organization, within a transaction. Its
// definitions are those of position: ErrConflict if there are others by now.
func (r *Registry) deleteOrg(ctx context.Context, org string, position int64, actor string, gone *departed) error {
	stored := r.defs.Load().stored
	err := r.since(ctx, position, func(d DefinitionRecord) error {
		if d.Org == org && !d.Deleted && stored[d.ID] == nil {
			return ErrConflict
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, d := range stored {
		if d.Org != org {
			continue
		}
		if err := r.deleteDefinition(ctx, d, actor, gone); err != nil {
			return err
		}
		gone.definitions++
	}
	if err := r.removeConnections(ctx, tokenstore.Match{Org: &org}, reasonOrgDeleted, actor, gone); err != nil {
		return err
	}
	if err := r.cfg.Definitions.ClearSettings(ctx, "", org); err != nil {
		return err
	}
	return r.deleteEvents(ctx, tokenstore.Match{Org: &org})
}

// departed is what a transaction has removed.
type departed struct {
	org         bool // whose history goes with it
	prepared    *oauthflow.Prepared
	definitions int
	removed     []*oauthflow.Removed
}

// prepare seals what is to be revoked of connections, before the transaction that
// removes them. forgotten: their history goes with them.
func (r *Registry) prepare(ctx context.Context, match tokenstore.Match, forgotten bool) (*oauthflow.Prepared, error) {
	return r.flows.Prepare(ctx, match, r.targetOf, oauthflow.RemoveOptions{NoHistory: forgotten})
}

// deleteDefinition removes a stored definition and what hangs on it, within a
// transaction.
func (r *Registry) deleteDefinition(ctx context.Context, d *definition, actor string, gone *departed) error {
	// First what may be refused: a token store of the host's own takes nothing back.
	record := d.record
	record.Deleted, record.Body, record.Sealed, record.UpdatedBy = true, nil, nil, actor
	if _, err := r.cfg.Definitions.PutDefinition(ctx, record); err != nil {
		return err
	}
	if err := r.removeConnections(ctx, tokenstore.Match{Definition: d.id}, reasonDeleted, actor, gone); err != nil {
		return err
	}
	if err := r.cfg.Definitions.ClearSettings(ctx, d.id, ""); err != nil {
		return err
	}
	return r.cfg.Tokens.AddEvents(ctx, tokenstore.Event{
		Key: tokenstore.Key{Definition: d.id, Org: d.Org}, Kind: eventDeleted, Actor: actor,
	})
}

func (r *Registry) removeConnections(ctx context.Context, match tokenstore.Match, reason, actor string, gone *departed) error {
	removed, err := r.flows.Remove(ctx, match, r.targetOf, oauthflow.RemoveOptions{
		Reason: reason, Actor: actor, NoHistory: gone.org, Prepared: gone.prepared,
	})
	if err == nil {
		gone.removed = append(gone.removed, removed)
	}
	return err
}

func (r *Registry) deleteEvents(ctx context.Context, match tokenstore.Match) error {
	for {
		n, err := r.cfg.Tokens.DeleteEvents(ctx, match, 0, eventsPage)
		if err != nil || n < eventsPage {
			return err
		}
	}
}

// remains returns ErrNotFound if d, which this process knew when it was at
// position, is deleted. In a transaction it stays so until that ends: nothing is
// then written for a definition that somebody deletes at the same time.
func (r *Registry) remains(ctx context.Context, d *definition, position int64) error {
	if d.source == SourceCode {
		return nil
	}
	gone := &Error{Integration: d.Name, Org: d.Org, Kind: ErrNotFound, Detail: "somebody has deleted it meanwhile"}
	if r.defs.Load().stored[d.id] == nil {
		return gone
	}
	return r.since(ctx, position, func(record DefinitionRecord) error {
		if record.ID == d.id && record.Deleted {
			return gone
		}
		return nil
	})
}

// known returns how far this process has read the feed of definitions: what is
// known then includes all that was written up to there.
func (r *Registry) known() (position int64) { return r.feed.definitions.Load() }

// since shows see what was written behind position. The feed stays where it is:
// what is read in a transaction, others wrote into the same commit perhaps, and it
// may still fail.
func (r *Registry) since(ctx context.Context, position int64, see func(DefinitionRecord) error) error {
	for {
		records, next, err := r.cfg.Definitions.Definitions(ctx, position, feedPage)
		if err != nil {
			return err
		}
		for _, record := range records {
			if err := see(record); err != nil {
				return err
			}
		}
		if position = next; len(records) < feedPage {
			return nil
		}
	}
}

// departed makes this process forget what is gone, and begins to revoke it.
func (r *Registry) departed(ctx context.Context, gone *departed) Removal {
	if err := r.sync(ctx); err != nil && ctx.Err() == nil { // what was done is done
		r.alarm(ctx, err)
	}
	result := Removal{Definitions: gone.definitions}
	for _, removed := range gone.removed {
		pending, unsupported, failed := removed.Revoke()
		result.Connections += removed.Connections()
		result.Pending += pending
		result.Unsupported += unsupported
		result.Failed += failed
	}
	return result
}
