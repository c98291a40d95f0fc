package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/bifrost-go/bifrost"
	"github.com/bifrost-go/bifrost/httpadapter"
	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/postgres"
	"github.com/bifrost-go/bifrost/sqlite"
	"github.com/bifrost-go/bifrost/workflow"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Getenv, os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "quickstart: %v\n", err)
		os.Exit(1)
	}
}

// open opens the database.
func (s *settings) open(ctx context.Context, log *slog.Logger) (bifrost.Store, error) {
	if s.postgres != "" {
		return postgres.Open(ctx, s.postgres, postgres.Listen(s.listen), postgres.Logger(log))
	}
	return sqlite.Open(s.database)
}

// run serves until ctx ends.
func run(ctx context.Context, getenv func(string) string, out, logs io.Writer) (err error) {
	s, err := readSettings(getenv)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(logs, nil))
	listener, err := listen(ctx, s.addr)
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }() // again, if it was served: harmless

	keys, err := s.keyring()
	if err != nil {
		return err
	}
	db, err := s.open(ctx, log)
	if err != nil {
		return fmt.Errorf("DATABASE: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()

	var provider *standIn
	if s.standIn {
		provider, err = startStandIn(context.WithoutCancel(ctx), s.database, s.redirectURI(), log)
		if err != nil {
			return err
		}
		defer provider.Close() // after Bifrost, whose last refresh may need it
		s.useStandIn(provider)
	}

	bf, err := bifrost.New(bifrost.Config{BaseURL: s.baseURL, Store: db, Keys: keys, Egress: s.egress, Logger: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bf.Close()) }()
	err = bf.Integrations.Define(integrations.Definition{
		Name: integrationName, Description: "Microsoft Graph API connection",
		DefaultEntityID: s.entityID, APIHosts: []string{s.apiHost()}, OAuth: &s.client,
	})
	if err != nil {
		return err
	}
	_, err = workflow.Register(bf.Workflows, "list_users", listUsers(s.apiURL), workflow.Description("List users from Microsoft Graph"))
	if err != nil {
		return err
	}
	if err := bf.Start(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	defer reseal(ctx, bf, keys, log)()
	s.welcome(out, provider)
	return serve(ctx, listener, routes(bf, s, log))
}

// routes is the host's router: Bifrost at "/", and the host's own beside it.
func routes(bf *bifrost.Bifrost, s *settings, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", httpadapter.New(bf, httpadapter.Config{
		Principal: s.principal, Unauthenticated: http.HandlerFunc(askPassword), Logger: log,
		Orgs: directory(s.orgs),
	}))
	mux.Handle("/healthz", httpadapter.HealthHandler())
	mux.Handle("/readyz", httpadapter.ReadyHandler(bf))
	return mux
}

// directory stands for the host's list of its organizations.
func directory(ids []string) (list httpadapter.OrgList) {
	for _, id := range ids {
		list = append(list, httpadapter.Org{ID: id})
	}
	return list
}

func listen(ctx context.Context, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("ADDR: another program listens on %s already; stop it, or choose another port: ADDR=127.0.0.1:8081", addr)
	}
	if err != nil {
		return nil, fmt.Errorf("ADDR: cannot listen on %s: %w", addr, err)
	}
	return l, nil
}

// serve answers until ctx ends, and then lets requests under way finish.
func serve(ctx context.Context, l net.Listener, h http.Handler) error {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if server.Shutdown(ctx) != nil {
		return server.Close()
	}
	return nil
}
