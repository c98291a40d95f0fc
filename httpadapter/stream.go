package httpadapter

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/bifrost-go/bifrost/workflow"
)

const (
	mediaEvents = "text/event-stream"

	// streamLook is how often a stream looks for new lines; a run stores them with
	// its heartbeat.
	streamLook = 500 * time.Millisecond
	// streamFor is how long one connection lasts. EventSource connects again and says
	// what it had, and a server that shuts down gracefully does not wait for ever.
	streamFor = 30 * time.Second
)

// wantsEvents reports whether the client asks for server-sent events before JSON.
func wantsEvents(r *http.Request) bool {
	return accepted(r, mediaEvents) > accepted(r, mediaJSON)
}

// streamLogs sends the log lines of an execution as they are stored: events "log",
// whose id is attempt-number, and at the end of the execution one "end" with its
// status. Last-Event-ID resumes. Without "end" the client is to connect again.
func (h *Handler) streamLogs(w http.ResponseWriter, r *http.Request, rec *workflow.Record) error {
	var attempt, seq int // of the last line sent
	_, _ = fmt.Sscanf(r.Header.Get("Last-Event-ID"), "%d-%d", &attempt, &seq)
	w.Header().Set("Content-Type", mediaEvents)
	flusher := http.NewResponseController(w)
	// Not every server lets handlers change it; those end the stream earlier.
	_ = flusher.SetWriteDeadline(time.Now().Add(2 * streamFor))

	over := time.NewTimer(streamFor)
	defer over.Stop()
	look := time.NewTicker(streamLook)
	defer look.Stop()
	for {
		// The execution before its lines: then none is missing when it is finished.
		now, err := h.bf.Workflows.Execution(r.Context(), rec.ID)
		if err != nil {
			return nil // the answer has begun; the client connects again
		}
		logs, err := h.bf.Workflows.Logs(r.Context(), rec.ID)
		if err != nil {
			return nil // as above
		}
		for _, l := range logs {
			if l.Attempt < attempt || l.Attempt == attempt && l.Seq <= seq {
				continue
			}
			attempt, seq = l.Attempt, l.Seq
			writeEvent(w, "log", fmt.Sprintf("%d-%d", attempt, seq), viewLogs([]workflow.Log{l})[0])
		}
		if now.Status.Finished() {
			writeEvent(w, "end", "", map[string]string{"status": string(now.Status)})
			return nil
		}
		_ = flusher.Flush() // one that cannot sends all when it ends
		select {
		case <-look.C:
		case <-over.C:
			return nil
		case <-r.Context().Done():
			return nil
		}
	}
}

// writeEvent writes one event; the data is one line, as JSON always can be.
func writeEvent(w http.ResponseWriter, kind, id string, data any) {
	text, err := json.Marshal(data)
	if err != nil {
		return
	}
	if id != "" {
		_, _ = fmt.Fprintf(w, "id: %s\n", id)
	}
	_, _ = fmt.Fprintf(w, "event: %s\ndata: %s\n\n", kind, text)
}
