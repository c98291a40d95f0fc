package sqlite

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/internal/sqlstore"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// Queries that run often must not read the whole table, nor sort: their cost
// would follow what is stored instead of what is asked for.
func TestQueriesUseIndexes(t *testing.T) {
	db := openTemp(t)
	s := db.Tokens()
	org := "o"
	calls := map[string]func() error{
		"Load":    func() error { _, err := s.Load(t.Context(), tokenstore.Key{}); return err },
		"Due":     func() error { _, err := s.Due(t.Context(), 1); return err },
		"Changes": func() error { _, _, err := s.Changes(t.Context(), 0, 1); return err },
		"Events, definition": func() error {
			_, err := s.Events(t.Context(), tokenstore.Match{Definition: "d"}, 1, 1)
			return err
		},
		"Events, both": func() error {
			_, err := s.Events(t.Context(), tokenstore.Match{Definition: "d", Org: &org}, 1, 1)
			return err
		},
		"Events, org": func() error { _, err := s.Events(t.Context(), tokenstore.Match{Org: &org}, 1, 1); return err },
		"Events":      func() error { _, err := s.Events(t.Context(), tokenstore.Match{}, 1, 1); return err },
		"GetFlow":     func() error { _, _ = s.GetFlow(t.Context(), "s"); return nil },
		"HasFlow":     func() error { _, err := s.HasFlow(t.Context(), tokenstore.Key{}); return err },
		"List, definition": func() error {
			_, err := s.List(t.Context(), tokenstore.Match{Definition: "d"}, &tokenstore.Key{Definition: "d"}, 1)
			return err
		},
		"List, org": func() error { _, err := s.List(t.Context(), tokenstore.Match{Org: &org}, nil, 1); return err },
		"List, org, paged": func() error {
			_, err := s.List(t.Context(), tokenstore.Match{Org: &org}, &tokenstore.Key{}, 1)
			return err
		},
		"List, both": func() error {
			_, err := s.List(t.Context(), tokenstore.Match{Definition: "d", Org: &org}, nil, 1)
			return err
		},
		"List": func() error { _, err := s.List(t.Context(), tokenstore.Match{}, &tokenstore.Key{}, 1); return err },
	}
	requireIndexes(t, db, calls)
}

// requireIndexes makes each call, which is to be one query, or that and the clock, and
// looks at how SQLite answers it.
func requireIndexes(t *testing.T, db *DB, calls map[string]func() error) {
	t.Helper()
	for name, call := range calls {
		before := maps.Clone(db.stmts)
		require.NoError(t, call(), name)
		made := slices.DeleteFunc(slices.Collect(maps.Keys(db.stmts)), func(query string) bool {
			return before[query] != nil || query == `SELECT {now}`
		})
		require.Len(t, made, 1, name)
	}
	for query := range db.stmts {
		requireIndex(t, db, query)
	}
}

// requireIndex looks at how SQLite answers a query.
func requireIndex(t *testing.T, db *DB, query string) {
	t.Helper()
	rows, err := db.reader.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+db.text(query), make([]any, 8)...)
	require.NoError(t, err)
	require.NoError(t, eachRow(rows, func(scan scanner) error {
		var id, parent, unused int
		var detail string
		err := scan(&id, &parent, &unused, &detail)
		if strings.Contains(detail, "bifrost_") && !strings.HasPrefix(query, "SELECT value") {
			assert.True(t, strings.HasPrefix(detail, "SEARCH") || strings.Contains(detail, "USING INDEX") || inOrder(query, detail),
				"%s\n%s", query, detail)
		}
		assert.NotContains(t, detail, "TEMP B-TREE", query)
		t.Log(detail)
		return err
	}))
}

// inOrder reports whether everybody's events are read from one end of the table,
// as far as the limit: no index would be better.
func inOrder(query, detail string) bool {
	return strings.Contains(detail, "SCAN bifrost_events") && strings.Contains(query, "WHERE true ORDER BY id") && strings.Contains(query, "LIMIT")
}

// What runs inside of transactions must not read all that is there, either: while
// it does, everybody waits.
func TestStatementsUseIndexes(t *testing.T) {
	db := openTemp(t)
	for _, statement := range sqlstore.Planned() {
		requireIndex(t, db, statement)
	}
}
