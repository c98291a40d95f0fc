package postgres

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// proxy stands between a DB and its server. It passes on what is said, until it is to
// do worse.
type proxy struct {
	url    string
	listen net.Listener
	mu     sync.Mutex
	silent bool
	lost   []byte
	deaf   bool
	keeps  bool // requests to cancel
	kept   int
	conns  []net.Conn
	all    sync.WaitGroup
}

func newProxy(t *testing.T, database string) *proxy {
	t.Helper()
	u, err := url.Parse(database)
	require.NoError(t, err)
	server := u.Host
	var config net.ListenConfig
	p := &proxy{}
	p.listen, err = config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	u.Host = p.listen.Addr().String()
	p.url = u.String()
	p.all.Go(func() {
		for {
			client, err := p.listen.Accept()
			if err != nil {
				return
			}
			var dialer net.Dialer
			far, err := dialer.DialContext(context.Background(), "tcp", server)
			if err != nil || !p.keep(client, far) { // who comes now, comes in vain
				_ = client.Close()
				continue
			}
			p.all.Go(func() { p.pass(client, far) })
		}
	})
	return p
}

func (p *proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns = append(p.conns, conns...)
	return !p.silent
}

// pass passes on what both say.
func (p *proxy) pass(client, far net.Conn) {
	answer := make(chan []byte) // what the server said
	p.all.Go(func() {
		defer close(answer)
		each(far, func(said []byte) { answer <- bytes.Clone(said) })
	})
	question := make(chan []byte)
	p.all.Go(func() {
		defer close(question)
		each(client, func(said []byte) { question <- bytes.Clone(said) })
	})
	losing := false
	for answer != nil || question != nil {
		select {
		case said, ok := <-question:
			if !ok {
				question = nil
				_ = far.Close()
				continue
			}
			silent, lost := p.mood()
			losing = losing || lost != nil && bytes.Contains(said, lost)
			if !silent && !p.keepsBack(said) {
				_, _ = far.Write(said)
			}
		case said, ok := <-answer:
			if !ok {
				answer = nil
				_ = client.Close()
				continue
			}
			switch silent, _ := p.mood(); {
			case losing:
				_ = client.Close()
			case !silent && !p.notHeard(said):
				_, _ = client.Write(said)
			}
		}
	}
}

// each calls do with what is said, until the connection ends.
func each(from net.Conn, do func(said []byte)) {
	memory := make([]byte, 4096)
	for {
		n, err := from.Read(memory)
		if n > 0 {
			do(memory[:n])
		}
		if err != nil {
			return
		}
	}
}

func (p *proxy) mood() (silent bool, lost []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.silent, p.lost
}

// silence makes it swallow everything.
func (p *proxy) silence() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent = true
}

// lose makes it close connections on which text was said, when the answer comes, which
// it swallows; with "" those to come are as all others again.
func (p *proxy) lose(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lost = nil
	if text != "" {
		p.lost = []byte(text)
	}
}

// deafen makes it swallow notifications, which come by themselves, or no longer.
func (p *proxy) deafen(deaf bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deaf = deaf
}

func (p *proxy) notHeard(said []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.deaf && said[0] == 'A'
}

// keepCancels makes it keep requests to cancel, and the connections they come on.
func (p *proxy) keepCancels() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keeps = true
}

// cancelsKept returns how many requests to cancel it has kept.
func (p *proxy) cancelsKept() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.kept
}

// keepsBack reports whether what was said is to be kept.
func (p *proxy) keepsBack(said []byte) bool {
	const cancelRequest = 80877102 // after its length
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.keeps || len(said) < 8 || binary.BigEndian.Uint32(said[4:]) != cancelRequest {
		return false
	}
	p.kept++
	return true
}

func (p *proxy) close() {
	_ = p.listen.Close()
	p.mu.Lock()
	for _, conn := range p.conns {
		_ = conn.Close()
	}
	p.mu.Unlock()
	p.all.Wait()
}
