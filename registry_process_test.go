package bifrost_test

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost"
	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/oauthtest"
	"github.com/bifrost-go/bifrost/sqlite"
	"github.com/bifrost-go/bifrost/tokenstore"
	"github.com/bifrost-go/bifrost/workflow"
)

// The tests of registry_*_test.go run this test binary again as other processes
// on one database, and kill them.
const registryVariable = "BIFROST_TEST_REGISTRY"

// registryConfig is what a child process is to do.
type registryConfig struct {
	Dir   string // with the database and the provider's state
	Keys  string
	Task  string
	Point int // for killedBetweenWrites: the place at which it kills itself; 0: none
	First int // for killedAtAnyMoment: the number of its first round
}

// TestRegistryChild is the child process, and nothing without its variable.
func TestRegistryChild(t *testing.T) {
	text := os.Getenv(registryVariable)
	if text == "" {
		t.Skip("only as a child process")
	}
	var cfg registryConfig
	require.NoError(t, json.Unmarshal([]byte(text), &cfg))
	switch cfg.Task {
	case "rounds":
		playRounds(t, cfg)
	case "share":
		shareAsChild(t, cfg)
	case "reseal":
		resealAsChild(t, cfg)
	default:
		runStep(t, cfg)
	}
}

// tell says a line to the parent, which reads whole lines only.
func tell(format string, args ...any) { fmt.Printf("\nchild: "+format+"\n", args...) }

// child is a running child process.
type child struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines chan string // what it told; closed at its end
}

// childPatience is how long a child may take for anything.
const childPatience = 2 * time.Minute

func startChild(t *testing.T, cfg registryConfig) *child {
	t.Helper()
	text, err := json.Marshal(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), childPatience)
	c := &child{cmd: exec.CommandContext(ctx, os.Args[0], "-test.run=^TestRegistryChild$"), lines: make(chan string, 1000)}
	c.cmd.Env = append(os.Environ(), registryVariable+"="+string(text), "GORACE=atexit_sleep_ms=0")
	c.cmd.Stderr = os.Stderr
	c.stdin, err = c.cmd.StdinPipe()
	require.NoError(t, err)
	out, err := c.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.cmd.Start())
	t.Cleanup(func() {
		_ = c.cmd.Process.Kill()
		c.end()
		_ = c.cmd.Wait()
		cancel()
	})
	go func() {
		defer close(c.lines)
		for in := bufio.NewReader(out); ; {
			line, err := in.ReadString('\n')
			if err != nil {
				return // a line that the kill cut in two does not count
			}
			switch said, ok := strings.CutPrefix(line, "child: "); {
			case ok:
				c.lines <- strings.TrimSpace(said)
			case strings.HasPrefix(line, "panic: "), strings.Contains(line, "Error"):
				fmt.Fprint(os.Stderr, line)
			}
		}
	}()
	return c
}

// end waits for the child to end, by itself or killed, and returns what it told
// and was not read yet.
func (c *child) end() (rest []string) {
	for line := range c.lines {
		rest = append(rest, line)
	}
	return rest
}

// site is a Bifrost on the files of a directory, with a provider.
type site struct {
	*bifrost.Bifrost
	db       *sqlite.DB
	store    bifrost.Store // db, or what is in its place
	raw      *sql.DB       // the same, past Bifrost
	dir      string
	provider *oauthtest.Provider // of the application "client" with its secret

	meanwhile func()       // called before each request to the provider, unless nil
	asking    sync.RWMutex // for reading while the provider is asked
}

const (
	databaseFile = "bifrost.db"
	providerFile = "provider.json"
	tokensFile   = "tokens.json"
	login        = "https://login.oauthtest.example"
)

// openSite opens the database; wrap, unless nil, comes between it and Bifrost.
func openSite(t *testing.T, dir, keys string, wrap func(*sqlite.DB) bifrost.Store) *site {
	t.Helper()
	file := filepath.Join(dir, databaseFile)
	db, err := sqlite.Open(file)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	s := &site{db: db, dir: dir}
	s.raw, err = sql.Open("sqlite", "file:"+file)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.raw.Close()) })
	s.provide(t, "secret-1")
	store := bifrost.Store(db)
	if wrap != nil {
		store = wrap(db)
	}
	s.store = store
	s.Bifrost, err = bifrost.New(bifrost.Config{
		BaseURL: "http://localhost:8080", Store: store, Keys: keyring(t, keys), Transport: s,
		Staleness: sharedStaleness, Egress: []string{"*.oauthtest.example"}, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	workflow.MustRegister(s.Workflows, "job", func(ctx context.Context, _ struct{}) (string, error) {
		workflow.Logger(ctx).Info("called")
		return "done", nil
	})
	return s
}

// provide starts the provider anew, with what it knows in its file.
func (s *site) provide(t *testing.T, secret string) {
	t.Helper()
	var err error
	s.asking.Lock() // one provider at a time may use the file
	defer s.asking.Unlock()
	s.provider, err = oauthtest.New(oauthtest.Config{
		URL: login, StateFile: filepath.Join(s.dir, providerFile), Clients: []oauthtest.Client{{ID: "client", Secret: secret}},
	})
	require.NoError(t, err)
}

// RoundTrip implements http.RoundTripper.
func (s *site) RoundTrip(req *http.Request) (*http.Response, error) {
	if s.meanwhile != nil {
		s.meanwhile()
	}
	s.asking.RLock()
	defer s.asking.RUnlock()
	return s.provider.RoundTripper().RoundTrip(req)
}

// described is a definition; every field that differs between versions says which
// one it is.
func described(name, org string, version int) integrations.Definition {
	e := oauthtest.At(login)
	return integrations.Definition{
		Name: name, Org: org, Description: fmt.Sprint("version ", version), DefaultEntityID: "acme",
		APIHosts: []string{"api.oauthtest.example"}, NoFallback: version > 1,
		Config: []integrations.ConfigField{
			{Key: "api_key", Type: integrations.ConfigSecret},
			{Key: "region", Type: integrations.ConfigString, Default: fmt.Sprint("region ", version)},
		},
		OAuth: &oauthflow.Client{
			Provider: oauthflow.Provider{AuthorizationURL: e.AuthorizationURL, TokenURL: e.TokenURL, RevocationURL: e.RevocationURL},
			ClientID: "client", ClientSecret: bifrost.Secret(fmt.Sprint("secret-", version)), Scopes: []string{"offline_access", "Directory.Read.All"},
		},
	}
}

// update makes version 2 of a definition.
func update(d *integrations.Definition) error {
	next := described(d.Name, d.Org, 2)
	*d = next
	return nil
}

// connect begins to connect an account, and finishes it as a browser would.
func (s *site) connect(t *testing.T, name, user string, opts ...integrations.Option) {
	t.Helper()
	require.NoError(t, s.tryConnect(t, name, user, opts...))
}

// tryConnect returns the callback's error.
func (s *site) tryConnect(t *testing.T, name, user string, opts ...integrations.Option) error {
	t.Helper()
	started, err := s.Integrations.Connect(t.Context(), name, integrations.ConnectOptions{Principal: "admin", ReturnTo: "/"}, opts...)
	require.NoError(t, err)
	callback, err := s.provider.Authorize(t.Context(), started.AuthorizationURL, user)
	require.NoError(t, err)
	u, err := url.Parse(callback)
	require.NoError(t, err)
	id, ok, err := s.Integrations.CallbackDefinition(t.Context(), path.Base(u.Path))
	require.NoError(t, err)
	require.True(t, ok)
	_, err = s.Integrations.Callback(t.Context(), oauthflow.CallbackRequest{
		RawQuery: u.RawQuery, Definition: id, Principal: "admin", HasPrincipal: true,
		Cookie: func(name string) string {
			if name != started.Cookie.Name {
				return ""
			}
			return started.Cookie.Value
		},
		Allowed: func(tokenstore.Key) bool { return true },
	})
	return err
}

// configure sets a secret config value in a scope.
func (s *site) configure(ctx context.Context, name, key string, opts ...integrations.Option) error {
	_, err := s.Integrations.SetConfig(ctx, name, map[string]any{"api_key": key}, "admin", opts...)
	return err
}

func (s *site) mapTo(ctx context.Context, name, org, entity string) error {
	_, err := s.Integrations.SetMapping(ctx, name, integrations.Mapping{Org: org, EntityID: entity, EntityName: "The " + entity}, "admin", integrations.Global())
	return err
}

// unless returns err, or nil if it is one of those that are all right.
func unless(err error, fine ...error) error {
	for _, f := range fine {
		if errors.Is(err, f) {
			return nil
		}
	}
	return err
}
