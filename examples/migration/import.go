package migration

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/oauth2"

	"github.com/bifrost-go/bifrost/integrations"
)

// Import takes the frozen tokens over. It can be run as often as needed: where there
// is a connection already, from an earlier run or because somebody has connected
// anew, it changes nothing. What is wrong with one organization's tokens is no reason
// to leave the others out.
func (h *Host) Import(ctx context.Context, actor string) (imported int, err error) {
	rows, err := h.Old.DB.QueryContext(ctx,
		`SELECT org, access_token, refresh_token, expiry FROM oauth_tokens WHERE frozen ORDER BY org`)
	if err != nil {
		return 0, err
	}
	defer func() { _ = rows.Close() }()
	var failed []error
	for rows.Next() {
		var org string
		var token oauth2.Token
		if err := rows.Scan(&org, &token.AccessToken, &token.RefreshToken, &token.Expiry); err != nil {
			return imported, err
		}
		_, err := h.Bifrost.Integrations.Import(ctx, "Microsoft_Graph", &token,
			integrations.ImportOptions{Actor: actor}, integrations.Org(org))
		switch {
		case err == nil:
			imported++
		case errors.Is(err, integrations.ErrExists):
		default:
			failed = append(failed, fmt.Errorf("%s: %w", org, err))
		}
	}
	return imported, errors.Join(append(failed, rows.Err())...)
}
