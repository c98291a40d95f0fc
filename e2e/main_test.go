package e2e_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/bifrost-go/bifrost/internal/pgtest"
)

// quickstart is the path of the binary under test, built once.
var quickstart string

func TestMain(m *testing.M) {
	if name := os.Getenv(childEnv); name != "" {
		os.Exit(runChild(name))
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "bifrost-e2e")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	quickstart = filepath.Join(dir, "quickstart")
	if err := build(quickstart); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return pgtest.Main(m)
}

// build compiles the quickstart of the module around this one, with the race
// detector where cgo allows it.
func build(to string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
	defer cancel()
	args := []string{"build", "-o", to}
	if os.Getenv("BIFROST_E2E") != "" {
		args = append(args, "-race")
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "./examples/quickstart")...)
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build ./examples/quickstart: %w\n%s", err, out)
	}
	return nil
}

// need skips the test because something is not installed. With BIFROST_E2E set, as
// in .ci/run, it fails instead: a skipped test proves nothing.
func need(t *testing.T, ok bool, what string) {
	t.Helper()
	switch {
	case ok:
	case os.Getenv("BIFROST_E2E") != "":
		t.Fatalf("%s is missing, and BIFROST_E2E forbids skipping", what)
	default:
		t.Skipf("%s is missing", what)
	}
}
