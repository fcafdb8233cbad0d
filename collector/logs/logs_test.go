package logs

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func vector(series ...string) string {
	return `{"status":"success","data":{"resultType":"vector","result":[` + strings.Join(series, ",") + `],"stats":{"summary":{"execTime":0.1}}}}`
}

func TestDecode(t *testing.T) {
	t.Parallel()
	series := func(labels string) string { return `{"metric":{` + labels + `},"value":[1588889221,"3"]}` }
	var many []string
	for range MaxSeries + 1 {
		many = append(many, series(`"a":"b"`))
	}
	var labels []string
	for i := range MaxLabels + 1 {
		labels = append(labels, `"l`+strings.Repeat("x", i)+`":"1"`)
	}
	for _, c := range []struct{ name, body, want string }{
		{"no JSON", `parse error`, "the answer is not Loki's"},
		{"an error with 200", `{"status":"error","error":"x"}`, `status "error"`},
		{"log lines", `{"status":"success","data":{"resultType":"streams","result":[]}}`, "gives log lines, not numbers"},
		{"a range", `{"status":"success","data":{"resultType":"matrix","result":[]}}`, "gives a range"},
		{"something else", `{"status":"success","data":{"resultType":"string","result":[]}}`, `gives a "string"`},
		{"no type", `{"status":"success"}`, `gives a ""`},
		{"a broken vector", `{"status":"success","data":{"resultType":"vector","result":{}}}`, "the result is not Loki's"},
		{"a broken scalar", `{"status":"success","data":{"resultType":"scalar","result":["x"]}}`, "the result is not Loki's"},
		{"null", vector("null"), "no number"},
		{"series", vector(many...), "gives 1001 series, the limit is 1000"},
		{"labels", vector(series(strings.Join(labels, ","))), "has 33 labels"},
		{"a name", vector(series(`"` + strings.Repeat("n", 129) + `":"1"`)), "longer than 128 bytes"},
		{"a value", vector(series(`"n":"` + strings.Repeat("v", 1025) + `"`)), "or its value than 1024"},
	} {
		_, err := decode([]byte(c.body))
		require.ErrorContains(t, err, c.want, c.name)
	}
	got, err := decode([]byte(vector(series(`"level":"error","__name__":"x"`), series(`"level":"warn"`))))
	require.NoError(t, err)
	require.Equal(t, []point{{map[string]string{"level": "error", "__name__": "x"}, 3}, {map[string]string{"level": "warn"}, 3}}, got)
	got, err = decode([]byte(vector()))
	require.NoError(t, err)
	require.Empty(t, got)
	got, err = decode([]byte(`{"status":"success","data":{"resultType":"scalar","result":[1588889221.5,"42"]}}`))
	require.NoError(t, err)
	require.Equal(t, []point{{nil, 42}}, got)
}

// Rounds are on a grid that is the same after a restart, and queries are spread
// over their interval.
func TestRoundsAreSpread(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 29, 3, 0, 0, 0, time.UTC)
	seen := map[time.Duration]bool{}
	for record := range strings.SplitSeq("abcdefghij", "") {
		q := Query{Record: record, Interval: time.Minute}
		at := q.next("auth", now)
		require.Equal(t, at, q.next("auth", at.Add(-1)))
		require.Equal(t, at.Add(time.Minute), q.next("auth", at))
		require.LessOrEqual(t, at.Sub(now), time.Minute)
		seen[at.Sub(now).Truncate(10*time.Second)] = true
	}
	require.Greater(t, len(seen), 3)
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 29, 3, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-1": 0, "x": 0, "99999999": 0, "Sun, 29 Nov 2026 03:00:30 GMT": 30 * time.Second, "Sun, 29 Nov 2026 02:00:30 GMT": 0,
	} {
		require.Equal(t, want, retryAfter(text, now), text)
	}
}

// Whatever a server answers, what is taken of it is within the limits.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(vector(`{"metric":{"a":"b"},"value":[1,"NaN"]}`)))
	f.Add([]byte(`{"status":"success","data":{"resultType":"scalar","result":[1,"-Inf"]}}`))
	f.Add([]byte(vector(`{"metric":null,"value":[1,"1"]},null`)))
	f.Add([]byte(vector(`{"metric":{},"histogram":[1,{"count":"1","sum":"1","buckets":[]}]}`)))
	f.Fuzz(func(t *testing.T, body []byte) {
		points, err := decode(body)
		if err != nil {
			return
		}
		if len(points) > MaxSeries {
			t.Fatal("too many series")
		}
		for _, p := range points {
			if len(p.labels) > MaxLabels {
				t.Fatal("too many labels")
			}
			for name, value := range p.labels {
				if len(name) > MaxName || len(value) > MaxValue || name == "" {
					t.Fatalf("%q=%q", name, value)
				}
			}
		}
	})
}
