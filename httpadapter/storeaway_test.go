package httpadapter_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost"
	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/tokenstore"
	"github.com/bifrost-go/bifrost/workflow"
)

// awayStore can be made unreachable, for whatever requests need of it.
type awayStore struct {
	bifrost.Store
	away *atomic.Bool
}

func (s awayStore) Tokens() tokenstore.Store        { return awayTokens{s.Store.Tokens(), s} }
func (s awayStore) Definitions() integrations.Store { return awayDefinitions{s.Store.Definitions(), s} }
func (s awayStore) Executions() workflow.Store      { return awayExecutions{s.Store.Executions(), s} }

func (s awayStore) fault() error {
	if s.away.Load() {
		return errors.New("canary: 10.0.0.7:5432 refuses connections")
	}
	return nil
}

type awayTokens struct {
	tokenstore.Store
	awayStore
}

func (s awayTokens) Load(ctx context.Context, key tokenstore.Key) (*tokenstore.Connection, error) {
	if err := s.fault(); err != nil {
		return nil, err
	}
	return s.Store.Load(ctx, key)
}

func (s awayTokens) Update(ctx context.Context, key tokenstore.Key, change func(*tokenstore.Connection, time.Time) error) (*tokenstore.Connection, error) {
	if err := s.fault(); err != nil {
		return nil, err
	}
	return s.Store.Update(ctx, key, change)
}

func (s awayTokens) Events(ctx context.Context, match tokenstore.Match, before int64, limit int) ([]tokenstore.Event, error) {
	if err := s.fault(); err != nil {
		return nil, err
	}
	return s.Store.Events(ctx, match, before, limit)
}

func (s awayTokens) PutFlow(ctx context.Context, flow tokenstore.Flow, life time.Duration, maxOpen int) (tokenstore.Flow, error) {
	if err := s.fault(); err != nil {
		return tokenstore.Flow{}, err
	}
	return s.Store.PutFlow(ctx, flow, life, maxOpen)
}

type awayDefinitions struct {
	integrations.Store
	awayStore
}

func (s awayDefinitions) Definitions(ctx context.Context, after int64, limit int) ([]integrations.DefinitionRecord, int64, error) {
	if err := s.fault(); err != nil {
		return nil, 0, err
	}
	return s.Store.Definitions(ctx, after, limit)
}

func (s awayDefinitions) PutDefinition(ctx context.Context, d integrations.DefinitionRecord) (integrations.DefinitionRecord, error) {
	if err := s.fault(); err != nil {
		return d, err
	}
	return s.Store.PutDefinition(ctx, d)
}

func (s awayDefinitions) PutSettings(ctx context.Context, r integrations.SettingsRecord) (integrations.SettingsRecord, error) {
	if err := s.fault(); err != nil {
		return r, err
	}
	return s.Store.PutSettings(ctx, r)
}

type awayExecutions struct {
	workflow.Store
	awayStore
}

func (s awayExecutions) Insert(ctx context.Context, r *workflow.Record, lease time.Duration) (*workflow.Record, error) {
	if err := s.fault(); err != nil {
		return nil, err
	}
	return s.Store.Insert(ctx, r, lease)
}

func (s awayExecutions) Get(ctx context.Context, id string) (*workflow.Record, error) {
	if err := s.fault(); err != nil {
		return nil, err
	}
	return s.Store.Get(ctx, id)
}

func (s awayExecutions) List(ctx context.Context, m workflow.Match, before string, limit int) ([]*workflow.Record, error) {
	if err := s.fault(); err != nil {
		return nil, err
	}
	return s.Store.List(ctx, m, before, limit)
}

// A store that is away is the same answer everywhere: try again, and the log says
// what it is.
func TestAStoreThatIsAwayIs503(t *testing.T) {
	away := new(atomic.Bool)
	s := newSite(t, func(c *siteConfig) { c.store = awayStore{bifrost.Memory(), away} })
	admin := s.as(root)
	admin.connect("Graph", "")
	var done struct{ ID string }
	decode(t, admin.post("/api/workflows/echo/execute", `{"input":{"text":"hello"}}`), &done)
	require.NotEmpty(t, done.ID)
	away.Store(true)
	defer away.Store(false)
	for _, c := range []struct{ method, path, body string }{
		{"GET", "/api/integrations/Graph/events", ""},
		{"POST", "/api/integrations/Graph/disconnect", "{}"},
		{"POST", "/api/integrations/Graph/refresh", "{}"},
		{"POST", "/oauth/connect/Graph", "{}"},
		{"POST", "/api/integrations", `{"name":"Stored","oauth":{"client_id":"app","client_secret":"s","authorization_url":"https://a.example.com/","token_url":"https://a.example.com/"}}`},
		{"PUT", "/api/integrations/Graph/mappings/acme", `{"entity_id":"t"}`},
		{"PATCH", "/api/integrations/Plain/config", `{"region":"us"}`},
		{"POST", "/api/workflows/echo/execute", `{"input":{"text":"hello"}}`},
		{"POST", "/api/workflows/echo/execute", `{"input":{"text":"hello"},"async":true}`},
		{"POST", "/api/workflows/echo/execute", `{"input":{"text":"hello"},"key":"k","async":true}`},
		{"GET", "/api/executions", ""},
		{"GET", "/api/executions/" + done.ID, ""},
		{"GET", "/api/executions/" + done.ID + "/logs", ""},
		{"POST", "/api/executions/" + done.ID + "/cancel", "{}"},
		{"POST", "/api/executions/" + done.ID + "/retry", "{}"},
	} {
		t.Run(c.method+" "+c.path, func(t *testing.T) {
			w := admin.send(c.method, c.path, c.body)
			require.Equal(t, http.StatusServiceUnavailable, w.Code, w.Body)
			require.Equal(t, "unavailable", object(t, w)["type"])
			require.NotEmpty(t, w.Header().Get("Retry-After"))
			require.NotContains(t, w.Body.String(), "canary")
		})
	}
	require.Contains(t, s.log.String(), "10.0.0.7:5432 refuses connections", "the operator has to know")
	require.Equal(t, http.StatusServiceUnavailable, admin.get("/executions/"+done.ID, asPage).Code)
}
