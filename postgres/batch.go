package postgres

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/bifrost-go/bifrost/internal/sqlstore"
)

const (
	// decidePatience is how long the others of a shared transaction wait for one who
	// decides.
	decidePatience = 200 * time.Millisecond
	// insertPatience is how long they wait for another process, which has made one of
	// their new records first; counters are waited for as long as the server lets them.
	insertPatience = `SELECT set_config('lock_timeout', '1s', true)`
	usualPatience  = `SELECT set_config('lock_timeout', $1, true)`
)

// batch is one shared transaction.
type batch struct {
	group   *group
	jobs    []*job
	ctx     context.Context // ends when all callers have left
	stop    context.CancelFunc
	waiting int // callers who have not; under the group's lock
	// patience is the server's lock_timeout.
	patience string
}

// run runs the transaction and tells everybody how it ended. Until something is
// decided, a session that has died without a word must not keep those waiting who come
// after, however long its own callers would.
func (b *batch) run() {
	g := b.group
	ctx, cancel := context.WithTimeout(b.ctx, g.db.patience)
	defer cancel()
	t, err := g.db.acquire(ctx)
	switch {
	case err != nil && ctx.Err() != nil && b.ctx.Err() == nil:
		tell(b.jobs, errAlone)
		return
	case err != nil: // everybody's fault
		tell(b.jobs, err)
		return
	}
	defer t.end()
	slices.SortFunc(b.jobs, func(x, y *job) int { return slices.Compare(x.Key[:], y.Key[:]) })
	ready, err := b.read(t)
	if err != nil {
		tell(b.jobs, errAlone)
		return
	}
	writing, late := decide(g.take(ready))
	tell(late, errAlone)
	if len(writing) > 0 {
		tell(writing, b.write(t, writing))
	}
}

// tell lets jobs' callers go, each of them once.
func tell(jobs []*job, err error) {
	for _, j := range jobs {
		j.done <- err
	}
}

// read opens the transaction, locks and reads what is there in one message, and
// returns whose records are. Whoever finds his locked by another process is told to
// wait for it alone.
func (b *batch) read(t *tx) (ready []*job, err error) {
	p := &pipeline{conn: t.conn.Conn()}
	p.add(nil, readCommitted)
	p.add(func(scan sqlstore.Scanner) error { return scan(nil, nil, &b.patience) }, settings)
	p.add(nil, shareLock)
	locked := make([]bool, len(b.jobs))
	for i, j := range b.jobs {
		p.add(func(sqlstore.Scanner) error { locked[i] = true; return nil }, t.db.text(j.TryLock), j.Args()...)
	}
	for _, j := range b.jobs {
		p.add(func(scan sqlstore.Scanner) error { j.exists = true; return j.Found(scan) }, t.db.text(j.Load), j.Args()...)
	}
	p.add(b.missing, t.db.text(b.jobs[0].Clock))
	if err := t.statement(func(ctx context.Context) error { _, err := p.run(ctx); return err }); err != nil {
		return nil, err
	}
	var others []*job
	for i, j := range b.jobs {
		if locked[i] || !j.exists {
			ready = append(ready, j)
		} else {
			others = append(others, j)
		}
	}
	tell(others, errLocked)
	return ready, nil
}

// missing tells those who have no record what the time is.
func (b *batch) missing(scan sqlstore.Scanner) error {
	for _, j := range b.jobs {
		if j.exists {
			continue
		}
		if err := j.Missing(scan); err != nil {
			return err
		}
	}
	return nil
}

// decide lets the callers decide what is to be written, all at once, and returns who
// wants something written, and who takes too long.
func decide(jobs []*job) (writing, late []*job) {
	decided := make(chan *job, len(jobs))
	for _, j := range jobs {
		j.decided = decided
		j.turn <- struct{}{}
	}
	timer := time.NewTimer(decidePatience)
	defer timer.Stop()
	missing := make(map[*job]bool, len(jobs))
	for _, j := range jobs {
		missing[j] = true
	}
	for len(missing) > 0 {
		select {
		case j := <-decided:
			delete(missing, j)
			continue
		case <-timer.C:
		}
		break
	}
	for _, j := range jobs {
		switch {
		case missing[j]:
			late = append(late, j)
		case len(j.statements) > 0:
			writing = append(writing, j)
		}
	}
	return writing, late
}

// write writes what jobs have decided on and commits, in one message. Of new records
// that two transactions make at once, both begin with the least, so neither waits
// for one who waits for it.
func (b *batch) write(t *tx, jobs []*job) error {
	ctx, cancel := context.WithTimeout(context.Background(), endPatience)
	defer cancel()
	p := &pipeline{conn: t.conn.Conn()}
	inserts := slices.ContainsFunc(jobs, func(j *job) bool { return !j.exists })
	if inserts {
		p.add(nil, insertPatience)
	}
	for _, s := range sorted(jobs) {
		args := s.Args
		if s.Feed != nil {
			position, err := t.Position(*s.Feed)
			if err != nil {
				return err
			}
			args = append(args, position)
		}
		p.add(nil, t.db.text(s.Query), args...)
	}
	if inserts {
		p.add(nil, usualPatience, b.patience)
	}
	for _, statement := range t.positions(true) {
		p.add(nil, statement)
	}
	p.add(nil, `COMMIT`)
	if p.err != nil || t.conn.Conn().IsClosed() {
		return errAlone
	}
	// From here on it may have been sent. Nothing else is to be learned from pgx, whose
	// SafeToRetry also says yes when the answer was lost.
	tag, err := p.run(ctx)
	if err = committed(tag, err); err != nil && !errors.Is(err, sqlstore.ErrUnconfirmed) {
		return errAlone
	}
	return err
}

// sorted returns the statements of jobs, those of one text together.
func sorted(jobs []*job) (list []sqlstore.Statement) {
	place := make(map[string]int)
	for _, j := range jobs {
		for _, s := range j.statements {
			if _, ok := place[s.Query]; !ok {
				place[s.Query] = len(place)
			}
			list = append(list, s)
		}
	}
	slices.SortStableFunc(list, func(a, b sqlstore.Statement) int { return place[a.Query] - place[b.Query] })
	return list
}
