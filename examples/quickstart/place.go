package main

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/bifrost-go/bifrost/internal/loopback"
)

// place is where the stand-in of a database always is. It is decided once and
// kept in a file, because connections hang on the provider's address.
type place struct {
	// Address is 127.0.0.1:port.
	Address string `json:"address"`
	// Secret proves that whatever listens there is our stand-in.
	Secret string `json:"secret"`
}

const (
	probePath = "/.stand-in"
	// Another process may hold the port and not answer yet.
	probeTries = 20
	probePause = 100 * time.Millisecond
	// Ports below the range that systems give to outgoing connections.
	firstPort, ports = 20_000, 10_000
)

// findPlace reads or makes the file. The listener is nil if the stand-in runs
// already, in another process.
func findPlace(ctx context.Context, file string) (place, net.Listener, error) {
	_, err := os.Stat(file) //nolint:gosec // G703: the path is the operator's own
	if errors.Is(err, fs.ErrNotExist) {
		if p, listener, err := makePlace(ctx, file); err != nil || listener != nil {
			return p, listener, err
		}
	}
	p, err := readPlace(file)
	if err != nil {
		return p, nil, err
	}
	for range probeTries {
		listener, err := p.listen(ctx)
		if err == nil {
			return p, listener, nil
		}
		if p.probe(ctx) {
			return p, nil, nil
		}
		select {
		case <-ctx.Done():
			return p, nil, ctx.Err()
		case <-time.After(probePause):
		}
	}
	return p, nil, fmt.Errorf("its address %s, where this database's connections know it, is taken by another program. "+
		"Stop that program; or delete %s to let the stand-in move, and connect the accounts again", p.Address, file)
}

// makePlace chooses a port. The listener is nil if another process was faster.
func makePlace(ctx context.Context, file string) (place, net.Listener, error) {
	var p place
	var listener net.Listener
	var err error
	for range 100 {
		n, _ := rand.Int(rand.Reader, big.NewInt(ports)) // never fails
		p = place{Address: fmt.Sprintf("127.0.0.1:%d", firstPort+n.Int64()), Secret: rand.Text()}
		if listener, err = p.listen(ctx); err == nil {
			break
		}
	}
	if err != nil {
		return p, nil, fmt.Errorf("no port is free on 127.0.0.1: %w", err)
	}
	text, _ := json.Marshal(p) // strings always encode
	_, created, err := writeOnce(file, string(text)+"\n")
	if err != nil || !created {
		return p, nil, errors.Join(err, listener.Close())
	}
	return p, listener, nil
}

func readPlace(file string) (place, error) {
	var p place
	text, err := os.ReadFile(file) //nolint:gosec // G703: the path is the operator's own
	if err != nil {
		return p, err
	}
	err = json.Unmarshal(text, &p)
	host, _, splitErr := net.SplitHostPort(p.Address)
	if err != nil || splitErr != nil || !loopback.Host(host) || p.Secret == "" {
		return p, fmt.Errorf("%s is damaged: delete it, and connect the accounts again", file)
	}
	return p, nil
}

func (p place) listen(ctx context.Context) (net.Listener, error) {
	var lc net.ListenConfig
	return lc.Listen(ctx, "tcp", p.Address)
}

func (p place) origin() string { return "http://" + p.Address }

// clientSecret is the quickstart's at its stand-in.
func (p place) clientSecret() string { return p.derive("client secret") }

func (p place) derive(purpose string) string {
	mac := hmac.New(sha256.New, []byte(p.Secret))
	mac.Write([]byte(purpose))
	return hex.EncodeToString(mac.Sum(nil))
}

// answerProbe shows that this process knows the secret, without telling it.
func (p place) answerProbe(w http.ResponseWriter, r *http.Request) {
	_, _ = io.WriteString(w, p.derive("probe "+r.URL.Query().Get("challenge")))
}

// probe reports whether the stand-in answers at its address.
func (p place) probe(ctx context.Context) bool {
	challenge := rand.Text()
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.origin()+probePath+"?challenge="+challenge, nil) //nolint:gosec // G704: readPlace allows loopback only
	if err != nil {
		return false
	}
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req) // no proxy, no redirect
	if err != nil {
		return false
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 1<<10))
	return err == nil && hmac.Equal(answer, []byte(p.derive("probe "+challenge)))
}
