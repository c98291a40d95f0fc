package workflow

import (
	"context"

	"github.com/google/uuid"

	"github.com/bifrost-go/bifrost/internal/scope"
)

const (
	defaultPage = 50
	maxPage     = 200
)

// Filter selects executions for [Registry.Executions].
type Filter struct {
	Workflow string // empty: every workflow
	Status   Status // empty: every status
	// Scope is whose executions; None is an error unless AllScopes is set, so that
	// a forgotten organization does not show everybody's.
	Scope     Scope
	AllScopes bool
	// Limit is the size of a page, at most 200; default 50.
	Limit int
}

// Page is a part of a list.
type Page struct {
	Items []*Record
	Next  string // cursor of the page that follows; empty on the last one
}

// isID reports whether id is written as ids are; uuid knows other forms as well.
func isID(id string) bool { return len(id) == 36 && uuid.Validate(id) == nil }

// Execution returns one execution, or [ErrNotFound]. Whether the caller may see
// it follows from its Scope.
func (r *Registry) Execution(ctx context.Context, id string) (*Record, error) {
	if !isID(id) {
		return nil, ErrNotFound
	}
	rec, err := r.cfg.Store.Get(ctx, id)
	return rec, stored(ctx, err)
}

// Executions returns executions that match, newest first. An empty cursor starts
// at the newest.
func (r *Registry) Executions(ctx context.Context, f Filter, cursor string) (Page, error) {
	if f.Scope.Kind == scope.None && !f.AllScopes {
		return Page{}, ErrNoOrg
	}
	if cursor != "" && !isID(cursor) {
		return Page{}, ErrBadCursor
	}
	limit := defaultPage
	if f.Limit > 0 {
		limit = min(f.Limit, maxPage)
	}
	m := Match{Workflow: f.Workflow, Status: f.Status}
	if !f.AllScopes {
		m.Scope = f.Scope
	}
	items, err := r.cfg.Store.List(ctx, m, cursor, limit+1)
	if err != nil {
		return Page{}, stored(ctx, err)
	}
	page := Page{Items: items}
	if len(items) > limit {
		page.Items = items[:limit]
		page.Next = items[limit-1].ID
	}
	return page, nil
}

// Logs returns the log lines of one execution in the order in which they were
// written, attempt by attempt. While it runs, the newest third of a lease is
// missing. There are none if there is no such execution.
func (r *Registry) Logs(ctx context.Context, id string) ([]Log, error) {
	if !isID(id) {
		return nil, nil
	}
	lines, err := r.cfg.Store.Logs(ctx, id)
	return lines, stored(ctx, err)
}
