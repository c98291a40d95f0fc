//go:build unix

package e2e_test

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/sqlite"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// place is where a refresh stands still, to be killed or frozen there.
type place string

const (
	// opened: the attempt is on stable storage, the clock was not looked at yet.
	opened place = "after the begin"
	// looked: the last look at the clock said yes, and no byte has left.
	looked place = "after the last look"
	// unspent and spent: the request is at the provider, which has not looked at it,
	// or has spent the token. No reply comes.
	unspent place = "request arrived"
	spent   place = "token spent"
	// replied: the reply is here, whole, and nothing is stored.
	replied place = "reply received"
	// writing: in the commit's transaction, before the row is written (SQLite).
	writing place = "within the transaction"
	// atCommit: all is written but for COMMIT (SQLite).
	atCommit place = "at COMMIT"
	// withheld: COMMIT is on its way, and arrives when the process goes on; it never
	// does if the process is killed (PostgreSQL).
	withheld place = "COMMIT on its way"
	// cutBefore: COMMIT never reaches the server, which loses the connection.
	cutBefore place = "connection cut before COMMIT"
	// cutAfter: COMMIT is done, and its answer never comes.
	cutAfter place = "connection cut after COMMIT"
	// stored: the commit is confirmed, nobody was told.
	stored place = "after the commit"
)

// victimConfig is what a victim is told.
type victimConfig struct {
	Database string
	Place    place
	Setup    killSetup
}

// killSetup is what all processes of a case share.
type killSetup struct {
	Keys     string
	TokenURL string
	Policy   oauthflow.RefreshPolicy
	Grace    time.Duration
}

// killTiming keeps the case short. An attempt is given up after 3 s.
var killTiming = oauthflow.Timing{
	SendWindow: 1200 * time.Millisecond, Request: 1800 * time.Millisecond, Transit: 300 * time.Millisecond,
	Stall: 300 * time.Millisecond, Record: 900 * time.Millisecond, Attempt: 3 * time.Second,
}

var killKey = tokenstore.Key{Definition: "kill"}

func (s killSetup) target() oauthflow.Target {
	return oauthflow.Target{Key: killKey, Name: "Kill", EntityID: "acme", Client: &oauthflow.Client{
		Provider: oauthflow.Provider{
			AuthorizationURL: s.TokenURL, TokenURL: s.TokenURL, RefreshPolicy: s.Policy, ReuseGrace: s.Grace,
		},
		ClientID: killClient.ID, ClientSecret: tokenstore.NewSecret(killClient.Secret),
	}}
}

// manager is a process's.
func (s killSetup) manager(store tokenstore.Store, transport http.RoundTripper, log io.Writer) (*oauthflow.Manager, error) {
	keys, err := tokenstore.ParseKeyring(s.Keys)
	if err != nil {
		return nil, err
	}
	return oauthflow.New(oauthflow.Config{
		Store: store, Sealer: tokenstore.NewSealer(keys), Transport: transport, Timing: killTiming,
		Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
}

func init() { children["victim"] = runVictim }

// victim renews a connection when it is told to, stands still at its place, says so,
// and goes on when it is told to.
type victim struct {
	at  place
	one sync.Once
	on  chan struct{}

	mu         sync.Mutex
	held       bool
	committing bool // a refresh is being stored
}

// reach stands still if this is the place, the first time.
func (v *victim) reach(at place) {
	if at != v.at {
		return
	}
	v.one.Do(func() {
		v.mu.Lock()
		v.held = true
		v.mu.Unlock()
		tell("at %s", at)
		<-v.on
	})
}

func (v *victim) wasHeld() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.held
}

func (v *victim) commits(yes bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.committing = yes
}

func (v *victim) isCommitting() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.committing
}

// renewed is what the victim got in the end.
type renewed struct {
	Token string `json:"token"`
	Error string `json:"error"`
}

func runVictim(ctx context.Context, config []byte) error {
	var cfg victimConfig
	if err := json.Unmarshal(config, &cfg); err != nil {
		return err
	}
	v := &victim{at: cfg.Place, on: make(chan struct{}, 1)}
	store, err := v.open(ctx, cfg.Database)
	if err != nil {
		return err
	}
	m, err := cfg.Setup.manager(haltingTokens{store, v}, haltingTransport{oauthflow.NewTransport(), v}, os.Stderr)
	if err != nil {
		return err
	}
	tell("ready")
	return readLines(func(line string) error {
		switch line {
		case "renew":
			go v.renew(ctx, m, cfg.Setup.target())
		case "go on":
			v.on <- struct{}{}
		}
		return nil
	})
}

// open opens the database; an SQLite file through a driver that stands still
// before COMMIT, if that is the place.
func (v *victim) open(ctx context.Context, where string) (tokenstore.Store, error) {
	if v.at != atCommit {
		db, err := openDatabase(ctx, where)
		if err != nil {
			return nil, err
		}
		return db.Tokens(), nil
	}
	dsn := "file:" + where + "?_pragma=busy_timeout(10000)&_pragma=synchronous(FULL)&_pragma=foreign_keys(ON)"
	plain, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, err
	}
	db, err := sqlite.New(sql.OpenDB(haltingDriver{plain.Driver(), dsn, v}))
	if err != nil {
		return nil, err
	}
	return db.Tokens(), nil
}

// renew renews until it has stood still, whatever comes of the last time.
func (v *victim) renew(ctx context.Context, m *oauthflow.Manager, t oauthflow.Target) {
	var got renewed
	for {
		s, err := m.Renew(ctx, t, oauthflow.AnyGeneration)
		if err == nil {
			got = renewed{Token: s.AccessToken().Reveal()}
			break
		}
		if got.Error = err.Error(); v.wasHeld() || v.at == unspent || v.at == spent {
			break
		}
	}
	text, err := json.Marshal(got)
	if err != nil {
		panic(err)
	}
	tell("%s", text)
}

// haltingTokens stands still in and after the write that stores new tokens.
type haltingTokens struct {
	tokenstore.Store
	v *victim
}

func (s haltingTokens) Update(ctx context.Context, key tokenstore.Key, change func(*tokenstore.Connection, time.Time) error) (*tokenstore.Connection, error) {
	commits := false
	c, err := s.Store.Update(ctx, key, func(c *tokenstore.Connection, now time.Time) error {
		before := c.Generation
		if err := change(c, now); err != nil {
			return err
		}
		if commits = c.Generation > before; commits {
			s.v.commits(true)
			for _, at := range []place{writing, withheld, cutBefore, cutAfter} {
				s.v.reach(at)
			}
		}
		return nil
	})
	s.v.commits(false)
	if commits && err == nil {
		s.v.reach(stored)
	}
	return c, err
}

// haltingTransport stands still around a request.
type haltingTransport struct {
	next http.RoundTripper
	v    *victim
}

func (t haltingTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	t.v.reach(opened)
	if t.v.at == looked && !t.v.wasHeld() {
		return t.late(req)
	}
	res, err := t.next.RoundTrip(req)
	if err != nil || t.v.at != replied {
		return res, err
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil {
		return nil, err
	}
	t.v.reach(replied)
	res.Body = io.NopCloser(bytes.NewReader(body))
	return res, nil
}

// late takes the body out, which asks the gate, and sends it whatever time it is
// then: what the kernel does with bytes of a process that was frozen on its way to
// write them. If time was up, the reply is lost.
func (t haltingTransport) late(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	t.v.reach(looked)
	again := req.Clone(context.WithoutCancel(req.Context()))
	again.Body = io.NopCloser(bytes.NewReader(body))
	res, err := t.next.RoundTrip(again)
	if ended := req.Context().Err(); ended != nil {
		if err == nil {
			_ = res.Body.Close()
		}
		return nil, ended
	}
	return res, err
}

// haltingDriver stands still before the COMMIT that stores new tokens.
type haltingDriver struct {
	plain driver.Driver
	dsn   string
	v     *victim
}

func (d haltingDriver) Driver() driver.Driver { return d.plain }

func (d haltingDriver) Connect(context.Context) (driver.Conn, error) {
	conn, err := d.plain.Open(d.dsn)
	if err != nil {
		return nil, err
	}
	return haltingConn{conn.(sqliteConn), d.v}, nil
}

// sqliteConn is what a connection of the driver can do.
type sqliteConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.SessionResetter
	driver.Validator
}

type haltingConn struct {
	sqliteConn
	v *victim
}

func (c haltingConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if query == "COMMIT" && c.v.isCommitting() {
		c.v.reach(atCommit)
	}
	return c.sqliteConn.ExecContext(ctx, query, args)
}
