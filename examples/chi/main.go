// Chi mounts Bifrost on go-chi/chi, route by route. It is examples/stdmux on
// another router: only routes differs.
//
// chi's handlers and middleware are net/http's, so nothing has to be adapted.
//
//	cd examples/chi && go run .
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

	"github.com/go-chi/chi/v5"

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
		Principal: whoIsThis(sessions),
		// chi 5.1 and later fills in r.PathValue as well; before, this is needed.
		PathValue: chi.URLParam,
	})
	r := chi.NewRouter()
	r.Post("/login", sessions.SignIn)
	r.With(h.Middleware).Get("/colleagues", colleagues)

	r.Handle("/oauth/connect/{integration}", h.Connect())
	r.Handle("/oauth/callback/{integration}", h.Callback())
	r.Handle("/oauth/assets/{file}", h.Style())
	r.Route("/api/integrations", func(r chi.Router) {
		r.Handle("/", h.Integrations())
		r.Handle("/{integration}", h.Integration())
		r.Handle("/{integration}/disconnect", h.Disconnect())
	})
	return r
}

// colleagues calls the API with the connection of its visitor's organization.
func colleagues(w http.ResponseWriter, r *http.Request) {
	graph, err := integrations.Get(r.Context(), "Microsoft_Graph")
	if errors.Is(err, integrations.ErrNotConnected) {
		http.Error(w, "Connect Microsoft Graph in the settings first.", http.StatusConflict)
		return
	}
	var names []string
	if err == nil {
		names, err = demo.UserNames(r.Context(), graph.Client())
	}
	if err != nil {
		http.Error(w, "Microsoft Graph cannot be reached. Try again later.", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, strings.Join(names, ", "))
}

func whoIsThis(sessions *demo.Sessions) func(*http.Request) (httpadapter.Principal, error) {
	return func(r *http.Request) (httpadapter.Principal, error) {
		user, ok := sessions.User(r)
		if !ok {
			return httpadapter.Principal{}, httpadapter.ErrNoPrincipal
		}
		return httpadapter.Principal{User: user.ID, Org: user.Org, Role: httpadapter.Member}, nil
	}
}

// run lets two people of two organizations visit the host.
func run(ctx context.Context, out io.Writer) (err error) {
	d, err := demo.New()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return d.Visit(ctx, routes(d.Bifrost, &demo.Sessions{}), out)
}
