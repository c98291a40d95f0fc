package workflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bifrost-go/bifrost/internal/texts"
)

// Memory is a [Store] that forgets everything when the process ends. It is for
// tests. Its clock is time.Now, so it works in testing/synctest.
type Memory struct {
	mu      sync.Mutex
	records map[string]*memoryRecord
	open    []string // ids of unfinished executions, in order
	keys    map[memoryKey]string
}

type memoryKey struct {
	workflow string
	scope    Scope
	key      string
}

type memoryRecord struct {
	Record
	leaseUntil time.Time
	logs       []Log
}

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{records: make(map[string]*memoryRecord), keys: make(map[memoryKey]string)}
}

// Insert implements [Store].
func (m *Memory) Insert(ctx context.Context, r *Record, lease time.Duration) (*Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := texts.Check(r); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.records[r.ID] != nil {
		return nil, fmt.Errorf("workflow: execution %s exists already", r.ID)
	}
	if r.Key != "" {
		k := memoryKey{r.Workflow, r.Scope, r.Key}
		if id, taken := m.keys[k]; taken {
			return m.records[id].Clone(), nil
		}
		m.keys[k] = r.ID
	}
	now := time.Now()
	n := &memoryRecord{Record: Record{
		ID: r.ID, Workflow: r.Workflow, Scope: r.Scope, Input: slices.Clone(r.Input), Principal: r.Principal,
		Key: r.Key, Status: Pending, CreatedAt: now,
	}}
	switch {
	case lease > 0:
		n.begin(now, lease)
	case !r.RunAt.IsZero():
		n.Status, n.RunAt = Scheduled, r.RunAt
	}
	m.records[r.ID] = n
	at, _ := slices.BinarySearch(m.open, r.ID)
	m.open = slices.Insert(m.open, at, r.ID)
	return n.Clone(), nil
}

func (r *memoryRecord) begin(now time.Time, lease time.Duration) {
	r.StartedAt, r.leaseUntil = now, now.Add(lease)
	r.RunAt, r.Error = time.Time{}, nil
	r.Attempt++
	if r.Status != Cancelling {
		r.Status = Running
	}
}

// isRun reports whether some attempt has it.
func (r *memoryRecord) isRun() bool { return r.Status == Running || r.Status == Cancelling }

// claimable reports whether nobody has it, and it is time.
func (r *memoryRecord) claimable(now time.Time) bool {
	return r.Status == Pending || r.Status == Scheduled && !r.RunAt.After(now) || r.isRun() && !r.leaseUntil.After(now)
}

// Claim implements [Store].
func (m *Memory) Claim(ctx context.Context, c Claim) (*Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	for _, id := range m.open {
		r := m.records[id]
		if !r.claimable(now) || !slices.Contains(c.Workflows, r.Workflow) || slices.Contains(c.Except, id) {
			continue
		}
		switch {
		case r.isRun():
			r.Takeovers++
		case r.Status == Scheduled && r.Attempt > 0:
			r.Retries++
		}
		r.begin(now, c.Lease)
		return r.Clone(), nil
	}
	return nil, nil
}

// held returns the record of a run that is still this attempt's, or nil.
func (m *Memory) held(f Fence) *memoryRecord {
	if r := m.records[f.ID]; r != nil && r.isRun() && r.Attempt == f.Attempt {
		return r
	}
	return nil
}

// Extend implements [Store].
func (m *Memory) Extend(ctx context.Context, runs []Fence, lease time.Duration) (lost, cancelling []Fence, err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	until := time.Now().Add(lease)
	for _, f := range runs {
		r := m.held(f)
		if r == nil {
			lost = append(lost, f)
			continue
		}
		r.leaseUntil = until
		if r.Status == Cancelling {
			cancelling = append(cancelling, f)
		}
	}
	return lost, cancelling, nil
}

// Append implements [Store].
func (m *Memory) Append(ctx context.Context, run Fence, logs []Log) error {
	return m.change(ctx, run, logs, func(*memoryRecord) error { return nil })
}

// Finish implements [Store].
func (m *Memory) Finish(ctx context.Context, run Fence, o Outcome) error {
	if !o.Status.Finished() {
		return errors.New("workflow: Finish needs a final status")
	}
	if err := texts.Check(json.RawMessage(o.Result), o.Error); err != nil {
		return err
	}
	return m.change(ctx, run, o.Logs, func(r *memoryRecord) error {
		m.finish(r, o)
		return nil
	})
}

func (m *Memory) finish(r *memoryRecord, o Outcome) {
	r.Status, r.FinishedAt, r.RunAt = o.Status, time.Now(), time.Time{}
	r.Result, r.Error = slices.Clone(o.Result), nil
	if o.Error != nil {
		e := *o.Error
		r.Error = &e
	}
	at, _ := slices.BinarySearch(m.open, r.ID)
	m.open = slices.Delete(m.open, at, at+1)
}

// Release implements [Store].
func (m *Memory) Release(ctx context.Context, run Fence, logs []Log) error {
	return m.change(ctx, run, logs, func(r *memoryRecord) error {
		if r.Status == Cancelling {
			return ErrCancelling
		}
		r.Status, r.StartedAt = Pending, time.Time{}
		return nil
	})
}

// Retry implements [Store].
func (m *Memory) Retry(ctx context.Context, run Fence, delay time.Duration, why Failure, logs []Log) error {
	if err := texts.Check(why); err != nil {
		return err
	}
	return m.change(ctx, run, logs, func(r *memoryRecord) error {
		if r.Status == Cancelling {
			return ErrCancelling
		}
		r.Status, r.StartedAt, r.RunAt, r.Error = Scheduled, time.Time{}, time.Now().Add(delay), &why
		return nil
	})
}

// change runs do on a run, and adds log lines if it succeeds.
func (m *Memory) change(ctx context.Context, run Fence, logs []Log, do func(*memoryRecord) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := texts.Check(logs); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.held(run)
	if r == nil {
		return ErrLost
	}
	if err := do(r); err != nil {
		return err
	}
	for _, l := range logs {
		l.Attempt, l.Attrs = run.Attempt, slices.Clone(l.Attrs)
		at, stored := slices.BinarySearchFunc(r.logs, l, func(a, b Log) int {
			if a.Attempt != b.Attempt {
				return a.Attempt - b.Attempt
			}
			return a.Seq - b.Seq
		})
		if !stored {
			r.logs = slices.Insert(r.logs, at, l)
		}
	}
	return nil
}

// Cancel implements [Store].
func (m *Memory) Cancel(ctx context.Context, id string, why Failure) (*Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := texts.Check(why); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.records[id]
	switch {
	case r == nil:
		return nil, ErrNotFound
	case r.Status.Finished():
	case r.isRun() && r.leaseUntil.After(time.Now()):
		r.Status = Cancelling
	default:
		m.finish(r, Outcome{Status: Cancelled, Error: &why})
	}
	return r.Clone(), nil
}

// DeleteOrg implements [Store].
func (m *Memory) DeleteOrg(ctx context.Context, org string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if org == "" {
		return errors.New("workflow: DeleteOrg needs an organization")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	gone := func(id string) bool { return m.records[id].Scope == Org(org) }
	m.open = slices.DeleteFunc(m.open, gone)
	maps.DeleteFunc(m.keys, func(_ memoryKey, id string) bool { return gone(id) })
	maps.DeleteFunc(m.records, func(id string, _ *memoryRecord) bool { return gone(id) })
	return nil
}

// Get implements [Store].
func (m *Memory) Get(ctx context.Context, id string) (*Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.records[id]; r != nil {
		return r.Clone(), nil
	}
	return nil, ErrNotFound
}

// List implements [Store].
func (m *Memory) List(ctx context.Context, match Match, before string, limit int) ([]*Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []*memoryRecord
	for _, r := range m.records {
		if (before == "" || r.ID < before) &&
			(match.Workflow == "" || r.Workflow == match.Workflow) &&
			(match.Status == "" || r.Status == match.Status) &&
			(match.Scope == Scope{} || r.Scope == match.Scope) {
			found = append(found, r)
		}
	}
	slices.SortFunc(found, func(a, b *memoryRecord) int { return strings.Compare(b.ID, a.ID) })
	var page []*Record
	for _, r := range found[:min(limit, len(found))] {
		page = append(page, r.Clone())
	}
	return page, nil
}

// Logs implements [Store].
func (m *Memory) Logs(ctx context.Context, id string) ([]Log, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.records[id]
	if r == nil {
		return nil, nil
	}
	logs := slices.Clone(r.logs)
	for i := range logs {
		logs[i].Attrs = slices.Clone(logs[i].Attrs)
	}
	return logs, nil
}
