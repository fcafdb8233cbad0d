package web_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
)

func TestExplain(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	rec := w.call("machine:read", http.MethodGet, "/api/ops/v1/explain?label=service=checkout&label=expr=a%3Db&at=2026-11-29T04:15:00%2B01:00", "")
	require.Equal(t, http.StatusOK, rec.Code)
	require.Equal(t, watchbill.Labels{"service": "checkout", "expr": "a=b"}, w.labels)
	require.True(t, w.at.Equal(time.Date(2026, 11, 29, 3, 15, 0, 0, time.UTC)))
	require.Equal(t, http.StatusOK, w.call("support", http.MethodGet, "/api/ops/v1/explain?label=service=checkout", "").Code)
	require.WithinDuration(t, time.Now(), w.at, time.Minute)
	for query, message := range map[string]string{
		"label=service": "names no value", "label==x": "names no value", "label=a=b&at=noon": "is not a time",
		"label=a=b&at=9999-01-01T00:00:00Z": "at: is not within the years",
	} {
		rec := w.call("support", http.MethodGet, "/api/ops/v1/explain?"+query, "")
		require.Equal(t, http.StatusBadRequest, rec.Code)
		_, got, _ := problem(t, rec)
		require.Contains(t, got, message)
	}
}

func TestExplainBesideOthers(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	ask := func(body string) *httptest.ResponseRecorder {
		return w.call("machine:read", http.MethodPost, "/api/ops/v1/explain", body)
	}
	rec := ask(`{"labels": {"alertname": "A"}, "at": "2026-11-29T04:15:00+01:00", "firing": [{"alertname": "B"}]}`)
	require.Equal(t, http.StatusOK, rec.Code)
	require.Equal(t, []watchbill.Labels{{"alertname": "B"}}, w.firing)
	require.Equal(t, time.Date(2026, 11, 29, 3, 15, 0, 0, time.UTC), w.at)
	for body, message := range map[string]string{
		`{}`: "labels: there are none", `{"labels": {"a": "b"}, "firing": [{}]}`: "firing[0]: has 0 labels",
		`{"labels": {"a": "b"}, "at": "9999-01-01T00:00:00Z"}`: "at: is not within the years", `{"label": {"a": "b"}}`: "unknown field",
	} {
		rec := ask(body)
		require.Equal(t, http.StatusBadRequest, rec.Code)
		_, got, _ := problem(t, rec)
		require.Contains(t, got, message)
	}
	many := `{"labels": {"a": "b"}, "firing": [` + strings.TrimSuffix(strings.Repeat(`{"a":"b"},`, 1001), ",") + `]}`
	require.Equal(t, http.StatusRequestEntityTooLarge, ask(many).Code)
}
