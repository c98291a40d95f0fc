package sqlstore

import (
	"context"
	"time"

	"github.com/bifrost-go/bifrost/internal/texts"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// Events implements tokenstore.Store.
func (s tokens) Events(ctx context.Context, match tokenstore.Match, before int64, limit int) ([]tokenstore.Event, error) {
	q := &conditions{text: `SELECT id, at, definition, org, user_id, account, kind, reason, actor FROM bifrost_events WHERE true`}
	q.match(match)
	if before != 0 {
		q.add(` AND id < ?`, before)
	}
	q.add(` ORDER BY id DESC LIMIT ?`, max(limit, 0))
	var events []tokenstore.Event
	err := s.engine.Each(ctx, func(scan Scanner) error {
		var e tokenstore.Event
		err := scan(&e.ID, intoTime(&e.At), &e.Key.Definition, &e.Key.Org, &e.Key.User, &e.Key.Account, &e.Kind, &e.Reason, &e.Actor)
		if err != nil {
			return err
		}
		events = append(events, e)
		return nil
	}, q.text, q.args...)
	return events, err
}

// AddEvents implements tokenstore.Store.
func (s tokens) AddEvents(ctx context.Context, events ...tokenstore.Event) error {
	if len(events) == 0 {
		return ctx.Err()
	}
	if err := texts.Check(events); err != nil {
		return err
	}
	return s.engine.Write(ctx, func(t Tx) error {
		var now int64
		if err := t.One([]any{&now}, `SELECT {now}`); err != nil {
			return err
		}
		for _, e := range events {
			if _, err := t.Exec(insertEvent, eventValues(e.Key, e, now)...); err != nil {
				return err
			}
		}
		return nil
	})
}

const insertEvent = `INSERT INTO bifrost_events (definition, org, user_id, account, at, kind, reason, actor)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`

// eventValues are the arguments of insertEvent.
func eventValues(key tokenstore.Key, e tokenstore.Event, at any) []any {
	return append(parts(key), at, e.Kind, e.Reason, e.Actor)
}

// DeleteEvents implements tokenstore.Store.
func (s tokens) DeleteEvents(ctx context.Context, match tokenstore.Match, age time.Duration, limit int) (int, error) {
	q := deletedEvents(match, age, limit)
	var deleted int64
	err := s.engine.Write(ctx, func(t Tx) (err error) {
		deleted, err = t.Exec(q.text, q.args...)
		return err
	})
	if err != nil {
		return 0, err
	}
	return int(deleted), nil
}

// deletedEvents is DeleteEvents as a statement, whose order is that of an index.
// Those who delete at once take different ones.
func deletedEvents(match tokenstore.Match, age time.Duration, limit int) *conditions {
	q := &conditions{text: `WITH old AS (SELECT id FROM bifrost_events WHERE true`}
	q.match(match)
	order := `id`
	if age > 0 {
		q.add(` AND at <= {now} - ?`, age.Microseconds())
		if match == (tokenstore.Match{}) {
			order = `at, id`
		}
	}
	q.add(` ORDER BY `+order+` LIMIT ? {skip}) DELETE FROM bifrost_events WHERE id IN (SELECT id FROM old)`, max(limit, 0))
	return q
}
