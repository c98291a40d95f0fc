package e2e_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite" // the driver

	"github.com/bifrost-go/bifrost/oauthtest"
)

// SIGKILL while integrations are created, changed, mapped, configured, connected
// and deleted: each request has happened wholly or not at all, what was answered
// has happened, and of what was deleted nothing is left.
func TestKillManagement(t *testing.T) {
	t.Parallel()
	s := newSite(t, "EGRESS=127.0.0.1")
	k := newKiller(t, s, nil, 1)
	m := newManagers(t, k)
	k.also = m.check
	for range 12 {
		k.round(t, m.work, nil)
	}
	k.finish(t)
	t.Logf("%d requests were answered, %d integrations made", m.answered, m.made)
}

// promise is what somebody was told about an integration.
type promise struct {
	id     string // empty: there is none
	client string // client id and description change together
	entity string // of the organization north; empty: not mapped
	number int    // three configuration values change together
}

// unknown is the id of an integration whose creation was not answered.
const unknown = "unknown"

// life is one name. Only one worker at a time makes requests about it.
type life struct {
	name string
	now  promise // what was answered
	next promise // what is so if the last request has happened
}

// managers make integrations over HTTP, one name for each worker.
type managers struct {
	client *client
	urls   oauthtest.Endpoints
	all    []*life
	free   chan *life

	mu       sync.Mutex
	rand     *rand.Rand
	problems []error // answers that nobody should get
	answered int
	made     int
}

// managedClients are registered at the provider: id and secret belong together.
var managedClients = []oauthtest.Client{{ID: "one", Secret: "the secret of one"}, {ID: "two", Secret: "the secret of two"}}

func managedConfig() oauthtest.Config { return oauthtest.Config{Clients: managedClients} }

func newManagers(t *testing.T, k *killer) *managers {
	t.Helper()
	m := &managers{client: k.client, free: make(chan *life, 4), rand: rand.New(rand.NewPCG(k.rand.Uint64(), 0))}
	_, m.urls = newOAuthTest(t, managedConfig())
	for i := range cap(m.free) {
		l := &life{name: fmt.Sprintf("%s_%d", created, i)}
		m.all = append(m.all, l)
		m.free <- l
	}
	return m
}

func (m *managers) roll(n int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rand.IntN(n)
}

// work makes requests about one name until one of them is not answered.
func (m *managers) work(ctx context.Context) {
	l := <-m.free
	defer func() { m.free <- l }()
	for m.step(ctx, l) {
	}
}

// step makes one request, and reports whether it was answered.
func (m *managers) step(ctx context.Context, l *life) bool {
	c, what := m.client, l.name+"?org=north"
	l.next = l.now
	var err error
	kind := m.roll(8)
	if l.now.id == "" {
		kind = -1
	}
	switch kind {
	case -1:
		client := managedClients[m.roll(2)]
		l.next = promise{id: unknown, client: client.ID}
		var s status
		if s, err = c.create(ctx, m.definition(l.name, client)); err == nil {
			l.next.id = s.ID
		}
	case 0:
		l.next = promise{}
		_, err = c.remove(ctx, l.name)
	case 1, 2:
		client := managedClients[m.roll(2)]
		l.next.client = client.ID
		err = c.change(ctx, l.name, object{
			"description": client.ID, "oauth": object{"client_id": client.ID, "client_secret": client.Secret},
		})
	case 3:
		l.next.entity = []string{"acme", "globex"}[m.roll(2)]
		err = c.mapTo(ctx, l.name, "north", l.next.entity)
	case 4:
		if l.now.entity != "" {
			l.next.entity = ""
			_, err = c.call(ctx, http.MethodDelete, path(l.name, "/mappings/north"), nil, nil)
		}
	case 5:
		l.next.number++
		err = c.configure(ctx, l.name, object{"first": l.next.number, "second": l.next.number, "pepper": fmt.Sprint(l.next.number)})
	case 6:
		_, err = c.another().begin(ctx, what) // and nobody comes back
	case 7:
		err = c.another().connect(ctx, what)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		if statusOf(err) != 0 {
			m.problems = append(m.problems, err)
		}
		return false
	}
	m.answered++
	if l.now.id == "" {
		m.made++
	}
	l.now = l.next
	return true
}

func (m *managers) definition(name string, client oauthtest.Client) object {
	return object{
		"name": name, "description": client.ID, "default_entity_id": "acme",
		"config": []object{{"key": "first", "type": "int"}, {"key": "second", "type": "int"}, {"key": "pepper", "type": "secret"}},
		"oauth": object{
			"client_id": client.ID, "client_secret": client.Secret, "scopes": "offline_access Directory.Read.All",
			"authorization_url": m.urls.AuthorizationURL, "token_url": m.urls.TokenURL, "revocation_url": m.urls.RevocationURL,
		},
	}
}

// check compares what there is with what was promised, and uses it.
func (m *managers) check(ctx context.Context, t *testing.T) {
	t.Helper()
	require.Empty(t, m.problems)
	live := map[string]bool{}
	code, err := m.client.look(ctx, integration)
	require.NoError(t, err)
	live[code.ID] = true
	for _, l := range m.all {
		is := m.read(ctx, t, l.name)
		if l.next.id == unknown {
			l.next.id = is.id
			if is.id == "" { // it has not happened
				l.next = l.now
			}
		}
		require.Contains(t, []promise{l.now, l.next}, is, "%s: answered, or answered if the last request had been", l.name)
		if l.now, l.next = is, is; is.id == "" {
			continue
		}
		live[is.id] = true
		what := l.name + "?org=north"
		require.NoError(t, m.client.another().connect(ctx, what), "the client's id and secret do not fit each other")
		st, err := m.client.refresh(ctx, what)
		require.NoError(t, err)
		require.Equal(t, "active", st.Status)
	}
	checkDatabase(ctx, t, m.client.site.database, live)
}

// read asks for all that is known of a name.
func (m *managers) read(ctx context.Context, t *testing.T, name string) promise {
	t.Helper()
	st, err := m.client.look(ctx, name)
	if statusOf(err) == http.StatusNotFound {
		return promise{}
	}
	require.NoError(t, err)
	is := promise{id: st.ID, client: st.Description}
	var mappings struct {
		Items []struct {
			EntityID string `json:"entity_id"`
		} `json:"items"`
	}
	_, err = m.client.call(ctx, http.MethodGet, path(name, "/mappings"), nil, &mappings)
	require.NoError(t, err)
	for _, mapping := range mappings.Items {
		is.entity = mapping.EntityID
	}
	var config struct {
		Items []struct {
			Key   string `json:"key"`
			Value int    `json:"value"`
			Set   bool   `json:"set"`
		} `json:"items"`
	}
	_, err = m.client.call(ctx, http.MethodGet, path(name, "/config"), nil, &config)
	require.NoError(t, err)
	require.Len(t, config.Items, 3)
	is.number = config.Items[0].Value
	require.Equal(t, is.number, config.Items[1].Value)
	require.Equal(t, is.number != 0, config.Items[2].Set)
	return is
}

// checkDatabase looks into the file: rows belong to a definition that exists, and
// whatever has happened is in the history.
func checkDatabase(ctx context.Context, t *testing.T, file string, live map[string]bool) {
	t.Helper()
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: file, RawQuery: "mode=ro&_pragma=busy_timeout(10000)"}).String())
	require.NoError(t, err)
	defer db.Close()
	ids := func(query string) []string {
		rows, err := db.QueryContext(ctx, query)
		require.NoError(t, err)
		defer rows.Close()
		var list []string
		for rows.Next() {
			var id string
			require.NoError(t, rows.Scan(&id))
			list = append(list, id)
		}
		require.NoError(t, rows.Err())
		return list
	}
	for what, query := range map[string]string{
		"definition": `SELECT id FROM bifrost_definitions WHERE deleted = 0`,
		"mapping":    `SELECT definition FROM bifrost_settings WHERE entity_id <> '' OR entity_name <> ''`,
		"config":     `SELECT definition FROM bifrost_settings WHERE config IS NOT NULL OR sealed IS NOT NULL`,
		"connection": `SELECT definition FROM bifrost_connections WHERE sealed IS NOT NULL OR status <> 'not_connected' OR attempt IS NOT NULL`,
		"flow":       `SELECT definition FROM bifrost_flows`,
	} {
		for _, id := range ids(query) {
			require.True(t, live[id], "a %s is left of %s", what, id)
		}
	}
	for fault, query := range map[string]string{
		"content of a deleted definition is left": `SELECT id FROM bifrost_definitions WHERE deleted <> 0 AND (body IS NOT NULL OR sealed IS NOT NULL)`,
		"a definition has no content":             `SELECT id FROM bifrost_definitions WHERE deleted = 0 AND (body IS NULL OR sealed IS NULL)`,
		"a creation is not in the history":        historyLacks("definition_created", "1"),
		"a deletion is not in the history":        historyLacks("definition_deleted", "d.deleted <> 0"),
	} {
		require.Empty(t, ids(query), fault)
	}
}

// historyLacks finds definitions of a kind that an event should be about.
func historyLacks(event, which string) string {
	return `SELECT id FROM bifrost_definitions d WHERE ` + which +
		` AND NOT EXISTS (SELECT 1 FROM bifrost_events e WHERE e.definition = d.id AND e.kind = '` + event + `')`
}
