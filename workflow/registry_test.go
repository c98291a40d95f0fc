package workflow_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/workflow"
)

func nothing(context.Context, struct{}) (struct{}, error) { return struct{}{}, nil }

func TestRegisterRefuses(t *testing.T) {
	for _, name := range []string{
		"", "1a", "_a", "-a", "a b", "a/b", "ä", "a\n", "a%", strings.Repeat("a", 65),
	} {
		_, err := workflow.Register(newRegistry(t, workflow.Config{}), name, nothing)
		require.ErrorContains(t, err, "cannot be a name", name)
	}
	r := newRegistry(t, workflow.Config{})
	_, err := workflow.Register(r, "work", nothing, workflow.Timeout(0))
	require.ErrorContains(t, err, "timeout")
	_, err = workflow.Register[struct{}, struct{}](r, "work", nil)
	require.ErrorContains(t, err, "no function")
	_, err = workflow.Register[struct{}, struct{}](nil, "work", nothing)
	require.ErrorContains(t, err, "bf.Workflows")
	assert.Empty(t, r.List())

	_, err = workflow.Register(r, "work", nothing)
	require.NoError(t, err)
	_, err = workflow.Register(r, "work", nothing)
	require.ErrorContains(t, err, "registered already")
	assert.Panics(t, func() { workflow.MustRegister(r, "work", nothing) })
}

func TestList(t *testing.T) {
	r := newRegistry(t, workflow.Config{})
	assert.Empty(t, r.List())
	w := workflow.MustRegister(r, strings.Repeat("z", 64), nothing)
	workflow.MustRegister(r, "A.b_c-1", nothing, workflow.Description("does nothing"),
		workflow.Timeout(time.Hour), workflow.AllowMembers(), workflow.CrossOrg())
	list := r.List()
	require.Len(t, list, 2)
	list[0].InputSchema = nil
	assert.Equal(t, workflow.Info{
		Name: "A.b_c-1", Description: "does nothing", Timeout: time.Hour, AllowMembers: true, CrossOrg: true,
	}, list[0])
	assert.Equal(t, w.Name(), list[1].Name)
	assert.Equal(t, workflow.DefaultTimeout, list[1].Timeout)
	assert.JSONEq(t, `{"type":"object","additionalProperties":false}`, string(list[1].InputSchema))
	_, ok := r.Get("none")
	assert.False(t, ok)
}

func TestNewRefuses(t *testing.T) {
	_, err := workflow.New(workflow.Config{})
	require.ErrorContains(t, err, "Config.Store")
	for _, cfg := range []workflow.Config{{Workers: -1}, {Lease: -1}, {Poll: -1}, {CloseTimeout: -1}} {
		cfg.Store = workflow.NewMemory()
		_, err := workflow.New(cfg)
		require.ErrorContains(t, err, "must not be negative")
	}
}

func TestLifecycle(t *testing.T) {
	r := newRegistry(t, workflow.Config{})
	w := workflow.MustRegister(r, "work", nothing)
	_, err := r.Execute(t.Context(), "work", request(`{}`))
	require.ErrorIs(t, err, workflow.ErrNotStarted)
	require.ErrorContains(t, err, "bf.Start(ctx)")

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, r.Start(ended), context.Canceled)
	require.NoError(t, r.Start(t.Context()))
	require.ErrorContains(t, r.Start(t.Context()), "already")
	ex, err := w.Execute(t.Context(), "org-1", struct{}{})
	require.NoError(t, err)

	require.NoError(t, r.Close())
	require.NoError(t, r.Close())
	require.ErrorIs(t, r.Start(t.Context()), workflow.ErrClosed)
	_, err = r.Execute(t.Context(), "work", request(`{}`))
	require.ErrorIs(t, err, workflow.ErrClosed)
	_, err = w.Execute(t.Context(), "org-1", struct{}{})
	require.ErrorIs(t, err, workflow.ErrClosed)
	_, err = ex.Result(t.Context())
	require.NoError(t, err, "what is finished can be read")

	never := newRegistry(t, workflow.Config{})
	require.NoError(t, never.Close())
	require.ErrorIs(t, never.Start(t.Context()), workflow.ErrClosed)
}

func TestScopes(t *testing.T) {
	r := start(t, workflow.Config{})
	type reach struct {
		Org    string `json:"org"`
		Global bool   `json:"global"`
	}
	var inner *workflow.Workflow[struct{}, struct{}]
	call := func(ctx context.Context, in reach) (struct{}, error) {
		s := workflow.Org(in.Org)
		if in.Global {
			s = workflow.Global()
		}
		_, err := r.Execute(ctx, inner.Name(), workflow.ExecuteRequest{Scope: s})
		return struct{}{}, err
	}
	inner = workflow.MustRegister(r, "inner", nothing)
	workflow.MustRegister(r, "own", call)
	workflow.MustRegister(r, "cross", call, workflow.CrossOrg())

	a, global := workflow.Org("a"), workflow.Global()
	tests := []struct {
		name, workflow string
		scope          workflow.Scope
		input          string
		want           error // of the inner call
	}{
		{"its own", "own", a, `{"org":"a","global":false}`, nil},
		{"the context's", "own", a, `{"org":"","global":false}`, nil},
		{"another", "own", a, `{"org":"b","global":false}`, workflow.ErrForbiddenOrg},
		{"global", "own", a, `{"org":"","global":true}`, workflow.ErrForbiddenOrg},
		{"cross-org: another", "cross", a, `{"org":"b","global":false}`, nil},
		{"cross-org: global", "cross", a, `{"org":"","global":true}`, nil},
		{"global run: any", "own", global, `{"org":"b","global":false}`, nil},
		{"global run: global", "own", global, `{"org":"","global":true}`, nil},
		{"invalid", "own", global, `{"org":"b/c","global":false}`, workflow.ErrInvalidOrg},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rec, err := r.Execute(t.Context(), tt.workflow, workflow.ExecuteRequest{Scope: tt.scope, Input: []byte(tt.input)})
			require.NoError(t, err)
			assert.Equal(t, tt.scope, rec.Scope)
			if tt.want == nil {
				assert.Equal(t, workflow.Succeeded, rec.Status, "%+v", rec.Error)
				return
			}
			require.Equal(t, workflow.Failed, rec.Status)
			assert.Equal(t, tt.want.Error(), rec.Error.Message)
		})
	}
}

func TestOrganizations(t *testing.T) {
	r := start(t, workflow.Config{})
	w := workflow.MustRegister(r, "work", nothing)
	_, err := r.Execute(t.Context(), "work", workflow.ExecuteRequest{})
	require.ErrorIs(t, err, workflow.ErrNoOrg)
	_, err = w.Execute(t.Context(), "", struct{}{})
	require.ErrorIs(t, err, workflow.ErrNoOrg)
	for _, org := range []string{".", "..", "a b", "a\x00", "é", strings.Repeat("a", 129), "a%"} {
		_, err := w.Execute(t.Context(), org, struct{}{})
		require.ErrorIs(t, err, workflow.ErrInvalidOrg, org)
	}
	_, err = r.Execute(t.Context(), "none", request(`{}`))
	require.ErrorIs(t, err, workflow.ErrUnknown)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = w.Execute(ended, "org-1", struct{}{})
	require.ErrorIs(t, err, context.Canceled)
	page, err := r.Executions(t.Context(), workflow.Filter{AllScopes: true}, "")
	require.NoError(t, err)
	assert.Empty(t, page.Items, "nothing was queued")
	ex, err := w.ExecuteGlobal(t.Context(), struct{}{})
	require.NoError(t, err)
	_, err = ex.Result(t.Context())
	require.NoError(t, err)
	assert.Equal(t, workflow.Global(), get(t, r, ex.ID()).Scope)
}

func TestHistory(t *testing.T) {
	r := start(t, workflow.Config{})
	workflow.MustRegister(r, "work", nothing)
	workflow.MustRegister(r, "fail", func(context.Context, struct{}) (any, error) { return nil, errors.New("no") })
	var all []string
	for i := range 5 {
		req := request(`{}`)
		if i%2 == 1 {
			req.Scope = workflow.Org("org-2")
		}
		rec, err := r.Execute(t.Context(), []string{"work", "fail"}[i/3], req)
		require.NoError(t, err)
		all = append([]string{rec.ID}, all...)
	}
	ids := func(f workflow.Filter) (got []string) {
		for cursor := ""; ; {
			page, err := r.Executions(t.Context(), f, cursor)
			require.NoError(t, err)
			for _, rec := range page.Items {
				got = append(got, rec.ID)
			}
			if cursor = page.Next; cursor == "" {
				return got
			}
		}
	}
	assert.Equal(t, all, ids(workflow.Filter{AllScopes: true}))
	assert.Equal(t, all, ids(workflow.Filter{AllScopes: true, Limit: 2}))
	assert.Equal(t, all, ids(workflow.Filter{AllScopes: true, Limit: 5}))
	assert.Equal(t, []string{all[1], all[3]}, ids(workflow.Filter{Scope: workflow.Org("org-2")}))
	assert.Equal(t, all[:2], ids(workflow.Filter{AllScopes: true, Workflow: "fail"}))
	assert.Equal(t, all[2:], ids(workflow.Filter{AllScopes: true, Status: workflow.Succeeded}))
	assert.Empty(t, ids(workflow.Filter{Scope: workflow.Global()}))

	_, err := r.Executions(t.Context(), workflow.Filter{}, "")
	require.ErrorIs(t, err, workflow.ErrNoOrg, "a forgotten scope shows nothing")
	_, err = r.Executions(t.Context(), workflow.Filter{AllScopes: true}, "' OR 1=1")
	require.ErrorIs(t, err, workflow.ErrBadCursor)
	for _, id := range []string{"", "x", "{" + all[0] + "}", all[0] + "\x00"} {
		_, err := r.Execution(t.Context(), id)
		require.ErrorIs(t, err, workflow.ErrNotFound)
		logs, err := r.Logs(t.Context(), id)
		require.NoError(t, err)
		assert.Empty(t, logs)
	}
}
