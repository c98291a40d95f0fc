package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	// patience bounds every wait for something that should be there at once.
	patience = 30 * time.Second
	// integration and workflow are what the quickstart registers.
	integration = "Microsoft_Graph"
	workflow    = "list_users"
)

// site is what the processes of one deployment share: the address users know, the
// database and the settings.
type site struct {
	base     string // scheme and host, no path
	home     string
	database string
	env      []string // NAME=value, beside what every process gets
}

// newSite has a BASE_URL that belongs to nobody yet, and an empty database.
func newSite(t *testing.T, env ...string) *site {
	t.Helper()
	home := t.TempDir()
	_, port, err := net.SplitHostPort(freeAddr(t))
	require.NoError(t, err)
	return &site{
		base:     "http://localhost:" + port,
		home:     home,
		database: filepath.Join(home, "bifrost.db"),
		env:      env,
	}
}

// addr is where the process that BASE_URL points at listens.
func (s *site) addr() string {
	return "127.0.0.1" + s.base[strings.LastIndex(s.base, ":"):]
}

// standIn is where the site's stand-in provider listens. It exists once a process
// has been started.
func (s *site) standIn(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(s.database + ".stand-in")
	require.NoError(t, err)
	var place struct {
		Address string `json:"address"`
	}
	require.NoError(t, json.Unmarshal(text, &place))
	return place.Address
}

// nextPort is where freeAddr looks next: below the ports that systems give to
// whoever asks for any, so that nobody takes one before its process listens.
var nextPort atomic.Int32

func init() { nextPort.Store(10_000 + rand.Int32N(5_000)) }

// freeAddr returns a loopback address nobody listens on, another one each time.
func freeAddr(t *testing.T) string {
	t.Helper()
	// A process that is started at this moment has the listener, too, until it is
	// another program.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	var lc net.ListenConfig
	for range 1000 {
		addr := fmt.Sprintf("127.0.0.1:%d", nextPort.Add(1))
		if l, err := lc.Listen(t.Context(), "tcp", addr); err == nil {
			require.NoError(t, l.Close())
			return addr
		}
	}
	require.FailNow(t, "no port is free")
	return ""
}

// app is one quickstart process.
type app struct {
	site   *site
	addr   string
	cmd    *exec.Cmd
	output *output
	exited chan struct{} // closed when the process is gone
}

// start runs a process and returns when it answers on /healthz. The test's end
// stops it and fails if it does not obey.
func (s *site) start(t *testing.T, addr string) *app {
	t.Helper()
	a := s.launch(t, addr)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	err := poll(ctx, 20*time.Millisecond, func() (bool, error) {
		select {
		case <-a.exited:
			return false, fmt.Errorf("quickstart ended at start:\n%s", a.output)
		default:
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/healthz", nil)
		if err != nil {
			return false, err
		}
		req.Host = strings.TrimPrefix(s.base, "http://")
		res, err := client.Do(req)
		if err != nil {
			return false, nil // not listening yet
		}
		defer res.Body.Close()
		return res.StatusCode == http.StatusOK, nil
	})
	require.NoError(t, err, "waiting for /healthz on %s:\n%s", addr, a.output)
	return a
}

// launch runs a process and does not wait for it to answer.
func (s *site) launch(t *testing.T, addr string, env ...string) *app {
	t.Helper()
	a := &app{site: s, addr: addr, output: &output{}, exited: make(chan struct{})}
	a.cmd = exec.Command(quickstart)
	a.cmd.Dir = s.home
	a.cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + s.home, "XDG_DATA_HOME=" + s.home, "TMPDIR=" + s.home,
		"ADDR=" + addr, "BASE_URL=" + s.base, "DATABASE=" + s.database,
	}, append(s.env, env...)...)
	a.cmd.Stdout, a.cmd.Stderr = a.output, a.output
	require.NoError(t, a.cmd.Start())
	go func() {
		_ = a.cmd.Wait()
		close(a.exited)
	}()
	t.Cleanup(func() { a.stop(t) })
	return a
}

// stop ends the process as an operator would.
func (a *app) stop(t *testing.T) {
	t.Helper()
	select {
	case <-a.exited:
	default:
		_ = a.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-a.exited:
		case <-time.After(patience):
			t.Errorf("quickstart did not end %s after SIGTERM", patience)
			a.kill()
		}
	}
	if strings.Contains(a.output.String(), "DATA RACE") {
		t.Errorf("the race detector spoke:\n%s", a.output)
	}
	if t.Failed() {
		t.Logf("quickstart on %s printed, at last:\n%s", a.addr, a.output.tail(40))
	}
}

// kill ends the process without any warning and returns when it is gone.
func (a *app) kill() {
	_ = a.cmd.Process.Kill()
	<-a.exited
}

// output collects what a process prints.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// tail returns the last lines.
func (o *output) tail(lines int) string {
	all := strings.Split(strings.TrimSpace(o.String()), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// poll asks until the answer is yes, an error, or ctx ends.
func poll(ctx context.Context, every time.Duration, ask func() (bool, error)) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if done, err := ask(); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// pause waits for a while, or less if ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
