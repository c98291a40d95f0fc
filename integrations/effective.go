package integrations

import (
	"cmp"
	"context"
	"maps"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// effective is what a definition comes to in one organization: its defaults with
// what the organization has set over them. It is never changed.
type effective struct {
	entityID   string
	entityName string
	mapped     bool              // the organization has an entity id of its own
	values     map[string]string // of template variables beside entity_id
	ownValues  bool              // the organization has set one of those
	config     Values
	missing    []string // keys that lack a value
	fault      error    // why the settings cannot be read; nil usually

	// What it was made of.
	own, base           *settings
	ownEntry, baseEntry *settingsEntry // base: nil in the global scope
}

// broken is the error for settings that cannot be read.
func (e *effective) broken(d *definition, org string) error {
	return d.unusable(org, e.fault)
}

// current reports whether none of the settings are known to have changed.
func (e *effective) current() bool {
	return e.ownEntry.current(e.own) && (e.baseEntry == nil || e.baseEntry.current(e.base))
}

// effective works out what d comes to in org; the empty org is the integration
// level.
func (r *Registry) effective(ctx context.Context, d *definition, org string) (*effective, error) {
	e := &effective{}
	var err error
	if e.ownEntry, e.own, err = r.settingsOf(ctx, d.id, org); err != nil {
		return nil, r.unread(ctx, d.Name, org, err)
	}
	if org != "" {
		if e.baseEntry, e.base, err = r.settingsOf(ctx, d.id, ""); err != nil {
			return nil, r.unread(ctx, d.Name, org, err)
		}
	}
	e.fill(d)
	return e, nil
}

// fill works out what follows from the settings.
func (e *effective) fill(d *definition) {
	e.entityID = d.DefaultEntityID
	if e.fault = e.own.fault; e.fault == nil && e.base != nil {
		e.fault = e.base.fault
	}
	layers := []configLayer{{plain: e.own.values, secrets: e.own.secrets, origin: OriginDefault}}
	if e.base != nil { // e is an organization's
		layers[0].origin = OriginOverride
		layers = []configLayer{{plain: e.base.values, secrets: e.base.secrets, origin: OriginDefault}, layers[0]}
		e.mapped = e.own.record.EntityID != ""
		e.entityID = cmp.Or(e.own.record.EntityID, d.DefaultEntityID)
		e.entityName = e.own.record.EntityName
	}
	e.config = newValues(d.Config, layers...)
	e.missing = e.config.missing(d.variables)
	for _, name := range d.variables {
		if e.values == nil {
			e.values = make(map[string]string, len(d.variables))
		}
		e.values[name] = e.config.String(name)
		e.ownValues = e.ownValues || e.config.Origin(name) == OriginOverride
	}
}

// variables are the values of all template variables.
func (e *effective) variables() map[string]string {
	values := map[string]string{entityVariable: e.entityID}
	maps.Copy(values, e.values)
	return values
}

// target is how to talk to d's provider about the connection under key.
func (r *Registry) target(d *definition, e *effective, key tokenstore.Key) oauthflow.Target {
	t := oauthflow.Target{
		Key: key, Name: d.Name, Client: d.OAuth, EntityID: e.entityID, Values: e.values, RedirectURI: d.redirectURI,
		Fingerprint: d.fingerprint(e), AllowAccountChange: d.AllowAccountChange,
	}
	if d.restricted {
		t.Transport = r.out.tokens
	}
	return t
}

// ownsCredentials reports whether org's client credentials differ from those of
// the integration level, so that its tokens are its own.
func (e *effective) ownsCredentials(d *definition, org string) bool {
	return org == "" || d.Org != "" || e.mapped || e.ownValues
}
