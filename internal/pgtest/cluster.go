package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// cluster is a folder in which a server's data is.
type cluster struct{ dir, initdb string }

// newCluster makes a cluster in a folder of its own.
func newCluster() (c cluster, err error) {
	if c.initdb, err = program("initdb"); err != nil {
		return c, err
	}
	if c.dir, err = os.MkdirTemp("", "bifrost-pgtest-"); err != nil {
		return c, err
	}
	defer func() {
		if err != nil {
			c.remove()
		}
	}()
	password := filepath.Join(c.dir, "password")
	if err := os.WriteFile(password, []byte(Password), 0o600); err != nil {
		return c, err
	}
	if err := give(c.dir, password); err != nil {
		return c, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	//nolint:gosec // a program of the system's, with arguments of ours
	cmd := exec.CommandContext(ctx, c.initdb, "--pgdata", c.data(), "--username", "bifrost", "--auth", "scram-sha-256", "--pwfile", password,
		"--encoding", "UTF8", "--locale", "C", "--no-sync")
	cmd.Dir, cmd.SysProcAttr = c.dir, unprivileged()
	if out, err := cmd.CombinedOutput(); err != nil {
		return c, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return c, nil
}

func (c cluster) data() string { return filepath.Join(c.dir, "data") }

func (c cluster) remove() { _ = os.RemoveAll(c.dir) }

// start starts the cluster's server, and returns the URL of its database "postgres".
// What is tested is processes that die, not machines, so it does not wait for the
// disk; settings say otherwise.
func (c cluster) start(settings ...string) (server string, stop func(), err error) {
	for range 3 { // somebody may take the port in between
		var port int
		if port, err = freePort(); err != nil {
			return "", nil, err
		}
		args := []string{
			"-D", c.data(), "-p", strconv.Itoa(port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
			"-c", "fsync=off", "-c", "max_connections=300",
		}
		for _, setting := range settings {
			args = append(args, "-c", setting)
		}
		stop, err = startDaemon(c.dir, filepath.Join(filepath.Dir(c.initdb), "postgres"), args...)
		if err != nil {
			continue
		}
		u := url.URL{
			Scheme: "postgres", User: url.UserPassword("bifrost", Password), Path: "/postgres",
			Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), RawQuery: "sslmode=disable",
		}
		if err = ready(u.String()); err == nil {
			return u.String(), stop, nil
		}
		stop()
	}
	return "", nil, err
}

// startCluster makes a cluster and starts its server.
func startCluster(settings ...string) (server string, stop func(), err error) {
	c, err := newCluster()
	if err != nil {
		return "", nil, err
	}
	server, end, err := c.start(settings...)
	if err != nil {
		c.remove()
		return "", nil, err
	}
	return server, func() { end(); c.remove() }, nil
}

// Standby starts a server that is a standby, and returns the URL of its database
// "postgres". Before it became one, prepare was called with that.
func Standby(t testing.TB, prepare func(url string)) string {
	t.Helper()
	c, err := newCluster()
	need(t, err, "apt-get install postgresql")
	t.Cleanup(c.remove)
	url, stop, err := c.start()
	if err != nil {
		t.Fatal(err)
	}
	prepare(url)
	stop()
	if err := os.WriteFile(filepath.Join(c.data(), "standby.signal"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := give(filepath.Join(c.data(), "standby.signal")); err != nil {
		t.Fatal(err)
	}
	url, stop, err = c.start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return url
}

// program finds a program of PostgreSQL's, the newest if there are several.
func program(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return filepath.EvalSymlinks(path)
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if err != nil || len(found) == 0 {
		return "", fmt.Errorf("PostgreSQL (%s) %w", name, errMissing)
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(strings.Split(path, "/")[4])
		return n
	}
	return slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) }), nil
}

func freePort() (int, error) {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// startDaemon starts a server process, and returns what stops it and waits for
// its end.
func startDaemon(dir, path string, args ...string) (stop func(), err error) {
	cmd := exec.Command(path, args...) //nolint:noctx,gosec // it lives as long as the test binary; a program of the system's
	var out bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = dir, &out, &out, unprivileged()
	started, release, ended := make(chan error), make(chan struct{}), make(chan struct{})
	go func() {
		// Where the system ends a process with its parent, the parent is a thread.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		go func() {
			defer close(ended)
			_ = cmd.Wait()
		}()
		<-release
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	select { // at once if it cannot begin
	case <-ended:
		close(release)
		return nil, fmt.Errorf("%s ended at once:\n%s", filepath.Base(path), out.String())
	case <-time.After(50 * time.Millisecond):
	}
	return func() {
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case <-ended:
		case <-time.After(patience):
			_ = cmd.Process.Kill()
			<-ended
		}
		close(release)
	}, nil
}

// ready waits until a server answers.
func ready(server string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, server)
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-ctx.Done():
			return errors.Join(errors.New("the server does not answer"), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
