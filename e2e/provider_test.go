package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// tokenLife is how long its access tokens live.
const tokenLife = 2 * time.Second

// provider is the certified OpenID provider of oidc/server.mjs, as a child process.
type provider struct {
	Issuer           string `json:"issuer"`
	AuthorizationURL string `json:"authorization_url"`
	TokenURL         string `json:"token_url"`
	RevocationURL    string `json:"revocation_url"`
	APIURL           string `json:"api_url"`
	ClientID         string `json:"client_id"`

	secret string
	auth   string // post or basic
}

// startProvider runs one that knows a single client: the quickstart at base.
func startProvider(t *testing.T, base, secret, auth string) *provider {
	t.Helper()
	node, err := exec.LookPath("node")
	need(t, err == nil, "node")
	_, err = os.Stat("oidc/node_modules/oidc-provider")
	need(t, err == nil, "oidc-provider (npm ci in e2e/oidc)")

	errors := &output{}
	cmd := exec.Command(node, "server.mjs")
	cmd.Dir = "oidc"
	cmd.Env = append(os.Environ(),
		"REDIRECT_URIS="+base+"/oauth/callback/"+integration+" "+base+"/oauth/callback/"+created,
		"CLIENT_SECRET="+secret,
		"CLIENT_AUTH=client_secret_"+auth,
	)
	cmd.Stderr = errors
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())

	ready := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(stdout).ReadString('\n')
		ready <- line
	}()
	t.Cleanup(func() {
		_ = stdin.Close()
		timer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		defer timer.Stop()
		_ = cmd.Wait()
	})

	p := &provider{secret: secret, auth: auth}
	select {
	case line := <-ready:
		require.NoError(t, json.Unmarshal([]byte(line), p), "oidc-provider: %s", errors)
	case <-time.After(patience):
		require.FailNow(t, "oidc-provider did not start", errors.String())
	}
	return p
}

// env is how the quickstart is told of it: by environment variables alone.
func (p *provider) env() []string {
	return []string{
		"OAUTH_CLIENT_ID=" + p.ClientID,
		"OAUTH_CLIENT_SECRET=" + p.secret,
		"OAUTH_CLIENT_AUTH=" + p.auth,
		"OAUTH_AUTHORIZATION_URL=" + p.AuthorizationURL,
		"OAUTH_TOKEN_URL=" + p.TokenURL,
		"OAUTH_REVOCATION_URL=" + p.RevocationURL,
		"OAUTH_ISSUER=" + p.Issuer,
		"OAUTH_SCOPES=openid offline_access",
		"OAUTH_AUTHORIZATION_PARAMS=prompt=consent",
		"API_URL=" + p.APIURL,
	}
}

// journal is what the provider saw and issued.
type journal struct {
	TokenRequests []tokenRequest `json:"token_requests"`
	API           map[string]int `json:"api"` // answers of GET /users by status
	Issued        []struct {
		Kind  string `json:"kind"`
		Value string `json:"value"`
	} `json:"issued"`
	// Revocations counts the requests to revoke a token that it followed.
	Revocations int `json:"revocations"`
	// Reused counts refresh tokens presented after their first time.
	Reused int `json:"reused"`
}

// tokenRequest is one request to the token endpoint; times are Unix milliseconds.
type tokenRequest struct {
	At           int64  `json:"at"`
	Done         *int64 `json:"done"`
	GrantType    string `json:"grant_type"`
	RefreshToken string `json:"refresh_token"` // SHA-256, hex
	Times        int    `json:"times"`         // how often that token had come, this time included
	Status       int    `json:"status"`        // 0: not seen by the provider, maybe never
}

// onTheWire reports whether the provider was busy with a token request at that
// instant, or may have been: sockets and two clocks readings need some slack.
func (j *journal) onTheWire(at time.Time) bool {
	const slack = 250
	ms := at.UnixMilli()
	for _, r := range j.TokenRequests {
		if r.At-slack <= ms && (r.Done == nil || ms <= *r.Done+slack) {
			return true
		}
	}
	return false
}

// waiting reports whether a token request is with the provider right now, which
// has (answered) or has not looked at it yet.
func (j *journal) waiting(answered bool) bool {
	for _, r := range j.TokenRequests {
		if r.Done == nil && (r.Status != 0) == answered {
			return true
		}
	}
	return false
}

// refreshes counts the refresh requests the provider granted.
func (j *journal) refreshes() int {
	n := 0
	for _, r := range j.TokenRequests {
		if r.GrantType == "refresh_token" && r.Status == http.StatusOK {
			n++
		}
	}
	return n
}

func (j *journal) String() string {
	var b strings.Builder
	for _, r := range j.TokenRequests {
		b.WriteString(time.UnixMilli(r.At).Format("15:04:05.000") + " " + r.GrantType + " " + strconv.Itoa(r.Status) +
			" presentation " + strconv.Itoa(r.Times) + " of " + r.RefreshToken[:min(8, len(r.RefreshToken))] + "\n")
	}
	return b.String()
}

// revoked waits until it has revoked so many tokens.
func (p *provider) revoked(t *testing.T, n int) {
	t.Helper()
	every := time.NewTicker(20 * time.Millisecond)
	defer every.Stop()
	for began := time.Now(); p.journal(t).Revocations < n; <-every.C {
		require.Less(t, time.Since(began), patience, "not revoked %d times", n)
	}
}

func (p *provider) journal(t *testing.T) *journal {
	t.Helper()
	var j journal
	p.ask(t, http.MethodGet, "/_journal", nil, &j)
	return &j
}

// control turns one of the provider's knobs: see server.mjs.
func (p *provider) control(t *testing.T, knobs map[string]any) {
	t.Helper()
	p.ask(t, http.MethodPost, "/_control", knobs, nil)
}

func (p *provider) ask(t *testing.T, method, path string, in, out any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	body, err := json.Marshal(in)
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(ctx, method, p.Issuer+path, bytes.NewReader(body))
	require.NoError(t, err)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, http.StatusOK, res.StatusCode)
	if out != nil {
		require.NoError(t, json.NewDecoder(res.Body).Decode(out))
	}
}
