package web_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/web"
)

func (w *world) OnDuty(_ context.Context, role watchbill.RoleID, at time.Time) ([]watchbill.Shift, error) {
	return []watchbill.Shift{{From: at, To: at.Add(time.Hour), Watch: watchbill.Watch{Role: role, At: at, Primary: watchbill.Duty{Person: "ana", Role: role, Reason: "turn"}}}}, w.failing()
}

func (w *world) Shifts(_ context.Context, role watchbill.RoleID, from, to time.Time) ([]watchbill.Shift, error) {
	return []watchbill.Shift{{From: from, To: to, Watch: watchbill.Watch{Role: role}}}, w.failing()
}

func (w *world) Coverage(_ context.Context, from time.Time, days int) ([]watchbill.Gap, error) {
	if days == 1 {
		return nil, nil
	}
	return []watchbill.Gap{{Kind: watchbill.GapVacant, Role: "support", From: from, To: from.AddDate(0, 0, days), Why: "nobody"}}, w.failing()
}

func (w *world) DutyLoad(context.Context, time.Time, int) ([]watchbill.DutyLoad, error) {
	return []watchbill.DutyLoad{{Person: "ana", Hours: 8}}, w.failing()
}

func (w *world) DutyChanges(context.Context) ([]watchbill.DutyChange, error) { return nil, w.failing() }

func (w *world) ChangeDuty(_ context.Context, who web.Actor, q web.DutyRequest) ([]watchbill.DutyChange, error) {
	q.ID, q.Author, q.Via = 7, who.Person, who.Via
	return []watchbill.DutyChange{q.DutyChange}, w.act("duty %s %s %s by %s", q.Kind, q.Role, q.Person, who.Person)
}

func (w *world) EndDutyChange(_ context.Context, who web.Actor, id int64, reason string) error {
	return w.act("end duty %d by %s: %s", id, who.Person, reason)
}

func TestOncall(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	rec := w.call("support", "GET", "/api/ops/v1/oncall?role=support&at=2026-11-29T03:15:00Z", "")
	require.Equal(t, http.StatusOK, rec.Code)
	require.JSONEq(t, `[{"from":"2026-11-29T03:15:00Z","to":"2026-11-29T04:15:00Z","watch":{"role":"support","at":"2026-11-29T03:15:00Z","primary":{"person":"ana","role":"support","reason":"turn"}}}]`, rec.Body.String())
	rec = w.call("support", "GET", "/api/ops/v1/oncall/shifts?role=support&from=2026-11-29T03:15:00Z&days=2", "")
	require.Contains(t, rec.Body.String(), `"to":"2026-12-01T03:15:00Z"`)
	require.JSONEq(t, `[]`, w.call("support", "GET", "/api/ops/v1/coverage?days=1", "").Body.String())
	require.JSONEq(t, `[]`, w.call("support", "GET", "/api/ops/v1/oncall/changes", "").Body.String())
	require.Contains(t, w.call("support", "GET", "/api/ops/v1/oncall/load", "").Body.String(), `"hours":8`)
	rec = w.call("support", "POST", "/api/ops/v1/oncall/changes", `{"kind":"override","role":"support","person":"ben","author":"frank","reason":"ill"}`)
	require.Equal(t, http.StatusOK, rec.Code, rec.Body)
	require.Contains(t, rec.Body.String(), `"author":"support"`, "the author is the caller")
	require.Equal(t, http.StatusOK, w.call("support", "POST", "/api/ops/v1/oncall/changes/7/end", `{"reason":"well"}`).Code)
	require.Equal(t, []string{"duty override support ben by support", "end duty 7 by support: well"}, w.done())
	for path, says := range map[string]string{
		"/api/ops/v1/oncall?at=now": `at: "now" is not a time`, "/api/ops/v1/coverage?days=0": `days: "0" is not a number from 1 to 366`, "/api/ops/v1/oncall/load?from=x": `from: "x" is not a time`,
	} {
		rec := w.call("support", "GET", path, "")
		require.Equal(t, http.StatusBadRequest, rec.Code)
		_, message, _ := problem(t, rec)
		require.Contains(t, message, says)
	}
	require.Equal(t, http.StatusBadRequest, w.call("support", "POST", "/api/ops/v1/oncall/changes/x/end", `{}`).Code)
}
