package integrations_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/tokenstore"
)

func configFields() []integrations.ConfigField {
	return []integrations.ConfigField{
		{Key: "region", Type: integrations.ConfigString, Options: []any{"eu", "us", "ap"}, Default: "eu"},
		{Key: "size", Type: integrations.ConfigInt, Required: true},
		{Key: "dry", Type: integrations.ConfigBool, Default: true},
		{Key: "map", Type: integrations.ConfigJSON, Default: map[string]int{"a": 1}},
		{Key: "key", Type: integrations.ConfigSecret, Required: true, Description: "The key"},
		{Key: "note", Type: integrations.ConfigString},
	}
}

type raw = map[string]json.RawMessage

type secrets = map[string]tokenstore.Secret

func TestValuesLayers(t *testing.T) {
	bare := integrations.NewValues(configFields())
	assert.Equal(t, "eu", bare.String("region"))
	assert.Equal(t, integrations.OriginDefault, bare.Origin("region"))
	assert.False(t, bare.Has("size"))
	assert.Empty(t, bare.Origin("size"))
	assert.Equal(t, []string{"size", "key"}, integrations.MissingValues(bare, nil))
	assert.Equal(t, []string{"region", "size", "dry", "map", "key", "note"}, bare.Keys())

	v := integrations.NewValues(configFields(),
		integrations.NewLayer(integrations.OriginDefault, raw{"size": json.RawMessage("10"), "note": json.RawMessage(`"n"`)}, secrets{"key": tokenstore.NewSecret("integration")}),
		integrations.NewLayer(integrations.OriginOverride, raw{
			"region": json.RawMessage(`"us"`), "size": json.RawMessage("9007199254740993"), "dry": json.RawMessage("false"),
			"map": json.RawMessage(`[1]`), "note": json.RawMessage(`""`), "unknown": json.RawMessage("1"),
		}, secrets{"key": tokenstore.NewSecret(canary), "note": tokenstore.NewSecret(canary)}),
	)
	assert.Equal(t, "us", v.String("region"))
	assert.Equal(t, integrations.OriginOverride, v.Origin("region"))
	assert.EqualValues(t, 9007199254740993, v.Int("size"))
	assert.False(t, v.Bool("dry"))
	assert.True(t, v.Has("dry"), "false is a value")
	assert.Equal(t, "n", v.String("note"), "the empty override falls back")
	assert.Equal(t, integrations.OriginDefault, v.Origin("note"))
	assert.Equal(t, canary, v.Secret("key").Reveal())
	assert.Empty(t, integrations.MissingValues(v, nil))
	var list []int
	require.NoError(t, v.JSON("map", &list))
	assert.Equal(t, []int{1}, list)
	require.ErrorContains(t, v.JSON("map", new(string)), `config value "map" does not fit`)
}

func TestValuesOfAnotherTypeOrKeyAreZero(t *testing.T) {
	for name, v := range map[string]integrations.Values{"declared": integrations.NewValues(configFields()), "nothing": {}} {
		t.Run(name, func(t *testing.T) {
			for _, key := range []string{"unknown", "", "dry"} {
				assert.Empty(t, v.String(key))
				assert.Zero(t, v.Int(key))
				assert.True(t, v.Secret(key).IsZero())
				out := "as before"
				require.NoError(t, v.JSON(key, &out))
				assert.Equal(t, "as before", out)
			}
			assert.False(t, v.Bool("region"))
			assert.False(t, v.Has("unknown"))
			assert.Empty(t, v.Origin("unknown"))
		})
	}
	assert.Empty(t, integrations.Values{}.Keys())
	assert.Empty(t, integrations.ListValues(integrations.Values{}))
}

// After a change of the declaration stored values may not fit it any more.
func TestValuesThatDoNotFitFallBack(t *testing.T) {
	v := integrations.NewValues(configFields(), integrations.NewLayer(integrations.OriginOverride, raw{
		"region": json.RawMessage(`"mars"`), "size": json.RawMessage(`"10"`), "dry": json.RawMessage(`0`), "map": json.RawMessage(`{`),
		"key": json.RawMessage(`"` + canary + `"`),
	}, nil))
	assert.Equal(t, "eu", v.String("region"))
	assert.False(t, v.Has("size"))
	assert.True(t, v.Bool("dry"))
	assert.Equal(t, integrations.OriginDefault, v.Origin("map"))
	assert.False(t, v.Has("key"), "a text does not become a secret")
}

func TestValuesDoNotShowSecrets(t *testing.T) {
	v := integrations.NewValues(configFields(), integrations.NewLayer(integrations.OriginOverride, raw{"size": json.RawMessage("3")}, secrets{"key": tokenstore.NewSecret(canary)}))
	text, err := json.Marshal(map[string]any{"config": v, "pointer": &v})
	require.NoError(t, err)
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "config", v, "pointer", &v, "list", integrations.ListValues(v))
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "config", v, "list", integrations.ListValues(v))
	inside := struct{ v integrations.Values }{v}
	all := string(text) + log.String() + fmt.Sprintf("%v %+v %#v %s %q %x %d", v, v, v, v, v, v, v) +
		fmt.Sprintf("%v %+v %#v %x", inside, inside, inside, inside) + fmt.Sprintf("%+v %#v", &v, integrations.ListValues(v))
	assert.NotContains(t, all, canary)
	assert.NotContains(t, all, fmt.Sprintf("%x", canary))
	assert.Equal(t, `{"dry":true,"key":"[REDACTED]","map":{"a":1},"region":"eu","size":3}`, fmt.Sprint(v))
}

func TestListValues(t *testing.T) {
	v := integrations.NewValues(configFields(), integrations.NewLayer(integrations.OriginOverride, raw{"size": json.RawMessage("3")}, secrets{"key": tokenstore.NewSecret(canary)}))
	list := integrations.ListValues(v)
	assert.Equal(t, []integrations.ConfigValue{
		{Key: "region", Type: integrations.ConfigString, Options: []any{"eu", "us", "ap"}, Value: "eu", Set: true, Origin: integrations.OriginDefault, Default: "eu"},
		{Key: "size", Type: integrations.ConfigInt, Required: true, Value: int64(3), Set: true, Origin: integrations.OriginOverride},
		{Key: "dry", Type: integrations.ConfigBool, Value: true, Set: true, Origin: integrations.OriginDefault, Default: true},
		{Key: "map", Type: integrations.ConfigJSON, Value: json.RawMessage(`{"a":1}`), Set: true, Origin: integrations.OriginDefault, Default: json.RawMessage(`{"a":1}`)},
		{Key: "key", Type: integrations.ConfigSecret, Description: "The key", Required: true, Set: true, Origin: integrations.OriginOverride},
		{Key: "note", Type: integrations.ConfigString},
	}, list)

	clear(list[3].Value.(json.RawMessage))
	clear(list[0].Options)
	assert.Equal(t, "eu", integrations.ListValues(v)[0].Options[0])
	var out map[string]int
	require.NoError(t, v.JSON("map", &out), "what the list gave away is a copy")
}

func TestConfigChange(t *testing.T) {
	plain, sealed, removed, err := integrations.NewConfigChange(configFields(), map[string]any{
		"region": "us", "size": json.RawMessage("9007199254740993"), "dry": false, "map": []string{"<"},
		"key": tokenstore.NewSecret(canary), "note": "",
	})
	require.NoError(t, err)
	assert.Equal(t, raw{
		"region": json.RawMessage(`"us"`), "size": json.RawMessage("9007199254740993"), "dry": json.RawMessage("false"),
		"map": json.RawMessage(`["\u003c"]`),
	}, plain)
	assert.Equal(t, canary, sealed["key"].Reveal())
	assert.Len(t, sealed, 1)
	assert.Equal(t, []string{"note"}, removed)

	_, sealed, removed, err = integrations.NewConfigChange(configFields(), map[string]any{
		"key": nil, "region": json.RawMessage("null"), "size": "", "map": json.RawMessage(`""`), "dry": tokenstore.Secret{},
	})
	assert.Equal(t, map[string]string{"dry": "is not a secret: give its value as it is"}, fields(t, err))
	assert.Empty(t, sealed)
	assert.Equal(t, []string{"key", "map", "region", "size"}, removed)
}

func TestConfigChangeRefuses(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	for name, test := range map[string]struct {
		key     string
		value   any
		message string // empty: accepted
	}{
		"unknown key":        {"Region", "eu", "is not a configuration key"},
		"odd key":            {"a b", "eu", "is not a configuration key"},
		"not an option":      {"region", canary, "must be one of the options"},
		"number as text":     {"size", "42", "must be a whole number, not text"},
		"fraction":           {"size", 1.5, "must be a whole number within 64 bits"},
		"exponent":           {"size", json.RawMessage("1e3"), "must be a whole number within 64 bits"},
		"beyond 64 bits":     {"size", json.RawMessage("9223372036854775808"), "must be a whole number within 64 bits"},
		"largest":            {"size", json.RawMessage("9223372036854775807"), ""},
		"smallest":           {"size", json.RawMessage("-9223372036854775808"), ""},
		"bool as number":     {"dry", 1, "must be true or false, not a number"},
		"bool as text":       {"dry", "true", "must be true or false, not text"},
		"list for text":      {"note", []string{canary}, "must be text, not a list"},
		"8 KiB of text":      {"note", long(8 << 10), ""},
		"more":               {"note", long(8<<10 + 1), "is longer than 8 KiB"},
		"8 KiB, all escaped": {"note", strings.Repeat("<", 8<<10), ""},
		"not UTF-8":          {"note", canary + "\xff", "is not UTF-8"},
		"NUL":                {"note", canary + "\x00", "contains the character U+0000"},
		"64 KiB of JSON":     {"map", long(64<<10 - 2), ""},
		"more JSON":          {"map", long(64 << 10), "is longer than 64 KiB"},
		"not JSON":           {"map", json.RawMessage(`{"` + canary), "cannot be written as JSON"},
		"duplicates":         {"map", json.RawMessage(`{"a":{"b":1,"b":2}}`), "at a.b stands there twice"},
		"64 KiB of secret":   {"key", long(64 << 10), ""},
		"escaped secret":     {"key", strings.Repeat("\n", 64<<10), ""},
		"more secret":        {"key", canary + long(64<<10), "is longer than 64 KiB"},
		"number for secret":  {"key", 1, "must be text, not a number"},
		"channel":            {"map", make(chan int), "cannot be written as JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, _, err := integrations.NewConfigChange(configFields(), map[string]any{test.key: test.value})
			if test.message == "" {
				require.NoError(t, err)
				return
			}
			list := fields(t, err)
			require.Len(t, list, 1)
			for key, message := range list {
				assert.True(t, strings.HasPrefix(message, test.message), message)
				assert.Equal(t, test.key, strings.Trim(key, `[]"`))
			}
		})
	}
}
