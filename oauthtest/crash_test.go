package oauthtest_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthtest"
)

const crashStateFile = "OAUTHTEST_CRASH_STATE_FILE"

// serveForCrashTest turns the test binary into a provider that is there to be
// killed.
func serveForCrashTest() {
	file := os.Getenv(crashStateFile)
	if file == "" {
		return
	}
	p, err := oauthtest.New(oauthtest.Config{StateFile: file})
	if err != nil {
		fmt.Fprintln(os.Stdout, "error:", err)
		os.Exit(1)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stdout, "error:", err)
		os.Exit(1)
	}
	fmt.Fprintln(os.Stdout, "http://"+listener.Addr().String())
	server := &http.Server{Handler: p, ReadHeaderTimeout: time.Minute}
	fmt.Fprintln(os.Stdout, "error:", server.Serve(listener))
	os.Exit(1)
}

// startVictim starts a provider in a process of its own.
func startVictim(t *testing.T, file string) (base string, kill func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), crashStateFile+"="+file)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(line, "http://"), line)
	var once sync.Once
	return strings.TrimSpace(line), func() {
		once.Do(func() {
			_ = cmd.Process.Kill() // SIGKILL
			_ = cmd.Wait()         // "signal: killed"
		})
	}
}

// The provider is killed in the middle of many refreshes, again and again. Every
// token whose reply arrived must be good afterwards: its state was durable before
// the reply left. A token that was on the wire is either still good or was
// rotated; nothing is ever forgotten.
func TestKill(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state.json")
	const grants, rounds = 4, 8
	a := &app{t: t, http: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, id: "test-client", secret: "test-client-secret"}
	type grant struct {
		token  string
		onWire bool // the last refresh got no reply
	}
	all := make([]grant, grants)
	lost, healed := 0, 0
	for round := range rounds {
		base, kill := startVictim(t, file)
		t.Cleanup(kill)
		a.urls = oauthtest.At(base).For("common")
		for i := range all {
			g := &all[i]
			if g.token == "" {
				g.token = a.connect("alice").str("refresh_token")
			}
			r := a.refresh(g.token)
			switch {
			case r.Status == http.StatusOK:
				g.token = r.str("refresh_token")
				if g.onWire {
					healed++
				}
			case g.onWire: // it had been rotated, and the kill took the reply
				a.requireError(r, http.StatusBadRequest, "invalid_grant")
				lost++
				g.token = a.connect("alice").str("refresh_token")
			default:
				t.Fatalf("round %d: a refresh token that was delivered is not good any more: %s", round, r.Body)
			}
			g.onWire = false
		}
		var replies atomic.Int64
		var wg sync.WaitGroup
		for i := range all {
			g := &all[i]
			wg.Go(func() {
				for {
					r, err := a.tryRefresh(g.token)
					if err != nil || r.Status != http.StatusOK {
						g.onWire = true
						return
					}
					g.token = r.str("refresh_token")
					if replies.Add(1) == int64(5+3*round) {
						go kill() // while the others, and this one, go on
					}
				}
			})
		}
		wg.Wait()
		kill()
	}
	t.Logf("of the refreshes on the wire when the provider was killed, %d had not happened and %d had", healed, lost)

	p := newProvider(t, oauthtest.Config{StateFile: file})
	live := 0
	for _, f := range p.Families() {
		if f.Revoked == "" {
			live++
		}
	}
	require.LessOrEqual(t, live, grants)
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}
