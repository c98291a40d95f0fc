package httpadapter

import (
	"context"
	"net/http"
	"path"
	"strings"
)

const (
	read   = "GET, HEAD"
	change = "POST"
)

// endpoints is the whole surface.
func (h *Handler) endpoints() []endpoint {
	return []endpoint{
		{name: "Connect", pattern: "/oauth/connect/{integration}", methods: read + ", " + change, personal: true, serve: h.connect},
		// No HEAD: whoever looks at a link before its owner follows it must not use it up.
		{name: "Callback", pattern: "/oauth/callback/{integration}", methods: "GET", open: true, serve: h.callback},
		{name: "Style", pattern: "/oauth/assets/{file}", methods: read, open: true, serve: h.style},

		{
			name: "Integrations", pattern: "/api/integrations", methods: read + ", POST", surface: surfaceAPI, body: maxDefinition,
			serve: h.listIntegrations, admins: map[string]serveFunc{"POST": h.createIntegration},
		},
		{
			name: "Integration", pattern: "/api/integrations/{integration}", methods: read + ", PATCH, DELETE", surface: surfaceAPI,
			body: maxDefinition, personal: true,
			serve: h.getIntegration, admins: map[string]serveFunc{"PATCH": h.changeIntegration, "DELETE": h.deleteIntegration},
		},
		{name: "Refresh", pattern: "/api/integrations/{integration}/refresh", methods: change, surface: surfaceAPI, personal: true, serve: h.refresh},
		{name: "Disconnect", pattern: "/api/integrations/{integration}/disconnect", methods: change, surface: surfaceAPI, personal: true, serve: h.disconnect},
		{name: "Test", pattern: "/api/integrations/{integration}/test", methods: change, surface: surfaceAPI, personal: true, serve: h.test},
		{name: "Connections", pattern: "/api/integrations/{integration}/connections", methods: read, surface: surfaceAPI, personal: true, serve: h.connections},
		{name: "Events", pattern: "/api/integrations/{integration}/events", methods: read, surface: surfaceAPI, serve: h.events},
		{
			name: "Mappings", pattern: "/api/integrations/{integration}/mappings", methods: read, surface: surfaceAPI,
			admins: map[string]serveFunc{"GET": h.listMappings},
		},
		{
			name: "Mapping", pattern: "/api/integrations/{integration}/mappings/{org}", methods: "PUT, DELETE", surface: surfaceAPI,
			admins: map[string]serveFunc{"PUT": h.setMapping, "DELETE": h.removeMapping},
		},
		{
			name: "Config", pattern: "/api/integrations/{integration}/config", methods: read + ", PATCH", surface: surfaceAPI, body: maxBody,
			admins: map[string]serveFunc{"GET": h.config, "PATCH": h.setConfig},
		},
		{name: "Schema", pattern: "/api/schema/definition.json", methods: read, surface: surfaceAPI, serve: h.schema},
		{name: "Orgs", pattern: "/api/orgs", methods: read, surface: surfaceAPI, admins: map[string]serveFunc{"GET": h.listOrgs}},

		{name: "Workflows", pattern: "/api/workflows", methods: read, surface: surfaceAPI, serve: h.listWorkflows},
		{name: "Execute", pattern: "/api/workflows/{workflow}/execute", methods: change, surface: surfaceAPI, body: maxBody, serve: h.execute},
		{name: "Executions", pattern: "/api/executions", methods: read, surface: surfaceAPI, serve: h.listExecutions},
		{name: "Execution", pattern: "/api/executions/{id}", methods: read, surface: surfaceAPI, serve: h.getExecution},
		{name: "Logs", pattern: "/api/executions/{id}/logs", methods: read, surface: surfaceAPI, serve: h.listLogs},
		{name: "Cancel", pattern: "/api/executions/{id}/cancel", methods: change, surface: surfaceAPI, serve: h.cancelExecution},
		{name: "Retry", pattern: "/api/executions/{id}/retry", methods: change, surface: surfaceAPI, serve: h.retryExecution},

		{page: true, pattern: "/{$}", methods: read, personal: true, serve: h.integrationsPage},
		{page: true, pattern: "/workflows", methods: read, serve: h.workflowsPage},
		{page: true, pattern: "/executions/{id}", methods: read, serve: h.executionPage},
	}
}

// mux routes below BaseURL's path.
func (h *Handler) mux(pages bool) http.Handler {
	mux := http.NewServeMux()
	for _, e := range h.endpoints() {
		if pages || !e.page {
			mux.Handle(e.pattern, h.handler(e))
		}
	}
	missing := func(s surface) http.Handler {
		return h.handler(endpoint{surface: s, open: true, methods: anyMethod, serve: notFound})
	}
	mux.Handle("/api", missing(surfaceAPI))
	mux.Handle("/api/", missing(surfaceAPI))
	mux.Handle("/", missing(surfacePage))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = h.below(r)
		r = r.WithContext(context.WithValue(r.Context(), routedKey{}, routed{pages: pages}))
		// ServeMux redirects such paths to clean ones, and knows nothing of BaseURL.
		if !cleanPath(r.URL.Path) {
			s := surfacePage
			if strings.HasPrefix(r.URL.Path, "/api/") {
				s = surfaceAPI
			}
			missing(s).ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// routed marks requests that came through mux.
type routed struct{ pages bool }

type routedKey struct{}

func routing(r *http.Request) (how routed, ok bool) {
	how, ok = r.Context().Value(routedKey{}).(routed)
	return how, ok
}

// hasPages reports whether Bifrost's own pages are served beside this request.
func hasPages(r *http.Request) bool {
	how, _ := routing(r)
	return how.pages
}

// pathValue returns a path parameter.
func (h *Handler) pathValue(r *http.Request, name string) string {
	if _, ours := routing(r); ours {
		return r.PathValue(name)
	}
	return h.cfg.PathValue(r, name)
}

// anyMethod is for paths that do not exist, with any method.
const anyMethod = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

func notFound(http.ResponseWriter, *http.Request, caller) error { return errNotFound }

// cleanPath reports whether a path has no empty, . or .. segments; it may end in
// one slash.
func cleanPath(p string) bool {
	clean := path.Clean(p)
	return p == clean || clean != "/" && p == clean+"/"
}

// single returns the handler of one route.
func (h *Handler) single(name string) http.Handler {
	for _, e := range h.endpoints() {
		if e.name == name {
			return h.handler(e)
		}
	}
	panic("httpadapter: no route " + name)
}

// Connect serves /oauth/connect/{integration}: POST starts a flow, GET shows a
// page with a button that does.
func (h *Handler) Connect() http.Handler { return h.single("Connect") }

// Callback serves GET /oauth/callback/{integration}, where providers send
// browsers back to.
func (h *Handler) Callback() http.Handler { return h.single("Callback") }

// Style serves GET /oauth/assets/{file}, the style sheet of what Connect and
// Callback show.
func (h *Handler) Style() http.Handler { return h.single("Style") }

// Integrations serves GET and POST /api/integrations.
func (h *Handler) Integrations() http.Handler { return h.single("Integrations") }

// Integration serves GET, PATCH and DELETE /api/integrations/{integration}.
func (h *Handler) Integration() http.Handler { return h.single("Integration") }

// Refresh serves POST /api/integrations/{integration}/refresh.
func (h *Handler) Refresh() http.Handler { return h.single("Refresh") }

// Disconnect serves POST /api/integrations/{integration}/disconnect.
func (h *Handler) Disconnect() http.Handler { return h.single("Disconnect") }

// Test serves POST /api/integrations/{integration}/test.
func (h *Handler) Test() http.Handler { return h.single("Test") }

// Connections serves GET /api/integrations/{integration}/connections.
func (h *Handler) Connections() http.Handler { return h.single("Connections") }

// Events serves GET /api/integrations/{integration}/events.
func (h *Handler) Events() http.Handler { return h.single("Events") }

// Mappings serves GET /api/integrations/{integration}/mappings.
func (h *Handler) Mappings() http.Handler { return h.single("Mappings") }

// Mapping serves PUT and DELETE /api/integrations/{integration}/mappings/{org}.
func (h *Handler) Mapping() http.Handler { return h.single("Mapping") }

// Config serves GET and PATCH /api/integrations/{integration}/config.
func (h *Handler) Config() http.Handler { return h.single("Config") }

// Schema serves GET /api/schema/definition.json.
func (h *Handler) Schema() http.Handler { return h.single("Schema") }

// Orgs serves GET /api/orgs.
func (h *Handler) Orgs() http.Handler { return h.single("Orgs") }

// Workflows serves GET /api/workflows.
func (h *Handler) Workflows() http.Handler { return h.single("Workflows") }

// Execute serves POST /api/workflows/{workflow}/execute.
func (h *Handler) Execute() http.Handler { return h.single("Execute") }

// Executions serves GET /api/executions.
func (h *Handler) Executions() http.Handler { return h.single("Executions") }

// Execution serves GET /api/executions/{id}.
func (h *Handler) Execution() http.Handler { return h.single("Execution") }

// Logs serves GET /api/executions/{id}/logs, as JSON, or as server-sent events for
// clients that accept text/event-stream.
func (h *Handler) Logs() http.Handler { return h.single("Logs") }

// Cancel serves POST /api/executions/{id}/cancel.
func (h *Handler) Cancel() http.Handler { return h.single("Cancel") }

// Retry serves POST /api/executions/{id}/retry.
func (h *Handler) Retry() http.Handler { return h.single("Retry") }
