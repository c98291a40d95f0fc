package httpadapter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/bifrost-go/bifrost"
	"github.com/bifrost-go/bifrost/internal/loopback"
)

// Config is what [New] needs. Without a Principal hook every management route
// answers 401.
type Config struct {
	// Principal says who a request is: this is where the host's own sign-in comes
	// in. It returns [ErrNoPrincipal] when nobody is signed in; any other error
	// makes the answer a 503. A Principal without User, or a Member without Org,
	// counts as nobody. The request's path may lack BaseURL's.
	Principal func(*http.Request) (Principal, error)

	// Unauthenticated answers requests that nobody is signed in for, for example
	// by a redirect to the host's sign-in. Default: 401.
	Unauthenticated http.Handler

	// ReturnOrigins are further origins (scheme://host[:port], exactly) that
	// return_to may lead to. BaseURL's is always allowed.
	ReturnOrigins []string

	// FormOrigins are further origins that Connect buttons may lead to, such as
	// https://*.my.salesforce.com. The authorization endpoint's own is always
	// allowed; if that endpoint at once redirects to another host (Slack, Atlassian
	// and Salesforce do), Chromium stops there unless the host is named here.
	FormOrigins []string

	// Orgs is the host's directory of organizations, such as an [OrgList]: pages offer
	// an admin the first few, and take any. Optional.
	Orgs Orgs

	// CheckHost answers requests whose Host is not BaseURL's with 421, or for pages
	// with a redirect to BaseURL. Where BaseURL is this machine (localhost) that is
	// always so.
	CheckHost bool

	// PathValue returns a path parameter, {integration}, {org}, {workflow}, {id} or
	// {file}, for handlers mounted one by one on a router that keeps them elsewhere.
	// Default (*http.Request).PathValue.
	PathValue func(r *http.Request, name string) string

	// Logger defaults to slog.Default().
	Logger *slog.Logger
}

// Handler serves Bifrost over HTTP: as a whole, or one route at a time through
// its methods. Make one with [New]; it is safe for concurrent use.
type Handler struct {
	bf     *bifrost.Bifrost
	cfg    Config
	log    *slog.Logger
	base   *url.URL // BaseURL, without trailing slash
	origin string   // its scheme://host

	checksHost bool
	cross      *http.CrossOriginProtection
	whole, api http.Handler
}

// New returns a handler for everything: connecting, the JSON API and the pages.
// Mount it at BaseURL's path, with or without http.StripPrefix:
//
//	mux.Handle("/", httpadapter.New(bf, httpadapter.Config{Principal: whoIsThis}))
//
// Where the host's own pages have "/", mount [Handler.API] instead, or single
// routes. New panics if bf is nil or the configuration contradicts itself, as
// http.ServeMux.Handle does.
func New(bf *bifrost.Bifrost, cfg Config) *Handler {
	if bf == nil {
		panic("httpadapter: New needs a *bifrost.Bifrost, from bifrost.New")
	}
	for _, origin := range cfg.ReturnOrigins {
		if err := checkOrigin(origin); err != nil {
			panic(err)
		}
	}
	for _, origin := range cfg.FormOrigins {
		if !cspSource(origin) {
			panic(fmt.Errorf("httpadapter: Config.FormOrigins %q: must be scheme://host, where the host may begin with \"*.\"", origin))
		}
	}
	if cfg.PathValue == nil {
		cfg.PathValue = (*http.Request).PathValue
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	base := bf.BaseURL()
	h := &Handler{
		bf: bf, cfg: cfg, log: cfg.Logger, base: base, origin: base.Scheme + "://" + base.Host,
		checksHost: cfg.CheckHost || loopback.Host(base.Hostname()),
		cross:      http.NewCrossOriginProtection(),
	}
	if err := h.cross.AddTrustedOrigin(h.origin); err != nil {
		panic(err) // bifrost.New has checked BaseURL
	}
	if cfg.Principal == nil {
		h.log.Warn("httpadapter: Config.Principal is nil, so every management route answers 401; tell it who a request is")
	}
	h.api = h.mux(false)
	h.whole = h.mux(true)
	return h
}

// ServeHTTP implements http.Handler: all routes and pages.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.whole.ServeHTTP(w, r) }

// API returns a handler for everything except the pages: mount it at BaseURL's
// path + "/api/" and "/oauth/".
//
//	mux.Handle("/api/", h.API())
//	mux.Handle("/oauth/", h.API())
func (h *Handler) API() http.Handler { return h.api }

// endpoint is one route.
type endpoint struct {
	name    string // what Handler's method for it is called
	pattern string // of http.ServeMux, without a method
	methods string // the Allow header: "GET, HEAD"
	surface surface
	page    bool // only where the handler is mounted whole
	open    bool // needs no principal: it looks for one itself, or needs none
	body    int64
	// personal: ?user= and ?account= choose a connection.
	personal bool
	serve    serveFunc
	// admins serve, by method, what only administrators may do. HEAD is GET.
	admins map[string]serveFunc
}

type serveFunc func(w http.ResponseWriter, r *http.Request, c caller) error

// handler puts what every route needs around an endpoint: headers, the Host
// check, methods, cross-origin protection, the principal, and errors.
func (h *Handler) handler(e endpoint) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secure(w)
		if h.checkHost(w, r, e.surface) {
			return
		}
		if err := h.run(e, w, r); err != nil {
			h.fail(w, r, e.surface, err)
		}
	})
}

func (h *Handler) run(e endpoint, w http.ResponseWriter, r *http.Request) error {
	if !e.allows(r.Method) {
		return &problem{
			Status: http.StatusMethodNotAllowed, Type: "method-not-allowed",
			Detail: "This can be asked with " + e.methods + ".", allow: e.methods,
		}
	}
	if err := h.cross.Check(r); err != nil {
		return &problem{
			Status: http.StatusForbidden, Type: "cross-site",
			Detail: "Another site sent this. Changes are accepted from " + h.origin + " only.", cause: err,
		}
	}
	limit := e.body
	if limit == 0 {
		limit = maxSmallBody
	}
	r.Body = http.MaxBytesReader(w, r.Body, limit)
	if e.open {
		return e.serve(w, r, caller{})
	}
	who, err := h.identify(r)
	if errors.Is(err, ErrNoPrincipal) {
		if h.cfg.Unauthenticated == nil {
			return errUnauthenticated
		}
		insecure(w)
		w.Header().Set("Cache-Control", "no-store")
		h.cfg.Unauthenticated.ServeHTTP(w, r)
		return nil
	}
	if err != nil {
		return err
	}
	c, err := access(who, r)
	if err != nil {
		return err
	}
	if e.personal {
		if c, err = c.personal(r); err != nil {
			return err
		}
	}
	return e.server(r.Method, c)(w, r, c)
}

// server returns what serves a method that is allowed.
func (e endpoint) server(method string, c caller) serveFunc {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	serve, ok := e.admins[method]
	switch {
	case !ok:
		return e.serve
	case !c.admin():
		return forbidden
	}
	return serve
}

func forbidden(http.ResponseWriter, *http.Request, caller) error { return errForbidden }

func (e endpoint) allows(method string) bool {
	for allowed := range strings.SplitSeq(e.methods, ", ") {
		if method == allowed {
			return true
		}
	}
	return false
}

// fail answers with an error, as JSON or as a page.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, s surface, err error) {
	p := problemOf(err)
	h.logCause(r, p)
	if s.speaksJSON(r) {
		p.write(w)
		return
	}
	h.problemPage(w, r, p)
}

// logCause logs what is this server's fault, or its store's or provider's.
func (h *Handler) logCause(r *http.Request, p *problem) {
	switch {
	case p.cause == nil || errors.Is(p.cause, context.Canceled):
	case p.Status == http.StatusInternalServerError:
		h.log.ErrorContext(r.Context(), "httpadapter: a request failed", "path", r.URL.Path, "error", p.cause)
	case p.Status > http.StatusInternalServerError:
		h.log.WarnContext(r.Context(), "httpadapter: a request could not be served", "path", r.URL.Path, "error", p.cause)
	}
}
