//go:build unix

package e2e_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// pgProxy stands between a process and PostgreSQL, and can stop one COMMIT, or the
// answer to it.
type pgProxy struct {
	server  string
	caught  chan struct{} // closed when it is stopped
	verdict chan bool     // once: it may go on, or else the connection is cut

	mu     sync.Mutex
	before bool // stop the next COMMIT
	after  bool // stop the next answer
}

// newPGProxy starts a proxy and returns the URL of the database through it.
func newPGProxy(t *testing.T, database string) (p *pgProxy, through string) {
	t.Helper()
	u, err := url.Parse(database)
	require.NoError(t, err)
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p = &pgProxy{server: u.Host, caught: make(chan struct{}), verdict: make(chan bool, 1)}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { p.serve(client) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.goOn(false)
		all.Wait() // the process is gone by now
	})
	u.Host = l.Addr().String()
	return p, u.String()
}

// stop makes the proxy stop the next COMMIT, or the answer to it.
func (p *pgProxy) stop(answer bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.before, p.after = !answer, answer
}

// goOn lets what was stopped pass, or cuts the connection.
func (p *pgProxy) goOn(pass bool) {
	select {
	case p.verdict <- pass:
	default: // that was said already
	}
}

// take reports whether something with these bytes is to be stopped.
func (p *pgProxy) take(stop *bool, message []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !*stop || !bytes.Contains(message, []byte("COMMIT")) {
		return false
	}
	*stop = false
	return true
}

// wait stops, and reports whether it may go on.
func (p *pgProxy) wait() bool {
	close(p.caught)
	return <-p.verdict
}

func (p *pgProxy) serve(client net.Conn) {
	server, err := (&net.Dialer{}).Dial("tcp", p.server)
	if err != nil {
		_ = client.Close()
		return
	}
	cut := func() {
		_ = client.Close()
		_ = server.Close()
	}
	var both sync.WaitGroup
	both.Go(func() {
		defer cut()
		for typed := false; ; typed = true { // the first message has no type
			message, err := readMessage(client, typed)
			if err != nil || p.take(&p.before, message) && !p.wait() {
				return
			}
			if _, err := server.Write(message); err != nil {
				return
			}
		}
	})
	both.Go(func() {
		defer cut()
		for {
			message, err := readMessage(server, true)
			// CommandComplete
			if err != nil || message[0] == 'C' && p.take(&p.after, message) && !p.wait() {
				return
			}
			if _, err := client.Write(message); err != nil {
				return
			}
		}
	})
	both.Wait()
}

// readMessage reads one message of PostgreSQL's protocol: a byte for its type, and
// four for the length of what follows, these four included.
func readMessage(from io.Reader, typed bool) ([]byte, error) {
	head := make([]byte, 4, 5)
	if typed {
		head = head[:5]
	}
	if _, err := io.ReadFull(from, head); err != nil {
		return nil, err
	}
	length := binary.BigEndian.Uint32(head[len(head)-4:])
	if length < 4 || length > 1<<24 {
		return nil, io.ErrUnexpectedEOF
	}
	message := append(head, make([]byte, length-4)...)
	_, err := io.ReadFull(from, message[len(head):])
	return message, err
}
