package integrations_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/internal/scope"
	"github.com/bifrost-go/bifrost/oauthflow"
)

func configured(name string) integrations.Definition {
	d := definition(name)
	d.Config = []integrations.ConfigField{
		{Key: "region", Type: integrations.ConfigString, Options: []any{"eu", "us"}, Default: "eu"},
		{Key: "limit", Type: integrations.ConfigInt},
		{Key: "api_key", Type: integrations.ConfigSecret, Required: true},
		{Key: "labels", Type: integrations.ConfigJSON},
	}
	return d
}

func TestConfig(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.Define(configured("Graph")))
	w.connect(t, "Graph", "shared", integrations.Global())
	acme := integrations.Org("acme")
	_, err := w.Registry.Get(t.Context(), "Graph", acme)
	require.ErrorIs(t, err, integrations.ErrInvalid, "a required value is missing")
	require.ErrorContains(t, err, `"api_key"`)

	set := func(values map[string]any, opts ...integrations.Option) []integrations.ConfigValue {
		t.Helper()
		list, err := w.SetConfig(t.Context(), "Graph", values, "root", opts...)
		require.NoError(t, err)
		return list
	}
	set(map[string]any{"api_key": "shared-key-0123456789", "limit": 10}, integrations.Global())
	list := set(map[string]any{"region": "us", "api_key": json.RawMessage(`"acme-key-0123456789"`), "labels": []string{"a"}}, acme)
	require.Equal(t, "region", list[0].Key)
	require.Equal(t, "us", list[0].Value)
	require.Equal(t, integrations.OriginOverride, list[0].Origin)
	require.Equal(t, int64(10), list[1].Value)
	require.Equal(t, integrations.OriginDefault, list[1].Origin)
	require.True(t, list[2].Set)
	require.Nil(t, list[2].Value, "secrets are write-only")

	in, err := w.Registry.Get(t.Context(), "Graph", acme)
	require.NoError(t, err)
	c := in.Config()
	require.Equal(t, "us", c.String("region"))
	require.Equal(t, int64(10), c.Int("limit"))
	require.Equal(t, "acme-key-0123456789", c.Secret("api_key").Reveal())
	var labels []string
	require.NoError(t, c.JSON("labels", &labels))
	require.Equal(t, []string{"a"}, labels)
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		require.NotContains(t, sprint(format, in), "acme-key")
		require.NotContains(t, sprint(format, c), "acme-key")
	}

	// An empty override falls back.
	set(map[string]any{"region": "", "api_key": nil}, acme)
	in, err = w.Registry.Get(t.Context(), "Graph", acme)
	require.NoError(t, err)
	require.Equal(t, "eu", in.Config().String("region"))
	require.Equal(t, "shared-key-0123456789", in.Config().Secret("api_key").Reveal())

	events, err := w.Events(t.Context(), "Graph", 0, 1, acme)
	require.NoError(t, err)
	require.Equal(t, "config_changed", events[0].Kind)
	require.Equal(t, "root", events[0].Actor)
}

func TestConfigRefusals(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.Define(configured("Graph")))
	for _, test := range []struct {
		key   string
		value any
	}{
		{"region", "mars"}, {"region", 5}, {"limit", "5"}, {"limit", 1.5}, {"unknown", "x"}, {"api_key", 5},
	} {
		_, err := w.SetConfig(t.Context(), "Graph", map[string]any{test.key: test.value, "labels": 1}, "root", integrations.Org("acme"))
		var invalid *integrations.InvalidError
		require.ErrorAs(t, err, &invalid, test.key)
		require.Equal(t, test.key, invalid.Fields[0].Field)
		list, err := w.Config(t.Context(), "Graph", integrations.Org("acme"))
		require.NoError(t, err)
		require.False(t, list[3].Set, "all or nothing")
	}
	_, err := w.SetConfig(t.Context(), "Graph", map[string]any{"api_key": "key"}, "root", integrations.Org("acme"))
	require.NoError(t, err)
	_, err = w.SetConfig(t.Context(), "Graph", map[string]any{"api_key": ""}, "root", integrations.Org("acme"))
	var invalid *integrations.InvalidError
	require.ErrorAs(t, err, &invalid, "the last value of a required key")
}

// A run is told a secret before it has it, so that its history can be cleaned.
func TestRunIsToldConfigSecrets(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.Define(configured("Graph")))
	w.connect(t, "Graph", "shared", integrations.Global())
	_, err := w.SetConfig(t.Context(), "Graph", map[string]any{"api_key": "the-key-0123456789"}, "root", integrations.Global())
	require.NoError(t, err)
	var told []string
	ctx := scope.WithRun(t.Context(), &scope.Run{Scope: scope.Of("acme"), Redact: func(s string) { told = append(told, s) }})
	_, err = w.Registry.Get(ctx, "Graph")
	require.NoError(t, err)
	require.Contains(t, told, "the-key-0123456789")
}

// A variable of the URLs takes its value from the configuration.
func TestVariables(t *testing.T) {
	w := newWorld(t)
	d := definition("Shop")
	d.OAuth.Variables = map[string]oauthflow.Variable{"shop": {Kind: oauthflow.Label}}
	d.OAuth.AuthorizationURL = "https://{shop}.example.com/common/authorize"
	d.OAuth.TokenURL = "https://{shop}.example.com/common/token"
	d.Config = []integrations.ConfigField{{Key: "shop", Type: integrations.ConfigString}}
	w.create(t, d)
	st, err := w.Status(t.Context(), "Shop", integrations.Org("acme"))
	require.NoError(t, err)
	require.Contains(t, st.StatusMessage, `shop`)
	_, err = w.Connect(t.Context(), "Shop", integrations.ConnectOptions{Principal: "alice"}, integrations.Org("acme"))
	require.ErrorIs(t, err, integrations.ErrInvalid)

	for _, org := range []string{"acme", "globex"} {
		_, err = w.SetConfig(t.Context(), "Shop", map[string]any{"shop": "shop-" + org}, "root", integrations.Org(org))
		require.NoError(t, err)
		w.connect(t, "Shop", org, integrations.Org(org))
	}
	in, err := w.Registry.Get(t.Context(), "Shop", integrations.Org("globex"))
	require.NoError(t, err)
	require.Equal(t, "at-shop-globex.example.com-common-globex-2", in.OAuth().AccessToken())

	_, err = w.SetConfig(t.Context(), "Shop", map[string]any{"shop": "evil.com/"}, "root", integrations.Org("acme"))
	var invalid *integrations.InvalidError
	require.ErrorAs(t, err, &invalid)
	_, err = w.SetConfig(t.Context(), "Shop", map[string]any{"shop": "elsewhere"}, "root", integrations.Org("acme"))
	require.NoError(t, err)
	_, err = w.Registry.Get(t.Context(), "Shop", integrations.Org("acme"))
	var e *integrations.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, "definition_changed", e.Reason, "another host is another provider")
	require.Equal(t, 2, w.idp.count())
}

// Two administrators at once do not undo each other's work.
func TestConcurrentSettings(t *testing.T) {
	w := newWorld(t)
	d := definition("Graph")
	for i := range 5 {
		d.Config = append(d.Config, integrations.ConfigField{Key: fmt.Sprintf("k%d", i), Type: integrations.ConfigSecret})
	}
	require.NoError(t, w.Define(d))
	var wg sync.WaitGroup
	for i := range 5 {
		wg.Go(func() {
			_, err := w.SetConfig(context.Background(), "Graph", map[string]any{fmt.Sprintf("k%d", i): fmt.Sprint("v", i)}, "root", integrations.Org("acme"))
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	list, err := w.Config(t.Context(), "Graph", integrations.Org("acme"))
	require.NoError(t, err)
	for _, v := range list {
		require.True(t, v.Set, v.Key)
	}
}

// What no longer fits a variable is no reason to use another tenant.
func TestOverrideThatNoLongerFits(t *testing.T) {
	w := newWorld(t)
	w.idp.grantsCredentials = true
	d := credentials("Shop")
	d.OAuth.Variables = map[string]oauthflow.Variable{"shop": {Kind: oauthflow.Label}}
	d.OAuth.TokenURL = "https://{shop}.example.com/common/token"
	d.Config = []integrations.ConfigField{{Key: "shop", Type: integrations.ConfigString, Default: "ours"}}
	w.create(t, d)
	_, err := w.SetConfig(t.Context(), "Shop", map[string]any{"shop": "acme"}, "root", integrations.Org("acme"))
	require.NoError(t, err)
	in, err := w.Registry.Get(t.Context(), "Shop", integrations.Org("acme"))
	require.NoError(t, err)
	require.False(t, in.Fallback())
	_, err = w.Update(t.Context(), "Shop", "root", func(d *integrations.Definition) error {
		d.Config[0].Options = []any{"ours", "theirs"}
		return nil
	}, integrations.Global())
	require.NoError(t, err)
	_, err = w.Registry.Get(t.Context(), "Shop", integrations.Org("acme"))
	require.ErrorIs(t, err, integrations.ErrInvalid)
	require.ErrorContains(t, err, `"shop"`)
}

// What was text must not stay in clear once its key is a secret's.
func TestTextThatBecomesASecret(t *testing.T) {
	w := newWorld(t)
	d := definition("Graph")
	d.Config = []integrations.ConfigField{{Key: "key", Type: integrations.ConfigString}, {Key: "old", Type: integrations.ConfigInt}}
	st := w.create(t, d)
	set := func(values map[string]any) {
		t.Helper()
		_, err := w.SetConfig(t.Context(), "Graph", values, "root", integrations.Org("acme"))
		require.NoError(t, err)
	}
	set(map[string]any{"key": "in-the-clear", "old": 1})
	_, err := w.Update(t.Context(), "Graph", "root", func(d *integrations.Definition) error {
		d.Config = []integrations.ConfigField{{Key: "key", Type: integrations.ConfigSecret}}
		return nil
	}, integrations.Global())
	require.NoError(t, err)
	set(map[string]any{"key": "in-the-clear"})
	record, err := w.definitions.Settings(t.Context(), st.ID, "acme")
	require.NoError(t, err)
	require.Empty(t, string(record.Config))
	require.NotContains(t, string(record.Sealed), "in-the-clear")
	in, err := w.Config(t.Context(), "Graph", integrations.Org("acme"))
	require.NoError(t, err)
	require.True(t, in[0].Set)
}

// Secrets that do not open cost their own organization only, and can be given again.
func TestSettingsThatDoNotOpen(t *testing.T) {
	w := newWorld(t)
	d := definition("Graph")
	d.Config = []integrations.ConfigField{{Key: "a", Type: integrations.ConfigSecret}, {Key: "b", Type: integrations.ConfigSecret}}
	st := w.create(t, d)
	w.connect(t, "Graph", "shared", integrations.Global())
	acme := integrations.Org("acme")
	_, err := w.SetConfig(t.Context(), "Graph", map[string]any{"a": "1", "b": "2"}, "root", acme)
	require.NoError(t, err)
	record, err := w.definitions.Settings(t.Context(), st.ID, "acme")
	require.NoError(t, err)
	record.Sealed[len(record.Sealed)-1] ^= 1
	_, err = w.definitions.PutSettings(t.Context(), record)
	require.NoError(t, err)

	_, err = w.Registry.Get(t.Context(), "Graph", acme)
	require.ErrorIs(t, err, integrations.ErrUnavailable)
	list, err := w.List(t.Context(), acme)
	require.NoError(t, err)
	require.Contains(t, list[0].StatusMessage, "cannot be opened")
	_, err = w.Registry.Get(t.Context(), "Graph", integrations.Org("globex"))
	require.NoError(t, err)
	_, err = w.SetMapping(t.Context(), "Graph", integrations.Mapping{Org: "acme", EntityID: "x"}, "root", integrations.Global())
	require.ErrorIs(t, err, integrations.ErrUnavailable, "which would lose them")

	var invalid *integrations.InvalidError
	_, err = w.SetConfig(t.Context(), "Graph", map[string]any{"a": "3"}, "root", acme)
	require.ErrorAs(t, err, &invalid)
	require.Equal(t, "b", invalid.Fields[0].Field)
	_, err = w.SetConfig(t.Context(), "Graph", map[string]any{"a": "3", "b": nil}, "root", acme)
	require.NoError(t, err)
	in, err := w.Registry.Get(t.Context(), "Graph", acme)
	require.NoError(t, err)
	require.Equal(t, "3", in.Config().Secret("a").Reveal())
}
