package httpadapter_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/workflow"
)

func TestWorkflowsList(t *testing.T) {
	s := newSite(t)
	page := object(t, s.as(root).get("/api/workflows"))
	items := page["items"].([]any)
	require.Len(t, items, 4)
	echo := items[0].(map[string]any)
	require.Equal(t, []string{"description", "input_schema", "name", "next_runs", "org_scope", "retries", "schedule", "timeout_ms"}, keys(echo))
	require.Equal(t, "echo", echo["name"])
	require.EqualValues(t, (5 * time.Minute).Milliseconds(), echo["timeout_ms"])
	require.Equal(t, "object", echo["input_schema"].(map[string]any)["type"])

	items = object(t, s.as(alice).get("/api/workflows"))["items"].([]any)
	require.Len(t, items, 3, "members see what they may execute")

	first := object(t, s.as(root).get("/api/workflows?limit=3"))
	require.Equal(t, "list_users", first["next_cursor"])
	require.Len(t, object(t, s.as(root).get("/api/workflows?limit=3&cursor=list_users"))["items"], 1)
}

// The main job over HTTP: connect, execute, users.
func TestExecute(t *testing.T) {
	s := newSite(t)
	b := s.as(alice)
	w := b.post("/api/workflows/list_users/execute", "{}")
	require.Equal(t, http.StatusOK, w.Code, "an execution that failed is an answer")
	require.Equal(t, "failed", object(t, w)["status"])
	require.Contains(t, w.Body.String(), base+"/oauth/connect/Graph?org=acme", "it says where to connect")

	b.connect("Graph", "")
	w = b.post("/api/workflows/list_users/execute", "")
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	x := object(t, w)
	require.Equal(t, []string{
		"attempt", "created_at", "duration_ms", "error", "finished_at", "id", "input", "logs", "org", "progress", "result", "run_at", "started_at", "status", "workflow",
	}, keys(x))
	require.Equal(t, "succeeded", x["status"])
	require.Equal(t, "acme", x["org"])
	require.Equal(t, "list_users", x["workflow"])
	require.Len(t, x["result"], 8)
	require.Nil(t, x["error"])
	require.EqualValues(t, 1, x["attempt"])
	require.NotNil(t, x["duration_ms"])
	line := x["logs"].([]any)[0].(map[string]any)
	require.Equal(t, []string{"at", "attrs", "level", "message"}, keys(line))
	require.Equal(t, "info", line["level"])
	require.NotContains(t, w.Body.String(), s.provider.Secrets()[0])

	id := x["id"].(string)
	require.JSONEq(t, w.Body.String(), b.get("/api/executions/"+id).Body.String())
	logs := object(t, b.get("/api/executions/"+id+"/logs"))
	require.Equal(t, x["logs"], logs["items"])
}

func TestExecuteInput(t *testing.T) {
	s := newSite(t)
	for _, test := range []struct {
		body   string
		status int
		fields []string // of errors
	}{
		{`{"input":{"text":"a"}}`, 200, nil},
		{`{"input":{"text":"a"},"async":false}`, 200, nil},
		{`{"input":{"text":"a"},"async":null}`, 200, nil},
		{`{}`, 422, []string{"input"}},
		{`{"input":null}`, 422, []string{"input"}},
		{`{"input":{"text":7}}`, 422, []string{"input.text"}},
		{`{"input":{"text":"a","more":1}}`, 422, []string{"input"}},
		{`{"input":"text"}`, 422, []string{"input"}},
		{`{"input":{"text":"a"},"async":"yes"}`, 422, []string{"async"}},
		{`{"input":{"text":"a"},"key":"a b"}`, 422, []string{"key"}},
		{`{"input":{"text":"a"},"key":""}`, 422, []string{"key"}},
		{`{"input":{"text":"a"},"key":7}`, 422, []string{"key"}},
		{`{"input":{"text":"a"},"run_at":"2100-01-01T00:00:00Z"}`, 422, []string{"run_at"}},
		{`{"input":{"text":"a"},"async":true,"run_at":"2020-01-01T00:00:00Z"}`, 422, []string{"run_at"}},
		{`{"input":{"text":"a"},"async":true,"run_at":"tomorrow"}`, 422, []string{"run_at"}},
		{`{"input":{"text":"a"},"async":true,"run_at":""}`, 422, []string{"run_at"}},
		{`{"input":{"text":"a"},"key":null,"run_at":null}`, 200, nil},
		{`{"Input":{"text":"a"}}`, 422, []string{"Input"}},
		{`{"input":{"text":"a"},"` + strings.Repeat("x", 100) + `":1}`, 422, []string{strings.Repeat("x", 64) + "…"}},
	} {
		w := s.as(root).post("/api/workflows/echo/execute", test.body)
		require.Equal(t, test.status, w.Code, "%s: %s", test.body, w.Body)
		var fields []string
		if errs, ok := object(t, w)["errors"].([]any); ok {
			for _, e := range errs {
				m := e.(map[string]any)
				require.NotEmpty(t, m["message"], test.body)
				fields = append(fields, m["field"].(string))
			}
		}
		if test.status == http.StatusUnprocessableEntity {
			require.Len(t, fields, len(test.fields), "%s: %s", test.body, w.Body)
			for i, f := range test.fields {
				require.True(t, strings.HasPrefix(fields[i], f), "%s: %s", test.body, fields)
			}
		}
	}
	items := object(t, s.as(root).get("/api/executions"))["items"].([]any)
	require.Len(t, items, 4, "what did not fit was not queued")
}

func TestExecuteAsync(t *testing.T) {
	s := newSite(t)
	b := s.as(alice)
	w := b.post("/api/workflows/wait/execute", `{"async":true}`)
	require.Equal(t, http.StatusAccepted, w.Code, w.Body)
	location := w.Header().Get("Location")
	id := object(t, w)["id"].(string)
	require.Equal(t, base+"/api/executions/"+id, location)
	x := object(t, b.get(b.local(location)))
	require.Contains(t, []string{"pending", "running"}, x["status"])
	require.Nil(t, x["finished_at"])
	require.Nil(t, x["duration_ms"])
	require.Equal(t, http.StatusNotFound, s.as(gina).get(b.local(location)).Code)
}

func TestExecutionsList(t *testing.T) {
	s := newSite(t)
	for _, who := range []string{alice, gina, root} {
		for _, name := range []string{"fail", "list_users"} {
			require.Equal(t, http.StatusOK, s.as(who).post("/api/workflows/"+name+"/execute", "{}").Code)
		}
	}
	count := func(who, query string) int {
		w := s.as(who).get("/api/executions?" + query)
		require.Equal(t, http.StatusOK, w.Code, w.Body)
		items := object(t, w)["items"].([]any)
		for _, item := range items {
			require.Nil(t, item.(map[string]any)["logs"])
		}
		return len(items)
	}
	require.Equal(t, 2, count(alice, ""))
	require.Equal(t, 2, count(alice, "org=acme"))
	require.Equal(t, 1, count(alice, "workflow=fail"))
	require.Equal(t, 2, count(alice, "status=failed"))
	require.Zero(t, count(alice, "status=cancelled"))
	require.Equal(t, 6, count(root, ""), "an administrator without ?org= sees all")
	require.Equal(t, 2, count(root, "org=globex"))
	require.Equal(t, 3, count(root, "workflow=fail"))
	require.Equal(t, http.StatusUnprocessableEntity, s.as(root).get("/api/executions?status=done").Code)
	require.Equal(t, http.StatusUnprocessableEntity, s.as(root).get("/api/executions?cursor=x").Code)

	seen := map[any]bool{}
	for path := "/api/executions?limit=4"; path != ""; {
		page := object(t, s.as(root).get(path))
		for _, item := range page["items"].([]any) {
			seen[item.(map[string]any)["id"]] = true
		}
		path = ""
		if cursor := page["next_cursor"].(string); cursor != "" {
			path = "/api/executions?limit=4&cursor=" + cursor
		}
	}
	require.Len(t, seen, 6)
}

// A newcomer's mistake, named.
func TestNotStarted(t *testing.T) {
	s := newSite(t, func(c *siteConfig) { c.stopped = true })
	w := s.as(root).post("/api/workflows/fail/execute", "{}")
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Contains(t, object(t, w)["detail"], "bf.Start(ctx)")
	require.Equal(t, http.StatusOK, s.as(root).get("/api/workflows").Code)
}

func TestTimedOut(t *testing.T) {
	s := newSite(t)
	workflow.MustRegister(s.bf.Workflows, "slow", func(ctx context.Context, _ struct{}) (any, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}, workflow.Timeout(20*time.Millisecond))
	w := s.as(root).post("/api/workflows/slow/execute", "{}")
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "timed_out", object(t, w)["status"])
	require.Equal(t, "timeout", object(t, w)["error"].(map[string]any)["code"])
}

// A host that bounds its requests (http.TimeoutHandler, a deadline in middleware)
// ends the waiting, not the execution.
func TestTheHostsDeadline(t *testing.T) {
	s := newSite(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	w := s.as(alice).post("/api/workflows/wait/execute", "{}", func(r *http.Request) { *r = *r.WithContext(ctx) })
	require.Equal(t, http.StatusAccepted, w.Code, w.Body)
	require.NotEmpty(t, w.Header().Get("Location"))
}
