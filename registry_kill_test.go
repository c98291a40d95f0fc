package bifrost_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/oauthtest"
	"github.com/bifrost-go/bifrost/tokenstore"
	"github.com/bifrost-go/bifrost/workflow"
)

// step is something that an administrator does, in one or several transactions.
type step struct {
	// run does it, or the rest of it where an earlier run was cut off.
	run func(ctx context.Context, s *site) error
	// commits is how many transactions it is.
	commits int
	// done checks what it has done. before are the rows of prepared, after the
	// rows when run was through, or was killed behind its last commit.
	done func(t *testing.T, s *site, before, after map[string][]row)
}

const admin = "admin"

// leaver is the organization that is deleted, stayer the one of which nothing may
// change.
const leaver, stayer = "leaver", "stayer"

var steps = map[string]step{
	"create": {commits: 3, run: func(ctx context.Context, s *site) error {
		if _, err := s.Integrations.Create(ctx, described("New", "", 1), admin); unless(err, integrations.ErrExists) != nil {
			return err
		}
		if err := s.configure(ctx, "New", "key of all", integrations.Global()); err != nil {
			return err
		}
		return s.configure(ctx, "New", "key of stayer", integrations.Org(stayer))
	}, done: func(t *testing.T, s *site, before, after map[string][]row) {
		id := s.id(t, "New")
		require.Equal(t, printed(before, everything), printed(after, not(about(id))))
		s.connect(t, "New", "alice", integrations.Org(stayer))
		s.requireRefresh(t, "New", integrations.Org(stayer))
		s.requireKey(t, "New", stayer, "key of stayer")
	}},
	"update": {commits: 1, run: func(ctx context.Context, s *site) error {
		_, err := s.Integrations.Update(ctx, "Graph", admin, update, integrations.Global())
		return err
	}, done: func(t *testing.T, s *site, before, after map[string][]row) {
		d, err := s.Integrations.Definition(t.Context(), "Graph", integrations.Global())
		require.NoError(t, err)
		require.Equal(t, "version 2", d.Description)
		written := func(table string, r row) bool {
			return table == "bifrost_definitions" && r["name"] == "Graph" || r["kind"] == "definition_changed"
		}
		require.Equal(t, printed(before, not(written)), printed(after, not(written)))
		s.requireRefresh(t, "Graph", integrations.Org(leaver)) // with the new secret
	}},
	"delete": {commits: 1, run: func(ctx context.Context, s *site) error {
		_, err := s.Integrations.Delete(ctx, "Graph", admin, integrations.Global())
		return unless(err, integrations.ErrNotFound)
	}, done: func(t *testing.T, s *site, before, after map[string][]row) {
		id := before["bifrost_definitions"][0]["id"]
		require.Equal(t, printed(before, not(about(id))), printed(after, not(about(id))), "nothing of another definition")
		for _, r := range contents(after) {
			require.NotEqual(t, id, r["definition"], "left over: %v", r)
		}
		gone := 0
		for _, r := range after["bifrost_events"] {
			if r["kind"] == "disconnected" && r["definition"] == id {
				require.Equal(t, "definition_deleted admin", r["reason"]+" "+r["actor"])
				gone++
			}
		}
		require.Equal(t, 4, gone)
		_, err := s.Integrations.Get(t.Context(), "Graph", integrations.Org(stayer))
		require.ErrorIs(t, err, integrations.ErrNotFound)
		_, err = s.Integrations.Create(t.Context(), described("Graph", "", 1), admin)
		require.NoError(t, err, "the name is free")
		_, err = s.Integrations.Get(t.Context(), "Graph", integrations.Org(stayer))
		require.ErrorIs(t, err, integrations.ErrNotConnected, "it is another one")
	}},
	"delete organization": {commits: 1, run: func(ctx context.Context, s *site) error {
		_, err := s.DeleteOrg(ctx, leaver, admin)
		return err
	}, done: func(t *testing.T, s *site, before, after map[string][]row) {
		require.Equal(t, printed(before, not(ofOrg(leaver))), printed(after, not(ofOrg(leaver))), "nothing of anybody else")
		for _, r := range contents(after) {
			require.NotEqual(t, leaver, r["org"], "left over: %v", r)
		}
		for _, table := range []string{"bifrost_flows", "bifrost_events", "bifrost_executions", "bifrost_execution_logs"} {
			for _, r := range after[table] {
				require.NotEqual(t, leaver, r["org"], "left over in %s: %v", table, r)
			}
		}
		for _, name := range []string{"Graph", "Own"} {
			s.requireRefresh(t, name, integrations.Org(stayer))
		}
		_, err := s.Integrations.Get(t.Context(), "Own", integrations.Org(leaver))
		require.ErrorIs(t, err, integrations.ErrNotFound)
		s.connect(t, "Graph", "alice", integrations.Org(leaver)) // it may come back
	}},
	"import": {commits: 3, run: importTable, done: func(t *testing.T, s *site, before, after map[string][]row) {
		imported := func(_ string, r row) bool { return strings.HasPrefix(r["org"], "row-") }
		require.Equal(t, printed(before, everything), printed(after, not(imported)), "what is newer stays")
		connected := map[string]int{}
		for _, r := range after["bifrost_events"] {
			if imported("", r) {
				connected[r["org"]]++
			}
		}
		require.Equal(t, map[string]int{"row-1": 1, "row-2": 1, "row-3": 1}, connected, "each once")
		for org := range connected {
			s.requireRefresh(t, "Graph", integrations.Org(org))
		}
		s.requireRefresh(t, "Graph", integrations.Org(stayer))
	}},
}

// about keeps what hangs on a definition, and the definition itself.
func about(id string) func(string, row) bool {
	return func(_ string, r row) bool { return r["definition"] == id || r["id"] == id }
}

func ofOrg(org string) func(string, row) bool {
	return func(_ string, r row) bool { return r["org"] == org }
}

func not(keep func(string, row) bool) func(string, row) bool {
	return func(table string, r row) bool { return !keep(table, r) }
}

func (s *site) id(t *testing.T, name string) string {
	t.Helper()
	st, err := s.Integrations.Status(t.Context(), name, integrations.Global())
	require.NoError(t, err)
	return st.ID
}

func (s *site) requireKey(t *testing.T, name, org, want string) {
	t.Helper()
	in, err := s.Integrations.Get(t.Context(), name, integrations.Org(org))
	require.NoError(t, err)
	require.Equal(t, want, in.Config().Secret("api_key").Reveal())
}

// tableOfTokens is what an application had before: a token per organization. That
// of stayer is an old one.
var tableOfTokens = []string{"row-1", stayer, "row-2", "row-3"}

// importTable imports the tokens of the file, as the loop of a migration does.
func importTable(ctx context.Context, s *site) error {
	text, err := os.ReadFile(filepath.Join(s.dir, tokensFile))
	if err != nil {
		return err
	}
	var tokens map[string]*oauth2.Token
	if err := json.Unmarshal(text, &tokens); err != nil {
		return err
	}
	for _, org := range tableOfTokens {
		_, err := s.Integrations.Import(ctx, "Graph", tokens[org], integrations.ImportOptions{Actor: admin}, integrations.Org(org))
		if unless(err, integrations.ErrExists) != nil {
			return err
		}
	}
	return nil
}

// issue gets tokens the way the application did before, and puts them into the
// file.
func (s *site) issue(t *testing.T) {
	t.Helper()
	e := oauthtest.At(login).For("acme")
	app := oauth2.Config{
		ClientID: "client", ClientSecret: "secret-1", RedirectURL: "http://localhost/", Scopes: []string{"offline_access", "Directory.Read.All"},
		Endpoint: oauth2.Endpoint{AuthURL: e.AuthorizationURL, TokenURL: e.TokenURL, AuthStyle: oauth2.AuthStyleInParams},
	}
	ctx := context.WithValue(t.Context(), oauth2.HTTPClient, &http.Client{Transport: s})
	tokens := map[string]*oauth2.Token{}
	for _, org := range tableOfTokens {
		verifier := oauth2.GenerateVerifier()
		callback, err := s.provider.Authorize(ctx, app.AuthCodeURL("state", oauth2.S256ChallengeOption(verifier)), "alice")
		require.NoError(t, err)
		u, err := url.Parse(callback)
		require.NoError(t, err)
		tokens[org], err = app.Exchange(ctx, u.Query().Get("code"), oauth2.VerifierOption(verifier))
		require.NoError(t, err)
	}
	text, err := json.Marshal(tokens)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, tokensFile), text, 0o600))
}

// prepare makes the files that each step begins with: two organizations with all
// that they can have, under a global definition and under ones of their own.
func prepare(t *testing.T, keys string) (dir string, before map[string][]row) {
	dir = t.TempDir()
	t.Run("prepare", func(t *testing.T) {
		s := openSite(t, dir, keys, nil)
		ctx := t.Context()
		_, err := s.Integrations.Create(ctx, described("Graph", "", 1), admin) // the first, so its id is the lowest
		require.NoError(t, err)
		require.NoError(t, s.configure(ctx, "Graph", "key of all", integrations.Global()))
		s.connect(t, "Graph", "hiro", integrations.Global())
		require.NoError(t, s.Start(ctx))
		for org, tenant := range map[string]string{leaver: "acme", stayer: "globex"} {
			in := integrations.Org(org)
			_, err := s.Integrations.Create(ctx, described("Own", org, 1), admin)
			require.NoError(t, err)
			for _, name := range []string{"Graph", "Own"} {
				require.NoError(t, s.configure(ctx, name, "key of "+org, in))
				_, err = s.Integrations.SetMapping(ctx, name, integrations.Mapping{Org: org, EntityID: tenant}, admin, ownScope(name, org))
				require.NoError(t, err)
				s.connect(t, name, "alice", in)
				_, err = s.Integrations.Connect(ctx, name, integrations.ConnectOptions{Principal: org}, in, integrations.Account("open"))
				require.NoError(t, err)
			}
			if org == leaver {
				s.connect(t, "Graph", "bruno", in, integrations.User("bruno"))
			}
			_, err = s.Workflows.Execute(ctx, "job", workflow.ExecuteRequest{Scope: workflow.Org(org)})
			require.NoError(t, err)
			_, err = s.Workflows.Execute(ctx, "job", workflow.ExecuteRequest{Scope: workflow.Org(org), Async: true, RunAt: time.Now().Add(time.Hour)})
			require.NoError(t, err)
		}
		s.issue(t)
		before = s.rows(t)
	})
	return dir, before
}

// ownScope is where the mappings of the definitions of prepare are managed.
func ownScope(name, org string) integrations.Option {
	if name == "Own" {
		return integrations.Org(org)
	}
	return integrations.Global()
}

// Whatever an administrator does, and at whichever place between two writes the
// process dies: every transaction happened or did not, and doing it again finishes
// it.
func TestKilledBetweenWrites(t *testing.T) {
	t.Parallel()
	keys := tokenstore.GenerateKey()
	prepared, before := prepare(t, keys)
	requireNoOrphans(t, before)
	for name, step := range steps {
		t.Run(name, func(t *testing.T) {
			places := killAt(t, registryConfig{Dir: copied(t, prepared), Keys: keys, Task: name}, step, before)
			require.Greater(t, places, 2*step.commits)
			for point := 1; point <= places; point++ {
				if testing.Short() && point%5 != 0 && point != places {
					continue
				}
				t.Run(fmt.Sprint(point), func(t *testing.T) {
					t.Parallel()
					killAt(t, registryConfig{Dir: copied(t, prepared), Keys: keys, Task: name, Point: point}, step, before)
				})
			}
		})
	}
}

func copied(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	require.NoError(t, os.CopyFS(to, os.DirFS(dir)))
	return to
}

// killAt lets a child take a step until it is killed, looks at what is there, and
// takes the step again. It returns how many places the child told of, if it was
// not killed.
func killAt(t *testing.T, cfg registryConfig, step step, before map[string][]row) (places int) {
	t.Helper()
	told := startChild(t, cfg).end()
	require.Len(t, told, 1, "the child fails")
	var commits int
	if cfg.Point == 0 {
		_, err := fmt.Sscanf(told[0], "places %d %d", &places, &commits)
		require.NoError(t, err)
		require.Equal(t, step.commits, commits)
	} else {
		_, err := fmt.Sscanf(told[0], "killed %d", &commits)
		require.NoError(t, err, told[0])
	}
	s := openSite(t, cfg.Dir, cfg.Keys, nil)
	after := s.rows(t)
	requireNoOrphans(t, after, leaver)
	requireOnwards(t, before, after)
	if commits == 0 {
		require.Equal(t, printed(before, everything), printed(after, everything), "nothing of it")
	}
	s.requireUsable(t)
	if commits < step.commits {
		// Each of several transactions has one event.
		require.Len(t, after["bifrost_events"], len(before["bifrost_events"])+commits, told[0])
		require.NoError(t, step.run(t.Context(), s), told[0])
		after = s.rows(t)
	}
	step.done(t, s, before, after)
	after = s.rows(t)
	requireNoOrphans(t, after, leaver)
	requireOnwards(t, before, after)
	s.requireUsable(t)
	return places
}
