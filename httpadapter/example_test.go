package httpadapter_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/bifrost-go/bifrost"
	"github.com/bifrost-go/bifrost/httpadapter"
	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// newBifrost is what main does before it mounts anything.
func newBifrost() *bifrost.Bifrost {
	keys, err := tokenstore.ParseKeyring(tokenstore.GenerateKey())
	if err != nil {
		panic(err)
	}
	bf, err := bifrost.New(bifrost.Config{
		BaseURL: "https://app.example.com", Store: bifrost.Memory(), Keys: keys, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		panic(err)
	}
	if err := bf.Integrations.Define(integrations.Definition{Name: "Weather", Description: "Public forecasts"}); err != nil {
		panic(err)
	}
	return bf
}

// signedIn stands for the host's own session.
func signedIn(r *http.Request) (httpadapter.Principal, error) {
	user, _, ok := r.BasicAuth()
	if !ok {
		return httpadapter.Principal{}, httpadapter.ErrNoPrincipal
	}
	return httpadapter.Principal{User: user, Org: "acme", Role: httpadapter.Member}, nil
}

func show(h http.Handler, path string) {
	for _, user := range []string{"", "alice"} {
		r := httptest.NewRequest(http.MethodGet, "https://app.example.com"+path, http.NoBody)
		if user != "" {
			r.SetBasicAuth(user, "")
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		fmt.Printf("%q %s: %d\n", user, path, w.Code)
	}
}

// Mounted whole: pages at /, JSON below /api/, connecting below /oauth/.
func ExampleNew() {
	bf := newBifrost()
	defer bf.Close()

	mux := http.NewServeMux()
	mux.Handle("/", httpadapter.New(bf, httpadapter.Config{Principal: signedIn}))
	mux.Handle("GET /healthz", httpadapter.HealthHandler())

	show(mux, "/")
	show(mux, "/api/integrations")
	// Output:
	// "" /: 401
	// "alice" /: 200
	// "" /api/integrations: 401
	// "alice" /api/integrations: 200
}

// Mounted route by route, beside the host's own pages.
func ExampleHandler_Connect() {
	bf := newBifrost()
	defer bf.Close()

	h := httpadapter.New(bf, httpadapter.Config{Principal: signedIn})
	mux := http.NewServeMux()
	mux.Handle("/oauth/connect/{integration}", h.Connect())
	mux.Handle("/oauth/callback/{integration}", h.Callback())
	mux.Handle("/oauth/assets/{file}", h.Style())
	mux.Handle("/api/integrations", h.Integrations())
	mux.Handle("/api/integrations/{integration}", h.Integration())

	show(mux, "/api/integrations/Weather")
	show(mux, "/workflows")
	// Output:
	// "" /api/integrations/Weather: 401
	// "alice" /api/integrations/Weather: 200
	// "" /workflows: 404
	// "alice" /workflows: 404
}

// Definitions made at run time, and their configuration, over HTTP. Secrets go in and
// never come out.
func ExampleHandler_Integrations() {
	bf := newBifrost()
	defer bf.Close()

	h := httpadapter.New(bf, httpadapter.Config{
		Principal: func(*http.Request) (httpadapter.Principal, error) {
			return httpadapter.Principal{User: "root", Role: httpadapter.Admin}, nil
		},
		Orgs: httpadapter.OrgList{{ID: "acme", Name: "Acme Corporation"}, {ID: "globex", Name: "Globex"}},
	})
	send := func(method, path, body string) {
		r := httptest.NewRequest(method, "https://app.example.com"+path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		fmt.Println(strings.TrimSpace(fmt.Sprint(w.Code, " ", w.Header().Get("Location"))))
		if strings.HasSuffix(path, "/config") || strings.HasPrefix(path, "/api/orgs") {
			fmt.Print(w.Body)
		}
	}

	send(http.MethodPost, "/api/integrations", `{"name": "Maps", "config": [{"key": "api_key", "type": "secret"}]}`)
	send(http.MethodPatch, "/api/integrations/Maps/config", `{"api_key": "k-123"}`)
	send(http.MethodPatch, "/api/integrations/Maps", `{"description": "Streets and places"}`)
	send(http.MethodGet, "/api/orgs?q=corp", "")
	// Output:
	// 201 https://app.example.com/api/integrations/Maps
	// 200
	// {"items":[{"key":"api_key","type":"secret","description":"","required":false,"options":[],"default":null,"value":null,"set":true,"origin":"default"}],"next_cursor":""}
	// 200
	// 200
	// {"items":[{"id":"acme","name":"Acme Corporation"}],"next_cursor":""}
}

// In the host's own handlers, integrations.Get uses the signed-in user's
// organization.
func ExampleHandler_Middleware() {
	bf := newBifrost()
	defer bf.Close()

	h := httpadapter.New(bf, httpadapter.Config{Principal: signedIn})
	forecast := h.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		weather, err := integrations.Get(r.Context(), "Weather")
		if err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		fmt.Fprintln(w, "asking", weather.Name())
	}))

	show(forecast, "/forecast")
	// Output:
	// "" /forecast: 403
	// "alice" /forecast: 200
}
