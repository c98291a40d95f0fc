package httpadapter_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost"
	"github.com/bifrost-go/bifrost/httpadapter"
	"github.com/bifrost-go/bifrost/integrations"
)

// ask sends one request to a host's own router.
func ask(t *testing.T, h http.Handler, method, path, who string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, http.NoBody)
	r.Header.Set("X-Who", who)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// Below a path, with and without http.StripPrefix.
func TestMountedBelowAPath(t *testing.T) {
	s := newSite(t, func(c *siteConfig) { c.base = base + "/tools/bifrost" })
	plain := http.NewServeMux()
	plain.Handle("/tools/bifrost/", s.handler)
	stripped := http.NewServeMux()
	stripped.Handle("/tools/bifrost/", http.StripPrefix("/tools/bifrost", s.handler))
	for name, mux := range map[string]http.Handler{"plain": plain, "stripped": stripped} {
		w := ask(t, mux, http.MethodGet, s.base+"/", root)
		require.Equal(t, http.StatusOK, w.Code, name)
		for _, link := range []string{
			`href="/tools/bifrost/workflows"`, `action="/tools/bifrost/oauth/connect/Graph"`, `href="/tools/bifrost/oauth/assets/bifrost-`,
			`value="https://app.example.com/tools/bifrost/oauth/callback/Graph"`, `action="/tools/bifrost/"`,
		} {
			require.Contains(t, w.Body.String(), link, name)
		}
		require.Equal(t, http.StatusOK, ask(t, mux, http.MethodGet, s.base+"/api/integrations/Graph", root).Code, name)
		require.Equal(t, http.StatusNotFound, ask(t, mux, http.MethodGet, s.base+"/api/integrations/Gr%2Faph", root).Code, name)
		require.Equal(t, http.StatusNotFound, ask(t, mux, http.MethodGet, s.base+"/api/nope", root).Code, name)
		require.Equal(t, http.StatusBadRequest, ask(t, mux, http.MethodGet, s.base+"/oauth/callback/Graph", root).Code, name)
	}
	b := s.as(root)
	require.Equal(t, base+"/tools/bifrost/", b.get(b.consent(b.start("/oauth/connect/Graph", "{}"))).Header().Get("Location"))
	w := b.get(b.consent(b.start("/oauth/connect/Graph", `{"return_to":"/elsewhere"}`)))
	require.Equal(t, base+"/elsewhere", w.Header().Get("Location"), "return_to is a path on the origin")
}

// Without the pages the host keeps its "/".
func TestAPIAlone(t *testing.T) {
	s := newSite(t)
	mux := http.NewServeMux()
	mux.Handle("/api/", s.handler.API())
	mux.Handle("/oauth/", s.handler.API())
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	require.Equal(t, http.StatusTeapot, ask(t, mux, http.MethodGet, base+"/", root).Code)
	require.Equal(t, http.StatusOK, ask(t, mux, http.MethodGet, base+"/api/integrations", root).Code)
	require.Equal(t, http.StatusNotFound, ask(t, mux, http.MethodGet, base+"/api/nope", root).Code)
	w := ask(t, mux, http.MethodGet, base+"/oauth/connect/Graph", root)
	require.Equal(t, http.StatusOK, w.Code)
	require.NotContains(t, w.Body.String(), "/workflows", "no links to pages that are not there")
	require.Equal(t, http.StatusNotFound, ask(t, s.handler.API(), http.MethodGet, base+"/workflows", root).Code)
}

// One by one, each with its checks, also where a router keeps parameters itself.
func TestRouteByRoute(t *testing.T) {
	type param struct{}
	s := newSite(t, func(c *siteConfig) {
		c.adapter.PathValue = func(r *http.Request, name string) string {
			values, _ := r.Context().Value(param{}).(map[string]string)
			return values[name]
		}
	})
	id := object(t, s.as(root).post("/api/workflows/fail/execute", "{}"))["id"].(string)
	h := s.handler
	for _, test := range []struct {
		method  string
		handler http.Handler
		params  map[string]string
		who     string
		status  int
	}{
		{"GET", h.Connect(), map[string]string{"integration": "Graph"}, root, 200},
		{"POST", h.Connect(), map[string]string{"integration": "Graph"}, root, 303},
		{"GET", h.Callback(), map[string]string{"integration": "Graph"}, root, 400},
		{"GET", h.Style(), map[string]string{"file": "nope.css"}, root, 404},
		{"GET", h.Integrations(), nil, root, 200},
		{"GET", h.Integration(), map[string]string{"integration": "Graph"}, root, 200},
		{"GET", h.Integration(), map[string]string{"integration": "Nope"}, root, 404},
		{"POST", h.Refresh(), map[string]string{"integration": "Graph"}, root, 409},
		{"POST", h.Disconnect(), map[string]string{"integration": "Graph"}, root, 409},
		{"POST", h.Test(), map[string]string{"integration": "Graph"}, root, 409},
		{"GET", h.Connections(), map[string]string{"integration": "Graph"}, root, 200},
		{"GET", h.Events(), map[string]string{"integration": "Graph"}, root, 200},
		{"GET", h.Mappings(), map[string]string{"integration": "Graph"}, root, 200},
		{"DELETE", h.Mapping(), map[string]string{"integration": "Graph", "org": "acme"}, root, 404},
		{"PUT", h.Mapping(), map[string]string{"integration": "Graph", "org": "a/b"}, root, 422},
		{"GET", h.Config(), map[string]string{"integration": "Graph"}, root, 200},
		{"GET", h.Schema(), nil, alice, 200},
		{"GET", h.Orgs(), nil, root, 200},
		{"DELETE", h.Integration(), map[string]string{"integration": "Graph"}, root, 409},
		{"POST", h.Integrations(), nil, root, 400},
		{"GET", h.Workflows(), nil, root, 200},
		{"POST", h.Execute(), map[string]string{"workflow": "fail"}, root, 200},
		{"GET", h.Executions(), nil, root, 200},
		{"GET", h.Execution(), map[string]string{"id": id}, root, 200},
		{"GET", h.Logs(), map[string]string{"id": id}, root, 200},
		{"POST", h.Cancel(), map[string]string{"id": id}, root, 409},
		{"POST", h.Retry(), map[string]string{"id": id}, root, 202},
		{"GET", h.Integrations(), nil, nobody, 401},
		{"DELETE", h.Integrations(), nil, root, 405},
		{"POST", h.Integrations(), nil, alice, 403},
	} {
		r := httptest.NewRequestWithContext(context.WithValue(t.Context(), param{}, test.params), test.method, base+"/some/where", http.NoBody)
		r.Header.Set("X-Who", test.who)
		w := httptest.NewRecorder()
		test.handler.ServeHTTP(w, r)
		require.Equal(t, test.status, w.Code, "%v %v: %s", test.method, test.params, w.Body)
		require.NotEmpty(t, w.Header().Get("Content-Security-Policy"))
	}
	require.Equal(t, http.StatusOK, s.as(root).get("/api/integrations/Graph").Code, "mounted whole it routes by itself")
}

func TestMiddleware(t *testing.T) {
	s := newSite(t)
	s.as(root).connect("Graph", "")
	s.as(alice).connect("Graph", "")
	own := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		graph, err := integrations.Get(r.Context(), "Graph")
		switch {
		case err != nil:
			w.Header().Set("X-Error", err.Error())
		case graph.Fallback():
			w.Header().Set("X-Connection", "fallback")
		default:
			w.Header().Set("X-Connection", "own")
		}
	})
	h := s.handler.Middleware(own)
	for _, test := range []struct{ who, connection, err string }{
		{alice, "own", ""},
		{gina, "fallback", ""},
		{root, "own", ""},
		{"root globex admin", "fallback", ""},
		{"eve globex none", "fallback", ""}, // the host's handlers are the host's to guard
		{nobody, "", "no organization"},
		{"eve  member", "", "no organization"},
		{"eve  none", "", "no organization"},
	} {
		w := ask(t, h, http.MethodGet, base+"/host/page?org=acme", test.who)
		require.Equal(t, http.StatusOK, w.Code)
		require.Equal(t, test.connection, w.Header().Get("X-Connection"), test.who)
		require.Contains(t, w.Header().Get("X-Error"), test.err, test.who)
	}
	require.Equal(t, http.StatusServiceUnavailable, ask(t, h, http.MethodGet, base+"/host/page", "fault").Code)

	w := ask(t, httpadapter.New(s.bf, httpadapter.Config{}).Middleware(own), http.MethodGet, base+"/", alice)
	require.Contains(t, w.Header().Get("X-Error"), "no organization", "a nil hook gives no scope")
}

func TestHealth(t *testing.T) {
	broken := new(bool)
	s := newSite(t, func(c *siteConfig) { c.store = pingStore{bifrost.Memory(), broken} })
	health, ready := httpadapter.HealthHandler(), httpadapter.ReadyHandler(s.bf)
	require.JSONEq(t, `{"status":"ok"}`, ask(t, ready, http.MethodGet, "/readyz", "").Body.String())
	*broken = true
	w := ask(t, ready, http.MethodGet, "/readyz", "")
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.NotContains(t, w.Body.String(), "canary")
	require.Equal(t, http.StatusOK, ask(t, health, http.MethodGet, "/healthz", "").Code)
	require.Equal(t, http.StatusOK, ask(t, health, http.MethodHead, "/healthz", "").Code)
	w = ask(t, health, http.MethodPost, "/healthz", "")
	require.Equal(t, http.StatusMethodNotAllowed, w.Code)
	require.Equal(t, "GET, HEAD", w.Header().Get("Allow"))

	stopped := newSite(t, func(c *siteConfig) { c.stopped = true })
	require.Equal(t, http.StatusServiceUnavailable, ask(t, httpadapter.ReadyHandler(stopped.bf), http.MethodGet, "/readyz", "").Code)
	require.Equal(t, http.StatusNotFound, stopped.as(root).get("/healthz").Code, "the host mounts it if it wants it")
}

// pingStore is a store that can be made unreachable.
type pingStore struct {
	bifrost.Store
	broken *bool
}

func (p pingStore) Ping(ctx context.Context) error {
	if *p.broken {
		return errors.New("canary: /var/lib/app.db is locked")
	}
	return p.Store.Ping(ctx)
}
