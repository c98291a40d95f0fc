package pgtest

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Bouncer starts PgBouncer in transaction mode before the server of a database, and
// returns the URL of that database through it. It has few sessions for many, so
// that two statements of one client seldom meet the same.
func Bouncer(t testing.TB, database string) string {
	t.Helper()
	path, err := exec.LookPath("pgbouncer")
	if err != nil {
		if path, err = exec.LookPath("/usr/sbin/pgbouncer"); err != nil {
			err = fmt.Errorf("PgBouncer %w", errMissing)
		}
	}
	need(t, err, "apt-get install pgbouncer")
	through, stop, err := startBouncer(path, database)
	need(t, err, "look at PgBouncer's output")
	t.Cleanup(stop)
	return through
}

func startBouncer(path, database string) (through string, stop func(), err error) {
	cfg, err := pgx.ParseConfig(database)
	if err != nil {
		return "", nil, err
	}
	dir, err := os.MkdirTemp("", "bifrost-pgbouncer-")
	if err != nil {
		return "", nil, err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(dir)
		}
	}()
	port, err := freePort()
	if err != nil {
		return "", nil, err
	}
	users, ini := filepath.Join(dir, "users.txt"), filepath.Join(dir, "pgbouncer.ini")
	if err := os.WriteFile(users, fmt.Appendf(nil, "%q %q\n", cfg.User, cfg.Password), 0o600); err != nil {
		return "", nil, err
	}
	if err := os.WriteFile(ini, fmt.Appendf(nil, `[databases]
* = host=%s port=%d
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = scram-sha-256
auth_file = %s
pool_mode = transaction
default_pool_size = 4
max_client_conn = 200
server_lifetime = 5
`, cfg.Host, cfg.Port, port, users), 0o600); err != nil {
		return "", nil, err
	}
	if err := give(dir, users, ini); err != nil {
		return "", nil, err
	}
	kill, err := startDaemon(dir, path, ini)
	if err != nil {
		return "", nil, err
	}
	u, err := url.Parse(database)
	if err == nil {
		u.Host = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		err = ready(u.String())
	}
	if err != nil {
		kill()
		return "", nil, err
	}
	return u.String(), func() { kill(); _ = os.RemoveAll(dir) }, nil
}
