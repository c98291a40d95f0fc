package oauthflow

import (
	"context"
	"errors"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// changesPage is how many changed keys are read at once.
const changesPage = 500

// newsPause is how often the store is looked at because it tells of writes.
const newsPause = 20 * time.Millisecond

// lookPatience bounds what the background asks the store, or a key service, each time.
// A session that has died without a word would be waited for until the system gives it
// up, many minutes later.
const lookPatience = 10 * time.Second

// Run follows the store's change feed until ctx ends or the manager is closed;
// then it returns nil. While it runs, what is known of a connection may be used
// without reading the record, for Config.Staleness after each successful look. It
// looks four times as often, and soon after a write of which the store tells, if it
// is a [tokenstore.Notifier].
// Where the store fails, tokens are looked up with a read each until it is back.
func (m *Manager) Run(ctx context.Context) error {
	if !m.running.CompareAndSwap(false, true) {
		return errors.New("oauthflow: Run was called already")
	}
	defer m.running.Store(false)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.ctx, cancel)()
	defer m.followed.Store(nil)

	var news <-chan struct{}
	if n, ok := m.cfg.Store.(tokenstore.Notifier); ok {
		news = n.Notify(ctx)
	}
	position := int64(-1)
	failing := false
	for {
		at := time.Now()
		var err error
		position, err = m.look(ctx, position)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			failing = false
			m.followed.Store(&at)
		case !failing:
			failing = true
			m.log.ErrorContext(ctx, "oauthflow: the change feed cannot be read; until it can, every token is looked up in the store", "error", err)
		}
		if m.rest(ctx, at, news) != nil {
			return nil
		}
	}
}

// look is one look of Run; it returns how far it has come.
func (m *Manager) look(ctx context.Context, position int64) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	position, err := m.follow(ctx, position)
	if err == nil && m.cfg.Also != nil {
		err = m.cfg.Also(ctx)
	}
	return position, err
}

// rest waits until it is time for the look after the one that began at at. News do
// not put off the look that would come without them.
func (m *Manager) rest(ctx context.Context, at time.Time, news <-chan struct{}) error {
	next := m.cfg.Staleness / 4
	timer := time.NewTimer(next)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	case <-news:
	}
	if err := sleep(ctx, min(newsPause, next)-time.Since(at)); err != nil {
		return err
	}
	select {
	case <-news: // of what the next look sees as well
	default:
	}
	return nil
}

// Following reports whether [Manager.Run] has looked at what other processes
// changed recently enough for what is known here to be used without reading. It
// takes no lock.
func (m *Manager) Following() bool { return m.following(time.Now()) }

// follow marks what has changed since position, and returns the new one.
func (m *Manager) follow(ctx context.Context, position int64) (int64, error) {
	if position < 0 {
		_, next, err := m.cfg.Store.Changes(ctx, -1, changesPage)
		if err != nil {
			return position, err
		}
		// What was read before is not covered by the feed from here on.
		m.handles.Range(func(_ tokenstore.Key, h *Handle) bool {
			h.epoch.Add(1)
			return true
		})
		return next, nil
	}
	for {
		keys, next, err := m.cfg.Store.Changes(ctx, position, changesPage)
		if err != nil {
			return position, err
		}
		for _, key := range keys {
			if h := m.handles.Load(key); h != nil {
				h.epoch.Add(1)
				if h.usedLately(time.Now()) {
					m.claim(key) // another process may think that nobody uses it
				}
			}
		}
		position = next
		if len(keys) < changesPage {
			return position, nil
		}
	}
}

// following reports whether the change feed was read recently enough at now.
func (m *Manager) following(now time.Time) bool {
	at := m.followed.Load()
	return at != nil && since(*at, now) < m.cfg.Staleness
}
