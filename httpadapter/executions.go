package httpadapter

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/bifrost-go/bifrost/workflow"
)

// executionView is one execution, as the API shows it. Times that are unknown, and
// what there is not, are null.
type executionView struct {
	ID         string          `json:"id"`
	Workflow   string          `json:"workflow"`
	Org        string          `json:"org"` // empty: global
	Status     string          `json:"status"`
	Input      json.RawMessage `json:"input"`
	Result     json.RawMessage `json:"result"`
	Error      *errorView      `json:"error"`
	Attempt    int             `json:"attempt"`
	RunAt      *time.Time      `json:"run_at"` // null unless scheduled
	CreatedAt  *time.Time      `json:"created_at"`
	StartedAt  *time.Time      `json:"started_at"`
	FinishedAt *time.Time      `json:"finished_at"`
	DurationMS *int64          `json:"duration_ms"`
	Progress   json.RawMessage `json:"progress"`
	Logs       []logView       `json:"logs"` // null in lists
}

type errorView struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

type logView struct {
	At      time.Time       `json:"at"`
	Level   string          `json:"level"` // "debug", "info", "warn", "error"
	Message string          `json:"message"`
	Attrs   json.RawMessage `json:"attrs"`
}

// viewExecution describes an execution; logs may be nil.
func viewExecution(rec *workflow.Record, logs []workflow.Log) executionView {
	v := executionView{
		ID: rec.ID, Workflow: rec.Workflow, Org: rec.Scope.Org, Status: string(rec.Status),
		Input: rec.Input, Result: rec.Result, Attempt: rec.Attempt,
		RunAt: timeView(rec.RunAt), CreatedAt: timeView(rec.CreatedAt), StartedAt: timeView(rec.StartedAt), FinishedAt: timeView(rec.FinishedAt),
		Logs: viewLogs(logs),
	}
	if rec.Error != nil {
		v.Error = &errorView{rec.Error.Code, rec.Error.Message}
	}
	if !rec.FinishedAt.IsZero() {
		ms := rec.Duration().Milliseconds()
		v.DurationMS = &ms
	}
	return v
}

func viewLogs(logs []workflow.Log) []logView {
	views := []logView{}
	for _, l := range logs {
		attrs := l.Attrs
		if attrs == nil {
			attrs = json.RawMessage("{}")
		}
		views = append(views, logView{l.At.UTC(), strings.ToLower(l.Level.String()), l.Message, attrs})
	}
	return views
}

// statuses are those that ?status= knows.
var statuses = []string{
	string(workflow.Scheduled), string(workflow.Pending), string(workflow.Running), string(workflow.Succeeded),
	string(workflow.Failed), string(workflow.TimedOut), string(workflow.Cancelling), string(workflow.Cancelled),
}

// filterOf reads ?workflow= and ?status=. The scope is the caller's; an
// administrator's global view is of all.
func filterOf(r *http.Request, c caller) (workflow.Filter, error) {
	query := r.URL.Query()
	f := workflow.Filter{
		Workflow: query.Get("workflow"), Status: workflow.Status(query.Get("status")),
		Scope: c.scope(), AllScopes: c.admin() && c.org == "",
	}
	if f.Status != "" && !slices.Contains(statuses, string(f.Status)) {
		return f, invalidField("status", "must be one of "+strings.Join(statuses, ", "))
	}
	var err error
	f.Limit, err = limitOf(r)
	return f, err
}

func (h *Handler) listExecutions(w http.ResponseWriter, r *http.Request, c caller) error {
	filter, err := filterOf(r, c)
	if err != nil {
		return err
	}
	page, err := h.bf.Workflows.Executions(r.Context(), filter, r.URL.Query().Get("cursor"))
	if err != nil {
		return err
	}
	out := list[executionView]{Items: []executionView{}, NextCursor: page.Next}
	for _, rec := range page.Items {
		v := viewExecution(rec, nil)
		v.Logs = nil
		out.Items = append(out.Items, v)
	}
	return writeJSON(w, http.StatusOK, out)
}

// findExecution returns an execution that the caller may see. Another
// organization's is as missing as one that never was.
func (h *Handler) findExecution(r *http.Request, c caller) (*workflow.Record, []workflow.Log, error) {
	rec, err := h.bf.Workflows.Execution(r.Context(), h.pathValue(r, "id"))
	if err != nil {
		return nil, nil, err
	}
	if !c.maySee(rec) {
		return nil, nil, errNotFound
	}
	logs, err := h.bf.Workflows.Logs(r.Context(), rec.ID)
	return rec, logs, err
}

func (h *Handler) getExecution(w http.ResponseWriter, r *http.Request, c caller) error {
	rec, logs, err := h.findExecution(r, c)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, viewExecution(rec, logs))
}

func (h *Handler) listLogs(w http.ResponseWriter, r *http.Request, c caller) error {
	rec, logs, err := h.findExecution(r, c)
	if err != nil {
		return err
	}
	w.Header().Set("Vary", "Accept")
	if wantsEvents(r) && r.Method == http.MethodGet {
		return h.streamLogs(w, r, rec)
	}
	return writeJSON(w, http.StatusOK, list[logView]{Items: viewLogs(logs)})
}
