//go:build unix

package sqlite_test

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/sqlite"
)

// nobody is a user without rights. Root may write everywhere, so what a user is
// told can only be seen as another one.
const nobody = 65534

// asNobody opens path in a process of an unprivileged user and returns what it
// wrote to standard error.
func asNobody(t *testing.T, binary, path string) (stderr string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, path)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), childEnv+"=open")
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	var out bytes.Buffer
	cmd.Stderr = &out
	err = cmd.Run()
	return out.String(), err
}

// publicDir is a temporary directory that other users may enter.
func publicDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		require.NoError(t, os.Chmod(d, 0o755))
	}
	return dir
}

// copyBinary puts this test binary where another user may run it.
func copyBinary(t *testing.T) string {
	t.Helper()
	from, err := os.Open(os.Args[0])
	require.NoError(t, err)
	defer func() { _ = from.Close() }()
	name := filepath.Join(publicDir(t), "sqlite.test")
	to, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o755)
	require.NoError(t, err)
	_, err = io.Copy(to, from)
	require.NoError(t, err)
	require.NoError(t, to.Close())
	return name
}

func TestOpenWithoutPermission(t *testing.T) {
	binary := copyBinary(t)
	tests := []struct {
		name      string
		file, dir os.FileMode // file 0: there is none
		says      string      // empty: it works
	}{
		{"all allowed", 0o600, 0o700, ""},
		{"new file", 0, 0o700, ""},
		{"new file, directory not writable", 0, 0o500, "no permission to write to the directory"},
		{"file not writable", 0o400, 0o700, "the database is not writable; check the permissions"},
		{"file not readable", 0o200, 0o700, "check the permissions"},
		{"directory not writable", 0o600, 0o500, "check the permissions"},
		{"directory not searchable", 0o600, 0o600, "permission denied"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := filepath.Join(publicDir(t), "data")
			require.NoError(t, os.Mkdir(dir, 0o700))
			path := filepath.Join(dir, "bifrost.db")
			if test.file != 0 {
				db, err := sqlite.Open(path)
				require.NoError(t, err)
				require.NoError(t, db.Close())
				require.NoError(t, os.Chmod(path, test.file))
			}
			if os.Geteuid() == 0 {
				for _, name := range []string{path, dir} {
					if err := os.Chown(name, nobody, nobody); err != nil {
						require.ErrorIs(t, err, os.ErrNotExist)
					}
				}
			}
			require.NoError(t, os.Chmod(dir, test.dir))
			t.Cleanup(func() { assert.NoError(t, os.Chmod(dir, 0o700)) })
			stderr, err := asNobody(t, binary, path)
			if test.says == "" {
				require.NoError(t, err, stderr)
				return
			}
			require.Error(t, err)
			assert.Contains(t, stderr, test.says)
			t.Log(stderr)
		})
	}
}
