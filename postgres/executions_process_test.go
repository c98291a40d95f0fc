package postgres_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/internal/pgtest"
	"github.com/bifrost-go/bifrost/postgres"
	"github.com/bifrost-go/bifrost/workflow"
)

// The tests here run this test binary again as another process on the same database.
const childVariable = "BIFROST_TEST_EXECUTIONS"

// childConfig is what a child process is to do.
type childConfig struct {
	URL     string
	Calls   string // file to which every call of a workflow is appended
	Lease   time.Duration
	Workers int
	Submit  string // "all": finished, running and queued ones; "stream": one after the other
}

// TestExecutionsChild is the child process, and nothing without its variable.
func TestExecutionsChild(t *testing.T) {
	text := os.Getenv(childVariable)
	if text == "" {
		t.Skip("only as a child process")
	}
	var cfg childConfig
	require.NoError(t, json.Unmarshal([]byte(text), &cfg))
	r, closeAll := openRunner(t, cfg)
	defer closeAll()

	switch cfg.Submit {
	case "all":
		for range 10 {
			say("finished", submit(t, r, "quick", false))
		}
		for range cfg.Workers {
			say("running", submit(t, r, "block", true))
		}
		for range 10 {
			say("queued", submit(t, r, "quick", true))
		}
	case "stream":
		for { // until it is killed
			say("queued", submit(t, r, "quick", true))
			say("finished", submit(t, r, "quick", false))
		}
	}
	say("ready", "")
	_, _ = io.Copy(io.Discard, os.Stdin) // until the parent closes it
}

// say tells the parent; the parent reads whole lines only.
func say(what, id string) { fmt.Printf("\nchild: %s %s\n", what, id) }

// openRunner opens the database and starts a registry with the workflows quick,
// which ends at once; slow, which takes two leases; and block, which never ends in a
// child and at once elsewhere.
func openRunner(t *testing.T, cfg childConfig) (*workflow.Registry, func()) {
	t.Helper()
	db, err := postgres.Open(context.Background(), cfg.URL)
	require.NoError(t, err)
	r, err := workflow.New(workflow.Config{
		Store: db.Executions(), Lease: cfg.Lease, Poll: 50 * time.Millisecond, Workers: cfg.Workers,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	require.NoError(t, err)
	register := func(name string, wait func(ctx context.Context) error, opts ...workflow.Option) {
		workflow.MustRegister(r, name, func(ctx context.Context, _ struct{}) (int, error) {
			workflow.Logger(ctx).Info("called")
			if err := appendLine(cfg.Calls, fmt.Sprint(workflow.ExecutionID(ctx), " ", workflow.Attempt(ctx))); err != nil {
				return 0, err
			}
			return os.Getpid(), wait(ctx)
		}, opts...)
	}
	register("quick", func(context.Context) error { return nil })
	register("slow", func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * cfg.Lease):
			return nil
		}
	})
	register("block", func(ctx context.Context) error {
		if os.Getenv(childVariable) == "" {
			return nil
		}
		<-ctx.Done()
		return ctx.Err()
	})
	require.NoError(t, r.Start(context.Background()))
	return r, func() {
		assert.NoError(t, r.Close())
		assert.NoError(t, db.Close())
	}
}

func appendLine(path, line string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line + "\n")
	return errors.Join(err, f.Close())
}

// submit executes name and returns the execution's id.
func submit(t *testing.T, r *workflow.Registry, name string, async bool) string {
	t.Helper()
	rec, err := r.Execute(context.Background(), name, workflow.ExecuteRequest{Scope: workflow.Org("org-1"), Async: async})
	require.NoError(t, err)
	if !async {
		require.Equal(t, workflow.Succeeded, rec.Status, "%+v", rec.Error)
	}
	return rec.ID
}

// child is a running child process.
type child struct {
	cmd   *exec.Cmd
	stdin io.Closer
	lines chan [2]string // what it said: word and id; closed at its end
}

func startChild(t *testing.T, cfg childConfig) *child {
	t.Helper()
	text, err := json.Marshal(cfg)
	require.NoError(t, err)
	c := &child{cmd: exec.Command(os.Args[0], "-test.run=^TestExecutionsChild$"), lines: make(chan [2]string, 1000)}
	c.cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	c.cmd.Stderr = os.Stderr
	c.stdin, err = c.cmd.StdinPipe()
	require.NoError(t, err)
	out, err := c.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.cmd.Start())
	t.Cleanup(func() { _ = c.cmd.Process.Kill() })
	go func() {
		defer close(c.lines)
		for in := bufio.NewReader(out); ; {
			line, err := in.ReadString('\n')
			if err != nil {
				return // a line that the kill cut in two does not count
			}
			if said, ok := strings.CutPrefix(line, "child: "); ok {
				word, id, _ := strings.Cut(strings.TrimSpace(said), " ")
				c.lines <- [2]string{word, id}
			}
		}
	}()
	return c
}

// kill ends the child as kill -9 does, and returns what it had said and was not
// read yet.
func (c *child) kill(t *testing.T) (rest [][2]string) {
	t.Helper()
	require.NoError(t, c.cmd.Process.Kill())
	for line := range c.lines {
		rest = append(rest, line)
	}
	_ = c.cmd.Wait()
	return rest
}

// stop lets the child end by itself, which must succeed.
func (c *child) stop(t *testing.T) {
	t.Helper()
	require.NoError(t, c.stdin.Close())
	for open := true; open; {
		_, open = <-c.lines
	}
	require.NoError(t, c.cmd.Wait())
}

// history returns every execution by id.
func history(t *testing.T, r *workflow.Registry) map[string]*workflow.Record {
	t.Helper()
	all := map[string]*workflow.Record{}
	for cursor := ""; ; {
		page, err := r.Executions(t.Context(), workflow.Filter{AllScopes: true, Limit: 200}, cursor)
		require.NoError(t, err)
		for _, rec := range page.Items {
			require.NotContains(t, all, rec.ID, "listed twice")
			all[rec.ID] = rec
		}
		if cursor = page.Next; cursor == "" {
			return all
		}
	}
}

// finished waits until nothing is left to do, and returns the history.
func finished(t *testing.T, r *workflow.Registry) map[string]*workflow.Record {
	t.Helper()
	require.Eventually(t, func() bool {
		for _, status := range []workflow.Status{workflow.Scheduled, workflow.Pending, workflow.Running, workflow.Cancelling} {
			page, err := r.Executions(context.Background(), workflow.Filter{AllScopes: true, Status: status, Limit: 1}, "")
			if err != nil || len(page.Items) > 0 {
				return false
			}
		}
		return true
	}, time.Minute, 20*time.Millisecond)
	return history(t, r)
}

// calls counts the lines that workflows appended.
func calls(t *testing.T, path string) map[string]int {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	n := map[string]int{}
	for line := range strings.Lines(string(text)) {
		n[strings.TrimSpace(line)]++
	}
	return n
}

// A process is killed with executions finished, running and queued: the first are
// in the history once, the others are taken up by another process.
func TestExecutionsOfAKilledProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := childConfig{
		URL: pgtest.Database(t), Calls: filepath.Join(dir, "calls"),
		Lease: time.Second, Workers: 3, Submit: "all",
	}
	c := startChild(t, cfg)
	said := map[string]string{} // id → finished, running or queued
	for line := range c.lines {
		if line[0] == "ready" {
			break
		}
		said[line[1]] = line[0]
	}
	// Every worker is in its function, so the queue stays.
	require.Eventually(t, func() bool { return len(calls(t, cfg.Calls)) == 13 }, 20*time.Second, 10*time.Millisecond)
	c.kill(t)

	r, closeAll := openRunner(t, cfg)
	defer closeAll()
	before := history(t, r)
	require.Len(t, before, 23)
	after := finished(t, r)
	require.Len(t, after, 23, "none is lost, none is there twice")
	ran := calls(t, cfg.Calls)
	for id, rec := range after {
		assert.Equal(t, workflow.Succeeded, rec.Status)
		want := map[string]int{"finished": 1, "running": 2, "queued": 1}[said[id]]
		assert.Equal(t, want, rec.Attempt, said[id])
		assert.Equal(t, want-1, rec.Takeovers, said[id])
		for attempt := 1; attempt <= want; attempt++ {
			assert.Equal(t, 1, ran[fmt.Sprint(id, " ", attempt)], "calls of %s, attempt %d", said[id], attempt)
		}
		if said[id] == "finished" {
			assert.Equal(t, before[id], rec, "finished stays finished")
		}
		logs, err := r.Logs(t.Context(), id)
		require.NoError(t, err)
		require.NotEmpty(t, logs)
		assert.Equal(t, rec.Attempt, logs[len(logs)-1].Attempt)
	}
}

// Killed again and again while it works: what it said was finished or queued
// is.
func TestExecutionsOfProcessesKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := childConfig{
		URL: pgtest.Database(t), Calls: filepath.Join(dir, "calls"),
		Lease: time.Second, Workers: 4, Submit: "stream",
	}
	said := map[string]string{}
	for round := range 5 {
		c := startChild(t, cfg)
		for n := 0; n < 3+round*7; n++ {
			line, ok := <-c.lines
			require.True(t, ok, "the child ended by itself")
			said[line[1]] = line[0]
		}
		for _, line := range c.kill(t) {
			said[line[1]] = line[0]
		}
	}
	r, closeAll := openRunner(t, cfg)
	defer closeAll()
	all := finished(t, r)
	ran := calls(t, cfg.Calls)
	for id, word := range said {
		require.Contains(t, all, id, word)
	}
	for id, rec := range all {
		assert.Equal(t, workflow.Succeeded, rec.Status)
		if said[id] == "finished" {
			assert.Equal(t, 1, rec.Attempt)
		}
		assert.Equal(t, rec.Attempt-1, rec.Takeovers)
		assert.LessOrEqual(t, ran[fmt.Sprint(id, " ", rec.Attempt)], 1)
	}
}

// Three processes on one database, all alive: every execution runs once, those that
// take longer than a lease too.
func TestExecutionsOfSeveralProcesses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := childConfig{
		URL: pgtest.Database(t), Calls: filepath.Join(dir, "calls"), Lease: 3 * time.Second, Workers: 4,
	}
	children := []*child{startChild(t, cfg), startChild(t, cfg)}
	for _, c := range children {
		require.Equal(t, "ready", (<-c.lines)[0])
	}
	r, closeAll := openRunner(t, cfg)
	defer closeAll()
	ids := map[string]bool{}
	for range 10 {
		ids[submit(t, r, "slow", true)] = true
	}
	for i := range 60 {
		ids[submit(t, r, "quick", i%10 != 0)] = true
	}
	all := finished(t, r)
	require.Len(t, all, len(ids))
	workers := map[string]bool{}
	for id, rec := range all {
		assert.True(t, ids[id])
		assert.Equal(t, workflow.Succeeded, rec.Status)
		assert.Equal(t, 1, rec.Attempt)
		workers[string(rec.Result)] = true
	}
	for line, n := range calls(t, cfg.Calls) {
		assert.Equal(t, 1, n, line)
	}
	assert.Len(t, workers, 3, "every process took part")
	for _, c := range children {
		c.stop(t)
	}
}
