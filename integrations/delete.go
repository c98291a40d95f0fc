package integrations

import (
	"context"
	"errors"
	"fmt"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// Removal says what a deletion took along, and what the providers said.
type Removal struct {
	Definitions int // that the organization owned
	Connections int
	// Of the connections: how many the provider revoked, how many it cannot revoke,
	// and how many it did not (in time), so that their tokens work until they expire
	// or the person removes the access there.
	Revoked     int
	Unsupported int
	Failed      int
}

// Delete removes a stored definition, with the connections, mappings and
// configuration under it, in all organizations; the history stays. Then it asks
// the provider to revoke the tokens, a bounded time. opts say whose definition it
// is. A definition made later under the same name is another one.
func (r *Registry) Delete(ctx context.Context, name, actor string, opts ...Option) (Removal, error) {
	for try := 1; ; try++ {
		d, err := r.changeable(ctx, name, opts)
		if err != nil {
			return Removal{}, err
		}
		var gone departed
		err = r.cfg.InTx(ctx, func(ctx context.Context) error {
			gone = departed{}
			return r.deleteDefinition(ctx, d, actor, &gone)
		})
		if errors.Is(err, ErrConflict) && try < writeAgain {
			if err := r.sync(ctx); err != nil {
				return Removal{}, r.unread(ctx, name, d.Org, err)
			}
			continue
		}
		if err != nil {
			return Removal{}, fmt.Errorf("integrations: delete %s: %w", d.Name, err)
		}
		return r.departed(ctx, &gone)
	}
}

// DeleteOrg removes everything of an organization: the definitions it owns, its
// connections, those of its users, mappings, configuration and history. Then it
// asks the providers to revoke the tokens, a bounded time. What stays of each
// connection is a tombstone: its ids and counters, without which a token that
// arrives late could pass for a new one. The organization may come back later, as
// an empty one.
//
// also, unless nil, removes what others have of the organization, in the same
// transaction. actor is for the log alone: the history goes as well.
func (r *Registry) DeleteOrg(ctx context.Context, org, actor string, also func(ctx context.Context) error) (Removal, error) {
	if !ValidOrg(org) {
		return Removal{}, &Error{Kind: ErrNoOrg, Detail: "ids of organizations match [A-Za-z0-9._~-]{1,128}"}
	}
	if err := r.sync(ctx); err != nil {
		return Removal{}, r.unread(ctx, "", org, err)
	}
	var gone departed
	err := r.cfg.InTx(ctx, func(ctx context.Context) error {
		gone = departed{}
		for _, d := range r.defs.Load().stored {
			if d.Org != org {
				continue
			}
			if err := r.deleteDefinition(ctx, d, actor, &gone); err != nil {
				return err
			}
			gone.definitions++
		}
		if err := r.removeConnections(ctx, tokenstore.Match{Org: &org}, reasonOrgDeleted, actor, &gone); err != nil {
			return err
		}
		if err := r.cfg.Definitions.ClearSettings(ctx, "", org); err != nil {
			return err
		}
		if err := r.deleteEvents(ctx, tokenstore.Match{Org: &org}); err != nil || also == nil {
			return err
		}
		return also(ctx)
	})
	if err != nil {
		return Removal{}, fmt.Errorf("integrations: delete organization %s: %w", org, err)
	}
	r.cfg.Logger.InfoContext(ctx, "integrations: an organization was deleted", "org", org, "actor", actor)
	return r.departed(ctx, &gone)
}

// departed is what a transaction has removed.
type departed struct {
	definitions int
	removed     []*oauthflow.Removed
}

// deleteDefinition removes a stored definition and what hangs on it, within a
// transaction.
func (r *Registry) deleteDefinition(ctx context.Context, d *definition, actor string, gone *departed) error {
	if err := r.removeConnections(ctx, tokenstore.Match{Definition: d.id}, reasonDeleted, actor, gone); err != nil {
		return err
	}
	if err := r.cfg.Definitions.ClearSettings(ctx, d.id, ""); err != nil {
		return err
	}
	record := d.record
	record.Deleted, record.Body, record.Sealed, record.UpdatedBy = true, nil, nil, actor
	if _, err := r.cfg.Definitions.PutDefinition(ctx, record); err != nil {
		return err
	}
	return r.cfg.Tokens.AddEvents(ctx, tokenstore.Event{
		Key: tokenstore.Key{Definition: d.id, Org: d.Org}, Kind: eventDeleted, Actor: actor,
	})
}

func (r *Registry) removeConnections(ctx context.Context, match tokenstore.Match, reason, actor string, gone *departed) error {
	removed, err := r.flows.Remove(ctx, match, r.targetOf, reason, actor)
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

// departed makes this process forget what is gone, and revokes it.
func (r *Registry) departed(ctx context.Context, gone *departed) (Removal, error) {
	if err := r.sync(ctx); err != nil { // what was done is done
		r.alarm(ctx, err)
	}
	result := Removal{Definitions: gone.definitions}
	for _, removed := range gone.removed {
		revoked, unsupported, failed := removed.Revoke(ctx)
		result.Connections += removed.Connections()
		result.Revoked += revoked
		result.Unsupported += unsupported
		result.Failed += failed
	}
	return result, nil
}
