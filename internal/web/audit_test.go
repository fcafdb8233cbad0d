package web_test

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/web"
)

func (w *world) AuditLog(_ context.Context, q web.AuditQuery) (web.AuditPage, error) {
	w.queried = q
	return web.AuditPage{Entries: []watchbill.AuditEntry{{Seq: 1, Kind: watchbill.AuditStarted}}, Head: watchbill.AuditHead{Seq: 1, Hash: "ab"}}, w.failing()
}

func (w *world) EraseAudit(_ context.Context, who web.Actor, person watchbill.PersonID, reason string) (int, error) {
	if reason == "none" {
		return 0, errors.New("none")
	}
	return 3, w.act("erase %s %s %s", who.Person, person, reason)
}

func (w *world) SignInRefused(_ context.Context, r web.SignInRefusal) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed = append(w.failed, r)
}

func (w *world) Refused(_ context.Context, r web.Refusal) { w.refused = append(w.refused, r) }

func TestAuditLog(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	rec := w.call("security", http.MethodGet, "/api/ops/v1/audit?kind=refused&actor=ana&object=x&since=2026-11-29T00:00:00Z&after=5&order=oldest&limit=7", "")
	require.Equal(t, http.StatusOK, rec.Code, rec.Body.String())
	require.Equal(t, web.AuditQuery{After: 5, Kind: "refused", Actor: "ana", Object: "x", Since: w.queried.Since, Oldest: true, Limit: 7}, w.queried)
	require.Equal(t, 2026, w.queried.Since.Year())
	require.Contains(t, rec.Body.String(), `"head":{"seq":1,"hash":"ab"}`)
	for query, want := range map[string]string{
		"limit=x": "limit: ", "after=-1": "after: ", "order=up": "order: ", "since=now": "since: ",
	} {
		rec := w.call("security", http.MethodGet, "/api/ops/v1/audit?"+query, "")
		require.Equal(t, http.StatusBadRequest, rec.Code, query)
		require.Contains(t, rec.Body.String(), want)
	}
	require.Equal(t, http.StatusBadRequest, w.call("manager", http.MethodPost, "/api/ops/v1/audit/erase", `{"reason": "x"}`).Code)
	rec = w.call("manager", http.MethodPost, "/api/ops/v1/audit/erase", `{"person": "ana", "reason": "request 4711"}`)
	require.Equal(t, http.StatusOK, rec.Code)
	require.JSONEq(t, `{"entries": 3}`, rec.Body.String())
}

// What somebody who is known may not do is told; who is not known is not in the log.
func TestRefusalsAreTold(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	w.call("deployment", http.MethodPost, "/-/reload", "")
	w.call("machine:metrics", http.MethodGet, "/api/ops/v1/incidents", "")
	w.call("nobody", http.MethodPost, "/-/reload", "")
	w.call("bad", http.MethodPost, "/-/reload", "")
	require.Len(t, w.refused, 2)
	require.Equal(t, web.Refusal{Who: web.Actor{Person: "deployment", Via: "api"}, What: "POST /-/reload", Why: "/-/reload is for the role manager"}, w.refused[0])
	require.Equal(t, "machine:metrics", w.refused[1].Machine)
	require.Equal(t, "GET /api/ops/v1/incidents", w.refused[1].What)
}
