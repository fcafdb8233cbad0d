package daemon_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/pipenet"
	"watchbill/internal/web"
)

// ask evaluates an expression through the query API. It returns the values by
// their labels but __name__, written as a map.
func ask(t *testing.T, c *web.Client, expr string) map[string]string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.URL+"/api/v1/query?"+url.Values{"query": {expr}}.Encode(), nil)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+c.Token)
	resp, err := c.HTTP.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string `json:"metric"`
				Value  [2]any            `json:"value"`
			} `json:"result"`
		} `json:"data"`
	}
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&answer))
	out := map[string]string{}
	for _, r := range answer.Data.Result {
		delete(r.Metric, "__name__")
		out[fmt.Sprint(r.Metric)] = fmt.Sprint(r.Value[1])
	}
	return out
}

// What a pipeline posts adds up in counters that go on while nothing is posted
// and over a restart; a value is one sample.
func TestPostedSignalsAreSeries(t *testing.T) {
	pipenet.Warm(t.Context())
	synctest.Test(t, func(t *testing.T) {
		until(time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC))
		w, _, _ := shop(t, "")
		w.Start()
		frank := w.As("frank")
		post := func(passed, failed int64, value float64) {
			require.NoError(t, frank.PostSignals(t.Context(), "checkout", []watchbill.SignalPost{
				{Name: "e2e", Passed: &passed, Failed: &failed, Labels: watchbill.Labels{"branch": "main"}},
				{Name: "e2e", Passed: &passed, Environment: "preprod"},
				{Name: "coverage", Value: &value},
			}))
			time.Sleep(time.Second)
		}
		const (
			passed  = "map[branch:main environment:prod result:passed service:checkout signal:e2e]"
			failed  = "map[branch:main environment:prod result:failed service:checkout signal:e2e]"
			preprod = "map[environment:preprod result:passed service:checkout signal:e2e]"
		)
		time.Sleep(time.Minute)
		post(40, 2, 0.8)
		post(2, 0, 0.9)
		require.Equal(t, map[string]string{passed: "42", failed: "2", preprod: "42"}, ask(t, frank, "st_signal_events_total"))
		require.Equal(t, map[string]string{"map[environment:prod service:checkout signal:coverage]": "0.9"}, ask(t, frank, "st_signal"))
		require.Equal(t, map[string]string{"map[]": "45"}, ask(t, frank, `round(1000 * sum(rate(st_signal_events_total{environment="prod",result="failed"}[5m]))
			/ sum(rate(st_signal_events_total{environment="prod"}[5m])))`), "2 of 44, from the first post on")

		time.Sleep(8 * time.Minute)
		require.Len(t, ask(t, frank, "st_signal_events_total"), 3, "counters go on")
		require.Empty(t, ask(t, frank, "st_signal"), "nobody knows how long a value holds")
		w.Stop()
		time.Sleep(20 * time.Minute)
		w.Start()
		defer w.Stop()
		frank = w.As("frank")
		time.Sleep(30 * time.Second)
		require.Equal(t, map[string]string{passed: "42", failed: "2", preprod: "42"}, ask(t, frank, "st_signal_events_total"))
		post(1, 1, 1)
		require.Equal(t, "43", ask(t, frank, "st_signal_events_total")[passed])

		one := int64(1)
		err := frank.PostSignals(t.Context(), "chekout", []watchbill.SignalPost{{Name: "e2e", Passed: &one}})
		require.ErrorContains(t, err, `there is no service "chekout"`)
		for i := range 10 {
			var posts []watchbill.SignalPost
			for j := range 100 {
				posts = append(posts, watchbill.SignalPost{Name: fmt.Sprintf("t%d-%d", i, j), Passed: &one})
			}
			err = frank.PostSignals(t.Context(), "db", posts)
			if i < 9 {
				require.NoError(t, err)
			}
		}
		require.ErrorContains(t, err, "more than 1000 different counts")
		post(1, 0, 1) // what is there goes on
		require.Equal(t, "44", ask(t, frank, "st_signal_events_total")[passed])
	})
}
