package oauthflow_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/oauthtest"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// shape is one answer of a token endpoint to a refresh, and what must come of it.
type shape struct {
	name     string
	step     oauthtest.Step
	always   bool // that is how the provider answers, from the code on
	provider func(*oauthflow.Provider)

	fails   error // what the caller gets; nil: the new access token
	status  tokenstore.Status
	reason  string
	keeps   bool          // the refresh token that was presented is still the stored one
	open    bool          // the outcome is unknown
	life    time.Duration // of the new access token; 0: nobody knows
	scopes  []string      // nil: not looked at
	kind    string        // token_type; default Bearer
	extra   map[string]string
	refresh string // the stored refresh token, where the provider did not make it
	unsent  bool   // nothing arrived at the provider
}

// TestShapes renews a connection whose access token has ended, through a whole
// manager, and looks at what the caller gets, at the record, at what another process
// finds, and at which refresh token is presented next.
func TestShapes(t *testing.T) {
	for _, s := range append(replyShapes(), failureShapes()...) {
		t.Run(s.name, func(t *testing.T) { synctest.Test(t, s.run) })
	}
}

func (s *shape) run(t *testing.T) {
	p, w := newScripted(t)
	if s.provider != nil {
		s.provider(&w.target.Client.Provider)
	}
	if s.always {
		p.Always(oauthtest.Token, s.step)
	}
	w.authorize(p)
	pass(2 * time.Hour)
	switch {
	case s.always:
	case s.unsent: // it has to be asked before it reads anything
		p.Script(oauthtest.Token, s.step)
	default:
		p.Script(oauthtest.Refresh, s.step)
	}
	asked := time.Now()
	snap, err := w.m.Token(context.Background(), w.target)
	require.Zero(t, p.Pending())
	c := w.row()
	require.Equal(t, s.status, c.Status)
	require.Equal(t, s.reason, c.Reason)
	require.Equal(t, s.open, c.Attempt != nil)
	require.Equal(t, s.generation(), c.Generation)
	if s.fails == nil {
		require.NoError(t, err)
		s.good(t, w, snap, asked)
	} else {
		require.Nil(t, snap)
		problem(t, err, s.fails)
		require.NotNil(t, c.LastError)
	}

	// Callers that come again at once, here and elsewhere, change nothing; of an
	// unknown outcome they wait for the end.
	requests := p.Counts().Requests["refresh_token"]
	require.Equal(t, s.unsent, requests == 0)
	if !s.open {
		for _, m := range []*oauthflow.Manager{w.m, w.process(), w.m} {
			_, again := m.Token(context.Background(), w.target)
			require.Equal(t, err == nil, again == nil)
		}
		require.Equal(t, requests, p.Counts().Requests["refresh_token"])
	}
	s.next(t, p, w)
}

// generation is the record's after the answer.
func (s *shape) generation() int64 {
	if s.fails == nil || !s.keeps {
		return 2
	}
	return 1
}

// good checks an access token that came.
func (s *shape) good(t *testing.T, w *world, snap *oauthflow.Snapshot, asked time.Time) {
	elsewhere, err := w.process().Token(context.Background(), w.target)
	require.NoError(t, err)
	for _, snap := range []*oauthflow.Snapshot{snap, elsewhere} {
		if s.life == 0 {
			require.True(t, snap.ExpiresAt().IsZero(), "ends at %v", snap.ExpiresAt())
		} else {
			require.Equal(t, s.life, snap.ExpiresAt().Sub(asked))
		}
		if s.scopes != nil {
			require.Equal(t, s.scopes, snap.Scopes())
		}
		kind := s.kind
		if kind == "" {
			kind = "Bearer"
		}
		require.Equal(t, kind, snap.TokenType())
		for name, want := range s.extra {
			got, _ := snap.Extra(name)
			require.JSONEq(t, want, string(got))
		}
	}
	if s.life == 0 {
		pass(30 * 24 * time.Hour)
		w.requireToken(w.m, snap.AccessToken().Reveal()) // neither renewed on every call, nor given up
	}
}

// next renews once more, and looks at what is presented.
func (s *shape) next(t *testing.T, p *oauthtest.Provider, w *world) {
	first := p.Journal()[0] // the code's
	require.Equal(t, "authorization_code", first.Grant)
	sent := w.refreshesAt(p)
	pass(3 * time.Minute)
	snap, err := w.m.Renew(context.Background(), w.target, oauthflow.AnyGeneration)
	after := w.refreshesAt(p)
	if s.status == tokenstore.ReauthRequired {
		problem(t, err, oauthflow.ErrReauthRequired)
		require.Equal(t, sent, after, "nothing is sent for a dead grant")
		return
	}
	require.Len(t, after, len(sent)+1)
	presented := after[len(after)-1]
	switch {
	case s.refresh != "":
		sum := sha256.Sum256([]byte(s.refresh))
		require.Equal(t, hex.EncodeToString(sum[:]), presented)
		return // the provider does not know it
	case len(sent) > 0:
		require.Equal(t, s.keeps, presented == sent[0])
	}
	require.NoError(t, err)
	require.NotNil(t, snap)
	require.Equal(t, tokenstore.Active, w.row().Status)
	require.Nil(t, w.row().LastError)
}

// newScripted is a world whose provider is scripted and keeps old refresh tokens.
func newScripted(t *testing.T) (*oauthtest.Provider, *world) {
	const redirect = "https://app.example.com/oauth/callback/Graph"
	client := oauthtest.DefaultClient()
	client.RedirectURIs = []string{redirect}
	p, err := oauthtest.New(oauthtest.Config{Rotation: oauthtest.Reusable, Clients: []oauthtest.Client{client}})
	require.NoError(t, err)
	w := newWorld(t, func(c *oauthflow.Config) { c.Transport = p.RoundTripper() })
	w.transport = p.RoundTripper()
	w.target.RedirectURI = redirect
	w.target.Client.AuthorizationURL = p.Endpoints().AuthorizationURL
	w.target.Client.TokenURL = p.Endpoints().TokenURL
	w.target.Client.RevocationURL = p.Endpoints().RevocationURL
	w.target.Client.ClientID = client.ID
	w.target.Client.ClientSecret = tokenstore.NewSecret(client.Secret)
	w.target.Client.Scopes = []string{"offline_access", "Directory.Read.All"}
	return p, w
}

// authorize walks a whole flow through the provider's pages.
func (w *world) authorize(p *oauthtest.Provider) {
	started, _ := w.start()
	back, err := p.Authorize(context.Background(), started.AuthorizationURL, "alice")
	require.NoError(w.t, err)
	u, err := url.Parse(back)
	require.NoError(w.t, err)
	_, err = w.m.Callback(context.Background(), w.arriving(started, u.Query()))
	require.NoError(w.t, err)
}

// refreshesAt lists the fingerprints of the refresh tokens that were presented.
func (w *world) refreshesAt(p *oauthtest.Provider) []string {
	var list []string
	for _, r := range p.Journal() {
		if r.RefreshToken != "" {
			list = append(list, r.RefreshToken)
		}
	}
	return list
}

// ok is an answer that brings an access token for an hour.
func ok(name string, step oauthtest.Step) shape {
	return shape{name: name, step: step, status: tokenstore.Active, life: time.Hour}
}

// replyShapes are what token endpoints send with a status of success.
func replyShapes() []shape {
	var list []shape
	add := func(s shape, change ...func(*shape)) {
		for _, c := range change {
			c(&s)
		}
		list = append(list, s)
	}
	lasting := func(d time.Duration) func(*shape) { return func(s *shape) { s.life = d } }
	keeping := func(s *shape) { s.keeps = true }
	nested := func(s *shape) { s.always = true }
	mapping := func(m oauthflow.ResponseMapping) func(*shape) {
		return func(s *shape) { s.provider = func(p *oauthflow.Provider) { p.Response = m } }
	}
	scopes := func(names ...string) func(*shape) { return func(s *shape) { s.scopes = names } }
	set := oauthtest.Set

	for _, raw := range []string{`3600`, `"3600"`, `3600.0`, `3.6e3`, `"3600.5"`} {
		add(ok("expires_in "+raw, set("expires_in", json.RawMessage(raw))))
	}
	add(ok("expires_in absent", oauthtest.Unset("expires_in")), lasting(0))
	for _, raw := range []string{`null`, `""`, `0`, `true`, `"NaN"`, `1e14`, `1e40`} {
		add(ok("expires_in "+raw, set("expires_in", json.RawMessage(raw))), lasting(0))
	}
	add(ok("expires_in absent, default lifetime", oauthtest.Unset("expires_in")), lasting(10*time.Minute), func(s *shape) {
		s.provider = func(p *oauthflow.Provider) { p.DefaultLifetime = 10 * time.Minute }
	})
	add(shape{
		name: "expires_in negative", step: set("expires_in", -5), fails: oauthflow.ErrUnavailable,
		status: tokenstore.Degraded, reason: oauthflow.ReasonExpiredOnArrival,
	})
	// A synctest bubble begins at midnight, the first of January 2000.
	until := time.Date(2000, 1, 1, 5, 0, 0, 0, time.UTC) // the renewal is at two o'clock
	for name, at := range map[string]any{
		"seconds": until.Unix(), "milliseconds": until.UnixMilli(), "RFC 3339": until.Format(time.RFC3339),
	} {
		add(ok("expires_at in "+name, oauthtest.Edit(func(r *oauthtest.Reply) {
			delete(r.Members, "expires_in")
			r.Members["expires_at"] = at
		})), lasting(3*time.Hour), mapping(oauthflow.ResponseMapping{ExpiresAt: "expires_at"}))
	}
	add(ok("refresh_token absent", oauthtest.Unset("refresh_token")), keeping)
	add(ok("refresh_token empty", set("refresh_token", "")), keeping)
	add(ok("refresh_token null", set("refresh_token", nil)), keeping)
	long := "R" + strings.Repeat("x", 16<<10)
	add(ok("refresh_token of 16 KiB", set("refresh_token", long)), func(s *shape) { s.refresh = long })

	add(ok("scope as a string", set("scope", "a b")), scopes("a", "b"))
	add(ok("scope as a comma list", set("scope", "a,b")), scopes("a", "b"))
	add(ok("scope as an array", set("scope", []string{"a", "b"})), scopes("a", "b"))
	add(ok("form-encoded", oauthtest.Form("application/x-www-form-urlencoded")))
	add(ok("form-encoded, sent as HTML", oauthtest.Form("text/html")))
	add(ok("JSON sent as text", oauthtest.Rewrite("text/plain", func(b []byte) []byte { return b })))
	add(ok("nested in data.token", oauthtest.Under("data.token", map[string]any{"code": 0})), nested, mapping(oauthflow.ResponseMapping{Root: "data.token"}))
	add(ok("nested in authed_user", oauthtest.Under("authed_user", map[string]any{"ok": true, "access_token": "bot"})), nested, mapping(oauthflow.ResponseMapping{
		AccessToken: "authed_user.access_token", RefreshToken: "authed_user.refresh_token", ExpiresIn: "authed_user.expires_in",
	}))
	add(ok("token_type absent", oauthtest.Unset("token_type")))
	add(ok("token_type bearer", set("token_type", "bearer")))
	add(ok("token_type BEARER", set("token_type", "BEARER")))
	add(ok("token_type DPoP", set("token_type", "DPoP")), func(s *shape) { s.kind = "DPoP" })
	add(ok("extra members", oauthtest.Edit(func(r *oauthtest.Reply) {
		r.Members["instance_url"], r.Members["team"], r.Members["realmId"] = "https://i", map[string]any{"id": "T"}, 7
	})), func(s *shape) {
		s.extra = map[string]string{"instance_url": `"https://i"`, "team": `{"id":"T"}`, "realmId": `7`}
	})
	add(ok("duplicate members", oauthtest.Rewrite("application/json", func(b []byte) []byte {
		return append([]byte(`{"access_token":"first","refresh_token":"first",`), b[1:]...)
	})))
	add(ok("case-folded members beside", oauthtest.Edit(func(r *oauthtest.Reply) {
		r.Members["Access_Token"], r.Members["REFRESH_TOKEN"], r.Members["Expires_In"] = "x", "y", 1
	})), func(s *shape) { s.extra = map[string]string{"Access_Token": `"x"`} })
	return append(list, unusableShapes()...)
}

// unusableShapes are successes by their status only.
func unusableShapes() []shape {
	// A well-formed refresh token is stored all the same; else the one that was sent
	// stays, and what became of it nobody knows.
	kept := func(name string, step oauthtest.Step) shape {
		return shape{name: name, step: step, fails: oauthflow.ErrUnavailable, status: tokenstore.Degraded, reason: "unknown"}
	}
	unknown := func(name string, step oauthtest.Step) shape {
		s := kept(name, step)
		s.keeps, s.open = true, true
		return s
	}
	edit := func(name string, value any, drop ...string) oauthtest.Step {
		return oauthtest.Edit(func(r *oauthtest.Reply) {
			r.Members[name] = value
			for _, d := range drop {
				delete(r.Members, d)
			}
		})
	}
	dead := func(name, body string) shape {
		return shape{
			name: name, step: oauthtest.Raw(200, "application/json", body), fails: oauthflow.ErrReauthRequired,
			status: tokenstore.ReauthRequired, reason: oauthflow.ReasonInvalidGrant, keeps: true,
		}
	}
	list := []shape{
		dead("GitHub's error with 200", `{"error":"bad_refresh_token","error_description":"d","error_uri":"u"}`),
		dead("Slack's error with 200", `{"ok":false,"error":"token_revoked"}`),
		kept("access_token with a line break", edit("access_token", "a\r\nb")),
		kept("access_token absent", oauthtest.Unset("access_token")),
		kept("access_token a number", edit("access_token", 7)),
		kept("access_token an array", edit("access_token", []string{"x"})),
		kept("access_token empty", edit("access_token", "")),
		kept("token_type with a tab", edit("token_type", "Bea\trer")),
		kept("broken off after the refresh token", oauthtest.Rewrite("application/json", func(b []byte) []byte {
			return append([]byte(nil), b[:strings.Index(string(b), `,"scope"`)]...)
		})),
		unknown("access_token a number, no refresh_token", edit("access_token", 7, "refresh_token")),
		unknown("access_token absent, refresh_token broken", edit("refresh_token", "r\x00", "access_token")),
		unknown("case-folded members only", oauthtest.Raw(200, "application/json", `{"Access_Token":"x","Refresh_Token":"y"}`)),
		unknown("HTML with 200", oauthtest.Raw(200, "text/html", "<h1>Welcome</h1>")),
		unknown("garbage with 200", oauthtest.Raw(200, "application/octet-stream", "\x00\x01\x02")),
		unknown("nothing with 200", oauthtest.Raw(200, "application/json", "")),
		unknown("endless", oauthtest.Endless()),
		unknown("a gzip bomb", oauthtest.Bomb(200<<20)),
		unknown("cut in the body", oauthtest.Cut(30)),
		unknown("one byte a second", oauthtest.Drip(time.Second)),
		unknown("silence after the headers", oauthtest.Stall(0)),
	}
	for _, status := range []string{"301", "302", "303", "307", "308"} {
		n, _ := json.Number(status).Int64()
		list = append(list,
			unknown("redirect "+status+" to another host", oauthtest.Redirect(int(n), "https://elsewhere.example/token")),
			unknown("redirect "+status+" to the same host", oauthtest.Redirect(int(n), "/common/oauth2/v2.0/token")))
	}
	return list
}

// failureShapes are what says no, or nothing.
func failureShapes() []shape {
	var list []shape
	for _, code := range []string{
		"invalid_grant", "bad_refresh_token", "interaction_required", "consent_required", "login_required", "token_expired", "token_revoked", "grant_gone",
	} {
		list = append(list, shape{
			name: code, step: oauthtest.Fail(400, code, "gone"), fails: oauthflow.ErrReauthRequired,
			status: tokenstore.ReauthRequired, reason: oauthflow.ReasonInvalidGrant, keeps: true,
			provider: func(p *oauthflow.Provider) { p.DeadGrantErrors = []string{"grant_gone"} },
		})
	}
	degraded := func(name, reason string, step oauthtest.Step) {
		list = append(list, shape{
			name: name, step: step, fails: oauthflow.ErrUnavailable, status: tokenstore.Degraded, reason: reason,
			keeps: true, open: reason == "unknown",
		})
	}
	degraded("invalid_client", "operator", oauthtest.Fail(401, "invalid_client", "the secret has expired"))
	degraded("unauthorized_client", "operator", oauthtest.Fail(400, "unauthorized_client", ""))
	degraded("invalid_scope", "configuration", oauthtest.Fail(400, "invalid_scope", ""))
	degraded("429", "transient", oauthtest.Raw(429, "text/plain", "slow down"))
	degraded("503", "transient", oauthtest.Raw(503, "text/html", "<h1>"))
	degraded("temporarily_unavailable", "transient", oauthtest.Fail(400, "temporarily_unavailable", ""))
	degraded("400 with an unknown code", "unclassified", oauthtest.Fail(400, "invalid_request", "the token is dead"))
	degraded("400 with nothing", "unclassified", oauthtest.Answer(oauthtest.Reply{Status: 400}))
	for name, status := range map[string]int{"500": 500, "502": 502, "504": 504} {
		degraded(name, "unknown", oauthtest.Raw(status, "text/html", "<h1>"))
	}
	degraded("reset before it was processed", "unknown", oauthtest.Reset())
	degraded("reset after it was processed", "unknown", oauthtest.Lose())
	degraded("silence", "unknown", oauthtest.Hang())
	degraded("silence after it was processed", "unknown", oauthtest.Swallow())
	degraded("nobody listens", "transient", oauthtest.Drop())
	list[len(list)-1].unsent = true
	return list
}
