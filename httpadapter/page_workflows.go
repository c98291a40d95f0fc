package httpadapter

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/bifrost-go/bifrost/workflow"
)

// recentExecutions is how many the Workflows page shows.
const recentExecutions = 15

// workflowCard is one workflow on a page.
type workflowCard struct {
	Name, Description string
	Timeout           string
	Action            string // URL of the POST
	TakesInput        bool
	Input             string // what the form starts with
	Lines             int    // of the form's field
	Schema            string
	Error             string // why the last input was refused
}

type executionRow struct {
	ID, Workflow, Org string
	Link              string
	Badge             badge
	Created           *stamp
	Took              string
	Message           string
}

type workflowsView struct {
	Cards      []workflowCard
	Executions []executionRow
	ShowOrg    bool
	Org        string
	Only       string // the workflow whose executions are shown; empty: all
	All, Next  string
}

// rejected is an input that did not fit, to be shown again.
type rejected struct{ workflow, input, message string }

func (h *Handler) workflowsPage(w http.ResponseWriter, r *http.Request, c caller) error {
	return h.showWorkflows(w, r, c, nil)
}

func (h *Handler) showWorkflows(w http.ResponseWriter, r *http.Request, c caller, bad *rejected) error {
	body := workflowsView{Org: c.org, ShowOrg: c.admin() && c.org == ""}
	for _, info := range h.executable(c) {
		body.Cards = append(body.Cards, h.workflowCard(info, c, bad))
	}
	filter := workflow.Filter{Scope: c.scope(), AllScopes: body.ShowOrg, Limit: recentExecutions}
	cursor := ""
	if bad == nil { // else the query is that of the form
		filter.Workflow, cursor = r.URL.Query().Get("workflow"), r.URL.Query().Get("cursor")
	}
	page, err := h.bf.Workflows.Executions(r.Context(), filter, cursor)
	if err != nil {
		return err
	}
	for _, rec := range page.Items {
		body.Executions = append(body.Executions, h.executionRow(rec, c))
	}
	body.Only, body.All, body.Next = cleanText(filter.Workflow, 64), h.link("/workflows", c.queryOrg()), h.next(r, "/workflows", c, page.Next)
	v := view{template: "workflows", title: "Workflows", section: "workflows", caller: &c, path: "/workflows", body: body}
	if bad != nil {
		v.status = http.StatusUnprocessableEntity
	}
	return h.show(w, r, v)
}

func (h *Handler) workflowCard(info workflow.Info, c caller, bad *rejected) workflowCard {
	k := workflowCard{
		Name: info.Name, Description: info.Description, Timeout: roughly(info.Timeout),
		Action: h.link("/api/workflows/"+url.PathEscape(info.Name)+"/execute", c.queryOrg()),
	}
	if k.Input, k.TakesInput = inputSkeleton(info.InputSchema); k.TakesInput {
		k.Schema, _ = pretty(info.InputSchema)
	}
	if bad != nil && bad.workflow == info.Name {
		k.Input, k.Error, k.TakesInput = bad.input, bad.message, true
	}
	k.Lines = min(max(3, strings.Count(k.Input, "\n")+2), 16)
	return k
}

func (h *Handler) executionRow(rec *workflow.Record, c caller) executionRow {
	row := executionRow{
		ID: rec.ID, Workflow: rec.Workflow, Org: orgName(rec.Scope.Org),
		Link:  h.link("/executions/"+url.PathEscape(rec.ID), c.queryOrg()),
		Badge: executionBadge(rec.Status), Created: stampOf(rec.CreatedAt, time.Now()),
	}
	if rec.Status.Finished() {
		row.Took = duration(rec.Duration())
	}
	if rec.Error != nil {
		row.Message = cleanText(rec.Error.Message, 160)
	}
	return row
}

func executionBadge(s workflow.Status) badge {
	switch s {
	case workflow.Succeeded:
		return badge{"good", "Succeeded"}
	case workflow.Failed:
		return badge{"bad", "Failed"}
	case workflow.TimedOut:
		return badge{"bad", "Timed out"}
	case workflow.Running:
		return badge{"busy", "Running"}
	case workflow.Cancelling:
		return badge{"busy", "Cancelling"}
	case workflow.Cancelled:
		return badge{"idle", "Cancelled"}
	case workflow.Scheduled:
		return badge{"idle", "Scheduled"}
	default:
		return badge{"idle", "Waiting"}
	}
}

// inputSkeleton returns an input to start from, with the required properties of
// the schema and a value of their types, and whether the schema has any properties.
func inputSkeleton(schema json.RawMessage) (text string, takesInput bool) {
	var s struct {
		Type       any                        `json:"type"`
		Properties map[string]json.RawMessage `json:"properties"`
		Required   []string                   `json:"required"`
	}
	if json.Unmarshal(schema, &s) != nil {
		return "{}", true // some other document: then anything may fit
	}
	if len(s.Properties) == 0 {
		return "{}", s.Type != "object"
	}
	var members [][]byte
	for _, name := range memberNames(schema, "properties") {
		if slices.Contains(s.Required, name) {
			key, _ := json.Marshal(name)
			members = append(members, slices.Concat(key, []byte(": "), emptyValue(s.Properties[name])))
		}
	}
	text, _ = pretty(slices.Concat([]byte{'{'}, bytes.Join(members, []byte{','}), []byte{'}'}))
	return text, true
}

// emptyValue returns the simplest value that a schema seems to want.
func emptyValue(schema json.RawMessage) json.RawMessage {
	var s struct {
		Type    any               `json:"type"` // a name, or a list of them
		Default json.RawMessage   `json:"default"`
		Enum    []json.RawMessage `json:"enum"`
	}
	_ = json.Unmarshal(schema, &s)
	kinds, _ := s.Type.([]any)
	kinds = append(kinds, s.Type)
	empty := map[any]string{"string": `""`, "integer": "0", "number": "0", "boolean": "false", "array": "[]", "object": "{}"}
	switch {
	case s.Default != nil:
		return s.Default
	case len(s.Enum) > 0:
		return s.Enum[0]
	}
	for _, kind := range kinds {
		if name, ok := kind.(string); ok && empty[name] != "" {
			return json.RawMessage(empty[name])
		}
	}
	return json.RawMessage("null")
}
