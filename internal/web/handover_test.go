package web_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHandovers(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	rec := w.call("support", "GET", "/api/ops/v1/oncall/handover?role=support", "")
	require.Equal(t, http.StatusOK, rec.Code)
	require.Contains(t, rec.Body.String(), `"role":"support"`)
	rec = w.call("support", "POST", "/api/ops/v1/oncall/handover", `{"role":"support","note":"quiet night"}`)
	require.Equal(t, http.StatusCreated, rec.Code, rec.Body)
	require.Equal(t, []string{"handover of support to support: quiet night"}, w.done())
	require.JSONEq(t, `[]`, w.call("support", "GET", "/api/ops/v1/oncall/handovers?limit=1", "").Body.String())
	require.Equal(t, http.StatusBadRequest, w.call("support", "GET", "/api/ops/v1/oncall/handovers?limit=0", "").Code)
	long := `{"role":"support","note":"` + strings.Repeat("x", 1<<16) + `"}`
	require.Equal(t, http.StatusRequestEntityTooLarge, w.call("support", "POST", "/api/ops/v1/oncall/handover", long).Code)
}

func TestCalendars(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	rec := w.call("support", "POST", "/api/ops/v1/calendars", `{"role":"support"}`)
	require.Equal(t, http.StatusCreated, rec.Code)
	require.Contains(t, rec.Body.String(), `"url":"https://watchbill.example.com/ical/s3cret.ics"`)
	require.JSONEq(t, `[]`, w.call("support", "GET", "/api/ops/v1/calendars", "").Body.String())
	require.Equal(t, http.StatusOK, w.call("support", "DELETE", "/api/ops/v1/calendars/3", "").Code)
	require.Equal(t, http.StatusBadRequest, w.call("support", "DELETE", "/api/ops/v1/calendars/x", "").Code)
	require.JSONEq(t, `[]`, w.call("support", "POST", "/api/ops/v1/oncall/leave", `{"calendar":"x"}`).Body.String())
	require.Equal(t, []string{"calendar of support by support", "revoke calendar 3 by support", "leave of  by support"}, w.done())

	rec = w.call("nobody", "GET", "/ical/s3cret.ics", "")
	require.Equal(t, http.StatusOK, rec.Code)
	require.Equal(t, "BEGIN:VCALENDAR of s3cret", rec.Body.String())
	require.Equal(t, "text/calendar; charset=utf-8", rec.Header().Get("Content-Type"))
	var log bytes.Buffer
	w.log(slog.New(slog.NewTextHandler(&log, nil)))
	w.fail = errors.New("boom")
	require.Equal(t, http.StatusInternalServerError, w.call("nobody", "GET", "/ical/s3cret.ics", "").Code)
	require.Contains(t, log.String(), "/ical/…")
	require.NotContains(t, log.String(), "s3cret", "the address is a secret")
}
