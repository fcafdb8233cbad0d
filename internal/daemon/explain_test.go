package daemon_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/config"
	"watchbill/internal/daemon"
	"watchbill/internal/pipenet"
	"watchbill/internal/testkit"
	"watchbill/internal/web"
)

// What explain says before is what happens later: for the example
// configuration, alerts of several kinds and hours, every page that the live
// path decides in the half hour after is one that explain named, with the same
// person, method and clock time, and the other way round.
func TestExplainIsWhatHappens(t *testing.T) {
	t.Parallel()
	pipenet.Warm(t.Context())
	cases := map[string]struct {
		labels watchbill.Labels
		at     string
	}{
		"the issue's own":       {watchbill.Labels{"service": "checkout", "severity": "page", "st": "checkout-requests"}, "2026-11-29T03:15:00Z"},
		"security by day":       {watchbill.Labels{"alertname": "Shell", "signal": "security", "severity": "critical"}, "2026-12-02T11:00:00Z"},
		"first line, sev3":      {watchbill.Labels{"alertname": "Odd", "service": "db", "severity": "warning"}, "2026-12-01T12:00:07Z"},
		"sev3 before its hours": {watchbill.Labels{"alertname": "Odd", "service": "db", "severity": "warning"}, "2026-11-30T06:50:00Z"},
		"across the hand-over":  {watchbill.Labels{"service": "checkout", "severity": "page", "st": "x"}, "2026-11-30T07:58:00Z"},
		"sev4 pages nobody":     {watchbill.Labels{"alertname": "Hint", "severity": "sev4"}, "2026-12-01T12:00:00Z"},
		"a week of another one": {watchbill.Labels{"alertname": "NodeDiskFull", "severity": "sev1"}, "2026-12-10T22:10:00Z"},
	}
	if raced {
		maps.DeleteFunc(cases, func(name string, _ struct {
			labels watchbill.Labels
			at     string
		},
		) bool {
			return name != "the issue's own"
		})
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				at, err := time.Parse(time.RFC3339, c.at)
				require.NoError(t, err)
				until(at)
				w := world(t, "../../deploy/examples/small")
				file := filepath.Join(w.Dir, "watchbill.yaml")
				text, err := os.ReadFile(file)
				require.NoError(t, err)
				// The world has no TLS and no mail server; and watching a file waits on the
				// kernel, which would stop the bubble's clock.
				w.Write("watchbill.yaml", replace(string(text), "https://push", "http://push", "smtp.example.com:587", "127.0.0.1:1",
					"file_sd_configs:\n      - files: [scrape/nodes.yaml]", "static_configs: []",
					"scrape_interval: 15s", "scrape_interval: 5m", "evaluation_interval: 15s", "evaluation_interval: 5m")+"\nself_monitoring: false\n")
				cfg, err := config.Load(file, nil)
				require.NoError(t, err)
				x, err := daemon.Explain(cfg, web.ExplainRequest{Labels: c.labels, At: at})
				require.NoError(t, err)

				phone := &testkit.Receiver{}
				w.Host("push.example.com", phone)
				w.Start()
				defer w.Stop()
				frank := w.As("frank")
				require.NoError(t, frank.PostAlerts(t.Context(), []watchbill.Alert{{Labels: c.labels, EndsAt: at.Add(100 * time.Hour)}}))
				end := at
				if len(x.Pages) > 0 {
					end = x.Pages[len(x.Pages)-1].At
				}
				until(end.Add(time.Second))

				v := show(t, frank, 1)
				type page struct {
					At, Person, Role, Method string
					Step                     int
				}
				var want, got []page
				for _, p := range x.Pages {
					want = append(want, page{p.At.Format(time.RFC3339), string(p.Person), string(p.Role), p.Method, p.Step})
				}
				for _, p := range v.Pages {
					got = append(got, page{p.Page.Due.Format(time.RFC3339), string(p.Page.Person), string(p.Page.Role), p.Page.Method, p.Page.Step})
				}
				require.ElementsMatch(t, want, got)
				require.Equal(t, x.Activity, v.Incident.Activity)
				require.Equal(t, x.Severity, v.Incident.Severity)
				require.Equal(t, x.Group, v.Incident.Key)
				require.Equal(t, x.Runbook, v.Incident.Runbook)

				var sent []string
				for _, p := range phone.Pages() {
					if !strings.HasPrefix(p.Key, "INC-1/") { // that nothing can be scraped in this world pages too
						continue
					}
					sent = append(sent, p.At.Format(time.RFC3339)+" "+p.Person)
				}
				var pushes []string
				for _, p := range x.Pages {
					if strings.HasSuffix(p.Method, "-push") {
						pushes = append(pushes, p.At.Format(time.RFC3339)+" "+string(p.Person))
					}
				}
				slices.Sort(sent)
				slices.Sort(pushes)
				require.Equal(t, pushes, sent, "the receiver got each push at its second")
			})
		})
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(b)
}

func replace(s string, pairs ...string) string { return strings.NewReplacer(pairs...).Replace(s) }
