package integrations

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync/atomic"
	"time"
)

// feedPage is how many changes are read at once.
const feedPage = 500

// feed is how far this process has read the store of definitions.
type feed struct {
	turn        chan struct{} // holds one value while nobody reads
	begun       atomic.Int64  // reads
	done        int64         // the last of them that was complete
	definitions atomic.Int64
	settings    int64
	settled     bool // the feed of settings was read to its end, or skipped to there
}

func newFeed() *feed {
	f := &feed{turn: make(chan struct{}, 1)}
	f.turn <- struct{}{}
	return f
}

// syncPatience is how long a call waits for a store that does not answer, before
// what is known has to do.
const syncPatience = 2 * time.Second

// syncLimit is when whoever reads gives up and lets the next one have the turn: a
// session that dies without a word takes a quarter of an hour to be missed.
const syncLimit = 10 * time.Second

// upToDate makes sure that this process knows what other processes have changed,
// as Config.Staleness has it. While the store is away, what is known serves.
func (r *Registry) upToDate(ctx context.Context) error {
	if r.flows.Following() {
		return nil
	}
	short, cancel := context.WithTimeout(ctx, syncPatience)
	defer cancel()
	err := r.sync(short)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case r.synced.Load():
		r.alarm(ctx, err)
		return nil
	}
	return err
}

// sync reads what has changed in the store of definitions since the last time, within
// syncLimit. It takes nothing of ctx but its end: were that a transaction's, what is
// read might never be committed.
func (r *Registry) sync(ctx context.Context) error {
	plain, cancel := bare(ctx)
	defer cancel()
	if err := r.read(plain); err != nil {
		if ctx.Err() != nil { // and not that plain was cancelled for it
			return ctx.Err()
		}
		return err
	}
	return nil
}

// read is sync, in its turn. A read that began after the call, while it waited, has
// seen all that it would see: many who wait at once take two reads, not one each.
func (r *Registry) read(ctx context.Context) error {
	asked := r.feed.begun.Load()
	select {
	case <-r.feed.turn:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { r.feed.turn <- struct{}{} }()
	if r.feed.done > asked {
		return nil
	}
	this := r.feed.begun.Add(1)
	if err := r.syncSettings(ctx); err != nil {
		return fmt.Errorf("integrations: follow settings: %w", err)
	}
	if err := r.syncDefinitions(ctx); err != nil {
		return fmt.Errorf("integrations: follow definitions: %w", err)
	}
	r.feed.done = this
	r.synced.Store(true)
	return nil
}

// bare returns a context that ends after ctx, because of it, or after syncLimit, and
// carries none of its values. It does not take over ctx's deadline: that might come
// first here, and a caller's end would look like the store's.
func bare(ctx context.Context) (context.Context, context.CancelFunc) {
	plain, cancel := context.WithTimeout(context.Background(), syncLimit)
	stop := context.AfterFunc(ctx, cancel)
	return plain, func() {
		stop()
		cancel()
	}
}

// syncSettings begins at the beginning, so that it is known where nothing was ever
// set, and gives that up where too much was.
func (r *Registry) syncSettings(ctx context.Context) error {
	for {
		at := time.Now()
		keys, next, err := r.cfg.Definitions.SettingsChanges(ctx, r.feed.settings, feedPage)
		if err != nil {
			return err
		}
		// Before the epochs: whoever finds a key to be unknown has an entry by then.
		room := r.everSet.add(keys)
		for _, key := range keys {
			if e := r.settings.Load(key); e != nil {
				e.epoch.Add(1)
			}
		}
		r.feed.settings = next
		switch {
		case len(keys) < feedPage:
			r.everSet.complete(at)
			r.feed.settled = true
			return nil
		case !room && !r.feed.settled:
			if err := r.skipSettings(ctx); err != nil {
				return err
			}
		}
	}
}

// skipSettings goes to the end of the feed.
func (r *Registry) skipSettings(ctx context.Context) error {
	_, next, err := r.cfg.Definitions.SettingsChanges(ctx, -1, feedPage)
	if err != nil {
		return err
	}
	// What was read before is not covered by the feed from here on.
	r.settings.Range(func(_ SettingsKey, e *settingsEntry) bool {
		e.epoch.Add(1)
		return true
	})
	r.feed.settings, r.feed.settled = next, true
	return nil
}

func (r *Registry) syncDefinitions(ctx context.Context) error {
	for {
		records, next, err := r.cfg.Definitions.Definitions(ctx, r.feed.definitions.Load(), feedPage)
		if err != nil {
			return err
		}
		if len(records) > 0 {
			r.apply(ctx, records)
		}
		r.feed.definitions.Store(next) // known takes it for applied
		if len(records) < feedPage {
			return nil
		}
	}
}

// apply puts stored definitions, as they are now, into the set. What it finds is
// everybody's, so it does not end with one caller's ctx; others wait for it, so all of
// them together take no longer than one may. The rest is opened when it is needed.
func (r *Registry) apply(ctx context.Context, records []DefinitionRecord) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), openLimit)
	defer cancel()
	changed := make(map[string]*definition, len(records))
	for _, record := range records {
		var d *definition // nil: deleted
		if !record.Deleted {
			if d = r.open(ctx, record); d.fault != nil {
				r.cfg.Logger.ErrorContext(ctx, "integrations: a stored definition cannot be used", "integration", d.Name, "org", d.Org, "error", d.fault)
			}
		}
		changed[record.ID] = d
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.defs.Load()
	stored := maps.Clone(old.stored)
	if stored == nil {
		stored = map[string]*definition{}
	}
	for id, d := range changed {
		if d == nil {
			delete(stored, id)
		} else {
			stored[id] = d
		}
	}
	next := old.withStored(stored)
	for _, d := range changed {
		if d != nil && next.shadowed(d) {
			r.warnShadowed(d)
		}
	}
	r.defs.Store(next)
}

func (r *Registry) warnShadowed(d *definition) {
	r.cfg.Logger.Warn("integrations: a stored definition is shadowed by one of the same name from code; delete one of them",
		"integration", d.Name, "org", d.Org, "id", d.id)
}

// warnGrace tells the operator once that a definition's ReuseGrace is of little use
// here. It is no error: the provider's window is a fact, whatever this server can make
// of it.
func (r *Registry) warnGrace(d *definition) {
	if d.OAuth == nil {
		return
	}
	if err := r.cfg.Timing.CheckGrace(&d.OAuth.Provider); err != nil {
		r.cfg.Logger.Warn("integrations: what the provider forgives is of no use after a crash", "integration", d.Name, "org", d.Org, "id", d.id, "why", err)
	}
}

// alarmPause keeps a store that is down from filling the log with every call.
const alarmPause = 10 * time.Second

// alarm complains that the store cannot be read.
func (r *Registry) alarm(ctx context.Context, err error) {
	now, last := time.Now(), r.alarmed.Load()
	if errors.Is(err, context.Canceled) || last != nil && now.Sub(*last) < alarmPause || !r.alarmed.CompareAndSwap(last, &now) {
		return
	}
	r.cfg.Logger.ErrorContext(ctx, "integrations: the store cannot be read; what is known serves meanwhile", "error", err)
}
