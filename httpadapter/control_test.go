package httpadapter_test

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/workflow"
)

// eventually waits for an execution's status.
func (b *browser) eventually(id, status string) map[string]any {
	b.t.Helper()
	var x map[string]any
	require.Eventually(b.t, func() bool {
		x = object(b.t, b.get("/api/executions/"+id))
		return x["status"] == status
	}, 10*time.Second, 10*time.Millisecond, "%v", x)
	return x
}

func TestCancel(t *testing.T) {
	s := newSite(t)
	workflow.MustRegister(s.bf.Workflows, "endless", func(ctx context.Context, _ struct{}) (any, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}, workflow.AllowMembers())
	b := s.as(alice)
	id := object(t, b.post("/api/workflows/endless/execute", `{"async":true}`))["id"].(string)
	b.eventually(id, "running")
	w := b.post("/api/executions/"+id+"/retry", "")
	require.Equal(t, http.StatusConflict, w.Code)
	require.Equal(t, "not-failed", object(t, w)["type"])

	w = b.post("/api/executions/"+id+"/cancel", "")
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	require.Contains(t, []any{"cancelling", "cancelled"}, object(t, w)["status"])
	x := b.eventually(id, "cancelled")
	require.Equal(t, "cancelled", x["error"].(map[string]any)["code"])
	require.NotNil(t, x["finished_at"])
	require.Equal(t, http.StatusOK, b.post("/api/executions/"+id+"/cancel", "").Code, "once more is no error")
	require.Equal(t, http.StatusUnprocessableEntity, b.post("/api/executions/"+id+"/cancel", `{"force":true}`).Code)
	require.Len(t, object(t, b.get("/api/executions?status=cancelled"))["items"], 1)

	done := object(t, b.post("/api/workflows/fail/execute", ""))["id"].(string)
	w = b.post("/api/executions/"+done+"/cancel", "")
	require.Equal(t, http.StatusConflict, w.Code)
	require.Equal(t, "finished", object(t, w)["type"])
}

func TestRetry(t *testing.T) {
	s := newSite(t)
	var healed atomic.Bool
	workflow.MustRegister(s.bf.Workflows, "flaky", func(_ context.Context, in echoInput) (string, error) {
		if !healed.Load() {
			return "", errors.New("not yet")
		}
		return in.Text, nil
	}, workflow.AllowMembers())
	b := s.as(alice)
	id := object(t, b.post("/api/workflows/flaky/execute", `{"input":{"text":"a"}}`))["id"].(string)
	healed.Store(true)
	w := b.post("/api/executions/"+id+"/retry", "")
	require.Equal(t, http.StatusAccepted, w.Code, w.Body)
	again := object(t, w)["id"].(string)
	require.NotEqual(t, id, again)
	require.Equal(t, base+"/api/executions/"+again, w.Header().Get("Location"))
	x := b.eventually(again, "succeeded")
	require.Equal(t, "a", x["result"])
	require.Equal(t, "acme", x["org"])
	require.Equal(t, "failed", object(t, b.get("/api/executions/"+id))["status"], "history stays")
	require.Equal(t, http.StatusConflict, b.post("/api/executions/"+again+"/retry", "").Code)
}

// What the workflow retries by itself is scheduled in between.
func TestRetries(t *testing.T) {
	s := newSite(t)
	workflow.MustRegister(s.bf.Workflows, "again", func(ctx context.Context, _ struct{}) (int, error) {
		if workflow.Attempt(ctx) == 1 {
			return 0, errors.New("not yet")
		}
		return workflow.Attempt(ctx), nil
	}, workflow.AllowMembers(), workflow.Retries(3))
	b := s.as(alice)
	items := object(t, b.get("/api/workflows"))["items"].([]any)
	require.EqualValues(t, 3, items[0].(map[string]any)["retries"])
	require.EqualValues(t, 0, items[1].(map[string]any)["retries"])
	id := object(t, b.post("/api/workflows/again/execute", `{"async":true}`))["id"].(string)
	x := b.eventually(id, "scheduled")
	require.NotNil(t, x["run_at"])
	require.Equal(t, "not yet", x["error"].(map[string]any)["message"])
	x = b.eventually(id, "succeeded")
	require.EqualValues(t, 2, x["attempt"])
	require.Nil(t, x["error"])
	require.Nil(t, x["run_at"])
}

func TestDelayed(t *testing.T) {
	s := newSite(t)
	b := s.as(alice)
	at := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	w := b.post("/api/workflows/fail/execute", `{"async":true,"run_at":"`+at.In(time.FixedZone("", 7200)).Format(time.RFC3339)+`"}`)
	require.Equal(t, http.StatusAccepted, w.Code, w.Body)
	x := object(t, w)
	require.Equal(t, "scheduled", x["status"])
	require.Equal(t, at.Format(time.RFC3339), x["run_at"])
	require.Nil(t, x["started_at"])
	require.Equal(t, "cancelled", object(t, b.post("/api/executions/"+x["id"].(string)+"/cancel", ""))["status"])
}

func TestKeys(t *testing.T) {
	s := newSite(t)
	b := s.as(root)
	send := func(query, body string) (int, map[string]any) {
		w := b.post("/api/workflows/echo/execute"+query, body)
		return w.Code, object(t, w)
	}
	code, first := send("", `{"input":{"text":"a","tags":["b"]},"key":"order-17"}`)
	require.Equal(t, http.StatusOK, code)
	code, again := send("", `{"key":"order-17","input":{"tags":["b"],"text":"a"}}`)
	require.Equal(t, http.StatusOK, code)
	require.Equal(t, first, again)
	code, again = send("", `{"key":"order-17","async":true,"input":{"tags":["b"],"text":"a"}}`)
	require.Equal(t, http.StatusAccepted, code)
	require.Equal(t, first["id"], again["id"])
	code, p := send("", `{"input":{"text":"other"},"key":"order-17"}`)
	require.Equal(t, http.StatusConflict, code)
	require.Equal(t, "key-reused", p["type"])
	code, other := send("?org=acme", `{"input":{"text":"other"},"key":"order-17"}`)
	require.Equal(t, http.StatusOK, code, "another scope has keys of its own")
	require.NotEqual(t, first["id"], other["id"])
	require.Len(t, object(t, b.get("/api/executions"))["items"], 2)
}

// The buttons of the execution's page.
func TestControlForms(t *testing.T) {
	s := newSite(t)
	b := s.as(alice)
	waits := object(t, b.post("/api/workflows/fail/execute", `{"async":true,"run_at":"2100-01-01T00:00:00Z"}`))["id"].(string)
	page := b.get("/executions/"+waits, asPage).Body.String()
	require.Contains(t, page, "It begins at 2100-01-01T00:00:00Z")
	require.Contains(t, page, `action="/api/executions/`+waits+`/cancel"`)
	require.NotContains(t, page, "/retry")
	w := b.post("/api/executions/"+waits+"/cancel", "", asPage)
	require.Equal(t, http.StatusSeeOther, w.Code, w.Body)
	require.Equal(t, "/executions/"+waits, w.Header().Get("Location"))

	page = b.get("/executions/"+waits, asPage).Body.String()
	require.Contains(t, page, "Cancelled")
	require.Contains(t, page, `action="/api/executions/`+waits+`/retry"`)
	require.NotContains(t, page, "/cancel")
	w = b.post("/api/executions/"+waits+"/retry", "", asPage)
	require.Equal(t, http.StatusSeeOther, w.Code, w.Body)
	require.Regexp(t, `^/executions/[0-9a-f-]{36}$`, w.Header().Get("Location"))
	require.NotEqual(t, "/executions/"+waits, w.Header().Get("Location"))

	// Members see no buttons where they may not.
	admins := object(t, s.as(root).post("/api/workflows/echo/execute?org=acme", `{"input":{"text":"a"},"async":true,"run_at":"2100-01-01T00:00:00Z"}`))["id"].(string)
	require.NotContains(t, b.get("/executions/"+admins, asPage).Body.String(), "/cancel")
	require.Contains(t, s.as(root).get("/executions/"+admins+"?org=acme", asPage).Body.String(), "/cancel?org=acme")
}
