// Stdmux mounts Bifrost in a server that exists already, on net/http's own router:
// beside the host's pages, behind the host's sign-in, route by route.
//
// What one learns here: which routes connecting needs, how the host's session
// becomes a Principal, and how Middleware makes integrations.Get work in the
// host's own handlers. The routers in examples/chi, gin and echo differ in how
// routes are written, and in nothing else.
//
//	go run ./examples/stdmux
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"

	"github.com/bifrost-go/bifrost"
	"github.com/bifrost-go/bifrost/examples/demo"
	"github.com/bifrost-go/bifrost/httpadapter"
	"github.com/bifrost-go/bifrost/integrations"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// routes is the host's router.
func routes(bf *bifrost.Bifrost, sessions *demo.Sessions) http.Handler {
	h := httpadapter.New(bf, httpadapter.Config{
		Principal: func(r *http.Request) (httpadapter.Principal, error) {
			user, ok := sessions.User(r)
			if !ok {
				return httpadapter.Principal{}, httpadapter.ErrNoPrincipal
			}
			return httpadapter.Principal{User: user.ID, Org: user.Org, Role: httpadapter.Member}, nil
		},
	})
	mux := http.NewServeMux()

	// The host's own pages. Those that use an integration are behind Middleware,
	// which puts the user's organization into the context.
	mux.HandleFunc("POST /login", sessions.SignIn)
	mux.HandleFunc("GET /settings", settings)
	mux.Handle("GET /colleagues", h.Middleware(http.HandlerFunc(colleagues)))

	// Bifrost, route by route. What is not mounted does not exist. For all of them
	// at once: mux.Handle("/oauth/", h.API()) and mux.Handle("/api/", h.API()).
	mux.Handle("/oauth/connect/{integration}", h.Connect())
	mux.Handle("/oauth/callback/{integration}", h.Callback())
	mux.Handle("/oauth/assets/{file}", h.Style())
	mux.Handle("/api/integrations", h.Integrations())
	mux.Handle("/api/integrations/{integration}", h.Integration())
	mux.Handle("/api/integrations/{integration}/disconnect", h.Disconnect())
	return mux
}

// settings is a page of the host with a Connect button.
func settings(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintln(w, `<form method="post" action="/oauth/connect/Microsoft_Graph">`+
		`<input type="hidden" name="return_to" value="/settings"><button>Connect</button></form>`)
}

// colleagues is a page of the host that calls the API with the connection of the
// organization that its visitor belongs to.
func colleagues(w http.ResponseWriter, r *http.Request) {
	graph, err := integrations.Get(r.Context(), "Microsoft_Graph")
	switch {
	case errors.Is(err, integrations.ErrNoOrg):
		http.Error(w, "Sign in first.", http.StatusUnauthorized)
		return
	case errors.Is(err, integrations.ErrNotConnected), errors.Is(err, integrations.ErrReauthRequired):
		http.Error(w, "Connect Microsoft Graph in the settings first.", http.StatusConflict)
		return
	case err != nil:
		http.Error(w, "Microsoft Graph cannot be reached. Try again later.", http.StatusServiceUnavailable)
		return
	}
	names, err := demo.UserNames(r.Context(), graph.Client())
	if err != nil {
		http.Error(w, "Microsoft Graph cannot be reached. Try again later.", http.StatusBadGateway)
		return
	}
	fmt.Fprintln(w, strings.Join(names, ", "))
}

// run lets two people of two organizations visit the host.
func run(ctx context.Context, out io.Writer) (err error) {
	d, err := demo.New()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	app := routes(d.Bifrost, &demo.Sessions{}) // a host goes on with http.ListenAndServe(":8080", app)
	return d.Visit(ctx, app, out)
}
