package postgres

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/internal/pgtest"
	"github.com/bifrost-go/bifrost/internal/sqlstore"
	"github.com/bifrost-go/bifrost/tokenstore"
	"github.com/bifrost-go/bifrost/workflow"
)

// filled is a database that has been in use for a while: much history, little to do.
const filled = `
	INSERT INTO bifrost_connections (definition, org, user_id, account, version, change, updated_at, generation, grant_id, status, reason,
			has_access_token, has_refresh_token, due_at, entity_id, client_id, token_host, account_id, account_name, connected_by, failures,
			parent_generation, parent_presentation)
		SELECT 'd' || i % 100, 'o' || i / 100, '', '', 1, i, 1, 1, 'g', 'active', '', 1, 1, 9e15::bigint + i, '', '', '', '', '', '', 0, 0, 0
		FROM generate_series(1, 20000) AS i;
	INSERT INTO bifrost_events (at, definition, org, user_id, account, kind, reason, actor)
		SELECT i, 'd' || i % 100, 'o' || i / 100 % 200, '', '', '', '', '' FROM generate_series(1, 20000) AS i;
	INSERT INTO bifrost_flows (state_hash, cookie_hash, cookie_name, definition, org, user_id, account, principal, entity_id, redirect_uri, return_to, created_at, expires_at)
		SELECT 's' || i, '', '', 'd' || i % 100, 'o' || i / 100, '', '', 'p' || i, '', '', '', 1, 9e15::bigint FROM generate_series(1, 20000) AS i;
	INSERT INTO bifrost_definitions (id, org, name, version, change, deleted, created_at, updated_at, updated_by)
		SELECT 'd' || i, 'o' || i, 'n', 1, i, 0, 1, 1, '' FROM generate_series(1, 20000) AS i;
	INSERT INTO bifrost_settings (definition, org, version, change, entity_id, entity_name, updated_at, updated_by)
		SELECT 'd' || i % 100, 'o' || i / 100, 1, i, 'e', '', 1, '' FROM generate_series(1, 20000) AS i;
	INSERT INTO bifrost_executions (id, workflow, org, status, input, attempt, takeovers, principal, idempotency_key, lease_until, created_at, run_at)
		SELECT lpad(i::text, 9, '0'), 'w' || i % 50, 'o' || i % 200, CASE i % 100 WHEN 0 THEN 'pending' WHEN 1 THEN 'running' WHEN 2 THEN 'cancelling'
			WHEN 3 THEN 'scheduled' WHEN 4 THEN 'failed' ELSE 'succeeded' END, '{}', 1, 0, '', 'k' || i, 9e15::bigint, 1, 9e15::bigint
		FROM generate_series(1, 40000) AS i;
	INSERT INTO bifrost_execution_logs (execution, attempt, seq, at, level, message)
		SELECT lpad(i::text, 9, '0'), 1, 1, 1, 0, '' FROM generate_series(1, 40000) AS i;
	ANALYZE`

// Queries that run often must not read the whole table, nor sort more than is asked
// for: their cost would follow what is stored.
func TestQueriesUseIndexes(t *testing.T) {
	url := pgtest.Database(t)
	db, err := Open(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	conn, err := pgx.Connect(t.Context(), url) // plans are made in a session
	require.NoError(t, err)
	defer func() { _ = conn.Close(t.Context()) }()
	_, err = conn.Exec(t.Context(), filled+``)
	require.NoError(t, err)

	s, d, x := db.Tokens(), db.Definitions(), db.Executions()
	org, key := "o1", tokenstore.Key{Definition: "d1", Org: "o1"}
	ctx := t.Context()
	for name, call := range map[string]func() error{
		"Load":               func() error { _, err := s.Load(ctx, key); return err },
		"Due":                func() error { _, err := s.Due(ctx, 10); return err },
		"Changes":            func() error { _, _, err := s.Changes(ctx, 19990, 10); return err },
		"Events":             func() error { _, err := s.Events(ctx, tokenstore.Match{}, 9, 1); return err },
		"Events, definition": func() error { _, err := s.Events(ctx, tokenstore.Match{Definition: "d1"}, 9, 1); return err },
		"Events, org":        func() error { _, err := s.Events(ctx, tokenstore.Match{Org: &org}, 9, 1); return err },
		"Events, both":       func() error { _, err := s.Events(ctx, tokenstore.Match{Definition: "d1", Org: &org}, 9, 1); return err },
		"GetFlow":            func() error { _, _ = s.GetFlow(ctx, "s"); return nil },
		"HasFlow":            func() error { _, err := s.HasFlow(ctx, key); return err },
		"List":               func() error { _, err := s.List(ctx, tokenstore.Match{}, &key, 10); return err },
		"List, definition":   func() error { _, err := s.List(ctx, tokenstore.Match{Definition: "d1"}, &key, 10); return err },
		"List, org":          func() error { _, err := s.List(ctx, tokenstore.Match{Org: &org}, &key, 10); return err },
		"List, both": func() error {
			_, err := s.List(ctx, tokenstore.Match{Definition: "d1", Org: &org}, nil, 10)
			return err
		},
		"Definitions":     func() error { _, _, err := d.Definitions(ctx, 19990, 10); return err },
		"Settings":        func() error { _, err := d.Settings(ctx, "d1", "o1"); return err },
		"ListSettings":    func() error { _, err := d.ListSettings(ctx, "d1", &org, 10); return err },
		"SettingsChanges": func() error { _, _, err := d.SettingsChanges(ctx, 19990, 10); return err },
		"Claim": func() error {
			_, err := x.Claim(ctx, workflow.Claim{Workflows: []string{"none"}, Lease: time.Hour})
			return err
		},
		"Get":              func() error { _, _ = x.Get(ctx, "1"); return nil },
		"Logs":             func() error { _, err := x.Logs(ctx, "1"); return err },
		"List, executions": func() error { _, err := x.List(ctx, workflow.Match{}, "9", 10); return err },
		"List, workflow":   func() error { _, err := x.List(ctx, workflow.Match{Workflow: "w1"}, "9", 10); return err },
		"List, status":     func() error { _, err := x.List(ctx, workflow.Match{Status: workflow.Failed}, "9", 10); return err },
		"List, one's":      func() error { _, err := x.List(ctx, workflow.Match{Scope: workflow.Org("o1")}, "9", 10); return err },
	} {
		require.NoError(t, call(), name)
	}
	queries := sqlstore.Planned()
	db.texts.Range(func(query, _ any) bool {
		queries = append(queries, query.(string))
		return true
	})
	for i, query := range queries {
		if strings.HasPrefix(query, "SELECT value FROM bifrost_counters") || strings.Contains(query, "bifrost_key_checks") {
			continue // as short as they are
		}
		requireIndex(t, conn, fmt.Sprint("p", i), db.text(query))
	}
}

var params = regexp.MustCompile(`\$(\d+)`)

// sorts is a sorting of rows, but for the one row of claims that are scheduled. What
// an index has sorted but for equal values is sorted.
var sorts = regexp.MustCompile(`(?m)^\s*(->\s+)?Sort\n\s*Sort Key: (?:[^s]|s[^c])`)

// requireIndex looks at how PostgreSQL answers a query, whatever its arguments are.
// How much a deletion takes decides how it is best done, so that one gets arguments.
func requireIndex(t *testing.T, conn *pgx.Conn, name, query string) {
	t.Helper()
	most := 0
	for _, m := range params.FindAllStringSubmatch(query, -1) {
		var n int
		_, err := fmt.Sscan(m[1], &n)
		require.NoError(t, err)
		most = max(most, n)
	}
	arg, mode := "NULL, ", "force_generic_plan"
	if strings.HasPrefix(query, "WITH old") {
		arg, mode = "'1', ", "force_custom_plan"
	}
	args := strings.TrimSuffix(strings.Repeat(arg, most), ", ")
	if most > 0 {
		args = "(" + args + ")"
	}
	_, err := conn.Exec(t.Context(), `SET plan_cache_mode = `+mode+`; PREPARE `+name+` AS `+query)
	require.NoError(t, err, query)
	rows, err := conn.Query(t.Context(), `EXPLAIN (COSTS off) EXECUTE `+name+args, pgx.QueryExecModeSimpleProtocol)
	require.NoError(t, err, query)
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err, query)
	text := strings.ReplaceAll(strings.Join(plan, "\n"), "Seq Scan on bifrost_counters", "") // as short as they are
	assert.NotContains(t, text, "Seq Scan on bifrost_", "%s\n%s", query, text)
	assert.NotRegexp(t, sorts, text, "%s\n%s", query, text)
}
