package integrations

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// How a definition made at run time stands in the store: its JSON form, and its
// client secret sealed beside it.

// clientSecret is what the secret is called among the sealed ones.
const clientSecret = "client_secret"

// open makes a definition of a record. One that cannot be used is there all the
// same, with the reason in fault: its name must not suddenly mean something else,
// such as the global definition that it stands before.
func (r *Registry) open(ctx context.Context, record DefinitionRecord) *definition {
	d := &definition{id: record.ID, source: SourceStored, record: record, restricted: true, opened: time.Now()}
	if d.fault = r.unpack(ctx, d, record); d.fault == nil {
		d.record.Body, d.record.Sealed = nil, nil // not needed twice
	}
	d.Name, d.Org = record.Name, record.Org
	if d.fault == nil && d.OAuth != nil {
		d.fingerprint = fingerprint(d.OAuth)
	}
	return d
}

// openPause is how long a definition that could not be opened stays so: a key
// service may only have been away.
const openPause = 10 * time.Second

// again opens a definition once more that could not be opened, if that was a while
// ago.
func (r *Registry) again(ctx context.Context, d *definition) *definition {
	if d.fault == nil || time.Since(d.opened) < openPause {
		return d
	}
	r.apply(ctx, []DefinitionRecord{d.record})
	if now := r.defs.Load().stored[d.id]; now != nil {
		return now
	}
	return d
}

// unpack fills in what the record holds, as far as it can be read.
func (r *Registry) unpack(ctx context.Context, d *definition, record DefinitionRecord) error {
	var err error
	if d.Definition, err = ParseDefinition(record.Body); err != nil {
		d.unreadable = true
		return fmt.Errorf("its stored form is not one that this version knows: %w", err)
	}
	secrets, err := r.openSecrets(ctx, record.Sealed, definitionBinding(record, record.Version))
	if err != nil {
		return fmt.Errorf("its client secret cannot be opened; check the sealing keys, or give it again: %w", err)
	}
	if d.OAuth != nil {
		d.OAuth.ClientSecret = secrets[clientSecret]
	}
	return d.prepare(r.cfg.BaseURL)
}

// seal makes a record of a definition, to be written over the one in record.
func (r *Registry) seal(ctx context.Context, d Definition, record DefinitionRecord, actor string) (DefinitionRecord, error) {
	body, err := json.Marshal(d)
	if err != nil {
		return record, fmt.Errorf("integrations: encode definition: %w", err)
	}
	secrets := map[string]tokenstore.Secret{}
	if d.OAuth != nil && !d.OAuth.ClientSecret.IsZero() {
		secrets[clientSecret] = d.OAuth.ClientSecret
	}
	record.Body, record.UpdatedBy = body, actor
	record.Sealed, err = r.sealSecrets(ctx, secrets, definitionBinding(record, record.Version+1))
	if err != nil {
		return record, fmt.Errorf("integrations: seal definition: %w", err)
	}
	return record, nil
}

// fingerprint stands for where a stored definition's grants come from and go to,
// beside the client id. Whoever changes one of these may lead the tokens of live
// connections elsewhere, so those must be connected again.
func fingerprint(c *oauthflow.Client) string {
	text, _ := json.Marshal([]any{ // strings and such always encode
		c.AuthorizationURL, c.TokenURL, c.RefreshURL, c.RevocationURL, c.Issuer, authOf(c),
	})
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// authOf returns the client authentication, the default included.
func authOf(c *oauthflow.Client) oauthflow.ClientAuth {
	if c.ClientAuth == "" {
		return oauthflow.AuthPost
	}
	return c.ClientAuth
}
