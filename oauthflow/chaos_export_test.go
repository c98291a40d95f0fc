package oauthflow

import (
	"context"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// StoredTokens opens what a record holds: the refresh token and the grant's own
// access token, empty where there is none.
func StoredTokens(ctx context.Context, s *tokenstore.Sealer, c *tokenstore.Connection) (refresh, access string, err error) {
	if c.Sealed == nil {
		return "", "", nil
	}
	t, err := openTokens(ctx, s, c)
	if err != nil {
		return "", "", err
	}
	if own, ok := t.access[""]; ok {
		access = own.secret.Reveal()
	}
	return t.refresh.Reveal(), access, nil
}
