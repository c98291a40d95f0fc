package e2e_test

import (
	"context"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// An integration is deleted while people connect accounts to it and others map,
// configure and renew it: nothing is left that nobody could find again.
func TestDeletedWhileInUse(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	s := newSite(t, "EGRESS=127.0.0.1")
	c := newClient(s.start(t, s.addr()))
	m := &managers{}
	_, m.urls = newOAuthTest(t, managedConfig())
	code, err := c.look(ctx, integration)
	require.NoError(t, err)
	what := created + "?org=north"
	for round := range 30 {
		d := m.definition(created, managedClients[round%2])
		if round%3 == 0 {
			oauth := d["oauth"].(object)
			oauth["flow"], oauth["scopes"] = "client_credentials", "https://graph.microsoft.com/.default"
		}
		_, err := c.create(ctx, d)
		require.NoError(t, err)
		work := []func() error{
			func() error { return c.another().connect(ctx, what) },
			func() error { return c.another().connect(ctx, created) },
			func() error { _, err := c.another().begin(ctx, what); return err },
			func() error { _, err := c.refresh(ctx, what); return err },
			func() error { return c.mapTo(ctx, created, "north", []string{"acme", "globex"}[rand.IntN(2)]) },
			func() error { return c.configure(ctx, created, object{"first": 1, "pepper": "x"}) },
			func() error { return c.change(ctx, created, object{"description": "changed"}) },
		}
		errs := parallel(len(work)+1, func(i int) error {
			if i == len(work) {
				pause(ctx, time.Duration(rand.IntN(40))*time.Millisecond)
				_, err := c.remove(ctx, created)
				return err
			}
			for work[i]() == nil {
				pause(ctx, time.Millisecond)
			}
			return nil
		})
		require.Empty(t, errs, "round %d", round)
		_, err = c.look(ctx, created)
		require.Equal(t, http.StatusNotFound, statusOf(err), err)
		checkDatabase(ctx, t, s.database, map[string]bool{code.ID: true})
	}
}
