package oauthtest_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthtest"
)

var (
	modelSeed = flag.Uint64("model.seed", 0, "play this one story only, and tell it")
	modelRuns = flag.Uint("model.runs", 2500, "how many stories are played")
)

// What the provider promises, once more and as simply as it can be said: a state
// machine without tokens, HTTP or clocks of its own. Stories of random operations
// are played to both, and every answer and all of the provider's state compared.
//
//	go test ./oauthtest -run Model -model.runs 100000
//	go test ./oauthtest -run Model -model.seed 4711
func TestProviderAgainstItsModel(t *testing.T) {
	if *modelSeed != 0 {
		playStory(t, *modelSeed, t.Logf)
		return
	}
	const together = 4
	for group := range uint64(together) {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			for seed := group + 1; seed <= uint64(*modelRuns); seed += together {
				playStory(t, seed, func(string, ...any) {})
			}
		})
	}
}

// modelFamily is one grant. Tokens are numbers: the n-th refresh token is text[n].
type modelFamily struct {
	code, user    string
	text          map[int]string
	held          []int // the numbers that the client knows of
	current       int
	previous      int // the one that current came for
	rotated       time.Time
	created, used time.Time
	revoked       string
	access        []modelAccess
}

type modelAccess struct {
	text    string
	epoch   int
	expires time.Time
	revoked bool
}

// story is one run: a provider, its model, and the clock of both.
type story struct {
	t        *testing.T
	seed     uint64
	r        *rand.Rand
	log      func(string, ...any)
	app      *app
	provider *oauthtest.Provider
	config   oauthtest.Config
	now      time.Time

	families []*modelFamily
	epoch    int
	// What the client has been seen to do, by refresh tokens' texts.
	presented map[string]int
	succeeded map[string]bool
	counts    oauthtest.Counts
}

const (
	modelGrace   = 30 * time.Second
	modelLife    = 10 * time.Minute
	modelRefresh = 24 * time.Hour
)

func playStory(t *testing.T, seed uint64, log func(string, ...any)) {
	t.Helper()
	s := &story{t: t, seed: seed, r: rand.New(rand.NewPCG(seed, 1)), log: log, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		presented: map[string]int{}, succeeded: map[string]bool{}}
	s.config = oauthtest.Config{
		Rotation: []oauthtest.Rotation{oauthtest.Strict, oauthtest.Grace, oauthtest.Replace, oauthtest.Reusable, oauthtest.Static}[seed%5],
		Grace:    modelGrace, AccessLifetime: modelLife, RefreshLifetime: modelRefresh, Now: func() time.Time { return s.now },
		Clients: []oauthtest.Client{oauthtest.DefaultClient(), {ID: "other", Secret: "other"}},
	}
	s.provider = newProvider(t, s.config)
	s.app = inProcess(t, s.provider)
	log("%s", s.config.Rotation)
	s.connect()
	for range 20 {
		s.operate()
		s.compare()
	}
}

func (s *story) check(ok bool, format string, args ...any) {
	s.t.Helper()
	if !ok {
		s.t.Fatalf("seed %d (see -model.seed), %s: %s", s.seed, s.config.Rotation, fmt.Sprintf(format, args...))
	}
}

func (s *story) operate() {
	f := s.families[s.r.IntN(len(s.families))]
	switch n := s.r.IntN(100); {
	case n < 5:
		s.connect()
	case n < 45:
		s.refresh(f, f.held[len(f.held)-1], "")
	case n < 60:
		s.refresh(f, f.held[s.r.IntN(len(f.held))], "")
	case n < 68:
		s.refresh(f, f.held[len(f.held)-1], "lose")
	case n < 72:
		s.refresh(f, f.held[len(f.held)-1], "reset")
	case n < 75:
		s.refresh(f, f.held[len(f.held)-1], "forged")
	case n < 77:
		s.refresh(f, f.held[len(f.held)-1], "foreign")
	case n < 82:
		s.callAPI(f)
	case n < 93:
		s.pass()
	case n < 95:
		s.revoke(f)
	case n < 96:
		s.changePassword(f)
	case n < 98:
		s.replay(f)
	default:
		s.log("all access tokens expire")
		s.epoch++
		require.NoError(s.t, s.provider.ExpireAll())
	}
}

// pass lets time go by: a moment, about the grace, an access token's life, and
// seldom a refresh token's.
func (s *story) pass() {
	d := []time.Duration{time.Second, modelGrace / 2, modelGrace, modelGrace + 1, modelLife, modelRefresh / 3}[s.r.IntN(6)]
	s.now = s.now.Add(d)
	s.log("%v pass", d)
}

func (s *story) connect() {
	user := []string{"alice", "bruno"}[s.r.IntN(2)]
	code := s.app.code(user)
	r := s.app.redeem(code)
	s.log("%s connects: %d", user, len(s.families)+1)
	f := &modelFamily{
		code: code, user: user, text: map[int]string{1: r.str("refresh_token")}, held: []int{1},
		current: 1, created: s.now, used: s.now,
	}
	s.families = append(s.families, f)
	s.check(r.Status == http.StatusOK && f.text[1] != "", "a code is refused: %s", r.Body)
	f.access = append(f.access, modelAccess{text: r.str("access_token"), epoch: s.epoch, expires: s.now.Add(modelLife)})
}

// refresh presents f's n-th refresh token.
func (s *story) refresh(f *modelFamily, n int, fault string) {
	text, client := f.text[n], []string(nil)
	switch fault {
	case "forged":
		text = text[:10] + flip(text[10:], s.r.IntN(len(text)-10))
	case "foreign":
		client = []string{"client_id", "other", "client_secret", "other"}
	case "lose":
		s.provider.Script(oauthtest.Refresh, oauthtest.Lose())
	case "reset":
		s.provider.Script(oauthtest.Refresh, oauthtest.Reset())
	}
	if s.presented[text]++; s.presented[text] > 1 {
		s.counts.Repeated++
	}
	if s.succeeded[text] {
		s.counts.AfterSuccessor++
	}
	r, err := s.app.tryRefresh(text, client...)
	s.log("refresh of %d with token %d %s: status %d %s %v", slices.Index(s.families, f)+1, n, fault, r.Status, r.str("error"), err)
	next := 0
	granted := false
	if fault == "" || fault == "lose" {
		next, granted = s.exchange(f, n)
	}
	switch {
	case fault == "lose" || fault == "reset":
		s.check(err != nil, "a lost reply arrived: %s", r.Body)
		return
	case err != nil:
		s.check(false, "no answer: %v", err)
	case !granted:
		s.check(r.Status == http.StatusBadRequest && r.str("error") == "invalid_grant", "token %d must be refused, and: %s", n, r.Body)
		return
	}
	s.check(r.Status == http.StatusOK && r.str("access_token") != "", "token %d must be accepted, and: %s", n, r.Body)
	f.access = append(f.access, modelAccess{text: r.str("access_token"), epoch: s.epoch, expires: s.now.Add(modelLife)})
	got := r.str("refresh_token")
	if next == 0 {
		s.check(got == "", "a static refresh token is not renewed")
		return
	}
	s.succeeded[text] = true
	if known := f.text[next]; known != "" {
		s.check(got == known, "the same successor again is another one")
	} else {
		for m, text := range f.text {
			s.check(got != text, "token %d is sent as a new one", m)
		}
	}
	f.text[next] = got
	if !slices.Contains(f.held, next) {
		f.held = append(f.held, next)
	}
}

// exchange is the state machine: what the n-th token of f gets. next is its
// successor's number, 0 for none.
func (s *story) exchange(f *modelFamily, n int) (next int, granted bool) {
	if f.revoked != "" || s.now.Sub(f.used) > modelRefresh {
		return 0, false
	}
	window := n == f.previous && s.now.Sub(f.rotated) <= modelGrace
	switch {
	case s.config.Rotation == oauthtest.Static:
	case s.config.Rotation == oauthtest.Reusable:
		f.current++
		next = f.current
	case n == f.current:
		f.previous, f.rotated = n, s.now
		f.current++
		next = f.current
	case window && s.config.Rotation == oauthtest.Grace:
		next = f.current
	case window && s.config.Rotation == oauthtest.Replace:
		f.current++
		next = f.current
	default:
		f.revoked = "reuse"
		s.counts.Reuse++
		return 0, false
	}
	f.used = s.now
	return next, true
}

func (s *story) callAPI(f *modelFamily) {
	a := f.access[s.r.IntN(len(f.access))]
	good := f.revoked == "" && !a.revoked && a.epoch == s.epoch && s.now.Before(a.expires)
	r := s.app.get(s.app.urls.UsersURL+"?$top=1", a.text)
	s.log("API: %d", r.Status)
	s.counts.API++
	if !good {
		s.counts.Unauthorized++
	}
	s.check((r.Status == http.StatusOK) == good, "the API answers %d, the token is good: %t", r.Status, good)
}

// revoke is RFC 7009: any refresh token ends its grant, an access token itself.
func (s *story) revoke(f *modelFamily) {
	var text string
	if s.r.IntN(3) == 0 {
		a := &f.access[s.r.IntN(len(f.access))]
		a.revoked, text = true, a.text
	} else {
		text = f.text[f.held[s.r.IntN(len(f.held))]]
		if f.revoked == "" {
			f.revoked = "client"
		}
	}
	s.counts.Revocations++
	r, err := s.app.post(s.t.Context(), s.app.urls.RevocationURL, "token", text)
	s.log("the client revokes %s…", text[:3])
	s.check(err == nil && r.Status == http.StatusOK, "revocation: %d, %v", r.Status, err)
}

func (s *story) changePassword(f *modelFamily) {
	want := 0
	for _, g := range s.families {
		if s.old(g) {
			return // the provider may have forgotten it, or not yet
		}
		if g.user == f.user && g.revoked == "" {
			want++
		}
	}
	got, err := s.provider.Revoke(f.user)
	s.log("%s changes the password", f.user)
	s.check(err == nil && got == want, "%d grants died, not %d", got, want)
	for _, g := range s.families {
		if g.user == f.user && g.revoked == "" {
			g.revoked = "password_changed"
		}
	}
}

// replay presents a code again (RFC 6749 §4.1.2).
func (s *story) replay(f *modelFamily) {
	if s.now.Sub(f.created) > time.Hour { // it may have been forgotten
		return
	}
	s.log("the code of %d comes again", slices.Index(s.families, f)+1)
	s.app.requireError(s.app.redeem(f.code), http.StatusBadRequest, "invalid_grant")
	if f.revoked == "" {
		f.revoked = "code_reuse"
	}
}

// old reports whether nothing of a grant can be used any more.
func (s *story) old(f *modelFamily) bool { return s.now.Sub(f.used) > modelRefresh+modelLife }

// compare compares the provider's state with the model's.
func (s *story) compare() {
	known := map[string]oauthtest.Family{}
	for _, f := range s.provider.Families() {
		known[f.ID] = f
	}
	for i, f := range s.families {
		got, ok := known[fmt.Sprint(i+1)]
		if !ok {
			s.check(s.old(f), "grant %d is forgotten", i+1)
			continue
		}
		s.check(s.old(f) || got.Revoked == f.revoked, "grant %d: revoked %q, not %q", i+1, got.Revoked, f.revoked)
		s.check(got.Current == f.current && got.Previous == f.previous, "grant %d: tokens %d and %d, not %d and %d",
			i+1, got.Previous, got.Current, f.previous, f.current)
	}
	got := s.provider.Counts()
	got.Requests = nil
	s.check(fmt.Sprint(got) == fmt.Sprint(s.counts), "counted %+v, not %+v", got, s.counts)
}
