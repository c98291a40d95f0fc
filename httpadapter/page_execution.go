package httpadapter

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/bifrost-go/bifrost/workflow"
)

const (
	// maxRows and maxColumns are how much of a result is shown as a table; the
	// JSON beside it has the rest.
	maxRows    = 100
	maxColumns = 8
	maxCell    = 200
	maxLogs    = 500
)

type executionPageView struct {
	ID, Workflow, Org string
	Badge             badge
	Running           bool
	Cancel, Retry     string // URLs of the POSTs; empty: no button
	RunAt             string // when it begins
	Created, Started  *stamp
	Finished          *stamp
	Took              string
	Attempt           int
	By                string
	Error             *errorNote
	Table             *table
	Result            string
	ResultCut         bool
	Input             string
	Logs              []logLine
	LogsCut           bool
	API               string
	Back, Only        string
}

type logLine struct {
	At, Level, Message, Attrs string
	ISO                       string
}

// executionPage shows one execution, and loads itself again while it runs.
func (h *Handler) executionPage(w http.ResponseWriter, r *http.Request, c caller) error {
	rec, logs, err := h.findExecution(r, c)
	if err != nil {
		return err
	}
	now := time.Now()
	body := executionPageView{
		ID: rec.ID, Workflow: rec.Workflow, Org: orgName(rec.Scope.Org), Badge: executionBadge(rec.Status),
		Running: !rec.Status.Finished(), Attempt: rec.Attempt, By: cleanText(rec.Principal, 100),
		Created: stampOf(rec.CreatedAt, now), Started: stampOf(rec.StartedAt, now), Finished: stampOf(rec.FinishedAt, now),
		API:  h.link("/api/executions/"+url.PathEscape(rec.ID), c.queryOrg()),
		Back: h.link("/workflows", c.queryOrg()),
	}
	if path := "/api/executions/" + url.PathEscape(rec.ID); h.mayControl(c, rec.Workflow) {
		switch rec.Status {
		case workflow.Scheduled, workflow.Pending, workflow.Running:
			body.Cancel = h.link(path+"/cancel", c.queryOrg())
		case workflow.Failed, workflow.TimedOut, workflow.Cancelled:
			body.Retry = h.link(path+"/retry", c.queryOrg())
		}
	}
	if !rec.RunAt.IsZero() {
		body.RunAt = rec.RunAt.UTC().Format(time.RFC3339)
	}
	body.Result, body.ResultCut = pretty(rec.Result)
	if input := bytes.TrimSpace(rec.Input); len(input) > 0 && string(input) != "{}" {
		body.Input, _ = pretty(input)
	}
	body.Table = tableOf(rec.Result)
	if rec.Error != nil {
		body.Error = &errorNote{Code: cleanText(rec.Error.Code, 100), Message: cleanText(rec.Error.Message, 2000)}
		if rec.Error.Code == workflow.CodeError {
			body.Error.Code = "" // the function gave none
		}
	}
	body.LogsCut = len(logs) > maxLogs
	for _, l := range logs[:min(len(logs), maxLogs)] {
		body.Logs = append(body.Logs, viewLogLine(l))
	}
	v := view{
		template: "execution", title: rec.Workflow + " · " + body.Badge.Text, section: "workflows", caller: &c, body: body,
	}
	switch age := now.Sub(rec.CreatedAt); {
	case !body.Running:
		body.Took = duration(rec.Duration())
		v.body = body
	case age < 30*time.Second:
		v.reload = 2
	default:
		v.reload = 10
	}
	return h.show(w, r, v)
}

func viewLogLine(l workflow.Log) logLine {
	line := logLine{
		At: l.At.UTC().Format("15:04:05.000"), ISO: l.At.UTC().Format(time.RFC3339Nano),
		Level: strings.ToLower(l.Level.String()), Message: cleanText(l.Message, 2000),
	}
	if len(l.Attrs) > 2 {
		line.Attrs = cleanText(string(l.Attrs), 2000)
	}
	return line
}

// table is a result that is a list of objects.
type table struct {
	Columns []string
	Rows    [][]cell
	Total   int
	Cut     bool // there are more rows or columns
}

type cell struct{ Column, Text string }

// tableOf returns a result as a table; nil if it is not a list of objects.
func tableOf(result json.RawMessage) *table {
	var rows []map[string]json.RawMessage
	if json.Unmarshal(result, &rows) != nil || len(rows) == 0 {
		return nil
	}
	t := &table{Total: len(rows), Columns: columns(result)}
	if t.Columns == nil {
		return nil
	}
	if len(t.Columns) > maxColumns {
		t.Columns, t.Cut = t.Columns[:maxColumns], true
	}
	if len(rows) > maxRows {
		rows, t.Cut = rows[:maxRows], true
	}
	for _, row := range rows {
		cells := make([]cell, len(t.Columns))
		for i, name := range t.Columns {
			cells[i] = cell{name, cellText(row[name])}
		}
		t.Rows = append(t.Rows, cells)
	}
	return t
}

// cellText is a JSON value in a table: strings without quotes.
func cellText(raw json.RawMessage) string {
	var s string
	if len(raw) == 0 || string(raw) == "null" {
		return ""
	}
	if json.Unmarshal(raw, &s) == nil {
		return cleanText(s, maxCell)
	}
	return cleanText(string(raw), maxCell)
}

// columns returns the members of the first objects of a list, in their order.
func columns(list json.RawMessage) []string {
	var rows []json.RawMessage
	if json.Unmarshal(list, &rows) != nil {
		return nil
	}
	var names []string
	seen := map[string]bool{}
	for _, row := range rows[:min(len(rows), maxRows)] {
		for _, name := range memberNames(row) {
			if !seen[name] {
				seen[name] = true
				names = append(names, name)
			}
		}
	}
	return names
}

// memberNames returns the names of an object's members in their order, which a Go
// map does not keep. path leads to an object inside.
func memberNames(object json.RawMessage, path ...string) []string {
	if len(path) > 0 {
		var m map[string]json.RawMessage
		if json.Unmarshal(object, &m) != nil {
			return nil
		}
		return memberNames(m[path[0]], path[1:]...)
	}
	dec := json.NewDecoder(bytes.NewReader(object))
	if start, err := dec.Token(); err != nil || start != json.Delim('{') {
		return nil
	}
	var names []string
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return names
		}
		text, _ := name.(string)
		names = append(names, text)
		var skipped json.RawMessage
		if dec.Decode(&skipped) != nil {
			return names
		}
	}
	return names
}
