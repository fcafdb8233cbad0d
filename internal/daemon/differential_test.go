package daemon_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// inhibitRules are in force on both sides, in Alertmanager's own format.
const inhibitRules = `
inhibit_rules:
  - {source_matchers: ['sev="high"'], target_matchers: ['sev="low"'], equal: [place]}
  - {source_matchers: ['name=~"a|b"'], target_matchers: ['name=~"b|c"', 'sev!="high"'], equal: [place, run]}
`

// side is one of the two that are compared.
type side struct {
	url, token string
	silences   []string // ids, in the order in which they were made
}

func (s *side) do(method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequest(method, s.url+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if s.token != "" {
		req.Header.Set("Authorization", "Bearer "+s.token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, text)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}

// fired is an alert as a side lists it, with ids of its own replaced.
type fired struct {
	labels, state, silencedBy string
	inhibited                 bool
}

// sets are the alerts of a run, by label set.
func (s *side) sets(run, query string) ([]fired, error) {
	var all []struct {
		Labels map[string]string
		Status struct {
			State       string
			SilencedBy  []string
			InhibitedBy []string
		}
	}
	if err := s.do(http.MethodGet, "/api/v2/alerts?filter=run%3D"+run+query, nil, &all); err != nil {
		return nil, err
	}
	out := []fired{}
	for _, a := range all {
		labels, _ := json.Marshal(a.Labels) // strings cannot fail
		var by []string
		for _, id := range a.Status.SilencedBy {
			by = append(by, fmt.Sprint(slices.Index(s.silences, id)))
		}
		slices.Sort(by)
		out = append(out, fired{string(labels), a.Status.State, strings.Join(by, " "), len(a.Status.InhibitedBy) > 0})
	}
	slices.SortFunc(out, func(a, b fired) int { return strings.Compare(a.labels, b.labels) })
	return out, nil
}

// The same random calls on Debian's Alertmanager and here leave the same alerts
// active, silenced and inhibited.
func TestDifferentialAlertmanager(t *testing.T) {
	t.Parallel()
	program := peer(t, "prometheus-alertmanager")
	here := newAMSite(t, inhibitRules+"silences: {broad: 1000000}\n")
	at := freeAddr(t)
	file := here.write("alertmanager.yml", "route: {receiver: nobody, group_by: [run]}\nreceivers: [{name: nobody}]\n"+inhibitRules)
	start(t, program, "--config.file="+file, "--storage.path="+filepath.Join(here.dir, "am"), "--web.listen-address="+at, "--cluster.listen-address=", "--log.level=error")
	require.Eventually(t, func() bool {
		resp, err := http.Get("http://" + at + "/-/ready")
		return err == nil && resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
	}, 20*time.Second, 20*time.Millisecond)

	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		id := fmt.Sprintf("r%d", run)
		sides := []*side{{url: "http://" + at}, {url: "http://" + here.addr, token: here.client.Token}}
		began := time.Now().UTC()
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			step(t, id, began, sides)
			for _, query := range []string{"", "&silenced=false", "&inhibited=false", "&active=false", "&filter=sev%3D~h.%2B", "&filter=place%3D%22%22"} {
				theirs, err := sides[0].sets(id, query)
				require.NoError(t, err)
				var ours []fired
				for range 20 { // theirs is an inhibitor that hears of alerts a moment later
					ours, err = sides[1].sets(id, query)
					require.NoError(t, err)
					if slices.Equal(theirs, ours) {
						break
					}
					time.Sleep(5 * time.Millisecond)
					theirs, err = sides[0].sets(id, query)
					require.NoError(t, err)
				}
				require.Equal(t, theirs, ours, "Alertmanager's, and ours, of ?%s", query)
			}
		}
	})
}

// step makes one random call, the same on both sides.
func step(t *rapid.T, run string, began time.Time, sides []*side) {
	labels := map[string]string{"run": run, "name": rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name")}
	for name, values := range map[string][]string{"sev": {"", "high", "low"}, "place": {"", "x", "y"}} {
		if v := rapid.SampledFrom(values).Draw(t, name); v != "" {
			labels[name] = v
		}
	}
	method, path, body := http.MethodPost, "/api/v2/alerts", any(nil)
	alert := map[string]any{"labels": labels}
	switch what := rapid.SampledFrom([]string{"fire", "fire", "fire", "open", "resolve", "silence", "expire"}).Draw(t, "what"); what {
	case "fire", "resolve":
		alert["startsAt"], alert["endsAt"] = began.Add(-time.Minute), began.Add(time.Hour)
		if what == "resolve" {
			alert["endsAt"] = time.Now().Add(-time.Millisecond)
		}
		body = []any{alert}
	case "open":
		body = []any{alert}
	case "silence":
		name := rapid.SampledFrom([]string{"name", "sev", "place"}).Draw(t, "label")
		m := map[string]any{
			"name": name, "value": rapid.SampledFrom([]string{"a", "high", "x", "a|low|y"}).Draw(t, "value"),
			"isRegex": rapid.Bool().Draw(t, "regex"), "isEqual": rapid.Bool().Draw(t, "equal"),
		}
		path = "/api/v2/silences"
		body = map[string]any{
			"matchers": []any{map[string]any{"name": "run", "value": run, "isRegex": false, "isEqual": true}, m},
			"startsAt": time.Now(), "endsAt": began.Add(time.Hour), "createdBy": "test", "comment": "why",
		}
	case "expire":
		if len(sides[0].silences) == 0 {
			return
		}
		n := rapid.IntRange(0, len(sides[0].silences)-1).Draw(t, "which")
		for _, s := range sides {
			_ = s.do(http.MethodDelete, "/api/v2/silence/"+s.silences[n], nil, nil) // of one that has ended, Alertmanager says so
		}
		return
	}
	for _, s := range sides {
		var answer struct{ SilenceID string }
		into := any(&answer)
		if path == "/api/v2/alerts" {
			into = nil
		}
		require.NoError(t, s.do(method, path, body, into))
		if into != nil {
			s.silences = append(s.silences, answer.SilenceID)
		}
	}
}
