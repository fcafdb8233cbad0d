package web

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// agree fails unless the small parser gives what encoding/json gives, or has no
// answer.
func agree(t *testing.T, body []byte) (plain bool) {
	t.Helper()
	got, ok := plainAlerts(body)
	if !ok {
		return false
	}
	var want []postableAlert
	err := decode(json.NewDecoder(strings.NewReader(string(body))), &want)
	require.NoError(t, err, "the small parser took what encoding/json refuses: %q", body)
	require.Equal(t, want, got, "%q", body)
	return true
}

func TestPlainAlerts(t *testing.T) {
	t.Parallel()
	plain := []string{
		`[]`, ` [ ] `, `[{}]`, `[{"labels":{}}]`,
		`[{"labels":{"a":"b"},"annotations":{"c":"d \"quoted\" \u00e9 \n"},"startsAt":"2026-11-29T03:15:00Z","endsAt":"2026-11-29T04:15:00.123+01:00","generatorURL":"http://x/?a=b\u0026c"}]`,
		"[{\"labels\":{\"a\":\"é\U0001f600\"}},\n\t{\"labels\":{\"a\":\"1\",\"a\":\"2\"}}]\r\n",
		`[{"startsAt":"2026-11-29T03:15:00Z","endsAt":"2026-11-29T03:15:00Z"}]`,
	}
	for _, body := range plain {
		require.True(t, agree(t, []byte(body)), "%s should be read the quick way", body)
	}
	other := []string{
		``, `null`, `{}`, `[null]`, `[{"labels":null}]`, `[{"Labels":{"a":"b"}}]`, `[{"status":"x"}]`, `[{"labels":{"a":1}}]`,
		`[{"labels":{"a":"b"},"labels":{"c":"d"}}]`, `[{"labels":{"a":"b"}}] x`, `[{"labels":{"a":"b"}},]`, `[{"labels":{"a":"b",}}]`,
		`[{"labels":{"a" "b"}}]`, `[{"startsAt":""}]`, `[{"startsAt":"yesterday"}]`, "[{\"labels\":{\"a\":\"\xff\"}}]", "[{\"labels\":{\"a\":\"\n\"}}]",
		`[{"labels":{"a":"\ud800"}}`, `[{"labels":{"a":"b`, `[{"labels":{"a\u0062":"c"}}]`, `[{"startsAt":"2026-11-29 03:15:00Z"}]`,
	}
	for _, body := range other {
		require.False(t, agree(t, []byte(body)), "%s should be left to encoding/json", body)
	}
}

func FuzzPlainAlerts(f *testing.F) {
	f.Add([]byte(`[{"labels":{"a":"b"},"annotations":{"c":"d\""},"startsAt":"2026-11-29T03:15:00Z","endsAt":"2026-11-29T04:15:00.5+01:00","generatorURL":"x"},{}]`))
	f.Add([]byte(` [ { "labels" : { "a" : "\u00e9" , "b":"" } } ] `))
	f.Fuzz(func(t *testing.T, body []byte) { agree(t, body) })
}

func BenchmarkReadAlerts(b *testing.B) {
	one := `{"labels":{"alertname":"HighErrorRate","service":"checkout","instance":"10.0.0.1:9100","job":"node","severity":"warning","environment":"prod"},` +
		`"annotations":{"summary":"the error rate is high","description":"more than one in a hundred requests fails on this instance"},` +
		`"startsAt":"2026-11-29T03:15:00Z","endsAt":"2026-11-29T04:15:00Z","generatorURL":"http://prometheus:9090/graph?g0.expr=up"}`
	body := []byte("[" + strings.Repeat(one+",", 99) + one + "]")
	b.Run("plain", func(b *testing.B) {
		for b.Loop() {
			_, _ = plainAlerts(body)
		}
	})
	b.Run("encoding/json", func(b *testing.B) {
		for b.Loop() {
			var all []postableAlert
			_ = json.Unmarshal(body, &all)
		}
	})
}
