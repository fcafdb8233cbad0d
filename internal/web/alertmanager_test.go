package web_test

import (
	"context"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"watchbill/internal/web"
)

func (w *world) Alerts(_ context.Context, q url.Values) (any, error) {
	return []string{"alerts " + q.Encode()}, w.failing()
}

func (w *world) AlertGroups(_ context.Context, q url.Values) (any, error) {
	return []string{"groups " + q.Encode()}, w.failing()
}

func (w *world) AlertReceivers(context.Context) (any, error) {
	return []string{"receivers"}, w.failing()
}

func (w *world) AlertStatus(context.Context) (any, error) { return []string{"status"}, w.failing() }

func (w *world) AlertHistory(_ context.Context, q url.Values) (web.HistoryPage, error) {
	return web.HistoryPage{Next: q.Get("cursor")}, w.failing()
}

// Grafana takes a source for one of its other kinds if anything below
// /alertmanager/ answers 200.
func TestAlertmanagerReads(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	for path, want := range map[string]string{
		"/api/v2/alerts?filter=a%3Db":        `["alerts filter=a%3Db"]`,
		"/api/v2/alerts/groups?active=false": `["groups active=false"]`,
		"/api/v2/receivers":                  `["receivers"]`,
		"/api/v2/status":                     `["status"]`,
	} {
		rec := w.call("machine:read", http.MethodGet, path, "")
		require.Equal(t, http.StatusOK, rec.Code, path)
		require.JSONEq(t, want, rec.Body.String())
		require.Equal(t, http.StatusUnauthorized, w.call("nobody", http.MethodGet, path, "").Code)
		require.Equal(t, http.StatusForbidden, w.call("machine:alerts", http.MethodGet, path, "").Code)
		require.Equal(t, http.StatusNotFound, w.call("machine:read", http.MethodGet, "/alertmanager"+path, "").Code)
	}
}
