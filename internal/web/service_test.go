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

func (w *world) Targets(_ context.Context, service string) ([]watchbill.TargetStatus, error) {
	if service == "none" {
		return nil, w.failing()
	}
	return []watchbill.TargetStatus{{ID: "checkout-requests", Service: service, State: watchbill.TargetOK}}, w.failing()
}

func (w *world) Target(_ context.Context, id string) (watchbill.TargetStatus, error) {
	return watchbill.TargetStatus{ID: id, State: watchbill.TargetOK}, w.failing()
}

func (w *world) Gate(_ context.Context, service string) (watchbill.Gate, error) {
	g := watchbill.Gate{Service: service, Open: service != "closed", Reasons: []watchbill.GateReason{}}
	if !g.Open {
		g.Reasons = append(g.Reasons, watchbill.GateReason{Kind: watchbill.GateBudget, Subject: "closed-requests", Text: "nothing is left"})
	}
	return g, w.failing()
}

func (w *world) Signals(_ context.Context, service string, posts []watchbill.SignalPost) error {
	return w.act("%d signals of %s, first %s", len(posts), service, posts[0].Name)
}

func TestServices(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	srv := httptest.NewServer(w.server.Handler())
	defer srv.Close()
	c := &web.Client{URL: srv.URL, Token: w.headers["support"][len("Bearer "):], HTTP: srv.Client()}
	all, err := c.Targets(t.Context(), "checkout")
	require.NoError(t, err)
	require.Equal(t, "checkout", all[0].Service)
	require.Equal(t, "[]\n", w.call("support", http.MethodGet, "/api/ops/v1/targets?service=none", "").Body.String())
	one, err := c.Target(t.Context(), "a b/c")
	require.NoError(t, err)
	require.Equal(t, "a b/c", one.ID)

	require.Equal(t, http.StatusOK, w.call("support", http.MethodGet, "/api/ops/v1/services/open/gate", "").Code)
	rec := w.call("support", http.MethodGet, "/api/ops/v1/services/closed/gate", "")
	require.Equal(t, http.StatusConflict, rec.Code)
	require.Contains(t, rec.Body.String(), `"reasons":[{"kind":"budget","subject":"closed-requests","text":"nothing is left"}]`)
	g, err := c.Gate(t.Context(), "open")
	require.NoError(t, err)
	require.True(t, g.Open)
	g, err = c.Gate(t.Context(), "closed")
	require.NoError(t, err, "a closed gate is an answer")
	require.False(t, g.Open)
	require.Len(t, g.Reasons, 1)

	n := int64(3)
	require.NoError(t, c.PostSignals(t.Context(), "checkout", []watchbill.SignalPost{{Name: "e2e", Failed: &n}}))
	require.Equal(t, []string{"1 signals of checkout, first e2e"}, w.done())
	w.fail = watchbill.Errorf(watchbill.CodeConflict, "later", "it is busy")
	_, err = c.Gate(t.Context(), "open")
	require.ErrorContains(t, err, "it is busy", "another conflict is not a closed gate")
	_, err = c.Target(t.Context(), "x")
	require.Error(t, err)
	_, err = c.Targets(t.Context(), "")
	require.Error(t, err)
}

func TestSignalsAreChecked(t *testing.T) {
	t.Parallel()
	many := strings.Repeat(`{"name":"a","value":1},`, 100)
	for body, message := range map[string]string{
		``:                                       "it is empty",
		`{}`:                                     "signals: there are 0",
		`{"signals":[]}`:                         "signals: there are 0",
		`{"signals":[{}]}`:                       `signals[0].name: "" is not a name`,
		`{"signals":[{"name":"a b"}]}`:           `signals[0].name: "a b" is not a name`,
		`{"signals":[{"name":"a"}]}`:             "signals[0]: it says nothing",
		`{"signals":[{"name":"a","x":1}]}`:       `unknown field "x"`,
		`{"signals":[{"name":"a","passed":-1}]}`: "signals[0].passed: -1 is not a count",
		`{"signals":[{"name":"a","failed":1000000001}]}`:                     "signals[0].failed: 1000000001 is not a count",
		`{"signals":[{"name":"a","passed":1.5}]}`:                            "signals.passed",
		`{"signals":[{"name":"a","value":1e999}]}`:                           "value",
		`{"signals":[{"name":"a","value":1,"environment":"a/b"}]}`:           `signals[0].environment: "a/b" is not a name`,
		`{"signals":[{"name":"a","value":1,"labels":{"commit":"x"}}]}`:       `signals[0].labels: "commit" is not allowed`,
		`{"signals":[{"name":"a","value":1,"labels":{"service":"x"}}]}`:      `signals[0].labels: "service" is not allowed`,
		`{"signals":[{"name":"a","value":1,"labels":{"branch":""}}]}`:        `signals[0].labels.branch: "" is not a value`,
		`{"signals":[{"name":"a","value":1,"labels":{"branch":"a\u0000"}}]}`: `is not a value`,
		`{"signals":[` + many + `{"name":"a","value":1}]}`:                   "signals: there are 101",
		`{"signals":[{"name":"a","value":1}]} {}`:                            "there is more after the first value",
	} {
		w := setUp(t)
		rec := w.call("machine:signals", http.MethodPost, "/api/ops/v1/services/checkout/signals", body)
		require.Equal(t, http.StatusBadRequest, rec.Code, body)
		_, got, hint := problem(t, rec)
		require.Contains(t, got, message, body)
		require.NotEmpty(t, hint)
		require.Empty(t, w.done())
	}
	w := setUp(t)
	rec := w.call("machine:signals", http.MethodPost, "/api/ops/v1/services/checkout/signals", strings.Repeat(" ", 64<<10)+"{}")
	require.Equal(t, http.StatusRequestEntityTooLarge, rec.Code)
	rec = w.call("machine:signals", http.MethodPost, "/api/ops/v1/services/checkout/signals", `{"signals":[{"name":"a","value":0.5,"passed":0,"labels":{"branch":"main"}}]}`)
	require.Equal(t, http.StatusOK, rec.Code)
	require.Equal(t, "{\"signals\":1}\n", rec.Body.String())
}

func FuzzReadSignals(f *testing.F) {
	f.Add([]byte(`{"signals":[{"name":"e2e","passed":41,"failed":1,"environment":"preprod","labels":{"branch":"main"}}]}`))
	f.Add([]byte(`{"signals":[{"name":"coverage","value":0.83}]}`))
	f.Add([]byte(`{"signals":[{"name":"a","value":1,"labels":{"commit":"x"}}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		body, err := web.ReadSignals(text)
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		require.NotEmpty(t, body.Signals)
		require.LessOrEqual(t, len(body.Signals), 100)
		for _, p := range body.Signals {
			require.LessOrEqual(t, len(p.Name), 64)
			require.True(t, p.Passed != nil || p.Failed != nil || p.Value != nil)
			for name := range p.Labels {
				require.Contains(t, web.SignalLabels(), name)
			}
		}
	})
}
