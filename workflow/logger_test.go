package workflow_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/workflow"
)

// execute runs fn once in r and returns its record and log.
func execute(t *testing.T, r *workflow.Registry, fn func(context.Context) (any, error)) (*workflow.Record, []workflow.Log) {
	t.Helper()
	name := fmt.Sprintf("w%d", len(r.List()))
	workflow.MustRegister(r, name, func(ctx context.Context, _ struct{}) (any, error) { return fn(ctx) })
	rec, err := r.Execute(t.Context(), name, request(``))
	require.NoError(t, err)
	require.True(t, rec.Status.Finished())
	logs, err := r.Logs(t.Context(), rec.ID)
	require.NoError(t, err)
	return rec, logs
}

func TestLogsAreStoredAndPassedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out output
		r := start(t, workflow.Config{Logger: slog.New(slog.NewJSONHandler(&out, nil))})
		begun := time.Now()
		rec, logs := execute(t, r, func(ctx context.Context) (any, error) {
			log := workflow.Logger(ctx)
			log.Debug("for the history only")
			time.Sleep(time.Second)
			log.With("page", 3).WithGroup("g").With("h", "i").Info("read", "users", 20, slog.Group("x", "y", time.Minute),
				"err", errors.New("soft"), "time", "a member like any other")
			return nil, nil
		})
		require.Len(t, logs, 2)
		assert.Equal(t, 1, logs[0].Seq)
		assert.Equal(t, 1, logs[0].Attempt)
		assert.Equal(t, slog.LevelDebug, logs[0].Level)
		assert.Equal(t, "for the history only", logs[0].Message)
		assert.Nil(t, logs[0].Attrs)
		assert.True(t, begun.Equal(logs[0].At))
		assert.Equal(t, slog.LevelInfo, logs[1].Level)
		assert.True(t, begun.Add(time.Second).Equal(logs[1].At))
		assert.JSONEq(t, `{"page":3,"g":{"h":"i","users":20,"x":{"y":60000000000},"err":"soft","time":"a member like any other"}}`, string(logs[1].Attrs))

		assert.NotContains(t, out.String(), "for the history only", "Config.Logger has a level of its own")
		var line map[string]any
		require.NoError(t, json.Unmarshal([]byte(out.String()), &line))
		assert.Equal(t, "read", line["msg"])
		assert.Equal(t, rec.ID, line["execution"])
		assert.Equal(t, rec.Workflow, line["workflow"])
		assert.Equal(t, "org-1", line["org"])
		assert.InEpsilon(t, 3.0, line["page"], 0)
	})
}

func TestLogsAppearWhileTheRunGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, workflow.Config{})
		workflow.MustRegister(r, "work", func(ctx context.Context, _ struct{}) (any, error) {
			for i := range 4 {
				workflow.Logger(ctx).Info("step", "i", i)
				time.Sleep(10 * time.Second)
			}
			return nil, nil
		})
		rec, err := r.Execute(t.Context(), "work", async(``))
		require.NoError(t, err)
		time.Sleep(13 * time.Second)
		logs, err := r.Logs(t.Context(), rec.ID)
		require.NoError(t, err)
		assert.Len(t, logs, 2)
		time.Sleep(time.Minute)
		logs, err = r.Logs(t.Context(), rec.ID)
		require.NoError(t, err)
		assert.Len(t, logs, 4)
	})
}

func TestLogBounds(t *testing.T) {
	r := start(t, workflow.Config{})
	_, logs := execute(t, r, func(ctx context.Context) (any, error) {
		for range 1500 {
			workflow.Logger(ctx).Info("line")
		}
		return nil, nil
	})
	require.Len(t, logs, 1001)
	assert.Equal(t, "500 more lines were not kept", logs[1000].Message)

	_, logs = execute(t, r, func(ctx context.Context) (any, error) {
		workflow.Logger(ctx).Info(strings.Repeat("é", 5000), "big", strings.Repeat("x", 20000)) //nolint:sloglint // the length is the test
		for range 500 {
			workflow.Logger(ctx).Info(strings.Repeat("x", 8<<10)) //nolint:sloglint // the length is the test
		}
		return nil, nil
	})
	assert.LessOrEqual(t, len(logs[0].Message), 8<<10)
	assert.JSONEq(t, `{"!error":"20010 bytes of attributes were not kept"}`, string(logs[0].Attrs))
	total := 0
	for _, l := range logs {
		total += len(l.Message)
	}
	assert.LessOrEqual(t, total, 1<<20+100)
	assert.Contains(t, logs[len(logs)-1].Message, "more lines were not kept")
}

const canary = `canary/secret+"1"&<é>`

type withSecret struct {
	Public  string
	private string
}

type marshals struct{}

func (marshals) MarshalJSON() ([]byte, error) { return json.Marshal(canary) }

type panics struct{}

func (panics) MarshalJSON() ([]byte, error) { panic("in MarshalJSON") }

type valuer struct{}

func (valuer) LogValue() slog.Value {
	return slog.GroupValue(slog.String("inner", canary), slog.Any("err", errors.New(canary)))
}

// leaks reports in which forms the canary is in text.
func leaks(text string) (found []string) {
	quoted, _ := json.Marshal(canary)
	for name, form := range map[string]string{
		"raw": canary, "JSON": strings.Trim(string(quoted), `"`), "query": url.QueryEscape(canary), "path": url.PathEscape(canary),
		"base64": base64.StdEncoding.EncodeToString([]byte(canary))[:20], "base64url": base64.RawURLEncoding.EncodeToString([]byte(canary))[:20],
		"part": "canary/secret", "part, escaped": "canary%2Fsecret",
	} {
		if strings.Contains(text, form) {
			found = append(found, name)
		}
	}
	return found
}

func TestSecretsInLogs(t *testing.T) {
	var text, lines output
	for name, logger := range map[string]*slog.Logger{"JSON": lines.logger(), "text": slog.New(slog.NewTextHandler(&text, nil))} {
		t.Run(name, func(t *testing.T) {
			r := start(t, workflow.Config{Logger: logger})
			_, logs := execute(t, r, func(ctx context.Context) (any, error) {
				tell(ctx, canary)
				log := workflow.Logger(ctx)
				log.Info("in the message: " + canary)
				log.Info("cut: " + strings.Repeat("x", 8<<10-20) + canary) //nolint:sloglint // the length is the test
				log.With("with", canary).WithGroup("g-"+canary).Info("group", canary, canary)
				log.Info("kinds", "string", canary, "err", fmt.Errorf("wrapped: %w", errors.New(canary)), "url", &url.URL{Path: canary},
					"struct", withSecret{Public: canary}, "unexported", withSecret{private: canary}, "map", map[string]any{canary: []string{canary}},
					"bytes", []byte(canary), "marshals", marshals{}, "panics", panics{}, "valuer", valuer{}, "nil", nil,
					"base64", base64.StdEncoding.EncodeToString([]byte("user:"+canary)), slog.Group("group", "a", slog.GroupValue(slog.String("b", canary))),
					"clean", []int{1, 2})
				return nil, nil
			})
			require.Len(t, logs, 4)
			for _, l := range logs {
				assert.Empty(t, leaks(l.Message+string(l.Attrs)), "%s %s", l.Message, l.Attrs)
			}
			assert.Equal(t, "in the message: [REDACTED]", logs[0].Message)
			assert.JSONEq(t, `{"with":"[REDACTED]","g-[REDACTED]":{"[REDACTED]":"[REDACTED]"}}`, string(logs[2].Attrs))
			var attrs map[string]any
			require.NoError(t, json.Unmarshal(logs[3].Attrs, &attrs))
			assert.Equal(t, "[REDACTED]", attrs["string"])
			assert.Equal(t, "wrapped: [REDACTED]", attrs["err"])
			assert.Equal(t, map[string]any{"Public": "[REDACTED]"}, attrs["struct"])
			assert.Equal(t, map[string]any{"inner": "[REDACTED]", "err": "[REDACTED]"}, attrs["valuer"])
			assert.Equal(t, []any{1.0, 2.0}, attrs["clean"])
		})
	}
	assert.Empty(t, leaks(text.String()), text.String())
	assert.Empty(t, leaks(lines.String()), lines.String())
}

func TestSecretsInOutcomes(t *testing.T) {
	var out output
	r := start(t, workflow.Config{Logger: out.logger()})
	quoted, err := json.Marshal(canary)
	require.NoError(t, err)
	for name, fn := range map[string]func() (any, error){
		"result": func() (any, error) {
			return map[string]any{"a": canary, canary: []string{url.QueryEscape(canary)}}, nil
		},
		"raw":     func() (any, error) { return json.RawMessage(quoted), nil },
		"bytes":   func() (any, error) { return []byte(canary), nil },
		"error":   func() (any, error) { return nil, fmt.Errorf("GET /?token=%s: %q", url.QueryEscape(canary), canary) },
		"code":    func() (any, error) { return nil, coded{canary} },
		"panic":   func() (any, error) { panic(errors.New(canary)) },
		"cut":     func() (any, error) { return nil, errors.New(strings.Repeat("x", 4086) + canary) },
		"headers": func() (any, error) { return "Basic " + base64.StdEncoding.EncodeToString([]byte("id:"+canary)), nil },
	} {
		t.Run(name, func(t *testing.T) {
			rec, _ := execute(t, r, func(ctx context.Context) (any, error) {
				tell(ctx, canary)
				return fn()
			})
			stored := string(rec.Result)
			if rec.Error != nil {
				stored = rec.Error.Code + rec.Error.Message
			}
			assert.Empty(t, leaks(stored), stored)
			assert.Contains(t, stored, "[RED")
		})
	}
	assert.Empty(t, leaks(out.String()))
}

// The secrets of one run are no business of another's.
func TestSecretsOfOneRunOnly(t *testing.T) {
	r := start(t, workflow.Config{})
	_, _ = execute(t, r, func(ctx context.Context) (any, error) {
		tell(ctx, "an-ordinary-word")
		return nil, nil
	})
	rec, _ := execute(t, r, func(context.Context) (any, error) { return "an-ordinary-word", nil })
	assert.JSONEq(t, `"an-ordinary-word"`, string(rec.Result))
}

// An input is stored as it is, so a run cannot hand a secret on in one.
func TestSecretsInInputs(t *testing.T) {
	r := start(t, workflow.Config{})
	echo := workflow.MustRegister(r, "echo", func(_ context.Context, in []string) ([]string, error) { return in, nil })
	rec, _ := execute(t, r, func(ctx context.Context) (any, error) {
		_, err := echo.Execute(ctx, "org-1", []string{"nothing yet", canary})
		if err != nil {
			return nil, err
		}
		tell(ctx, canary)
		_, err = echo.Execute(ctx, "org-1", []string{url.QueryEscape(canary)})
		return nil, err
	})
	require.Equal(t, workflow.Failed, rec.Status)
	assert.Contains(t, rec.Error.Message, "holds a secret")
	page, err := r.Executions(t.Context(), workflow.Filter{AllScopes: true, Workflow: "echo"}, "")
	require.NoError(t, err)
	assert.Len(t, page.Items, 1, "what was a secret by then was not queued")
}

// Whatever a function says is made something that every store keeps: a run must not
// fail to be recorded because of a byte.
func TestTextsOfARunCanBeKept(t *testing.T) {
	const odd = "a\x00b\xffc"
	r := start(t, workflow.Config{})
	for _, end := range []func() (any, error){
		func() (any, error) { return map[string]any{"s": odd, "raw": json.RawMessage("\"x\xffy\"")}, nil },
		func() (any, error) { return nil, errors.New(odd) },
		func() (any, error) { panic(odd) },
	} {
		rec, logs := execute(t, r, func(ctx context.Context) (any, error) {
			workflow.Logger(ctx).Info(odd, odd, odd, "raw", json.RawMessage("\"x\xffy\""))
			return end()
		})
		require.True(t, rec.Status.Finished())
		require.NotEmpty(t, logs)
		assert.Equal(t, "a\uFFFDb\uFFFDc", logs[0].Message)
		assert.JSONEq(t, `{"a\u0000b\ufffdc":"a\u0000b\ufffdc","raw":"x\ufffdy"}`, string(logs[0].Attrs))
		if rec.Error != nil {
			assert.Contains(t, rec.Error.Message, "a\uFFFDb\uFFFDc")
		} else {
			assert.JSONEq(t, `{"s":"a\u0000b\ufffdc","raw":"x\ufffdy"}`, string(rec.Result))
		}
	}
}
