package integrations

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// Resealed says what [Registry.Reseal] found and did.
type Resealed struct {
	Connections tokenstore.Resealed // their tokens, and what is still to be revoked
	Definitions tokenstore.Resealed // client secrets of those made at run time
	Settings    tokenstore.Resealed // secrets of the configuration
	// Retired are the ids of keys that nobody needs any more.
	Retired []string
}

// sum is what became of all kinds.
func (d *Resealed) sum() tokenstore.Resealed {
	n := d.Connections
	n.Add(d.Definitions)
	n.Add(d.Settings)
	return n
}

// did adds what another look has done: what was looked at and does not open stays
// d's.
func (d *Resealed) did(other Resealed) {
	d.Connections.Resealed += other.Connections.Resealed
	d.Definitions.Resealed += other.Definitions.Resealed
	d.Settings.Resealed += other.Settings.Resealed
}

// resealLooks bounds how often everything is looked at. The second look finds
// nothing, unless somebody goes on to seal with another key.
const resealLooks = 3

// Reseal ends a change of the sealing keys; see bifrost.Bifrost.Reseal.
func (r *Registry) Reseal(ctx context.Context) (Resealed, error) {
	if err := mayManage(ctx, ""); err != nil {
		return Resealed{}, err
	}
	sealer := r.cfg.Sealer
	var done Resealed
	at := positions{connections: -1}
	for look := 1; ; look++ {
		n, next, err := r.resealSince(ctx, positions{connections: -1})
		now := n.sum()
		n.did(done)
		done, at = n, next
		switch left := done.sum().Failed; {
		case err != nil:
			return done, err
		case left > 0:
			return done, fmt.Errorf("integrations: %d sealed texts do not open with the configured keys, so no key was retired; "+
				"the log names them: connect these again, give their secrets again, or configure the key that is missing, and reseal again: %w",
				left, tokenstore.ErrSealBroken)
		}
		if now.Resealed == 0 || !sealer.TellsKeys() {
			break
		}
		if look == resealLooks {
			return done, fmt.Errorf("integrations: %w: somebody goes on to seal with it; "+
				"give every process the same newest key, and reseal again", tokenstore.ErrKeyInUse)
		}
	}
	retired, err := sealer.Retire(ctx, r.cfg.Tokens, func(ctx context.Context) (bool, error) {
		if !sealer.TellsKeys() {
			return false, nil // and nobody can
		}
		n, _, err := r.resealSince(ctx, at)
		now := n.sum()
		done.did(n)
		return now.Resealed+now.Failed > 0, err
	})
	switch {
	case errors.Is(err, tokenstore.ErrKeyInUse):
		return done, fmt.Errorf("integrations: everything was sealed again, and no key was retired; "+
			"give every process the same newest key, and reseal again: %w", err)
	case err != nil:
		return done, fmt.Errorf("integrations: everything was sealed again, and no key was retired; reseal again: %w", err)
	}
	done.Retired = retired
	return done, nil
}

// positions say from where a look at what is sealed begins.
type positions struct {
	connections int64 // negative: all of them
	definitions int64
	settings    int64
}

// resealSince does one look, at what was written behind at, and returns where the
// next may begin.
func (r *Registry) resealSince(ctx context.Context, at positions) (n Resealed, next positions, err error) {
	if n.Definitions, next.definitions, err = r.resealDefinitions(ctx, at.definitions); err != nil {
		return n, at, fmt.Errorf("integrations: seal definitions again: %w", err)
	}
	if n.Settings, next.settings, err = r.resealSettings(ctx, at.settings); err != nil {
		return n, at, fmt.Errorf("integrations: seal settings again: %w", err)
	}
	n.Connections, next.connections, err = r.flows.Reseal(ctx, at.connections)
	return n, next, err
}

// resealDefinitions follows the feed to its end. A record that somebody changes
// meanwhile comes again there, and so do those that are written here. Each is written
// once: two processes that do not see that it is done, or seal with different keys,
// would go on with each other's for ever. The next look sees what came after.
func (r *Registry) resealDefinitions(ctx context.Context, after int64) (n tokenstore.Resealed, next int64, err error) {
	mine := map[string]bool{} // written here, by id
	for next = after; ; {
		records, behind, err := r.cfg.Definitions.Definitions(ctx, next, feedPage)
		if err != nil {
			return n, after, err
		}
		for _, d := range records {
			if d.Sealed == nil || mine[d.ID] {
				continue
			}
			sealed, one, err := r.resealText(ctx, d.Sealed, definitionBinding(d, d.Version), definitionBinding(d, d.Version+1))
			if err != nil {
				return n, after, err
			}
			if one.Resealed > 0 {
				d.Sealed = sealed // by nobody, so UpdatedBy stays
				_, err := r.cfg.Definitions.PutDefinition(ctx, d)
				if errors.Is(err, ErrConflict) {
					continue
				}
				if err != nil {
					return n, after, err
				}
				mine[d.ID] = true
			}
			n.Add(one)
		}
		if next = behind; len(records) == 0 {
			return n, next, nil
		}
	}
}

// resealSettings does the same for settings.
func (r *Registry) resealSettings(ctx context.Context, after int64) (n tokenstore.Resealed, next int64, err error) {
	mine := map[SettingsKey]bool{}
	for next = after; ; {
		keys, behind, err := r.cfg.Definitions.SettingsChanges(ctx, next, feedPage)
		if err != nil {
			return n, after, err
		}
		for _, key := range keys {
			s, err := r.cfg.Definitions.Settings(ctx, key.Definition, key.Org)
			if err != nil {
				return n, after, err
			}
			if s.Sealed == nil || mine[key] {
				continue
			}
			sealed, one, err := r.resealText(ctx, s.Sealed, settingsBinding(key, s.Version), settingsBinding(key, s.Version+1))
			if err != nil {
				return n, after, err
			}
			if one.Resealed > 0 {
				s.Sealed = sealed
				_, err := r.cfg.Definitions.PutSettings(ctx, s)
				if errors.Is(err, ErrConflict) {
					continue
				}
				if err != nil {
					return n, after, err
				}
				mine[key] = true
			}
			n.Add(one)
		}
		if next = behind; len(keys) == 0 {
			return n, next, nil
		}
	}
}

// resealText seals one text for its next version. What it says is not looked at, so a
// definition's authority and an organization's secrets stay what they are.
func (r *Registry) resealText(ctx context.Context, sealed []byte, from, to tokenstore.Binding) ([]byte, tokenstore.Resealed, error) {
	n := tokenstore.Resealed{Seen: 1}
	if r.cfg.Sealer.Newest(sealed) {
		return sealed, n, nil
	}
	again, err := r.cfg.Sealer.Reseal(ctx, sealed, from, to)
	switch {
	case err == nil:
		n.Resealed++
		return again, n, nil
	case errors.Is(err, tokenstore.ErrSealBroken), errors.Is(err, tokenstore.ErrUnknownKey):
		n.Failed++
		r.cfg.Logger.ErrorContext(ctx, "integrations: sealed secrets do not open and cannot be sealed again; give them again, or configure their key",
			"definition", from.Key.Definition, "org", from.Key.Org, "kind", from.Field, "error", err)
		return sealed, n, nil
	}
	return nil, n, err
}

const (
	// keysEvery is how often a process compares its keys with those of the others.
	keysEvery = time.Minute
	keysLimit = 30 * time.Second // for one comparison
)

// keepKeys complains, until ctx ends, if the sealing keys were changed under this
// process: in a roll-out one may be left out.
func (r *Registry) keepKeys(ctx context.Context) {
	for pause(ctx, keysEvery) {
		err := r.keep(ctx)
		switch {
		case err == nil, ctx.Err() != nil:
		case errors.Is(err, tokenstore.ErrKeyInUse), errors.Is(err, tokenstore.ErrUnknownKey), errors.Is(err, tokenstore.ErrSealBroken):
			r.cfg.Logger.ErrorContext(ctx, "integrations: the sealing keys of this process do not fit the store's", "error", err)
		default:
			r.cfg.Logger.WarnContext(ctx, "integrations: the sealing keys cannot be compared with the store's: it or the key service does not answer", "error", err)
		}
	}
}

func (r *Registry) keep(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, keysLimit)
	defer cancel()
	return r.cfg.Sealer.Keep(ctx, r.cfg.Tokens)
}
