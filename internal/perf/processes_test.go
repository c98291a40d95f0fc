package perf_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost"
)

// BenchmarkProcesses is 1 to 8 processes, each with as many workers as there are by
// default, renewing what is due in one database. The endpoint answers in 50 ms.
func BenchmarkProcesses(b *testing.B) {
	eachBackend(b, func(b *testing.B, k backend) {
		const connections = 2048
		e := newEndpoint(b, 50*time.Millisecond)
		at := k.fresh(b)
		db := k.raw(b, at)
		fill(b, k.store(b, at), connections, e.urls...)
		alone := 0.0
		for _, processes := range []int{1, 2, 4, 8} {
			b.Run(fmt.Sprintf("processes=%d", processes), func(b *testing.B) {
				var found []float64
				for b.Loop() {
					found = append(found, e.refreshBy(b, processes, at, db, connections))
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(median(found), "refreshes/s")
				if processes == 1 {
					alone = median(found)
				}
				b.ReportMetric(median(found)/alone, "x-oneProcess")
			})
		}
	})
}

// refreshBy is refreshAll by some processes.
func (e *endpoint) refreshBy(b *testing.B, processes int, at string, db raw, n int) float64 {
	b.Helper()
	e.reset()
	var inputs []io.WriteCloser
	for range processes {
		cmd := exec.CommandContext(b.Context(), os.Args[0], append([]string{at}, e.urls...)...)
		cmd.Env = append(os.Environ(), childEnv+"=refresh")
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe()
		require.NoError(b, err)
		out, err := cmd.StdoutPipe()
		require.NoError(b, err)
		require.NoError(b, cmd.Start())
		defer func() {
			_ = in.Close()
			require.NoError(b, cmd.Wait())
		}()
		require.True(b, bufio.NewScanner(out).Scan(), "the process is ready")
		inputs = append(inputs, in)
	}
	due(b, db)
	for _, in := range inputs {
		_, err := fmt.Fprintln(in, "go")
		require.NoError(b, err)
	}
	return e.finished(b, db, n)
}

// child is another process: it says that it is ready, begins when told, and ends with
// its standard input.
func child(name string) error {
	if name != "refresh" {
		return errors.New("no such child: " + name)
	}
	ctx, in := context.Background(), bufio.NewReader(os.Stdin)
	store, err := openStore(ctx, os.Args[1])
	if err != nil {
		return err
	}
	bf, err := world(store, bifrost.Config{}, os.Args[2:]...)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	if line, err := in.ReadString('\n'); err != nil || strings.TrimSpace(line) != "go" {
		return fmt.Errorf("not told to begin: %w", err)
	}
	if err := bf.Start(ctx); err != nil {
		return err
	}
	_, _ = in.ReadString('\n')
	return errors.Join(bf.Close(), store.Close())
}
