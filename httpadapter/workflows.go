package httpadapter

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/bifrost-go/bifrost/workflow"
)

// pageWait is how long a form's Execute waits for the result before it shows the
// execution as it is by then.
const pageWait = 3 * time.Second

// workflowView is one registered workflow, as the API shows it.
type workflowView struct {
	Name        string          `json:"name"`
	Description string          `json:"description"`
	OrgScope    string          `json:"org_scope"` // "own", or "all" for one that may reach every organization
	InputSchema json.RawMessage `json:"input_schema"`
	Schedule    string          `json:"schedule"` // empty: none
	NextRuns    []time.Time     `json:"next_runs"`
	TimeoutMS   int64           `json:"timeout_ms"`
	Retries     int             `json:"retries"`
}

func viewWorkflow(w workflow.Info) workflowView {
	v := workflowView{
		Name: w.Name, Description: w.Description, OrgScope: "own", InputSchema: w.InputSchema,
		NextRuns: []time.Time{}, TimeoutMS: w.Timeout.Milliseconds(), Retries: w.Retries,
	}
	if w.CrossOrg {
		v.OrgScope = "all"
	}
	return v
}

// executable returns the workflows that the caller may execute, by name.
func (h *Handler) executable(c caller) []workflow.Info {
	var mine []workflow.Info
	for _, w := range h.bf.Workflows.List() {
		if c.mayExecute(w) {
			mine = append(mine, w)
		}
	}
	return mine
}

func (h *Handler) listWorkflows(w http.ResponseWriter, r *http.Request, c caller) error {
	limit, err := limitOf(r)
	if err != nil {
		return err
	}
	after := r.URL.Query().Get("cursor")
	out := list[workflowView]{Items: []workflowView{}}
	for _, info := range h.executable(c) {
		if info.Name <= after {
			continue
		}
		if len(out.Items) == limit {
			out.NextCursor = out.Items[limit-1].Name
			break
		}
		out.Items = append(out.Items, viewWorkflow(info))
	}
	return writeJSON(w, http.StatusOK, out)
}

// execute runs a workflow in the caller's scope.
func (h *Handler) execute(w http.ResponseWriter, r *http.Request, c caller) error {
	info, ok := h.bf.Workflows.Get(h.pathValue(r, "workflow"))
	if !ok {
		return errNotFound
	}
	if !c.mayExecute(info) {
		return errForbidden
	}
	f, err := readFields(r, "input", "async", "key", "run_at")
	if err != nil {
		return err
	}
	req, err := requestOf(f, c)
	if err != nil {
		return err
	}
	if fromPage(r) {
		return h.executeForm(w, r, c, info, f, req)
	}
	req.Input = f["input"]
	rec, err := h.bf.Workflows.Execute(r.Context(), info.Name, req)
	if err != nil && (rec == nil || r.Context().Err() == nil) {
		return err
	}
	// With a record, the host's own deadline for the request ended the waiting only.
	status := http.StatusOK
	if req.Async || !rec.Status.Finished() {
		status = http.StatusAccepted
	}
	return h.writeExecution(w, r, status, rec)
}

// executeForm is execute for the Workflows page: it leads to the execution's own
// page, or back to the form where the input does not fit.
func (h *Handler) executeForm(
	w http.ResponseWriter, r *http.Request, c caller, info workflow.Info, f fields, req workflow.ExecuteRequest,
) error {
	text, err := f.text("input")
	if err != nil {
		return err
	}
	input := json.RawMessage(strings.TrimSpace(text))
	if len(input) > 0 && !json.Valid(input) {
		return h.showWorkflows(w, r, c, &rejected{workflow: info.Name, input: text, message: "This is not JSON."})
	}
	ctx, cancel := context.WithTimeout(r.Context(), pageWait)
	defer cancel()
	req.Input = input
	rec, err := h.bf.Workflows.Execute(ctx, info.Name, req)
	var unfit *workflow.InputError
	switch {
	case errors.As(err, &unfit):
		return h.showWorkflows(w, r, c, &rejected{workflow: info.Name, input: text, message: problemOf(err).Detail})
	case rec == nil && err != nil:
		return err
	}
	return h.toExecution(w, c, rec)
}
