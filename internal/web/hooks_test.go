package web_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/web"
)

func (w *world) hook(_ context.Context, source string, body []byte) (string, error) {
	return "k", w.act("hook of %s: %d bytes", source, len(body))
}

func (w *world) raise(_ context.Context, who web.Actor, r web.RaiseRequest) (web.Raised, error) {
	inc := incidentOne()
	return web.Raised{Incident: &inc}, w.act("raise %s by %s via %s: %s", r.Kind, who.Person, who.Via, r.Summary)
}

func zipped(t *testing.T, body string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write([]byte(body))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return b.String()
}

func (w *world) hooked(path, encoding, body string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	req.Header.Set("Authorization", w.headers["machine:hooks"])
	req.Header.Set("Content-Encoding", encoding)
	rec := httptest.NewRecorder()
	w.server.Handler().ServeHTTP(rec, req)
	return rec
}

// A body is measured after it was decompressed.
func TestHookBodies(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	const path = "/hooks/machine:hooks"
	require.Equal(t, http.StatusAccepted, w.hooked(path, "", "{}").Code)
	require.Equal(t, http.StatusAccepted, w.hooked(path, "gzip", zipped(t, `{"a": 1}`)).Code)
	require.Equal(t, []string{"hook of machine:hooks: 2 bytes", "hook of machine:hooks: 8 bytes"}, w.done())
	bomb := zipped(t, strings.Repeat(" ", 5<<20))
	require.Less(t, len(bomb), 64<<10)
	require.Equal(t, http.StatusRequestEntityTooLarge, w.hooked(path, "gzip", bomb).Code)
	require.Equal(t, http.StatusRequestEntityTooLarge, w.hooked("/v2/enqueue", "gzip", zipped(t, strings.Repeat(" ", 600<<10))).Code)
	require.Equal(t, http.StatusRequestEntityTooLarge, w.hooked(path, "", strings.Repeat(" ", 5<<20)).Code)
	require.Equal(t, http.StatusBadRequest, w.hooked(path, "gzip", "{}").Code)
	require.Equal(t, http.StatusBadRequest, w.hooked(path, "br", "{}").Code)
	require.Equal(t, http.StatusForbidden, w.hooked("/hooks/other", "", "{}").Code)
	require.Len(t, w.done(), 2)
}

// The token of an address lets its source in and is not logged, whatever happens.
func TestHookByAddress(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	var log bytes.Buffer
	w.log(slog.New(slog.NewTextHandler(&log, nil)))
	token := strings.TrimPrefix(w.headers["machine:hooks"], "Bearer ")
	require.Equal(t, http.StatusAccepted, w.call("nobody", "POST", "/hooks/machine:hooks/"+token, "{}").Code)
	require.Equal(t, http.StatusForbidden, w.call("nobody", "POST", "/hooks/other/"+token, "{}").Code)
	alerts := strings.TrimPrefix(w.headers["machine:alerts"], "Bearer ")
	require.Equal(t, http.StatusForbidden, w.call("nobody", "POST", "/hooks/machine:alerts/"+alerts, "{}").Code)
	wrong := "wb_" + strings.Repeat("A", 49)
	require.Equal(t, http.StatusUnauthorized, w.call("nobody", "POST", "/hooks/machine:hooks/"+wrong, "{}").Code)
	w.fail = context.DeadlineExceeded
	require.Equal(t, http.StatusServiceUnavailable, w.call("nobody", "POST", "/hooks/machine:hooks/"+token, "{}").Code)
	require.Contains(t, log.String(), "/hooks/machine:hooks/…")
	require.NotContains(t, log.String(), token)
	require.NotContains(t, log.String(), wrong)
}

// Too much is answered with when to try again, in each format.
func TestTooMuchSaysWhen(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	w.fail = &watchbill.Error{Code: watchbill.CodeTooMany, Message: "too much", Hint: "later", RetryAfter: 1500 * time.Millisecond}
	rec := w.hooked("/hooks/machine:hooks", "", "{}")
	require.Equal(t, http.StatusTooManyRequests, rec.Code)
	require.Equal(t, "2", rec.Header().Get("Retry-After"))
	code, _, hint := problem(t, rec)
	require.Equal(t, watchbill.CodeTooMany, code)
	require.Equal(t, "later", hint)
	rec = w.hooked("/v2/enqueue", "", `{"routing_key": "`+strings.TrimPrefix(w.headers["machine:hooks"], "Bearer ")+`"}`)
	require.Equal(t, http.StatusTooManyRequests, rec.Code)
	require.Equal(t, "2", rec.Header().Get("Retry-After"))
	require.JSONEq(t, `{"status": "throttle exceeded", "message": "too much; later"}`, rec.Body.String())
}

func TestRaise(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	rec := w.call("roleless", "POST", "/api/ops/v1/raise", `{"kind": "issue", "summary": "No logo"}`)
	require.Equal(t, http.StatusCreated, rec.Code)
	require.Contains(t, rec.Body.String(), `"incident":{"id":1,`)
	require.Equal(t, []string{"raise issue by roleless via api: No logo"}, w.done())
	require.Equal(t, http.StatusBadRequest, w.call("roleless", "POST", "/api/ops/v1/raise", `{"kynd": "issue"}`).Code)
}
