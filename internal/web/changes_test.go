package web_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/web"
)

func (w *world) Changes(_ context.Context, q web.ChangeQuery) ([]watchbill.Change, error) {
	if q.State == "done" {
		return nil, w.failing()
	}
	return []watchbill.Change{{ID: 1}}, w.failing()
}

func (w *world) Change(_ context.Context, id watchbill.ChangeID) (web.ChangeView, error) {
	return web.ChangeView{Change: watchbill.Change{ID: id}}, w.failing()
}

func (w *world) RequestChange(_ context.Context, who web.Actor, r web.ChangeRequest) (watchbill.Change, error) {
	return watchbill.Change{ID: 1}, w.act("change by %s: %s", who.Person, r.Title)
}

func (w *world) ActOnChange(_ context.Context, id watchbill.ChangeID, who web.Actor, a web.ChangeAct) (watchbill.Change, error) {
	return watchbill.Change{ID: id}, w.act("%s %s by %s: %s%s", a.Verb, id, who.Person, a.Hash, a.Text)
}

func (w *world) Permit(_ context.Context, id watchbill.ChangeID, hash, _ string) (watchbill.ChangePermit, error) {
	return watchbill.ChangePermit{Change: id, OK: hash != "no", Reason: "because"}, w.failing()
}

func (w *world) ChangeReport(_ context.Context, since, until time.Time) (watchbill.ChangeReport, error) {
	return watchbill.ChangeReport{Since: since, Until: until}, w.failing()
}

func TestChangeRoutes(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	rec := w.call("machine:read", http.MethodGet, "/api/ops/v1/changes/CHG-1/permit?hash=no&environment=prod", "")
	require.Equal(t, http.StatusConflict, rec.Code)
	require.JSONEq(t, `{"ok": false, "change": 1, "state": "", "hash": "", "reason": "because"}`, rec.Body.String())
	require.JSONEq(t, `[]`, w.call("support", http.MethodGet, "/api/ops/v1/changes?state=done", "").Body.String())
	for path, want := range map[string]string{
		"/api/ops/v1/changes?state=over":           "is not a state",
		"/api/ops/v1/changes?limit=0":              "is not a count",
		"/api/ops/v1/changes?incident=x":           "is not an incident id",
		"/api/ops/v1/changes/INC-1":                "is not a change id",
		"/api/ops/v1/changes/x/permit":             "is not a change id",
		"/api/ops/v1/reports/changes?since=monday": "since: \"monday\" is not a time",
	} {
		rec := w.call("support", http.MethodGet, path, "")
		require.Equal(t, http.StatusBadRequest, rec.Code, path)
		_, message, _ := problem(t, rec)
		require.Contains(t, message, want)
	}
	for body, status := range map[string]int{
		`{"unknown": 1}`: http.StatusBadRequest,
		`{"key": "` + strings.Repeat("k", 201) + `"}`:         http.StatusBadRequest,
		`{"title": "` + strings.Repeat("t", 20000) + `"}`:     http.StatusRequestEntityTooLarge,
		`{"diff": "` + strings.Repeat("d", 300000) + `"}`:     http.StatusRequestEntityTooLarge,
		`{"title": "t", "not_after": "9999-01-01T00:00:00Z"}`: http.StatusBadRequest,
		`{"title": "t"}`: http.StatusCreated,
	} {
		require.Equal(t, status, w.call("support", http.MethodPost, "/api/ops/v1/changes", body).Code, "%.40s", body)
	}
	require.Equal(t, http.StatusRequestEntityTooLarge, w.call("support", http.MethodPost, "/api/ops/v1/changes/1/done", `{"text": "`+strings.Repeat("t", 20000)+`"}`).Code)
	require.Equal(t, []string{"change by support: t"}, w.done())
}

// changeCallers says who may call each route of changes.
func changeCallers(people, readers string) map[string]string {
	want := map[string]string{
		"GET /api/ops/v1/changes":                 readers,
		"POST /api/ops/v1/changes":                people, // who may is for change control to say
		"GET /api/ops/v1/changes/{change}":        readers,
		"GET /api/ops/v1/changes/{change}/permit": readers,
		"GET /api/ops/v1/reports/changes":         readers,
	}
	for verb := range strings.FieldsSeq("edit approve reject perform witness done fail rollback break-glass review") {
		want["POST /api/ops/v1/changes/{change}/"+verb] = people
	}
	return want
}
