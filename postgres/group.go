package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/bifrost-go/bifrost/internal/sqlstore"
)

const (
	// groupsAtOnce bounds how many shared transactions are under way: while one waits
	// for the disk, the next is filled. More of them would be smaller.
	groupsAtOnce = 2
	// groupLimit bounds how many changes share a transaction.
	groupLimit = 64
	// lockBackoff is how long who may not wait for a lock waits before he looks again,
	// at first, and at most.
	lockBackoff, lockBackoffMost = 2 * time.Millisecond, 50 * time.Millisecond
)

// errAlone tells the caller of a change that it has to be a transaction of its own;
// errLocked says so because somebody else has locked the record.
var (
	errAlone  = errors.New("postgres: not in a shared transaction")
	errLocked = fmt.Errorf("%w: the record is locked", errAlone)
)

// change runs c as write would, in a transaction that it shares with the changes
// that wait at the same time: a commit waits for the disk, and each message for the
// network. Nothing that goes wrong there is told to anybody whom it does not concern:
// whatever has not been committed for sure, nor may have been, is run alone.
//
// A context that ends withdraws the change until it is decided on; from then on it
// goes to its end, which endPatience bounds.
func (db *DB) change(ctx context.Context, c sqlstore.Change) error {
	if s := db.seamOf(ctx); s != nil {
		return again(ctx, func() error { return s.Write(ctx, func(t *tx) error { return c.Run(t) }) })
	}
	leave, err := db.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	err = db.group.run(ctx, c)
	// With the only slot nobody waits for a lock.
	for wait := lockBackoff; cap(db.writers) == 1 && errors.Is(err, errLocked); wait = min(2*wait, lockBackoffMost) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait/2 + rand.N(wait/2)): //nolint:gosec // spreads retries, no secret
		}
		err = db.group.run(ctx, c)
	}
	if !errors.Is(err, errAlone) {
		return err
	}
	select {
	case db.alone <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-db.alone }()
	return again(ctx, func() error { return db.transaction(ctx, beside, func(t *tx) error { return c.Run(t) }) })
}

// group is the changes that wait for a shared transaction, and those that are in one.
type group struct {
	db     *DB
	atOnce int

	mu    sync.Mutex
	queue []*job
	busy  map[[4]string]bool // keys in a transaction: nobody waits there for another of ours
	open  int                // transactions
}

// job is one change in a group.
type job struct {
	sqlstore.Change
	turn chan struct{} // the batch: decide now
	done chan error    // the batch: how it ended

	// Under the group's lock.
	batch *batch // nil while it is queued
	taken bool   // by its batch, which decides what becomes of it, or by its caller who left

	exists     bool // the batch's until turn
	statements []sqlstore.Statement
	decided    chan<- *job
}

// run returns how the transaction ended in which c was, or errAlone.
func (g *group) run(ctx context.Context, c sqlstore.Change) error {
	j := &job{Change: c, turn: make(chan struct{}, 1), done: make(chan error, 1)}
	g.enqueue(j)
	select {
	case <-j.turn:
	case err := <-j.done:
		return err
	case <-ctx.Done():
		if g.withdraw(j) {
			return ctx.Err()
		}
		select {
		case <-j.turn:
		case err := <-j.done:
			return err
		}
	}
	if err := j.decide(); err != nil || len(j.statements) == 0 {
		return err // what it has seen was committed already
	}
	return <-j.done
}

// decide asks what is to be written. Deferred, so that the others do not wait if it
// panics, or ends its goroutine (t.FailNow in a test).
func (j *job) decide() (err error) {
	var statements []sqlstore.Statement
	defer func() {
		j.statements = statements
		j.decided <- j
	}()
	statements, err = j.Decide()
	return err
}

// enqueue begins a transaction for j if one may begin, and needs not wait for
// another of ours.
func (g *group) enqueue(j *job) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.queue = append(g.queue, j)
	if g.open < g.atOnce && !g.busy[j.Key] {
		g.open++
		g.db.users.Add(1) // of which j's caller is one
		go g.loop()
	}
}

// loop runs transactions while there is something for them.
func (g *group) loop() {
	defer g.db.users.Done()
	for b := g.next(nil); b != nil; b = g.next(b) {
		b.run()
	}
}

// next ends a batch and returns the next, of the oldest jobs, no two with the same
// key; nil if there is none.
func (g *group) next(last *batch) *batch {
	g.mu.Lock()
	defer g.mu.Unlock()
	if last != nil {
		last.stop()
		for _, j := range last.jobs {
			delete(g.busy, j.Key)
		}
	}
	b := &batch{group: g}
	g.queue = slices.DeleteFunc(g.queue, func(j *job) bool {
		if len(b.jobs) == groupLimit || g.busy[j.Key] {
			return false
		}
		g.busy[j.Key] = true
		j.batch = b
		b.jobs = append(b.jobs, j)
		return true
	})
	if len(b.jobs) == 0 {
		g.open--
		return nil
	}
	b.waiting = len(b.jobs)
	b.ctx, b.stop = context.WithCancel(context.Background())
	return b
}

// withdraw reports whether j's caller can leave, and nothing will be written. Those
// who have all left need not be waited for.
func (g *group) withdraw(j *job) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if j.taken {
		return false
	}
	j.taken = true
	if j.batch == nil {
		g.queue = slices.DeleteFunc(g.queue, func(other *job) bool { return other == j })
	} else if j.batch.waiting--; j.batch.waiting == 0 {
		j.batch.stop()
	}
	return true
}

// take returns those of jobs whose callers still wait, who cannot leave from now on.
func (g *group) take(jobs []*job) []*job {
	g.mu.Lock()
	defer g.mu.Unlock()
	var taken []*job
	for _, j := range jobs {
		if !j.taken {
			j.taken = true
			taken = append(taken, j)
		}
	}
	return taken
}
