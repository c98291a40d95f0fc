package oauthflow_test

import (
	"context"
	"fmt"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// Flows and connections go by the whole key, not by its parts joined.
func TestKeysThatReadAlikeAreDifferentConnections(t *testing.T) {
	w := newWorld(t)
	for i, key := range []tokenstore.Key{
		{Definition: "def", Org: "a:b", User: "c"}, {Definition: "def", Org: "a", User: "b:c"}, {Definition: "def:a", Org: "b", User: "c"},
		{Definition: "def", Org: "a", User: "b", Account: "c"}, {Definition: "def", Org: "ab", Account: "c"},
	} {
		w.target.Key = key
		_, err := w.token(w.m)
		problem(t, err, oauthflow.ErrNotConnected)
		w.connect(fmt.Sprint("g", i))
		w.requireToken(w.m, fmt.Sprint("AT", i+1))
	}
}

// A code that was asked for in one tenant is not sent to another's token endpoint.
func TestAChangedEntityEndsTheFlow(t *testing.T) {
	w := newWorld(t)
	started, state := w.start()
	r := w.arriving(started, url.Values{"code": {"g"}, "state": {state}})
	w.target.EntityID = "other"
	_, err := w.m.Callback(context.Background(), r)
	ce := refused(t, err, oauthflow.CallbackFailed)
	require.Equal(t, "entity_changed", ce.Code)
	require.Zero(t, w.idp.exchanges())
	require.Zero(t, w.row().Version)
}

// What failed at the exchange is told as what it was: a code that never left is
// no lost answer, and neither is a refresh.
func TestFailedExchangesAreExplained(t *testing.T) {
	tests := map[string]struct {
		change func(p *idp)
		class  oauthflow.Class
		code   string
	}{
		"unreachable": {func(p *idp) { p.dial = func(context.Context) error { return errStore } }, oauthflow.ClassTransient, "unreachable"},
		"busy":        {func(p *idp) { p.answer = always(503, "") }, oauthflow.ClassTransient, "http_503"},
		"no answer":   {func(p *idp) { p.answer = lost }, oauthflow.ClassUnknown, "no_answer"},
		"refused":     {func(p *idp) { p.answer = always(400, `{"error":"invalid_grant"}`) }, oauthflow.ClassDead, "invalid_grant"},
		"our client":  {func(p *idp) { p.answer = always(401, `{"error":"invalid_client"}`) }, oauthflow.ClassOperator, "invalid_client"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			tt.change(w.idp)
			started, state := w.start()
			_, err := w.m.Callback(context.Background(), w.arriving(started, url.Values{"code": {"g"}, "state": {state}}))
			ce := refused(t, err, oauthflow.CallbackFailed)
			require.Equal(t, tt.code, ce.Code)
			require.NotContains(t, ce.Description, "refresh")
			var te *oauthflow.TokenError
			require.ErrorAs(t, err, &te)
			require.Equal(t, tt.class, te.Class)
		})
	}
}

func TestAnotherAccountIsRefused(t *testing.T) {
	account := func(id string) string {
		return fmt.Sprintf(`,"id_token":%q`, idToken(map[string]any{"sub": id, "email": id + "@example.com"}))
	}
	back := func(w *world, code string) error {
		started, state := w.start()
		_, err := w.m.Callback(context.Background(), w.arriving(started, url.Values{"code": {code}, "state": {state}}))
		return err
	}
	t.Run("by default", func(t *testing.T) {
		w := newWorld(t)
		w.idp.extra = account("ann")
		w.connect("g")
		before := w.row()
		w.idp.extra = account("ben")
		for range 2 {
			ce := refused(t, back(w, "g2"), oauthflow.CallbackFailed)
			require.Equal(t, "account_changed", ce.Code)
			require.Contains(t, ce.Description, "disconnect")
			require.NotNil(t, ce.ExpiredCookie, "the code is spent")
		}
		after := w.row()
		after.ReadAt = before.ReadAt
		require.Equal(t, before, after, "nothing was written to the connection")
		require.Empty(t, w.idp.revocations())
		require.Equal(t, []string{"connected", "connect_refused account_changed", "connect_refused account_changed"}, w.events())
		w.requireToken(w.process(), "AT1")

		w.idp.extra = account("ann")
		require.NoError(t, back(w, "g3"))
		_, err := w.m.Disconnect(context.Background(), w.target, "alice")
		require.NoError(t, err)
		w.idp.extra = account("ben")
		require.NoError(t, back(w, "g4"), "after a disconnect anybody may connect")
		require.Equal(t, "ben", w.row().AccountID)
	})
	t.Run("unless the definition allows it", func(t *testing.T) {
		w := newWorld(t)
		w.target.AllowAccountChange = true
		w.idp.extra = account("ann")
		w.connect("g")
		w.idp.extra = account("ben")
		require.NoError(t, back(w, "g2"))
		require.Equal(t, "ben", w.row().AccountID)
	})
	t.Run("unless the grant fits no more", func(t *testing.T) {
		w := newWorld(t)
		w.idp.extra = account("ann")
		w.connect("g")
		w.target.EntityID = "another"
		w.idp.extra = account("ben") // the same person is somebody else there
		require.NoError(t, back(w, "g2"))
		require.Equal(t, "ben", w.row().AccountID)
	})
	t.Run("where both are known", func(t *testing.T) {
		for _, accounts := range [][2]string{{"", account("ben")}, {account("ann"), ""}} {
			w := newWorld(t)
			w.idp.extra = accounts[0]
			w.connect("g")
			w.idp.extra = accounts[1]
			require.NoError(t, back(w, "g2"))
		}
	})
}
