package web_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/web"
)

func client(t *testing.T, w *world, caller string) *web.Client {
	t.Helper()
	srv := httptest.NewServer(w.server.Handler())
	t.Cleanup(srv.Close)
	_, token, _ := strings.Cut(w.headers[caller], " ")
	return &web.Client{URL: srv.URL + "/", Token: token, HTTP: srv.Client()}
}

func TestClient(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	c := client(t, w, "manager")
	ctx := t.Context()

	all, err := c.Incidents(ctx, "live", 7)
	require.NoError(t, err)
	require.Equal(t, []watchbill.Incident{incidentOne()}, all)
	require.Equal(t, `"live" 7`, w.list)
	v, err := c.Incident(ctx, 1)
	require.NoError(t, err)
	require.Equal(t, view(), v)
	for _, act := range []func() (watchbill.Incident, error){
		func() (watchbill.Incident, error) { return c.Acknowledge(ctx, 1, "on it") },
		func() (watchbill.Incident, error) { return c.Note(ctx, 1, "seen") },
		func() (watchbill.Incident, error) { return c.Resolve(ctx, 1, web.ResolveRequest{Reason: "over"}) },
	} {
		inc, err := act()
		require.NoError(t, err)
		require.Equal(t, incidentOne(), inc)
	}
	require.True(t, w.resolved.QuietUntil.IsZero())
	at := time.Date(2026, 11, 29, 3, 15, 0, 0, time.UTC)
	var x map[string]string
	require.NoError(t, c.Explain(ctx, watchbill.Labels{"a": "b&c=d", "service": "é"}, at, &x))
	require.Equal(t, watchbill.Labels{"a": "b&c=d", "service": "é"}, w.labels)
	require.Equal(t, at, w.at)
	require.Equal(t, "performance", x["activity"])
	alert := watchbill.Alert{Labels: watchbill.Labels{"a": "b"}, StartsAt: at}
	require.NoError(t, c.PostAlerts(ctx, []watchbill.Alert{alert}))
	require.Equal(t, []watchbill.Alert{alert}, w.alerts)
	id, err := c.Silence(ctx, watchbill.Silence{Comment: "why", Matchers: []watchbill.Matcher{matcher("a", "b")}, EndsAt: at})
	require.NoError(t, err)
	require.Equal(t, "manager", w.silences[0].CreatedBy)
	require.NoError(t, c.ExpireSilence(ctx, id))
	require.NoError(t, c.Reload(ctx))
	require.Equal(t, []string{
		"ack INC-1 by manager via cli: on it", "note INC-1 by manager via cli: seen", "resolve INC-1 by manager via cli: over",
		"receive 1 of manager", "silence by manager: why", "expire " + id, "reload",
	}, w.done())
}

// What the server says arrives as the error that it was.
func TestClientErrors(t *testing.T) {
	t.Parallel()
	for _, code := range []watchbill.Code{
		watchbill.CodeInvalid, watchbill.CodeDenied, watchbill.CodeNotFound, watchbill.CodeConflict,
		watchbill.CodeTooLarge, watchbill.CodeUnavailable, watchbill.CodeInternal,
	} {
		w := setUp(t)
		w.fail = watchbill.Errorf(code, "next step", "what happened")
		_, err := client(t, w, "support").Note(t.Context(), 1, "x")
		require.Equal(t, w.fail, err)
	}
	_, err := client(t, setUp(t), "roleless").Note(t.Context(), 1, "x")
	requireCode(t, watchbill.CodeDenied, err)
	_, err = client(t, setUp(t), "bad").Note(t.Context(), 1, "x")
	requireCode(t, watchbill.CodeUnauthenticated, err)
}

func requireCode(t *testing.T, code watchbill.Code, err error) {
	t.Helper()
	e, ok := errors.AsType[*watchbill.Error](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, code, e.Code)
	require.NotEmpty(t, e.Hint)
}

// Whatever answers at the address, the person learns that it is not watchbill.
func TestClientAtAnotherServer(t *testing.T) {
	t.Parallel()
	for name, handle := range map[string]http.HandlerFunc{
		"404 of a web server": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<h1>not found</h1>", http.StatusNotFound) },
		"error of others":     func(w http.ResponseWriter, _ *http.Request) { http.Error(w, `{"error":"no"}`, http.StatusBadGateway) },
		"200 of others":       func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<h1>welcome</h1>") },
		"it breaks off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "[")
		},
		"it goes away": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		srv := httptest.NewServer(handle)
		t.Cleanup(srv.Close)
		_, err := (&web.Client{URL: srv.URL, HTTP: srv.Client()}).Incidents(t.Context(), "", 1)
		requireCode(t, watchbill.CodeUnavailable, err)
		require.ErrorContains(t, err, srv.URL, name)
	}
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close()
	_, err := (&web.Client{URL: srv.URL, HTTP: srv.Client()}).Incidents(t.Context(), "", 1)
	requireCode(t, watchbill.CodeUnavailable, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = (&web.Client{URL: srv.URL, HTTP: srv.Client()}).Incidents(ctx, "", 1)
	require.ErrorIs(t, err, context.Canceled)
	for _, address := range []string{"127.0.0.1:9095", "http://[::1", "%zz"} {
		_, err := (&web.Client{URL: address, HTTP: srv.Client()}).Incidents(t.Context(), "", 1)
		requireCode(t, watchbill.CodeInvalid, err)
	}
	_, err = (&web.Client{URL: "localhost:9095", HTTP: srv.Client()}).Incidents(t.Context(), "", 1)
	requireCode(t, watchbill.CodeUnavailable, err)
}
