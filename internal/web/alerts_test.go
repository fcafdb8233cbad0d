package web_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
)

// many returns n labels as JSON.
func many(n int) string {
	labels := watchbill.Labels{}
	for i := range n {
		labels[fmt.Sprintf("l%d", i)] = "x"
	}
	b, _ := json.Marshal(labels) // strings cannot fail
	return string(b)
}

func TestAlertIntake(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 29, 3, 15, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		body string
		want []watchbill.Alert
	}{
		"nothing": {`[]`, []watchbill.Alert{}},
		"null":    {`null`, []watchbill.Alert{}},
		"what Prometheus sends": {
			`[{"annotations":{"summary":"s"},"endsAt":"2026-11-29T03:19:00.123Z","startsAt":"2026-11-29T03:15:00Z","generatorURL":"http://p/graph","labels":{"alertname":"Down","job":"db"}}]`,
			[]watchbill.Alert{{
				Labels: watchbill.Labels{"alertname": "Down", "job": "db"}, Annotations: watchbill.Labels{"summary": "s"},
				StartsAt: at, EndsAt: at.Add(4*time.Minute + 123*time.Millisecond), GeneratorURL: "http://p/graph",
			}},
		},
		"what amtool sends": {
			`[{"endsAt":"0001-01-01T00:00:00.000Z","startsAt":"0001-01-01T00:00:00.000Z","labels":{"foo":"bar"}}]` + "\n",
			[]watchbill.Alert{{Labels: watchbill.Labels{"foo": "bar"}}},
		},
		"times left out, null and empty": {
			`[{"labels":{"a":"b"}},{"labels":{"a":"c"},"startsAt":null,"endsAt":""}]`,
			[]watchbill.Alert{{Labels: watchbill.Labels{"a": "b"}}, {Labels: watchbill.Labels{"a": "c"}}},
		},
		"another zone": {
			`[{"labels":{"a":"b"},"startsAt":"2026-11-29T04:15:00+01:00"}]`,
			[]watchbill.Alert{{Labels: watchbill.Labels{"a": "b"}, StartsAt: at}},
		},
		"it ends as it starts": {
			`[{"labels":{"a":"b"},"startsAt":"2026-11-29T03:15:00Z","endsAt":"2026-11-29T03:15:00Z"}]`,
			[]watchbill.Alert{{Labels: watchbill.Labels{"a": "b"}, StartsAt: at, EndsAt: at}},
		},
		"unknown fields are ignored": {
			`[{"labels":{"a":"b"},"status":"firing","fingerprint":7,"receivers":[{}]}]`,
			[]watchbill.Alert{{Labels: watchbill.Labels{"a": "b"}}},
		},
		"an empty value is no label": {
			`[{"labels":{"a":"b","c":""},"annotations":{"d":""}}]`,
			[]watchbill.Alert{{Labels: watchbill.Labels{"a": "b"}, Annotations: watchbill.Labels{"d": ""}}},
		},
		"unicode": {
			`[{"labels":{"сервис":"оплата 🦀","a":"\u00e9\ud83e\udd80"}}]`,
			[]watchbill.Alert{{Labels: watchbill.Labels{"сервис": "оплата 🦀", "a": "é🦀"}}},
		},
		"the source is the caller": {
			`[{"labels":{"a":"b"},"source":"rules","updatedAt":"2026-11-29T03:15:00Z"}]`,
			[]watchbill.Alert{{Labels: watchbill.Labels{"a": "b"}}},
		},
	} {
		w := setUp(t)
		rec := w.call("machine:alerts", http.MethodPost, "/api/v2/alerts", c.body)
		require.Equal(t, http.StatusOK, rec.Code, "%s: %s", name, rec.Body)
		require.Equal(t, c.want, w.alerts, name)
		require.Equal(t, "machine:alerts", w.source)
	}
}

// At the limits everything is taken; one step beyond, nothing.
func TestAlertLimits(t *testing.T) {
	t.Parallel()
	one := func(labels, rest string) string { return `[{"labels":` + labels + rest + `}]` }
	label := func(name, value int) string {
		return fmt.Sprintf(`{%q:%q}`, strings.Repeat("n", name), strings.Repeat("v", value))
	}
	alerts := func(n int) string {
		return "[" + strings.Repeat(`{"labels":{"a":"b"}},`, n-1) + `{"labels":{"a":"b"}}]`
	}
	for name, c := range map[string]struct{ good, bad, message string }{
		"alerts":           {alerts(10_000), alerts(10_001), "10001 alerts are over the limit of 10000"},
		"labels":           {one(many(64), ""), one(many(65), ""), "[0].labels: 65 are over the limit of 64"},
		"label name":       {one(label(256, 1), ""), one(label(257, 1), ""), "[0].labels: the name"},
		"empty label name": {one(label(1, 1), ""), one(label(0, 1), ""), `[0].labels: the name "" is empty`},
		"label value":      {one(label(1, 2048), ""), one(label(1, 2049), ""), "[0].labels.n: the value is over 2 KB"},
		"annotations":      {one(label(1, 1), `,"annotations":`+many(64)), one(label(1, 1), `,"annotations":`+many(65)), "[0].annotations: 65 are over the limit of 64"},
		"annotation name":  {one(label(1, 1), `,"annotations":`+label(256, 1)), one(label(1, 1), `,"annotations":`+label(257, 1)), "[0].annotations: the name"},
		"annotation value": {one(label(1, 1), `,"annotations":`+label(1, 16<<10)), one(label(1, 1), `,"annotations":`+label(1, 16<<10+1)), "[0].annotations.n: the value is over 16 KB"},
		"no label":         {one(label(1, 1), ""), one(`{}`, ""), "[0].labels: at least one is needed"},
		"no value":         {one(label(1, 1), ""), one(label(1, 0), ""), "[0].labels: at least one is needed"},
		"order":            {one(label(1, 1), `,"startsAt":"2026-11-29T03:15:00Z","endsAt":"2026-11-29T03:15:00Z"`), one(label(1, 1), `,"startsAt":"2026-11-29T03:15:01Z","endsAt":"2026-11-29T03:15:00Z"`), "[0].endsAt: is before startsAt"},
		"future":           {one(label(1, 1), `,"endsAt":"2200-12-31T23:59:59Z"`), one(label(1, 1), `,"endsAt":"2201-01-01T00:00:00Z"`), "[0].endsAt: is not within the years 1970 to 2200"},
		"past":             {one(label(1, 1), `,"startsAt":"1970-01-01T00:00:00Z"`), one(label(1, 1), `,"startsAt":"1969-12-31T23:59:59Z"`), "[0].startsAt: is not within"},
		"size":             {alerts(10) + strings.Repeat(" ", 4<<20-len(alerts(10))), alerts(10) + strings.Repeat(" ", 4<<20-len(alerts(10))+1), "the body is over 4 MB"},
	} {
		w := setUp(t)
		require.Equal(t, http.StatusOK, w.call("machine:alerts", http.MethodPost, "/api/v2/alerts", c.good).Code, name)
		w = setUp(t)
		rec := w.call("machine:alerts", http.MethodPost, "/api/v2/alerts", c.bad)
		status := http.StatusBadRequest
		if name == "size" || name == "alerts" {
			status = http.StatusRequestEntityTooLarge
		}
		require.Equal(t, status, rec.Code, name)
		_, message, hint := problem(t, rec)
		require.Contains(t, message, c.message, name)
		require.NotEmpty(t, hint)
		require.Empty(t, w.done(), name)
	}
}

// What is wrong is named by its field, and one bad alert refuses all of them.
func TestBadAlerts(t *testing.T) {
	t.Parallel()
	const good = `{"labels":{"a":"b"}}`
	for body, want := range map[string]string{
		``:                              "it is empty",
		`{`:                             "unexpected EOF",
		`{"labels":{"a":"b"}}`:          "the body: object stands where a list belongs",
		`[` + good + `] [` + good + `]`: "there is more after the first value",
		`[` + good + `]]`:               "invalid character",
		`[` + good + `,{"labels":"x"}]`: "labels: string stands where an object belongs",
		`[{"labels":{"a":1}}]`:          "labels: number stands where text belongs",
		`[{"labels":{"a":"b"}},null]`:   "[1].labels: at least one is needed",
		`[{"labels":{"a":"b"},"generatorURL":{}}]`:                      "generatorURL: object stands where text belongs",
		`[` + good + `,{"labels":{"a":"b"},"startsAt":"yesterday"}]`:    `[1].startsAt: "yesterday" is not a time like 2026-11-29T03:15:00Z`,
		`[{"labels":{"a":"b"},"endsAt":1700000000}]`:                    "[0].endsAt: 1700000000 is not a time",
		`[{"labels":{}},` + good + `,{"labels":{"":"x"},"endsAt":"x"}]`: `[0].labels: at least one is needed; [2].labels: the name "" is empty or over 256 bytes; [2].endsAt: "x" is not a time like 2026-11-29T03:15:00Z`,
		`[` + strings.Repeat(`{},`, 24) + `{}]`:                         "[19].labels: at least one is needed; and 5 more",
	} {
		w := setUp(t)
		rec := w.call("machine:alerts", http.MethodPost, "/api/v2/alerts", body)
		require.Equal(t, http.StatusBadRequest, rec.Code, "%s: %s", body, rec.Body)
		_, message, _ := problem(t, rec)
		require.Contains(t, message, want, body)
		require.Empty(t, w.done(), body)
	}
}

// A 200 is a promise: it is given once the alerts are stored and not otherwise.
func TestAlertsAreAnsweredOnceStored(t *testing.T) {
	t.Parallel()
	const body = `[{"labels":{"a":"b"}}]`
	for name, failure := range map[string]error{
		"coded": watchbill.Errorf(watchbill.CodeUnavailable, "try again", "the store cannot commit"),
		"plain": errors.New("fsync /var/lib/watchbill: input/output error"),
	} {
		w := setUp(t)
		w.fail = failure
		rec := w.call("machine:alerts", http.MethodPost, "/api/v2/alerts", body)
		require.Equal(t, http.StatusServiceUnavailable, rec.Code, name)
		require.NotEmpty(t, rec.Header().Get("Retry-After"), name)
		require.NotContains(t, rec.Body.String(), "fsync")
		w.fail = nil
		rec = w.call("machine:alerts", http.MethodPost, "/api/v2/alerts", body)
		require.Equal(t, http.StatusOK, rec.Code)
		require.Equal(t, []string{"receive 1 of machine:alerts"}, w.done())
	}
}

func TestPersonPushesAlerts(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	require.Equal(t, http.StatusOK, w.call("security", http.MethodPost, "/api/v2/alerts", `[{"labels":{"a":"b"}}]`).Code)
	require.Equal(t, "security", w.source)
}

// Whatever is sent, the handler answers and passes on only what the rest of the
// daemon can store.
func FuzzPostAlerts(f *testing.F) {
	for _, seed := range []string{
		``, `[]`, `null`, `[null]`, `[{"labels":{"a":"b"},"startsAt":"2026-11-29T03:15:00Z","endsAt":"0001-01-01T00:00:00Z"}]`,
		`[{"labels":{"a":"","b":"c"},"annotations":{"x":"y"}}]`, `[{"labels":{"a":"b"},"endsAt":"9999-12-31T23:59:59-23:59"}]`,
		`[{"LABELS":{"a":"b"},"startsAt":"0000-01-01T00:00:00+23:59"}]`, `[{"labels":{"\ud800":"\u0000"}}]`, "[{\"labels\":{\"\xff\":\"\xfe\"}}]",
	} {
		f.Add([]byte(seed))
	}
	w := setUp(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		w.alerts, w.acts = nil, nil
		rec := w.call("machine:alerts", http.MethodPost, "/api/v2/alerts", string(body))
		if rec.Code != http.StatusOK {
			require.Empty(t, w.acts)
			require.Contains(t, []int{http.StatusBadRequest, http.StatusRequestEntityTooLarge}, rec.Code)
			problem(t, rec)
			return
		}
		require.Len(t, w.acts, 1)
		for _, a := range w.alerts {
			require.NotEmpty(t, a.Labels)
			require.NotContains(t, slices.Collect(maps.Values(a.Labels)), "")
			require.NotContains(t, a.Labels, "")
			for _, at := range []time.Time{a.StartsAt, a.EndsAt} {
				require.True(t, at.IsZero() || time.Unix(0, at.UnixNano()).Equal(at), "%s does not survive storing", at)
			}
			require.False(t, !a.StartsAt.IsZero() && !a.EndsAt.IsZero() && a.EndsAt.Before(a.StartsAt))
			_, err := json.Marshal(a)
			require.NoError(t, err)
		}
	})
}
