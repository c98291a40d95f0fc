package httpadapter

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/bifrost-go/bifrost/workflow"
)

// requestOf reads what an execute request says besides its input: the key, and
// when it is to begin.
func requestOf(f fields, c caller) (req workflow.ExecuteRequest, err error) {
	req.Scope, req.Principal = c.scope(), c.User
	if req.Async, err = f.flag("async"); err != nil {
		return req, err
	}
	if req.Key, err = f.text("key"); err != nil {
		return req, err
	}
	if req.Key == "" && f.said("key") {
		return req, problemOf(workflow.ErrInvalidKey)
	}
	runAt, err := f.text("run_at")
	if err != nil || runAt == "" && !f.said("run_at") {
		return req, err
	}
	req.RunAt, err = time.Parse(time.RFC3339, runAt)
	switch {
	case err != nil:
		return req, invalidField("run_at", "must be a time as RFC 3339 has it, such as 2030-01-31T08:00:00Z")
	case !req.Async:
		return req, invalidField("run_at", `needs "async": true`)
	}
	return req, nil
}

// said reports whether a field is there, and not null.
func (f fields) said(name string) bool {
	raw, ok := f[name]
	return ok && string(raw) != "null"
}

// mayControl reports whether the caller may cancel or retry executions of a
// workflow: who may execute it. Of a workflow that this server does not have, nobody
// knows whether members may.
func (h *Handler) mayControl(c caller, name string) bool {
	info, ok := h.bf.Workflows.Get(name)
	return c.admin() || ok && c.mayExecute(info)
}

// controllable returns the execution that a change is about.
func (h *Handler) controllable(r *http.Request, c caller) (*workflow.Record, error) {
	rec, err := h.bf.Workflows.Execution(r.Context(), h.pathValue(r, "id"))
	if err != nil {
		return nil, err
	}
	if !c.maySee(rec) {
		return nil, errNotFound
	}
	if !h.mayControl(c, rec.Workflow) {
		return nil, errForbidden
	}
	return rec, noFields(r)
}

// cancelExecution ends an execution early. Where it runs it may take a moment: then
// it is shown as cancelling.
func (h *Handler) cancelExecution(w http.ResponseWriter, r *http.Request, c caller) error {
	rec, err := h.controllable(r, c)
	if err != nil {
		return err
	}
	now, err := h.bf.Workflows.Cancel(r.Context(), rec.ID)
	if fromPage(r) && (err == nil || errors.Is(err, workflow.ErrFinished)) {
		return h.toExecution(w, c, rec)
	}
	if err != nil {
		return err
	}
	return h.writeExecution(w, r, http.StatusOK, now)
}

// retryExecution executes the same again, as a new execution.
func (h *Handler) retryExecution(w http.ResponseWriter, r *http.Request, c caller) error {
	rec, err := h.controllable(r, c)
	if err != nil {
		return err
	}
	next, err := h.bf.Workflows.Retry(r.Context(), rec.ID, c.User)
	switch {
	case errors.Is(err, workflow.ErrUnknown):
		return &problem{Status: http.StatusConflict, Type: "unknown-workflow", Detail: "This server does not have the workflow any more."}
	case err != nil:
		return err
	case fromPage(r):
		return h.toExecution(w, c, next)
	}
	return h.writeExecution(w, r, http.StatusAccepted, next)
}

// toExecution leads a form to an execution's page.
func (h *Handler) toExecution(w http.ResponseWriter, c caller, rec *workflow.Record) error {
	redirect(w, h.link("/executions/"+url.PathEscape(rec.ID), c.queryOrg()))
	return nil
}

// writeExecution answers with an execution; 202 says where its end will be seen.
func (h *Handler) writeExecution(w http.ResponseWriter, r *http.Request, status int, rec *workflow.Record) error {
	logs, err := h.bf.Workflows.Logs(context.WithoutCancel(r.Context()), rec.ID)
	if err != nil {
		return err
	}
	if status == http.StatusAccepted {
		w.Header().Set("Location", h.base.JoinPath("api", "executions", rec.ID).String())
	}
	return writeJSON(w, status, viewExecution(rec, logs))
}
