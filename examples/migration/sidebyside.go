package migration

import (
	"context"
	"errors"
	"net/http"

	"github.com/bifrost-go/bifrost"
	"github.com/bifrost-go/bifrost/examples/migration/after"
	"github.com/bifrost-go/bifrost/examples/migration/before"
	"github.com/bifrost-go/bifrost/integrations"
)

// Host has the old code and Bifrost side by side, for as long as the move takes.
type Host struct {
	Old     *before.App
	Bifrost *bifrost.Bifrost
}

// Client uses Bifrost for organizations that have a connection there, and the old
// code for the others.
func (h *Host) Client(ctx context.Context, org string) (*http.Client, error) {
	client, err := after.Client(ctx, h.Bifrost, org)
	if errors.Is(err, integrations.ErrNotConnected) {
		return h.Old.Client(ctx, org)
	}
	return client, err
}

// Freeze makes the old code stop to refresh: from here on it hands out the access
// tokens it has while they last. Refreshes under way are not over yet; see the
// document.
func (h *Host) Freeze(ctx context.Context) error {
	_, err := h.Old.DB.ExecContext(ctx, `UPDATE oauth_tokens SET frozen = TRUE`)
	return err
}
