package storetest

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bifrost-go/bifrost/workflow"
)

func testLogs(t *testing.T, s workflow.Store) {
	ctx := t.Context()
	at := time.Now().UTC().Truncate(time.Microsecond)
	line := func(attempt, seq int, message string) workflow.Log {
		return workflow.Log{
			Attempt: attempt, Seq: seq, At: at, Level: slog.LevelWarn, Message: message, Attrs: json.RawMessage(`{"n":1}`),
		}
	}
	bare := workflow.Log{Attempt: 1, Seq: 3, At: at, Level: slog.Level(-8)}
	insert(t, s, workflow.Record{})
	r := claim(t, s, over)
	require.NoError(t, s.Append(ctx, fence(r), []workflow.Log{line(1, 1, "one"), line(1, 2, "two")}))
	require.NoError(t, s.Append(ctx, fence(r), []workflow.Log{line(1, 2, "two again"), bare}), "repeated")
	require.NoError(t, s.Append(ctx, fence(r), nil))
	r = claim(t, s, lease)
	o := succeed(`1`)
	o.Logs = []workflow.Log{line(2, 1, "second attempt")}
	require.NoError(t, s.Finish(ctx, fence(r), o))
	require.ErrorIs(t, s.Append(ctx, fence(r), []workflow.Log{line(2, 2, "late")}), workflow.ErrLost)

	got, err := s.Logs(ctx, r.ID)
	require.NoError(t, err)
	assert.Equal(t, []workflow.Log{line(1, 1, "one"), line(1, 2, "two"), bare, line(2, 1, "second attempt")}, got)
	got, err = s.Logs(ctx, newID(t))
	require.NoError(t, err)
	assert.Empty(t, got)
}

func testGet(t *testing.T, s workflow.Store) {
	r := insert(t, s, workflow.Record{})
	for _, id := range []string{"", newID(t), strings.ToUpper(r.ID), r.ID + "\x00", "%", "' OR 1=1 --"} {
		_, err := s.Get(t.Context(), id)
		require.ErrorIs(t, err, workflow.ErrNotFound)
	}
}

func testList(t *testing.T, s workflow.Store) {
	var all []*workflow.Record // oldest first
	for i := range 12 {
		r := workflow.Record{Workflow: fmt.Sprintf("work-%d", i%2), Scope: workflow.Org(fmt.Sprintf("org-%d", i%3))}
		if i%4 == 0 {
			r.Scope = workflow.Global()
		}
		stored := insertLeased(t, s, r, time.Duration(i%2)*lease)
		if i == 5 || i == 7 {
			require.NoError(t, s.Finish(t.Context(), fence(stored), succeed(`1`)))
		}
		stored, err := s.Get(t.Context(), stored.ID)
		require.NoError(t, err)
		all = append(all, stored)
	}
	for _, m := range []workflow.Match{
		{},
		{Workflow: "work-1"},
		{Scope: workflow.Org("org-1")},
		{Scope: workflow.Global()},
		{Status: workflow.Pending},
		{Status: workflow.Succeeded, Workflow: "work-1"},
		{Workflow: "work-0", Scope: workflow.Org("org-2"), Status: workflow.Pending},
		{Workflow: "work-0", Scope: workflow.Global(), Status: workflow.Running},
		{Workflow: "none"},
	} {
		var want []*workflow.Record
		for i := len(all) - 1; i >= 0; i-- {
			r := all[i]
			if (m.Workflow == "" || r.Workflow == m.Workflow) && (m.Status == "" || r.Status == m.Status) &&
				(m.Scope == workflow.Scope{} || r.Scope == m.Scope) {
				want = append(want, r)
			}
		}
		for _, limit := range []int{1, 3, 100} {
			var got []*workflow.Record
			for before := ""; ; {
				page, err := s.List(t.Context(), m, before, limit)
				require.NoError(t, err)
				require.LessOrEqual(t, len(page), limit)
				if len(page) == 0 {
					break
				}
				got = append(got, page...)
				before = page[len(page)-1].ID
			}
			assert.Equal(t, want, got, "%+v, pages of %d", m, limit)
		}
	}
}

func testHostileText(t *testing.T, s workflow.Store) {
	hostile := "'; DROP TABLE x; -- %_\\ \x01 \u202e \U0001f480 \"\n"
	quoted, err := json.Marshal(hostile)
	require.NoError(t, err)
	r := insertLeased(t, s, workflow.Record{
		Workflow: hostile, Scope: workflow.Org(hostile), Principal: hostile, Input: quoted,
	}, lease)
	require.NoError(t, s.Finish(t.Context(), fence(r), workflow.Outcome{
		Status: workflow.Failed, Error: &workflow.Failure{Code: hostile, Message: hostile},
		Logs: []workflow.Log{{Seq: 1, At: time.Now(), Message: hostile, Attrs: json.RawMessage(`{"k":` + string(quoted) + `}`)}},
	}))
	list, err := s.List(t.Context(), workflow.Match{Workflow: hostile, Scope: workflow.Org(hostile)}, "", 2)
	require.NoError(t, err)
	require.Len(t, list, 1)
	assert.Equal(t, hostile, list[0].Principal)
	assert.Equal(t, &workflow.Failure{Code: hostile, Message: hostile}, list[0].Error)
	assert.Equal(t, string(quoted), string(list[0].Input))
	logs, err := s.Logs(t.Context(), r.ID)
	require.NoError(t, err)
	require.Len(t, logs, 1)
	assert.Equal(t, hostile, logs[0].Message)
}

func testInvalidText(t *testing.T, s workflow.Store) {
	run := insertLeased(t, s, workflow.Record{}, lease)
	for _, text := range []string{"\x00", "a\x00", "\xff", "a\xc3\x28"} {
		doc := json.RawMessage(`"` + text + `"`)
		refused := func(err error) {
			t.Helper()
			require.ErrorContains(t, err, "not valid UTF-8")
		}
		for _, r := range []workflow.Record{
			{Workflow: text}, {Scope: workflow.Org(text)}, {Principal: text}, {Key: text}, {Input: doc},
		} {
			r.ID = newID(t)
			_, err := s.Insert(t.Context(), &r, 0)
			refused(err)
		}
		logs := []workflow.Log{{Seq: 1, At: time.Now(), Message: "fine"}, {Seq: 2, At: time.Now(), Message: text}}
		refused(s.Append(t.Context(), fence(run), logs))
		refused(s.Append(t.Context(), fence(run), []workflow.Log{{Seq: 1, Attrs: doc}}))
		refused(s.Release(t.Context(), fence(run), logs))
		refused(s.Retry(t.Context(), fence(run), 0, workflow.Failure{Code: text}, nil))
		refused(s.Finish(t.Context(), fence(run), workflow.Outcome{Status: workflow.Succeeded, Result: doc}))
		refused(s.Finish(t.Context(), fence(run), workflow.Outcome{Status: workflow.Failed, Error: &workflow.Failure{Message: text}}))
		_, err := s.Cancel(t.Context(), run.ID, workflow.Failure{Message: text})
		refused(err)

		_, err = s.Get(t.Context(), text)
		require.ErrorIs(t, err, workflow.ErrNotFound)
		_, err = s.Cancel(t.Context(), text, cancelled)
		require.ErrorIs(t, err, workflow.ErrNotFound)
		for _, m := range []workflow.Match{{Workflow: text}, {Scope: workflow.Org(text)}} {
			list, err := s.List(t.Context(), m, "", 10)
			require.NoError(t, err)
			assert.Empty(t, list)
		}
		r, err := s.Claim(t.Context(), workflow.Claim{Workflows: []string{text}, Except: []string{text}, Lease: lease})
		require.NoError(t, err)
		assert.Nil(t, r)
		require.NoError(t, s.DeleteOrg(t.Context(), text))
	}
	got, err := s.Get(t.Context(), run.ID)
	require.NoError(t, err)
	assert.Equal(t, run, got, "nothing was written")
	logs, err := s.Logs(t.Context(), run.ID)
	require.NoError(t, err)
	assert.Empty(t, logs)
}

func testEndedContext(t *testing.T, s workflow.Store) {
	r := insert(t, s, workflow.Record{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Insert(ctx, &workflow.Record{ID: newID(t), Workflow: "work", Scope: workflow.Global(), Input: json.RawMessage(`{}`)}, 0)
	require.ErrorIs(t, err, context.Canceled)
	_, err = s.Claim(ctx, workflow.Claim{Workflows: []string{"work"}, Lease: lease})
	require.ErrorIs(t, err, context.Canceled)
	_, err = s.Get(ctx, r.ID)
	require.ErrorIs(t, err, context.Canceled)
	list, err := s.List(t.Context(), workflow.Match{}, "", 10)
	require.NoError(t, err)
	assert.Equal(t, []*workflow.Record{r}, list, "nothing was written")
}
