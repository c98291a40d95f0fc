package postgres_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/internal/pgtest"
	"github.com/bifrost-go/bifrost/postgres"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// children are what other processes do. They write lines to standard output, and
// may wait for standard input to end. An error ends the process with status 1.
var children = map[string]func(ctx context.Context, url string, args []string) error{
	"open":  childOpen,
	"count": childCount,
	"take":  childTake,
	"hold":  childHold,
}

// process is a child that was started.
type process struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines *bufio.Scanner
}

func start(t *testing.T, child, url string, args ...string) *process {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], append([]string{url}, args...)...)
	cmd.Env = append(os.Environ(), childEnv+"="+child)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return &process{cmd, stdin, bufio.NewScanner(stdout)}
}

// wait reads the rest of the child's lines and expects it to succeed.
func (p *process) wait(t *testing.T) (lines []string) {
	t.Helper()
	for p.lines.Scan() {
		lines = append(lines, p.lines.Text())
	}
	require.NoError(t, p.cmd.Wait())
	return lines
}

func childOpen(ctx context.Context, url string, _ []string) error {
	db, err := postgres.Open(ctx, url)
	if err != nil {
		return err
	}
	return db.Close()
}

var counted = tokenstore.Key{Definition: "counted"}

// childCount increments the counter args[0] times, printing each version after
// it was confirmed.
func childCount(ctx context.Context, url string, args []string) error {
	db, err := postgres.Open(ctx, url)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	for range n {
		c, err := db.Tokens().Update(ctx, counted, func(c *tokenstore.Connection, _ time.Time) error {
			c.Failures++
			c.Sealed = fmt.Append(nil, c.Failures)
			return nil
		})
		if err != nil {
			return err
		}
		fmt.Println(c.Version)
	}
	return db.Close()
}

// childTake takes flows s0 … s(args[0]-1) and prints those it got.
func childTake(ctx context.Context, url string, args []string) error {
	db, err := postgres.Open(ctx, url)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	for i := range n {
		f, err := db.Tokens().TakeFlow(ctx, fmt.Sprint("s", i))
		if err == nil {
			fmt.Println(f.StateHash)
		} else if !errors.Is(err, tokenstore.ErrNotFound) {
			return err
		}
	}
	return db.Close()
}

// childHold holds the lock of a record until standard input ends: not in a shared
// transaction, which does not wait for who takes long.
func childHold(ctx context.Context, url string, _ []string) error {
	db, err := postgres.Open(ctx, url)
	if err != nil {
		return err
	}
	var alone bool
	_, err = db.Tokens().Update(ctx, counted, func(*tokenstore.Connection, time.Time) error {
		if !alone {
			alone = true
			<-time.After(time.Second)
			return nil
		}
		fmt.Println("held")
		_, err := io.Copy(io.Discard, os.Stdin)
		return err
	})
	return errors.Join(err, db.Close())
}

func TestProcessesMigrateOneDatabaseAtOnce(t *testing.T) {
	url := pgtest.Database(t)
	var all []*process
	for range 8 {
		all = append(all, start(t, "open", url))
	}
	for _, p := range all {
		p.wait(t)
	}
	assert.NoError(t, open(t, url).Ping(t.Context()))
}

func TestProcessesLoseNoUpdate(t *testing.T) {
	url := pgtest.Database(t)
	db := open(t, url)
	const processes, each = 4, 100
	var all []*process
	for range processes {
		all = append(all, start(t, "count", url, strconv.Itoa(each)))
	}
	for range each {
		_, err := db.Tokens().Update(t.Context(), counted, func(c *tokenstore.Connection, _ time.Time) error {
			c.Failures++
			return nil
		})
		require.NoError(t, err)
	}
	versions := make(map[string]bool)
	for _, p := range all {
		for _, v := range p.wait(t) {
			assert.False(t, versions[v], "version %s was given twice", v)
			versions[v] = true
		}
	}
	c, err := db.Tokens().Load(t.Context(), counted)
	require.NoError(t, err)
	assert.Equal(t, (processes+1)*each, c.Failures)
	assert.Equal(t, int64((processes+1)*each), c.Version)
}

func TestProcessesTakeAFlowOnce(t *testing.T) {
	url := pgtest.Database(t)
	db := open(t, url)
	const flows = 40
	for i := range flows {
		_, err := db.Tokens().PutFlow(t.Context(), tokenstore.Flow{StateHash: fmt.Sprint("s", i)}, time.Minute, flows)
		require.NoError(t, err)
	}
	var all []*process
	for range 4 {
		all = append(all, start(t, "take", url, strconv.Itoa(flows)))
	}
	taken := make(map[string]int)
	for _, p := range all {
		for _, state := range p.wait(t) {
			taken[state]++
		}
	}
	require.Len(t, taken, flows)
	for state, n := range taken {
		assert.Equal(t, 1, n, state)
	}
}

// What a process was told is stored is there after kill -9, and the feed of
// another process reports it.
func TestKilledProcessLosesNothingConfirmed(t *testing.T) {
	url := pgtest.Database(t)
	for round := range 3 {
		p := start(t, "count", url, "1000000")
		var confirmed int64
		for p.lines.Scan() {
			v, err := strconv.ParseInt(p.lines.Text(), 10, 64)
			require.NoError(t, err)
			if confirmed = v; v%40 == 0 {
				require.NoError(t, p.cmd.Process.Kill())
			}
		}
		require.Error(t, p.cmd.Wait())

		db, err := postgres.Open(t.Context(), url)
		require.NoError(t, err, "round %d", round)
		c, err := db.Tokens().Load(t.Context(), counted)
		require.NoError(t, err)
		assert.GreaterOrEqual(t, c.Version, confirmed)
		assert.Equal(t, c.Version, int64(c.Failures))
		assert.Equal(t, fmt.Sprint(c.Failures), string(c.Sealed))
		require.NoError(t, db.Close())
	}
}

// A process that stopped inside a transaction keeps others from writing that
// record, but not from reading it or writing another, and a caller need not wait
// longer than its context allows.
func TestStoppedProcessBlocksOnlyItsRecord(t *testing.T) {
	url := pgtest.Database(t)
	s := open(t, url).Tokens()
	_, err := s.Update(t.Context(), counted, func(*tokenstore.Connection, time.Time) error { return nil })
	require.NoError(t, err)
	p := start(t, "hold", url)
	require.True(t, p.lines.Scan())

	_, err = s.Load(t.Context(), counted)
	require.NoError(t, err)
	_, err = s.Update(t.Context(), tokenstore.Key{Definition: "other"}, func(*tokenstore.Connection, time.Time) error { return nil })
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = s.Update(ctx, counted, func(*tokenstore.Connection, time.Time) error { return nil })
	require.ErrorIs(t, err, context.DeadlineExceeded)

	done := make(chan error, 1)
	go func() {
		_, err := s.Update(t.Context(), counted, func(c *tokenstore.Connection, now time.Time) error {
			c.GrantID = fmt.Sprint("after version ", c.Version)
			assert.False(t, now.Before(c.UpdatedAt), "the clock was read after the wait")
			return nil
		})
		done <- err
	}()
	require.NoError(t, p.stdin.Close())
	p.wait(t)
	require.NoError(t, <-done)
	c, err := s.Load(t.Context(), counted)
	require.NoError(t, err)
	assert.Equal(t, int64(3), c.Version, "the withdrawn write did not happen")
	assert.Equal(t, "after version 2", c.GrantID)
}

func TestProcessesSeeEachOthersChanges(t *testing.T) {
	url := pgtest.Database(t)
	s := open(t, url).Tokens()
	_, position, err := s.Changes(t.Context(), -1, 0)
	require.NoError(t, err)
	p := start(t, "count", url, "20")
	for p.lines.Scan() {
		keys, next, err := s.Changes(t.Context(), position, 10)
		require.NoError(t, err)
		if position == 0 {
			assert.Equal(t, []tokenstore.Key{counted}, keys)
		}
		position = next
		c, err := s.Load(t.Context(), counted)
		require.NoError(t, err)
		confirmed, err := strconv.ParseInt(strings.TrimSpace(p.lines.Text()), 10, 64)
		require.NoError(t, err)
		assert.GreaterOrEqual(t, c.Version, confirmed)
	}
	require.NoError(t, p.cmd.Wait())
	assert.Equal(t, int64(20), position)
}
