package web_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/web"
)

// alarm is a second notifier that remembers.
type alarm struct{ w *world }

func (a alarm) Test(context.Context) error { return a.w.act("alarm test") }

func (a alarm) Confirm(who string) error { return a.w.act("alarm confirmed by %s", who) }

func TestAlarm(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	require.Equal(t, http.StatusOK, w.call("support", "POST", "/api/ops/v1/alarm/test", "").Code)
	require.Equal(t, http.StatusOK, w.call("support", "POST", "/api/ops/v1/alarm/confirm", "{}").Code)
	require.Equal(t, []string{"alarm test", "alarm confirmed by support"}, w.done())
	require.Equal(t, http.StatusBadRequest, w.call("support", "POST", "/api/ops/v1/alarm/confirm", `{"who": "eve"}`).Code)

	srv := httptest.NewServer(w.server.Handler())
	defer srv.Close()
	client := &web.Client{URL: srv.URL, Token: strings.TrimPrefix(w.headers["manager"], "Bearer "), HTTP: srv.Client()}
	require.NoError(t, client.TestAlarm(t.Context()))
	require.NoError(t, client.ConfirmAlarm(t.Context()))
	w.fail = watchbill.Errorf(watchbill.CodeConflict, "add alarm: to the configuration", "there is no way")
	require.ErrorContains(t, client.TestAlarm(t.Context()), "there is no way")
	rec := w.call("manager", "POST", "/api/ops/v1/alarm/test", "")
	require.Equal(t, http.StatusConflict, rec.Code)
}
