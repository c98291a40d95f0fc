package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/oauthtest"
	"github.com/bifrost-go/bifrost/tokenstore"
)

const (
	// standInLifetime is how long its access tokens live: short, so that one can
	// watch them being renewed.
	standInLifetime = 60 * time.Second
	// standInPage is how many users it returns at once, so that there are pages.
	standInPage = 3
	// takeOverEvery is how often a process that uses another's stand-in looks
	// whether that one is gone.
	takeOverEvery = 200 * time.Millisecond

	standInClient       = "quickstart"
	standInPublicClient = "quickstart-public"
	// standInApp is for integrations that are made at run time: whoever makes one
	// has to know the secret, and nothing real is behind it.
	standInApp       = "my-app"
	standInAppSecret = "not-a-secret"

	// standInTenant is where client credentials are for if nobody says.
	standInTenant = "acme"
)

// standIn is the provider that is there when none is configured. It belongs to
// the database: its address and state are in files beside it, and of all
// processes on that database one serves it, for all. Whoever has the port is the
// one; when it dies, another takes over where it stopped.
type standIn struct {
	place     place
	stateFile string
	redirect  string
	log       *slog.Logger
	cancel    context.CancelFunc
	done      chan struct{}
}

// startStandIn serves the stand-in of a database, or finds it running. The
// redirectURI is registered beside all loopback ones. It goes on until ctx ends or
// Close is called: after Bifrost's Close, whose last refresh may need it.
func startStandIn(ctx context.Context, database, redirectURI string, log *slog.Logger) (*standIn, error) {
	p, listener, err := findPlace(ctx, database+".stand-in")
	if err != nil {
		return nil, fmt.Errorf("the stand-in provider: %w", err)
	}
	s := &standIn{place: p, stateFile: database + ".stand-in.state", redirect: redirectURI, log: log, done: make(chan struct{})}
	var provider http.Handler
	if listener != nil {
		// The port is the lock on the state, so the state is read after listening.
		if provider, err = s.provider(); err != nil {
			return nil, errors.Join(err, listener.Close())
		}
	}
	ctx, s.cancel = context.WithCancel(ctx)
	go s.run(ctx, listener, provider)
	return s, nil
}

// Close stops serving: requests under way are answered, and others turned away,
// before another process may take over.
func (s *standIn) Close() {
	s.cancel()
	<-s.done
}

// endpoints are the URLs of the stand-in.
func (s *standIn) endpoints() oauthtest.Endpoints { return oauthtest.At(s.place.origin()) }

// notice tells whoever started the quickstart what this is.
func (s *standIn) notice() string {
	return fmt.Sprintf(`OAUTH_CLIENT_ID is not set, so a stand-in for Microsoft's identity platform and Graph
answers at %s. Sign in as alice, with any password; alice@globex.example
and alice@initech.example belong to other directories. Its access tokens live %d seconds
only, so that you can watch them being renewed.`, s.place.origin(), int(standInLifetime.Seconds()))
}

// useStandIn fills in what the stand-in knows: its URLs and the client's
// credentials. Integrations made at run time may point at it.
func (s *settings) useStandIn(si *standIn) {
	urls := si.endpoints()
	s.client.AuthorizationURL, s.client.TokenURL, s.client.RevocationURL = urls.AuthorizationURL, urls.TokenURL, urls.RevocationURL
	s.apiURL = urls.UsersURL
	s.egress = append(s.egress, si.place.Address)
	if s.client.ClientAuth == oauthflow.AuthNone {
		s.client.ClientID = standInPublicClient
		return
	}
	s.client.ClientID = standInClient
	s.client.ClientSecret = tokenstore.NewSecret(si.place.clientSecret())
}

func (s *standIn) provider() (*oauthtest.Provider, error) {
	redirects := []string{s.redirect}
	return oauthtest.New(oauthtest.Config{
		Title:          "Stand-in for Microsoft",
		AccessLifetime: standInLifetime,
		PageSize:       standInPage,
		StateFile:      s.stateFile,
		IDToken:        oauthtest.UnsignedIDToken,
		Tenants:        standInTenants(),
		Clients: []oauthtest.Client{
			{ID: standInClient, Secret: s.place.clientSecret(), Name: "Bifrost quickstart", RedirectURIs: redirects, LoopbackRedirects: true},
			{ID: standInPublicClient, Name: "Bifrost quickstart", RedirectURIs: redirects, LoopbackRedirects: true},
			// The redirect URI follows from the integration's name or id, which only its
			// maker knows.
			{ID: standInApp, Secret: standInAppSecret, Name: "Integrations made at run time", LoopbackRedirects: true},
		},
	})
}

// standInTenants are directories for three organizations.
func standInTenants() []oauthtest.Tenant {
	return append(oauthtest.DefaultTenants(), oauthtest.Tenant{ID: "initech", Name: "Initech", Users: []oauthtest.User{
		{Username: "alice", Name: "Alice Aoki", JobTitle: "Auditor"},
		{Username: "lars", Name: "Lars Lund", JobTitle: "Engineer"},
	}})
}

// run serves while it has a listener, and otherwise waits for the port to become
// free.
func (s *standIn) run(ctx context.Context, listener net.Listener, provider http.Handler) {
	defer close(s.done)
	tick := time.NewTicker(takeOverEvery)
	defer tick.Stop()
	for {
		if listener != nil {
			if err := s.serve(ctx, listener, provider); err != nil {
				s.log.ErrorContext(ctx, "the stand-in provider stopped", "error", err)
			}
			listener = nil
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
		if ctx.Err() != nil { // also when both were ready: never take over from oneself
			return
		}
		l, err := s.place.listen(ctx)
		if err != nil {
			continue // the other process is alive
		}
		p, err := s.provider()
		if err != nil {
			s.log.ErrorContext(ctx, "cannot take over the stand-in provider", "error", err)
			_ = l.Close()
			continue
		}
		listener, provider = l, p
		s.log.InfoContext(ctx, "took over the stand-in provider from a process that ended", "address", s.place.Address)
	}
}

// serve answers until ctx ends.
func (s *standIn) serve(ctx context.Context, listener net.Listener, provider http.Handler) error {
	g := &gate{next: provider}
	mux := http.NewServeMux()
	mux.Handle("/", g)
	mux.HandleFunc("GET "+probePath, s.place.answerProbe)
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		// First the gate: the state must not change once the port is free.
		g.shut()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			_ = server.Close()
		}
	})
	err := server.Serve(listener)
	if !stop() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// gate lets requests through until it is shut, and waits for those inside.
type gate struct {
	next   http.Handler
	inside sync.RWMutex
	closed bool
}

// ServeHTTP implements http.Handler.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.inside.RLock()
	defer g.inside.RUnlock()
	if g.closed {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "the stand-in provider is stopping", http.StatusServiceUnavailable)
		return
	}
	g.next.ServeHTTP(w, r)
}

func (g *gate) shut() {
	g.inside.Lock()
	defer g.inside.Unlock()
	g.closed = true
}
