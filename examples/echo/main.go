// Echo mounts Bifrost on labstack/echo, route by route. It is examples/stdmux on
// another router: only routes differs.
//
// echo's own adapters are enough: WrapHandler fills in r.PathValue (since echo 5),
// and WrapMiddleware takes net/http middleware.
//
//	cd examples/echo && go run .
package main

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"os"
	"strings"

	"github.com/labstack/echo/v5"

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
	h := httpadapter.New(bf, httpadapter.Config{Principal: whoIsThis(sessions)})
	e := echo.New()
	e.POST("/login", echo.WrapHandler(http.HandlerFunc(sessions.SignIn)))
	e.GET("/colleagues", colleagues, echo.WrapMiddleware(h.Middleware))

	e.Any("/oauth/connect/:integration", echo.WrapHandler(h.Connect()))
	e.Any("/oauth/callback/:integration", echo.WrapHandler(h.Callback()))
	e.Any("/oauth/assets/:file", echo.WrapHandler(h.Style()))
	e.Any("/api/integrations", echo.WrapHandler(h.Integrations()))
	e.Any("/api/integrations/:integration", echo.WrapHandler(h.Integration()))
	e.Any("/api/integrations/:integration/disconnect", echo.WrapHandler(h.Disconnect()))
	return e
}

// colleagues calls the API with the connection of its visitor's organization.
func colleagues(c *echo.Context) error {
	ctx := c.Request().Context()
	graph, err := integrations.Get(ctx, "Microsoft_Graph")
	if errors.Is(err, integrations.ErrNotConnected) {
		return c.String(http.StatusConflict, "Connect Microsoft Graph in the settings first.")
	}
	var names []string
	if err == nil {
		names, err = demo.UserNames(ctx, graph.Client())
	}
	if err != nil {
		return c.String(http.StatusServiceUnavailable, "Microsoft Graph cannot be reached. Try again later.")
	}
	return c.String(http.StatusOK, strings.Join(names, ", "))
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
