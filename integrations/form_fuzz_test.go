package integrations_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// silent checks that an error tells nothing of a secret.
func silent(t *testing.T, err error) {
	t.Helper()
	var invalid *integrations.InvalidError
	require.True(t, errors.As(err, &invalid), "%T", err)
	require.NotEmpty(t, invalid.Fields)
	require.NotContains(t, err.Error(), canary)
	require.Less(t, len(err.Error()), 64<<10)
}

// stable checks what was accepted: it is written without its secret, and read
// again it is the same.
func stable(t *testing.T, d integrations.Definition) {
	t.Helper()
	written, err := json.Marshal(d)
	require.NoError(t, err)
	if d.OAuth != nil && !d.OAuth.ClientSecret.IsZero() {
		other, client := d, *d.OAuth
		client.ClientSecret = tokenstore.NewSecret("another one")
		other.OAuth = &client
		same, err := json.Marshal(other)
		require.NoError(t, err)
		require.Equal(t, string(same), string(written), "nothing of the secret is in it")
	}
	again, err := integrations.ParseDefinition(written)
	require.NoError(t, err, "%s", written)
	rewritten, err := json.Marshal(again)
	require.NoError(t, err)
	require.Equal(t, string(written), string(rewritten))
	if d.OAuth != nil {
		again.OAuth.ClientSecret = d.OAuth.ClientSecret
	}
	integrations.ForgetSecret(&d)
	integrations.ForgetSecret(&again)
	require.Equal(t, d, again)
}

func FuzzParseDefinition(f *testing.F) {
	for _, text := range accepted(f) {
		f.Add([]byte(text))
	}
	for _, test := range refused(f) {
		if len(test.text) < 4<<10 {
			f.Add([]byte(test.text))
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := integrations.ParseDefinition(text)
		if err != nil {
			// The name of a member may be anything, and is said.
			if !strings.Contains(string(text), canary+`":`) {
				silent(t, err)
			}
			return
		}
		stable(t, d)
	})
}

func FuzzMerge(f *testing.F) {
	for _, patch := range []string{
		`{}`, `[]`, `{"oauth": null}`, `{"oauth": {"client_secret": "` + canary + `"}}`, `{"name": "Other"}`,
		`{"config": [], "oauth": {"variables": null, "token_url": "https://a.example/"}}`,
		`{"oauth": {"client_auth": "none", "client_secret": null, "disable_pkce": false}}`, `{"oauth": {"response": {"root": "."}}}`,
	} {
		f.Add([]byte(patch))
	}
	f.Fuzz(func(t *testing.T, patch []byte) {
		d := parsed(t, fullForm)
		if err := d.Merge(patch); err != nil {
			require.Equal(t, fullDefinition(), d)
			return
		}
		require.Equal(t, "Full.Form-1", d.Name)
		require.Equal(t, "acme", d.Org)
		stable(t, d)
	})
}

func FuzzConfigValue(f *testing.F) {
	for _, text := range []string{`""`, `null`, `"eu"`, `42`, `-0`, `1e400`, `true`, `{"a": [1.0, "\u003c"]}`, `"\ud800"`, `[`, `"` + canary + `"`} {
		for i := range configFields() {
			f.Add(i, []byte(text))
		}
	}
	f.Fuzz(func(t *testing.T, i int, text []byte) {
		field := configFields()[uint(i)%uint(len(configFields()))]
		plain, sealed, removed, err := integrations.NewConfigChange([]integrations.ConfigField{field}, map[string]any{field.Key: json.RawMessage(text)})
		if err != nil {
			if !strings.Contains(string(text), canary+`":`) {
				silent(t, err)
			}
			return
		}
		v := integrations.NewValues([]integrations.ConfigField{field}, integrations.NewLayer(integrations.OriginOverride, plain, sealed))
		stored := len(plain) + len(sealed)
		require.Equal(t, 1, stored+len(removed))
		if stored == 0 {
			require.NotEqual(t, integrations.OriginOverride, v.Origin(field.Key))
			return
		}
		require.Equal(t, integrations.OriginOverride, v.Origin(field.Key), "what was accepted is read again")
		if field.Type == integrations.ConfigSecret {
			require.Empty(t, plain)
			shown, err := json.Marshal(v)
			require.NoError(t, err)
			require.Equal(t, `{"key":"[REDACTED]"}`, string(shown))
		}
	})
}
