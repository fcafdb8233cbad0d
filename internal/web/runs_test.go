package web_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/web"
)

// RunRunbook says back what it was asked.
func (w *world) RunRunbook(_ context.Context, id watchbill.IncidentID, who web.Actor, r web.RunRequest) (web.RunbookRun, error) {
	if err := w.act("runbook %s %s", id, r.Answer); err != nil {
		return web.RunbookRun{}, err
	}
	return web.RunbookRun{
		Runbook: r.Runbook, Title: id.String(), Answers: []web.RunbookStep{{At: r.At, Answer: r.Answer, By: string(who.Person), Evidence: r.Evidence}},
	}, nil
}

func TestRunRunbook(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	const at = "/api/ops/v1/incidents/INC-1/runbook"
	rec := w.call("support", http.MethodPost, at, `{"runbook": "disk-full", "at": "question 1", "answer": "yes", "evidence": "98 %"}`)
	require.Equal(t, http.StatusOK, rec.Code, rec.Body)
	require.Contains(t, rec.Body.String(), `"answer":"yes"`)
	require.Contains(t, rec.Body.String(), `"evidence":"98 %"`)
	rec = w.call("support", http.MethodPost, at, `{"answer": "yes"}`)
	require.Equal(t, http.StatusBadRequest, rec.Code)
	require.Contains(t, rec.Body.String(), "at: is missing")
	require.Equal(t, http.StatusBadRequest, w.call("support", http.MethodPost, "/api/ops/v1/incidents/x/runbook", `{}`).Code)
}
