package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Some tests are about processes that use the library itself: they run this test
// binary again. A process in which childEnv is set runs one of children instead of
// the tests, with the configuration that is in childConfigEnv as JSON.
const (
	childEnv       = "BIFROST_E2E_CHILD"
	childConfigEnv = "BIFROST_E2E_CHILD_CONFIG"
)

// children are what such processes do, each registered by an init function beside
// its code. They tell the parent lines with [tell] and read its lines from standard
// input, which ends when the parent does. An error ends the process with status 1.
var children = map[string]func(ctx context.Context, config []byte) error{}

// runChild is main in a child.
func runChild(name string) int {
	run, ok := children[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "no child is called %q\n", name)
		return 2
	}
	if err := run(context.Background(), []byte(os.Getenv(childConfigEnv))); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// tell writes a line to the parent.
func tell(format string, args ...any) { fmt.Printf(format+"\n", args...) }

// child is a process that was started as one of children.
type child struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	lines  chan string   // what it told; closed at its end
	exited chan struct{} // closed when it is gone
	stderr *output
}

// startChild starts a process. The test's end kills it, if it is there still.
func startChild(t *testing.T, name string, config any) *child {
	t.Helper()
	text, err := json.Marshal(config)
	require.NoError(t, err)
	c := &child{
		cmd:   exec.Command(os.Args[0]),
		lines: make(chan string, 100), exited: make(chan struct{}), stderr: &output{},
	}
	c.cmd.Env = append(os.Environ(), childEnv+"="+name, childConfigEnv+"="+string(text))
	c.cmd.Stderr = c.stderr
	// In a group of its own, which is left alone when the parent dies: the system
	// ends even a stopped process then, and an interrupt is the parent's to pass on.
	ownGroup(c.cmd)
	c.stdin, err = c.cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := c.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.cmd.Start())
	go func() {
		defer close(c.exited)
		for in := bufio.NewReader(stdout); ; {
			line, err := in.ReadString('\n')
			if err != nil { // a line that a kill cut in two does not count
				close(c.lines)
				break
			}
			c.lines <- strings.TrimSuffix(line, "\n")
		}
		_ = c.cmd.Wait()
	}()
	t.Cleanup(func() {
		c.kill()
		if t.Failed() {
			t.Logf("the child %s printed, at last:\n%s", name, c.stderr.tail(40))
		}
	})
	return c
}

// ask writes a line to the child's standard input.
func (c *child) ask(t *testing.T, line string) {
	t.Helper()
	_, err := io.WriteString(c.stdin, line+"\n")
	require.NoError(t, err)
}

// hear returns the next line that the child tells.
func (c *child) hear(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	select {
	case line, ok := <-c.lines:
		require.True(t, ok, "the child has ended:\n%s", c.stderr)
		return line
	case <-ctx.Done():
		require.FailNow(t, "the child says nothing", "%s", c.stderr)
		return ""
	}
}

// kill ends the process without any warning, as kill -9 does, and returns when it
// is gone.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	for range c.lines { // it must not hang on a full channel
	}
	<-c.exited
}

// readLines calls do for each line of standard input until it ends.
func readLines(do func(line string) error) error {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		if err := do(string(bytes.TrimSpace(in.Bytes()))); err != nil {
			return err
		}
	}
	return in.Err()
}
