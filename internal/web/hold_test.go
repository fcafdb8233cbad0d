package web_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/web"
)

func heldOne() []web.HeldView {
	return []web.HeldView{{Incident: 1, State: watchbill.StateOpen, Severity: watchbill.Sev2, Title: "Customers cannot pay", Timers: []web.NextView{{What: "step", Step: 1}}, Pages: []web.PageView{}, Alerts: 1}}
}

func (w *world) Held(context.Context) ([]web.HeldView, error) { return heldOne(), w.failing() }

func (w *world) ReleaseHeld(_ context.Context, who web.Actor, ids []watchbill.IncidentID) ([]web.HeldView, error) {
	return heldOne(), w.act("release %v by %s via %s", ids, who.Person, who.Via)
}

func (w *world) DropHeld(_ context.Context, who web.Actor, ids []watchbill.IncidentID) ([]web.HeldView, error) {
	return nil, w.act("drop %v by %s via %s", ids, who.Person, who.Via)
}

func TestHold(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	srv := httptest.NewServer(w.server.Handler())
	defer srv.Close()
	c := &web.Client{URL: srv.URL, Token: w.headers["manager"][len("Bearer "):], HTTP: srv.Client()}
	held, err := c.Held(t.Context())
	require.NoError(t, err)
	require.Equal(t, heldOne(), held)
	done, err := c.ReleaseHeld(t.Context())
	require.NoError(t, err)
	require.Equal(t, heldOne(), done)
	_, err = c.ReleaseHeld(t.Context(), 3)
	require.NoError(t, err)
	done, err = c.DropHeld(t.Context(), 1, 2)
	require.NoError(t, err)
	require.Empty(t, done)
	_, err = c.DropHeld(t.Context())
	require.ErrorContains(t, err, "say which incidents to drop")
	require.Equal(t, []string{"release [] by manager via cli", "release [INC-3] by manager via cli", "drop [INC-1 INC-2] by manager via cli"}, w.done())
	rec := w.call("manager", http.MethodPost, "/api/ops/v1/hold/release", `{"incident": 1}`)
	require.Equal(t, http.StatusBadRequest, rec.Code, "a misspelt key must not release everything")
}
