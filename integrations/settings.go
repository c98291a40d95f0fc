package integrations

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// settings are what an organization has set for a definition, opened. They are
// never changed.
type settings struct {
	record  SettingsRecord
	values  map[string]json.RawMessage
	secrets map[string]tokenstore.Secret
	fault   error     // why the secrets, or all of it, cannot be read; nil usually
	opened  time.Time // when that was found
	epoch   uint64    // of the entry before the reading
}

// settingsEntry is this process's knowledge of settings.
type settingsEntry struct {
	key   SettingsKey
	last  atomic.Pointer[settings]
	epoch atomic.Uint64 // rises when the feed names the key
}

// current reports whether nothing newer than s is known to be stored.
func (e *settingsEntry) current(s *settings) bool { return s.epoch == e.epoch.Load() }

// settingsOf returns the settings of org for a definition, read if they are not
// known and may be there. While the store is away, what was known before serves.
func (r *Registry) settingsOf(ctx context.Context, definition, org string) (*settingsEntry, *settings, error) {
	key := SettingsKey{Definition: definition, Org: org}
	e := r.settings.Load(key)
	if e == nil {
		e = r.settings.LoadOrStore(key, &settingsEntry{key: key})
	}
	last := e.last.Load()
	if last != nil && e.current(last) && (last.fault == nil || time.Since(last.opened) < openPause) {
		return e, last, nil
	}
	epoch := e.epoch.Load()
	if r.everSet.never(key, r.cfg.Staleness) {
		s := &settings{record: SettingsRecord{SettingsKey: key}, opened: time.Now(), epoch: epoch}
		e.last.Store(s)
		return e, s, nil
	}
	record, err := r.cfg.Definitions.Settings(ctx, definition, org)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil, nil, ctx.Err()
	case last != nil:
		r.alarm(ctx, err)
		return e, last, nil
	default:
		return nil, nil, fmt.Errorf("integrations: read settings: %w", err)
	}
	s, err := r.openingSettings.do(ctx, settingsText{key, record.Version}, func(ctx context.Context) *settings {
		s := r.openSettings(ctx, record)
		s.epoch = epoch
		e.last.Store(s)
		return s
	})
	if err != nil {
		return nil, nil, err
	}
	return e, s, nil
}

// settingsText is what is sealed, of settings.
type settingsText struct {
	SettingsKey

	version int64
}

// openSettings unseals a record, as far as it can be.
func (r *Registry) openSettings(ctx context.Context, record SettingsRecord) *settings {
	ctx, cancel := context.WithTimeout(ctx, openLimit)
	defer cancel()
	s := &settings{record: record}
	defer func() { s.opened = time.Now() }()
	if record.Config != nil && json.Unmarshal(record.Config, &s.values) != nil {
		s.fault = errors.New("the stored configuration has a form that this version does not know")
		return s
	}
	var err error
	s.secrets, err = r.openSecrets(ctx, record.Sealed, settingsBinding(record.SettingsKey, record.Version))
	if err != nil {
		s.fault = unopened("what is secret of the configuration", err)
	}
	return s
}

// broken is the error for settings of d that cannot be read.
func (s *settings) broken(d *definition) error {
	return d.unusable(s.record.Org, s.fault)
}

// unopened is the fault of something that is sealed.
func unopened(what string, err error) error {
	if opensLater(err) {
		return fmt.Errorf("%s cannot be opened at the moment; try again later: %w", what, err)
	}
	return fmt.Errorf("%s cannot be opened; check the sealing keys, or give it again: %w", what, err)
}

// opensLater reports whether what cannot be read for a fault may be readable another
// time, and is lost if it is written over: the key service is away, or a newer version
// wrote it.
func opensLater(fault error) bool {
	return fault != nil && !errors.Is(fault, tokenstore.ErrSealBroken) && !errors.Is(fault, tokenstore.ErrUnknownKey)
}

// settingsBinding ties sealed values to whose they are and when they were set.
func settingsBinding(key SettingsKey, version int64) tokenstore.Binding {
	return tokenstore.Binding{
		Key: tokenstore.Key{Definition: key.Definition, Org: key.Org}, Field: "config", Generation: version,
	}
}

// definitionBinding does it for the secrets of a definition.
func definitionBinding(d DefinitionRecord, version int64) tokenstore.Binding {
	return tokenstore.Binding{
		Key: tokenstore.Key{Definition: d.ID, Org: d.Org}, Field: "definition", Generation: version,
	}
}

// sealSecrets seals secrets as one; nil if there are none.
func (r *Registry) sealSecrets(ctx context.Context, secrets map[string]tokenstore.Secret, b tokenstore.Binding) ([]byte, error) {
	if len(secrets) == 0 {
		return nil, nil
	}
	// Byte slices, because JSON strings would mend what is not UTF-8.
	form := make(map[string][]byte, len(secrets))
	for name, s := range secrets {
		form[name] = []byte(s.Reveal())
	}
	text, err := json.Marshal(form)
	if err != nil {
		return nil, fmt.Errorf("integrations: encode secrets: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, openLimit)
	defer cancel()
	return r.cfg.Sealer.Seal(ctx, text, b)
}

func (r *Registry) openSecrets(ctx context.Context, sealed []byte, b tokenstore.Binding) (map[string]tokenstore.Secret, error) {
	if sealed == nil {
		return nil, nil
	}
	if err := ctx.Err(); err != nil { // which keys without a service would not mind
		return nil, fmt.Errorf("%w: %w", tokenstore.ErrKeysAway, err)
	}
	text, err := r.cfg.Sealer.Open(ctx, sealed, b)
	switch {
	case err == nil:
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("%w: %w", tokenstore.ErrKeysAway, err)
	default:
		return nil, err
	}
	var form map[string][]byte
	if json.Unmarshal(text, &form) != nil {
		return nil, errors.New("sealed secrets have a form that this version does not know") // the decoder's error may quote them
	}
	secrets := make(map[string]tokenstore.Secret, len(form))
	for name, s := range form {
		secrets[name] = tokenstore.NewSecret(string(s))
	}
	return secrets, nil
}
