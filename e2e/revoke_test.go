package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/oauthtest"
	"github.com/bifrost-go/bifrost/tokenstore"
)

func init() { children["remover"] = removeInChild }

// removing is what a child removes, of the organization of that name.
type removing struct {
	deployment
	Org  string
	What string // "connection", "organization", or nothing
}

// removeInChild runs until the parent's end.
func removeInChild(ctx context.Context, config []byte) error {
	var r removing
	if err := json.Unmarshal(config, &r); err != nil {
		return err
	}
	bf, _, closing, err := r.open(ctx, nil)
	if err != nil {
		return err
	}
	switch r.What {
	case "connection":
		_, err = bf.Integrations.Disconnect(ctx, theIntegration, "admin", integrations.Org(r.Org))
	case "organization":
		_, err = bf.DeleteOrg(bf.WithGlobal(ctx), r.Org, "admin")
	default:
		err = bf.Start(ctx)
	}
	if err != nil {
		return errors.Join(err, closing())
	}
	tell("done")
	return errors.Join(readLines(func(string) error { return nil }), closing())
}

// A process is killed when it has removed a connection and cannot reach the provider:
// the next one revokes it.
func TestKilledBeforeItIsRevoked(t *testing.T) {
	t.Parallel()
	const org = "acme-corp"
	for name, where := range databases {
		for _, what := range []string{"connection", "organization"} {
			t.Run(name+"/"+what, func(t *testing.T) {
				t.Parallel()
				p, err := oauthtest.New(oauthtest.Config{})
				require.NoError(t, err)
				server := httptest.NewServer(p)
				t.Cleanup(server.Close)
				d := deployment{Database: where(t), Keys: tokenstore.GenerateKey(), Provider: server.URL}
				bf, db, closing, err := d.open(t.Context(), nil)
				require.NoError(t, err)
				t.Cleanup(func() { require.NoError(t, closing()) })
				require.NoError(t, connect(t.Context(), bf, p, org, "admin"))
				definition := integrations.Definition{Name: theIntegration}
				key := tokenstore.Key{Definition: definition.ID(), Org: org}
				stands := func() *tokenstore.Connection {
					c, err := db.Tokens().Load(t.Context(), key)
					require.NoError(t, err)
					return c
				}

				p.SetDown(true)
				first := startChild(t, "remover", removing{d, org, what})
				require.Equal(t, "done", first.hear(t))
				first.kill()
				require.False(t, stands().Connected())
				require.NotNil(t, stands().Revoking)
				p.SetDown(false)
				require.Empty(t, p.Families()[0].Revoked)

				// As if the pause were over, for which others leave it to who removed.
				_, err = db.Tokens().Update(t.Context(), key, func(c *tokenstore.Connection, now time.Time) error {
					c.DueAt, c.RetryAt = now, now
					return nil
				})
				require.NoError(t, err)
				require.Equal(t, "done", startChild(t, "remover", removing{deployment: d}).hear(t))
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				require.NoError(t, poll(ctx, 20*time.Millisecond, func() (bool, error) {
					return p.Families()[0].Revoked != "" && stands().Revoking == nil, nil
				}))
				require.Equal(t, "client", p.Families()[0].Revoked)
				require.Zero(t, stands().DueAt)
				events, err := db.Tokens().Events(t.Context(), tokenstore.Match{Org: &key.Org}, 0, 10)
				require.NoError(t, err)
				if what == "organization" {
					require.Empty(t, events, "they were deleted with it")
					return
				}
				require.Equal(t, "revoked", events[0].Kind)
			})
		}
	}
}
