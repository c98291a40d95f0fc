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

func TestLogStream(t *testing.T) {
	s := newSite(t)
	release := make(chan struct{})
	workflow.MustRegister(s.bf.Workflows, "talk", func(ctx context.Context, _ struct{}) (any, error) {
		workflow.Logger(ctx).Info("one\ntwo", "n", 1)
		<-release
		workflow.Logger(ctx).Warn("three")
		return nil, nil
	}, workflow.AllowMembers())
	b := s.as(alice)
	id := object(t, b.post("/api/workflows/talk/execute", `{"async":true}`))["id"].(string)
	path := "/api/executions/" + id + "/logs"
	events := header("Accept", "text/event-stream")

	// The client leaves.
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	w := b.get(path, events, func(r *http.Request) { *r = *r.WithContext(ctx) })
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "text/event-stream", w.Header().Get("Content-Type"))
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	require.NotContains(t, w.Body.String(), "event: end")

	time.AfterFunc(100*time.Millisecond, func() { close(release) })
	text := b.get(path, events).Body.String()
	blocks := strings.Split(strings.TrimSuffix(text, "\n\n"), "\n\n")
	require.Len(t, blocks, 3, text)
	require.Regexp(t, `^id: 1-1\nevent: log\ndata: \{"at":"[^"]+","level":"info","message":"one\\ntwo","attrs":\{"n":1\}\}$`, blocks[0])
	require.True(t, strings.HasPrefix(blocks[1], "id: 1-2\nevent: log\n"), blocks[1])
	require.Equal(t, "event: end\ndata: {\"status\":\"succeeded\"}", blocks[2])

	text = b.get(path, events, header("Last-Event-ID", "1-1")).Body.String()
	require.True(t, strings.HasPrefix(text, "id: 1-2\n"), text)
	text = b.get(path, events, header("Last-Event-ID", "nonsense")).Body.String()
	require.True(t, strings.HasPrefix(text, "id: 1-1\n"), text)

	// Others get JSON, and those who may not see it nothing.
	for _, accept := range []string{"", "*/*", "application/json", "application/json, text/event-stream;q=0.5"} {
		w := b.get(path, header("Accept", accept))
		require.Equal(t, "application/json", w.Header().Get("Content-Type"), accept)
		require.Len(t, object(t, w)["items"], 2)
	}
	require.Equal(t, http.StatusNotFound, s.as(gina).get(path, events).Code)
}
