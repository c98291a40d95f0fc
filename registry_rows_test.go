package bifrost_test

import (
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// row is a row of a table as it is stored, without Bifrost's own eyes.
type row map[string]string

// tables are those with something of an organization or a definition, and what
// their rows are ordered by.
var tables = map[string]string{
	"bifrost_definitions":    "id",
	"bifrost_settings":       "definition, org",
	"bifrost_connections":    "definition, org, user_id, account",
	"bifrost_flows":          "id",
	"bifrost_events":         "id",
	"bifrost_executions":     "id",
	"bifrost_execution_logs": "execution, attempt, seq",
}

// rows reads all tables. A log line gets its execution's organization.
func (s *site) rows(t *testing.T) map[string][]row {
	t.Helper()
	all := map[string][]row{}
	for table, order := range tables {
		list, err := s.raw.QueryContext(t.Context(), "SELECT * FROM "+table+" ORDER BY "+order)
		require.NoError(t, err)
		columns, err := list.Columns()
		require.NoError(t, err)
		values, into := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		for list.Next() {
			require.NoError(t, list.Scan(into...))
			r := row{}
			for i, v := range values {
				if r[columns[i]] = v.String; !v.Valid {
					r[columns[i]] = "NULL"
				}
			}
			all[table] = append(all[table], r)
		}
		require.NoError(t, list.Err())
		require.NoError(t, list.Close())
	}
	orgs := map[string]string{}
	for _, r := range all["bifrost_executions"] {
		orgs[r["id"]] = r["org"]
	}
	for _, r := range all["bifrost_execution_logs"] {
		require.Contains(t, orgs, r["execution"], "a log line of no execution")
		r["org"] = orgs[r["execution"]]
	}
	return all
}

// printed returns the rows that are kept as text, for comparing.
func printed(all map[string][]row, keep func(table string, r row) bool) string {
	var text strings.Builder
	for _, table := range slices.Sorted(maps.Keys(all)) {
		for _, r := range all[table] {
			if keep(table, r) {
				fmt.Fprintln(&text, table, map[string]string(r)) // fmt sorts the keys
			}
		}
	}
	return text.String()
}

func everything(string, row) bool { return true }

// contents returns the rows of settings, connections and flows that hold anything,
// tombstones apart.
func contents(all map[string][]row) (list []row) {
	for _, r := range all["bifrost_settings"] {
		if r["entity_id"] != "" || r["entity_name"] != "" || r["config"] != "NULL" || r["sealed"] != "NULL" {
			list = append(list, r)
		}
	}
	for _, r := range all["bifrost_connections"] {
		if r["grant_id"] != "" || r["sealed"] != "NULL" || r["account_id"] != "" || r["connected_by"] != "" {
			list = append(list, r)
		}
	}
	return append(list, all["bifrost_flows"]...)
}

// requireNoOrphans checks that nothing hangs on what does not exist, and that
// every write of a definition and of settings has its event. left are
// organizations without history.
func requireNoOrphans(t *testing.T, all map[string][]row, left ...string) {
	t.Helper()
	live, known, written := map[string]bool{}, map[string]bool{}, map[string]int{}
	for _, r := range all["bifrost_events"] {
		switch kind := r["kind"]; {
		case strings.HasPrefix(kind, "definition_"):
			written[r["definition"]]++
		case strings.HasPrefix(kind, "mapping_"), strings.HasPrefix(kind, "config_"):
			written[r["definition"]+"/"+r["org"]]++
		}
	}
	names := map[string]bool{}
	for _, r := range all["bifrost_definitions"] {
		id, name := r["id"], r["org"]+"/"+r["name"]
		known[id], live[id] = true, r["deleted"] == "0"
		if live[id] {
			require.False(t, names[name], "%s is there twice", name)
			names[name] = true
		} else {
			require.Equal(t, "NULL NULL", r["body"]+" "+r["sealed"], "what is deleted is empty: %s", name)
		}
		if !slices.Contains(left, r["org"]) || live[id] {
			require.Equal(t, r["version"], fmt.Sprint(written[id]), "writes and events of %s", name)
		}
	}
	for _, r := range all["bifrost_settings"] {
		if live[r["definition"]] && !slices.Contains(left, r["org"]) {
			require.Equal(t, r["version"], fmt.Sprint(written[r["definition"]+"/"+r["org"]]), "writes and events of settings of %q", r["org"])
		}
	}
	for _, r := range contents(all) {
		require.True(t, live[r["definition"]], "an orphan: %v", r)
	}
	for _, r := range all["bifrost_events"] {
		require.True(t, known[r["definition"]], "history of nothing: %v", r)
	}
	for _, table := range []string{"bifrost_connections", "bifrost_settings"} {
		for _, r := range all[table] {
			require.True(t, known[r["definition"]], "of no definition: %v", r)
		}
	}
}

// requireOnwards checks that no version and no generation is lower than before.
func requireOnwards(t *testing.T, before, after map[string][]row) {
	t.Helper()
	for table, columns := range map[string][]string{
		"bifrost_connections": {"generation", "version", "change"}, "bifrost_settings": {"version", "change"}, "bifrost_definitions": {"version", "change"},
	} {
		now := map[[5]string]row{}
		for _, r := range after[table] {
			now[rowKey(r)] = r
		}
		for _, r := range before[table] {
			for _, column := range columns {
				var was, is int
				_, err := fmt.Sscan(r[column], &was)
				require.NoError(t, err)
				_, err = fmt.Sscan(now[rowKey(r)][column], &is)
				require.NoError(t, err, "a row is gone: %v", r)
				require.GreaterOrEqual(t, is, was, "%s of %s %v", column, table, rowKey(r))
			}
		}
	}
}

func rowKey(r row) [5]string {
	return [5]string{r["id"], r["definition"], r["org"], r["user_id"], r["account"]}
}

// requireUsable checks that all that is there can be used: every definition is
// valid, all that is sealed opens.
func (s *site) requireUsable(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	list, err := s.Integrations.List(ctx, integrations.Global())
	require.NoError(t, err)
	names := map[string]string{}
	for _, st := range list {
		scope := integrations.Global()
		if st.Owner != "" {
			scope = integrations.Org(st.Owner)
		}
		d, err := s.Integrations.Definition(ctx, st.Name, scope)
		require.NoError(t, err)
		var version int
		_, err = fmt.Sscanf(d.Description, "version %d", &version)
		require.NoError(t, err)
		want := described(d.Name, d.Org, version)
		require.Equal(t, want.APIHosts, d.APIHosts)
		require.Equal(t, want.NoFallback, d.NoFallback)
		require.Equal(t, want.Config[1].Default, d.Config[1].Default)
		names[st.ID] = d.Name
	}
	all := s.rows(t)
	for _, r := range all["bifrost_settings"] {
		if r["config"] == "NULL" && r["sealed"] == "NULL" || names[r["definition"]] == "" {
			continue
		}
		_, err := s.Integrations.Config(ctx, names[r["definition"]], inOrg(r["org"]))
		require.NoError(t, err)
	}
	for _, r := range all["bifrost_connections"] {
		if r["grant_id"] == "" {
			continue
		}
		opts := []integrations.Option{inOrg(r["org"])}
		if r["user_id"] != "" {
			opts = append(opts, integrations.User(r["user_id"]))
		}
		in, err := s.Integrations.Get(ctx, names[r["definition"]], opts...)
		require.NoError(t, err)
		require.NotEmpty(t, in.OAuth().AccessToken())
		require.False(t, in.Fallback())
	}
}

// requireRefresh renews a connection at the provider, whose client secret is that
// of the definition's version.
func (s *site) requireRefresh(t *testing.T, name string, opts ...integrations.Option) {
	t.Helper()
	d, err := s.Integrations.Definition(t.Context(), name, opts...)
	require.NoError(t, err)
	s.provide(t, strings.Replace(d.Description, "version ", "secret-", 1))
	before, err := s.Integrations.Get(t.Context(), name, opts...)
	require.NoError(t, err)
	st, err := s.Integrations.Refresh(t.Context(), name, opts...)
	require.NoError(t, err)
	require.Equal(t, tokenstore.Active, st.Status, st.StatusMessage)
	after, err := s.Integrations.Get(t.Context(), name, opts...)
	require.NoError(t, err)
	require.NotEqual(t, before.OAuth().AccessToken(), after.OAuth().AccessToken())
}

func inOrg(org string) integrations.Option {
	if org == "" {
		return integrations.Global()
	}
	return integrations.Org(org)
}
