// Gin mounts Bifrost on gin-gonic/gin, route by route. It is examples/stdmux on
// another router: only routes differs.
//
// gin keeps path parameters in its own context, and its handlers are its own
// type, so two small adapters are needed: mount and scoped.
//
//	cd examples/gin && go run .
package main

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"os"
	"strings"

	"github.com/gin-gonic/gin"

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
	h := httpadapter.New(bf, httpadapter.Config{Principal: whoIsThis(sessions), PathValue: param})
	gin.SetMode(gin.ReleaseMode)
	r := gin.New()
	r.POST("/login", gin.WrapF(sessions.SignIn))
	r.GET("/colleagues", scoped(h), colleagues)

	r.Any("/oauth/connect/:integration", mount(h.Connect()))
	r.Any("/oauth/callback/:integration", mount(h.Callback()))
	r.Any("/oauth/assets/:file", mount(h.Style()))
	r.Any("/api/integrations", mount(h.Integrations()))
	r.Any("/api/integrations/:integration", mount(h.Integration()))
	r.Any("/api/integrations/:integration/disconnect", mount(h.Disconnect()))
	return r
}

// paramsKey is where mount puts gin's path parameters.
type paramsKey struct{}

// mount makes a gin handler of one of Bifrost's. (gin.WrapH alone would do for
// h.API(), which routes by itself: r.Any("/oauth/*path", gin.WrapH(h.API())).)
func mount(h http.Handler) gin.HandlerFunc {
	return func(c *gin.Context) {
		ctx := context.WithValue(c.Request.Context(), paramsKey{}, c.Params)
		h.ServeHTTP(c.Writer, c.Request.WithContext(ctx))
	}
}

// param is where Bifrost looks path parameters up.
func param(r *http.Request, name string) string {
	params, _ := r.Context().Value(paramsKey{}).(gin.Params)
	return params.ByName(name)
}

// scoped is h.Middleware as gin middleware: it lets integrations.Get work in the
// handlers behind it.
func scoped(h *httpadapter.Handler) gin.HandlerFunc {
	return func(c *gin.Context) {
		passed := false
		next := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			passed, c.Request = true, r
			c.Next()
		})
		h.Middleware(next).ServeHTTP(c.Writer, c.Request)
		if !passed { // it has answered itself
			c.Abort()
		}
	}
}

// colleagues calls the API with the connection of its visitor's organization.
func colleagues(c *gin.Context) {
	ctx := c.Request.Context() // not c: gin's context does not pass on values by default
	graph, err := integrations.Get(ctx, "Microsoft_Graph")
	if errors.Is(err, integrations.ErrNotConnected) {
		c.String(http.StatusConflict, "Connect Microsoft Graph in the settings first.")
		return
	}
	var names []string
	if err == nil {
		names, err = demo.UserNames(ctx, graph.Client())
	}
	if err != nil {
		c.String(http.StatusServiceUnavailable, "Microsoft Graph cannot be reached. Try again later.")
		return
	}
	c.String(http.StatusOK, "%s", strings.Join(names, ", "))
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
