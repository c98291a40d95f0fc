package integrations

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// How a definition made at run time stands in the store: its JSON form, and its
// client secret sealed beside it.

// What is sealed beside the form.
const (
	clientSecret = "client_secret"
	// No secrets, but nobody may change them in the database.
	authorityID   = "authority"
	authoritySalt = "salt"
)

// open makes a definition of a record. One that cannot be used is there all the
// same, with the reason in fault: its name must not suddenly mean something else,
// such as the global definition that it stands before.
func (r *Registry) open(ctx context.Context, record DefinitionRecord) *definition {
	d := &definition{id: record.ID, source: SourceStored, record: record, restricted: true}
	tried := ctx.Err() == nil
	if d.fault = r.unpack(ctx, d, record); d.fault == nil {
		d.record.Body, d.record.Sealed = nil, nil // not needed twice
	}
	d.Name, d.Org = record.Name, record.Org
	if tried { // else whoever needs it first tries
		d.opened = time.Now()
	}
	return d
}

// openPause is how long a definition that could not be opened stays so: a key
// service may only have been away.
const openPause = 10 * time.Second

// again opens a definition once more that could not be opened, if that was a while
// ago. Its error is ctx's.
func (r *Registry) again(ctx context.Context, d *definition) (*definition, error) {
	if d.fault == nil || time.Since(d.opened) < openPause {
		return d, nil
	}
	return r.opening.do(ctx, d, func(ctx context.Context) *definition {
		return r.replace(d, r.open(ctx, d.record))
	})
}

// replace puts next, which is made of the same record, in the place of d, and returns
// what is there then.
func (r *Registry) replace(d, next *definition) *definition {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.defs.Load()
	switch now := old.stored[d.id]; now {
	case d:
	case nil: // the feed has taken it away
		return d
	default: // or brought another one
		return now
	}
	stored := maps.Clone(old.stored)
	stored[d.id] = next
	r.defs.Store(old.withStored(stored))
	return next
}

// openLimit bounds how long a key service may take.
const openLimit = 10 * time.Second

// unpack fills in what the record holds, as far as it can be read.
func (r *Registry) unpack(ctx context.Context, d *definition, record DefinitionRecord) error {
	ctx, cancel := context.WithTimeout(ctx, openLimit)
	defer cancel()
	var err error
	if d.Definition, err = ParseDefinition(record.Body); err != nil {
		d.unreadable = true
		return fmt.Errorf("its stored form is not one that this version knows: %w", err)
	}
	secrets, err := r.openSecrets(ctx, record.Sealed, definitionBinding(record, record.Version))
	if err != nil {
		return unopened("its client secret", err)
	}
	if d.OAuth != nil {
		d.OAuth.ClientSecret = secrets[clientSecret]
	}
	d.authority = authority{secrets[authorityID].Reveal(), secrets[authoritySalt].Reveal()}
	return d.prepare(r.cfg.BaseURL)
}

// seal makes a record of a definition, to be written over the one in record.
func (r *Registry) seal(ctx context.Context, d Definition, by authority, record DefinitionRecord, actor string) (DefinitionRecord, error) {
	body, err := json.Marshal(d)
	if err != nil {
		return record, fmt.Errorf("integrations: encode definition: %w", err)
	}
	secrets := map[string]tokenstore.Secret{
		authorityID: tokenstore.NewSecret(by.id), authoritySalt: tokenstore.NewSecret(by.salt),
	}
	if d.OAuth != nil && !d.OAuth.ClientSecret.IsZero() {
		secrets[clientSecret] = d.OAuth.ClientSecret
	}
	record.Body, record.UpdatedBy = body, actor
	record.Sealed, err = r.sealSecrets(ctx, secrets, definitionBinding(record, record.Version+1))
	if err != nil {
		return record, r.unsealed(ctx, d.Name, d.Org, fmt.Errorf("integrations: seal definition: %w", err))
	}
	return record, nil
}

// fingerprint stands for where a definition's grants come from and go to, beside
// the client id: whoever changes that may lead the tokens of live connections
// elsewhere, so those must be connected again. What code says is trusted, but for
// the values that variables have.
func (d *definition) fingerprint(e *effective) string {
	if d.source == SourceCode && len(d.variables) == 0 {
		return ""
	}
	c := d.OAuth
	parts := []any{c.AuthorizationURL, c.TokenURL, c.RefreshURL, c.RevocationURL, c.Issuer, authOf(c), d.authority.id}
	if d.source == SourceCode {
		parts = nil
	}
	for _, name := range d.variables {
		parts = append(parts, name, e.values[name])
	}
	text, _ := json.Marshal(parts) // strings always encode
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
