package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/oauthtest"
)

const redirectURI = "http://localhost:8080/oauth/callback/Microsoft_Graph"

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func startTestStandIn(t *testing.T, database string) *standIn {
	t.Helper()
	s, err := startStandIn(t.Context(), database, redirectURI, quiet())
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// tokens asks the token endpoint; ok is false if there was no answer.
func tokens(t *testing.T, s *standIn, auth oauthflow.ClientAuth, params ...string) (members map[string]any, ok bool) {
	t.Helper()
	set := settings{client: oauthflow.Client{Provider: oauthflow.Provider{ClientAuth: auth}}}
	set.useStandIn(s)
	form := url.Values{"client_id": {set.client.ClientID}}
	if !set.client.ClientSecret.IsZero() {
		form.Set("client_secret", set.client.ClientSecret.Reveal())
	}
	for i := 0; i < len(params); i += 2 {
		form.Set(params[i], params[i+1])
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.endpoints().For("common").TokenURL, strings.NewReader(form.Encode()))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := client.Do(req)
	if err != nil {
		return nil, false
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode == http.StatusServiceUnavailable {
		return nil, false
	}
	require.NoError(t, json.NewDecoder(res.Body).Decode(&members))
	return members, true
}

// connectAccount walks the stand-in's pages and returns a refresh token.
func connectAccount(t *testing.T, s *standIn, auth oauthflow.ClientAuth, redirectURI string) string {
	t.Helper()
	set := settings{client: oauthflow.Client{Provider: oauthflow.Provider{ClientAuth: auth}}}
	set.useStandIn(s)
	const verifier = "0123456789012345678901234567890123456789012"
	const challenge = "_RpfHqw8pAZIomzVUE7sjRmHSM543WVdC4o-Kc4_3C0"
	request := s.endpoints().For("common").AuthorizationURL + "?" + url.Values{
		"client_id": {set.client.ClientID}, "response_type": {"code"}, "redirect_uri": {redirectURI}, "scope": {"offline_access x"},
		"code_challenge": {challenge}, "code_challenge_method": {"S256"},
	}.Encode()
	back, err := oauthtest.Browser{Client: client}.Walk(t.Context(), request)
	require.NoError(t, err)
	u, err := url.Parse(back)
	require.NoError(t, err)
	members, ok := tokens(t, s, auth, "grant_type", "authorization_code", "code", u.Query().Get("code"),
		"redirect_uri", redirectURI, "code_verifier", verifier)
	require.True(t, ok)
	require.Contains(t, members, "refresh_token", members)
	require.EqualValues(t, standInLifetime.Seconds(), members["expires_in"])
	return members["refresh_token"].(string)
}

// refreshSoon refreshes as soon as somebody answers.
func refreshSoon(t *testing.T, s *standIn, token string) string {
	t.Helper()
	var next string
	require.Eventually(t, func() bool {
		members, ok := tokens(t, s, oauthflow.AuthPost, "grant_type", "refresh_token", "refresh_token", token)
		next, _ = members["refresh_token"].(string)
		return ok
	}, 30*time.Second, 20*time.Millisecond)
	require.NotEmpty(t, next)
	return next
}

// The stand-in is where it was, and remembers what it knew.
func TestStandInRestarts(t *testing.T) {
	database := filepath.Join(t.TempDir(), "bifrost.db")
	first := startTestStandIn(t, database)
	require.Contains(t, first.notice(), first.place.origin())
	require.Contains(t, first.notice(), "60 seconds")
	token := connectAccount(t, first, oauthflow.AuthPost, redirectURI)
	connectAccount(t, first, oauthflow.AuthNone, "http://127.0.0.1:1/cb")
	first.Close()

	second := startTestStandIn(t, database)
	require.Equal(t, first.endpoints(), second.endpoints())
	require.NotEmpty(t, refreshSoon(t, second, token))
	for _, file := range []string{".stand-in", ".stand-in.state"} {
		info, err := os.Stat(database + file)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	}

	elsewhere := startTestStandIn(t, filepath.Join(t.TempDir(), "bifrost.db"))
	require.NotEqual(t, first.place, elsewhere.place, "each database has its own")
	require.False(t, place{Address: second.place.Address, Secret: elsewhere.place.Secret}.probe(t.Context()))
}

// A redirect URI that is not on loopback is accepted if it is BASE_URL's.
func TestStandInKnowsTheRedirectURI(t *testing.T) {
	s, err := startStandIn(t.Context(), filepath.Join(t.TempDir(), "x.db"), "https://app.example.com/oauth/callback/Microsoft_Graph", quiet())
	require.NoError(t, err)
	t.Cleanup(s.Close)
	connectAccount(t, s, oauthflow.AuthPost, "https://app.example.com/oauth/callback/Microsoft_Graph")
	connectAccount(t, s, oauthflow.AuthBasic, redirectURI)
}

// Of many processes that start at once, one serves and all use it.
func TestStandInIsShared(t *testing.T) {
	database := filepath.Join(t.TempDir(), "bifrost.db")
	all := make(chan *standIn, 5)
	for range cap(all) {
		go func() {
			s, err := startStandIn(t.Context(), database, redirectURI, quiet())
			if err != nil {
				t.Error(err)
			}
			all <- s
		}()
	}
	var started []*standIn
	for range cap(all) {
		s := <-all
		require.NotNil(t, s)
		t.Cleanup(s.Close)
		started = append(started, s)
	}
	token := connectAccount(t, started[0], oauthflow.AuthPost, redirectURI)
	for _, s := range started {
		require.Equal(t, started[0].endpoints(), s.endpoints())
		// Whoever serves goes away, and the next one takes over.
		token = refreshSoon(t, s, token)
		if s != started[len(started)-1] {
			s.Close()
		}
	}
	refreshSoon(t, started[len(started)-1], token)
}

const standInDatabase = "QUICKSTART_TEST_DATABASE"

// TestStandInProcess is no test: it is the process that the next one kills.
func TestStandInProcess(t *testing.T) {
	database := os.Getenv(standInDatabase)
	if database == "" {
		return
	}
	s, err := startStandIn(context.Background(), database, redirectURI, quiet())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("started")
	<-s.done
}

func TestStandInSurvivesKill(t *testing.T) {
	database := filepath.Join(t.TempDir(), "bifrost.db")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestStandInProcess$")
	cmd.Env = append(os.Environ(), standInDatabase+"="+database)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewReader(out)
	line, err := lines.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "started\n", line)

	s := startTestStandIn(t, database)
	token := connectAccount(t, s, oauthflow.AuthPost, redirectURI) // served by the other process
	token = refreshSoon(t, s, token)
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	refreshSoon(t, s, token) // served by this one
}

// Integrations made at run time have a client of their own, which may be sent
// back to any name, and get tokens of each tenant.
func TestStandInServesIntegrationsMadeAtRunTime(t *testing.T) {
	s := startTestStandIn(t, filepath.Join(t.TempDir(), "bifrost.db"))
	request := s.endpoints().For("initech").AuthorizationURL + "?" + url.Values{
		"client_id": {standInApp}, "response_type": {"code"}, "scope": {"x"},
		"redirect_uri":   {"http://localhost:8080/oauth/callback/0198c0de-0000-7000-8000-000000000000"},
		"code_challenge": {"_RpfHqw8pAZIomzVUE7sjRmHSM543WVdC4o-Kc4_3C0"}, "code_challenge_method": {"S256"},
	}.Encode()
	back, err := oauthtest.Browser{Client: client}.Walk(t.Context(), request)
	require.NoError(t, err)
	require.Contains(t, back, "code=")

	for _, tenant := range standInTenants() {
		res, err := client.PostForm(s.endpoints().For(tenant.ID).TokenURL, url.Values{
			"grant_type": {"client_credentials"}, "scope": {applicationScopes}, "client_id": {standInApp}, "client_secret": {standInAppSecret},
		})
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, http.StatusOK, res.StatusCode, tenant.ID)
	}
}

func TestStandInProblems(t *testing.T) {
	dir := t.TempDir()
	database := filepath.Join(dir, "bifrost.db")
	start := func() error {
		s, err := startStandIn(t.Context(), database, redirectURI, quiet())
		if err == nil {
			s.Close()
		}
		return err
	}
	require.NoError(t, start())

	t.Run("port taken", func(t *testing.T) {
		p, err := readPlace(database + ".stand-in")
		require.NoError(t, err)
		listener, err := p.listen(t.Context())
		require.NoError(t, err)
		server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "somebody else")
		})}
		go func() { _ = server.Serve(listener) }()
		t.Cleanup(func() { _ = server.Close() })
		err = start()
		require.ErrorContains(t, err, p.Address)
		require.ErrorContains(t, err, "delete "+database+".stand-in")
		require.NotContains(t, err.Error(), p.Secret)
	})
	t.Run("cancelled while waiting", func(t *testing.T) {
		p, err := readPlace(database + ".stand-in")
		require.NoError(t, err)
		require.Eventually(t, func() bool { // the last test's server is going away
			listener, err := p.listen(t.Context())
			if err == nil {
				t.Cleanup(func() { _ = listener.Close() })
			}
			return err == nil
		}, 10*time.Second, 10*time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		_, err = startStandIn(ctx, database, redirectURI, quiet())
		require.Error(t, err)
	})
	t.Run("damaged state", func(t *testing.T) {
		require.NoError(t, os.WriteFile(database+".stand-in.state", []byte("{"), 0o600))
		require.ErrorContains(t, start(), "delete it to begin anew")
	})
	t.Run("damaged place", func(t *testing.T) {
		for _, text := range []string{"", "{}", `{"address":"10.0.0.1:80","secret":"x"}`, `{"address":"127.0.0.1:80"}`} {
			require.NoError(t, os.WriteFile(database+".stand-in", []byte(text), 0o600))
			require.ErrorContains(t, start(), "is damaged")
		}
	})
	t.Run("directory gone", func(t *testing.T) {
		database = filepath.Join(dir, "none", "bifrost.db")
		require.Error(t, start())
	})
}

// Requests that are inside when the gate shuts are answered; later ones are
// turned away with a status that means: not processed, try again.
func TestGate(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	g := &gate{next: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-leave
		w.WriteHeader(http.StatusNoContent)
	})}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &http.Server{Handler: g, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	status := make(chan int, 2)
	get := func() {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+listener.Addr().String(), nil)
		if err != nil {
			status <- 0
			return
		}
		res, err := client.Do(req)
		if err != nil {
			status <- 0
			return
		}
		_ = res.Body.Close()
		status <- res.StatusCode
	}
	go get()
	<-entered
	shut := make(chan struct{})
	go func() {
		g.shut()
		close(shut)
	}()
	select {
	case <-shut:
		t.Fatal("shut before the request was answered")
	default:
	}
	close(leave)
	require.Equal(t, http.StatusNoContent, <-status)
	<-shut
	get()
	require.Equal(t, http.StatusServiceUnavailable, <-status)
}
