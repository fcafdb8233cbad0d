package daemon_test

import (
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/dashboards"
	"watchbill/internal/daemon"
)

// heard remembers what was posted to it, and when.
type heard struct {
	mu  sync.Mutex
	all []string
	at  []time.Time
}

func (h *heard) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all, h.at = append(h.all, string(body)), append(h.at, time.Now())
}

func (h *heard) said() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.all, "\n")
}

func (h *heard) times() []time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]time.Time(nil), h.at...)
}

// guarded is a scene whose daemon has an alarm and a dead man's switch.
type guarded struct {
	*scene
	alarm, ping *heard
}

const guards = `
alarm: {webhook: {url: 'http://alarm.test/x'}}
deadman: [{url: 'http://ping.test/x'}]
`

func guard(t *testing.T, tune func(*daemon.Options), script func(*testing.T, *guarded)) {
	t.Helper()
	g := &guarded{alarm: &heard{}, ping: &heard{}}
	playWith(t, func(s *scene) {
		g.scene = s
		g.edit("self_monitoring: false\n", guards)
		g.Host("alarm.test", g.alarm)
		g.Host("ping.test", g.ping)
		g.Tune = tune
	}, func(t *testing.T, _ *scene) { script(t, g) })
}

// edit replaces a part of the configuration.
func (g *guarded) edit(old, now string) {
	g.t.Helper()
	text, err := os.ReadFile(filepath.Join(g.Dir, "watchbill.yaml"))
	require.NoError(g.t, err)
	require.Contains(g.t, string(text), old)
	g.Write("watchbill.yaml", strings.Replace(string(text), old, now, 1))
}

// damage changes the store behind the daemon's back.
func (g *guarded) damage(query string) {
	g.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(g.Dir, "watchbill.db")+"?_pragma=busy_timeout(5000)")
	require.NoError(g.t, err)
	defer db.Close()
	res, err := db.ExecContext(g.t.Context(), query)
	require.NoError(g.t, err)
	n, err := res.RowsAffected()
	require.NoError(g.t, err)
	require.NotZero(g.t, n)
}

// rows counts the rows of a table that a condition selects.
func (g *guarded) rows(from string) (n int) {
	g.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(g.Dir, "watchbill.db")+"?_pragma=query_only(1)")
	require.NoError(g.t, err)
	defer db.Close()
	require.NoError(g.t, db.QueryRowContext(g.t.Context(), "SELECT count(*) FROM "+from).Scan(&n))
	return n
}

// scrape returns the daemon's metrics.
func (g *guarded) scrape() string {
	g.t.Helper()
	req, err := http.NewRequestWithContext(g.t.Context(), http.MethodGet, g.frank.URL+"/metrics", nil)
	require.NoError(g.t, err)
	req.Header.Set("Authorization", "Bearer "+g.frank.Token)
	resp, err := g.frank.HTTP.Do(req)
	require.NoError(g.t, err)
	defer resp.Body.Close()
	require.Equal(g.t, http.StatusOK, resp.StatusCode)
	body, err := io.ReadAll(resp.Body)
	require.NoError(g.t, err)
	return string(body)
}

// The self-test goes the whole way each minute and pings; it pages nobody, shows
// nowhere, counts nowhere, leaves nothing, and takes no incident's number.
func TestTheSelfTestIsSilent(t *testing.T) {
	t.Parallel()
	guard(t, nil, func(t *testing.T, g *guarded) {
		g.sleep(10*time.Minute + 10*time.Second)
		times := g.ping.times()
		require.Len(t, times, 11)
		require.Equal(t, g.began.Add(5*time.Second), times[0].UTC())
		require.Empty(t, g.phone.Pages())
		require.Empty(t, g.alarm.said())
		require.Empty(t, g.incidents())
		for _, table := range []string{"incident", "event", "timer", "page", "attempt", "alert"} {
			require.Zero(t, g.rows(table), table)
		}
		metrics := g.scrape()
		require.Contains(t, metrics, `watchbill_selftests_total{result="passed"} 11`)
		require.Contains(t, metrics, "\nwatchbill_alerts_received_total 0\n")
		require.Contains(t, metrics, "\nwatchbill_page_delivery_lateness_seconds_count 0\n")
		require.NotContains(t, metrics, "watchbill_incidents{")
		require.NotContains(t, metrics, "watchbill-loop")
		require.NotRegexp(t, `(?m)^watchbill_page_attempts_total{.*} [1-9]`, metrics)

		// A silence over everything does not silence it, and people's incidents
		// begin at 1.
		g.silence(time.Hour, "alertname", "WatchbillSelfTest")
		g.sleep(5 * time.Minute)
		require.Len(t, g.ping.times(), 16)
		g.post(disk(), time.Hour)
		require.EqualValues(t, 1, g.incidents()[0].ID)
	})
}

// Whoever sends an alert that looks like the self-test's gets a page.
func TestTheSelfTestCannotBeForged(t *testing.T) {
	guard(t, nil, func(t *testing.T, g *guarded) {
		g.post(watchbill.Labels{"alertname": "WatchbillSelfTest", "service": "watchbill", "severity": "page", "__watchbill_selftest__": "true"}, time.Hour)
		require.Len(t, g.incidents(), 1)
		require.NotEmpty(t, g.phone.Pages())
	})
}

// When the loop that fires timers stops, the alarm speaks and the pings stop
// within a minute.
func TestStoppedTimersAreTold(t *testing.T) {
	const after = 3 * time.Minute
	guard(t, func(o *daemon.Options) { o.StopTimersAfter = after }, func(t *testing.T, g *guarded) {
		stopped := g.began.Add(after)
		g.sleep(after)
		require.Empty(t, g.alarm.said())
		require.Len(t, g.ping.times(), 3)
		g.sleep(time.Minute)
		require.NotEmpty(t, g.alarm.said())
		require.WithinRange(t, g.alarm.times()[0], stopped, stopped.Add(time.Minute))
		g.sleep(3 * time.Minute)
		require.Len(t, g.ping.times(), 3, "no ping after it stopped")
		require.Contains(t, g.alarm.said(), "its timer was not fired")
		require.Contains(t, g.alarm.said(), "the loop that fires timers has not gone round for")
	})
}

// Rows that no correct daemon leaves behind are told within a minute, and stop
// the pings.
func TestDamageIsTold(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ query, want string }{
		"a deleted timer":         {`DELETE FROM timer WHERE kind = 'step'`, "1 open incidents have no next step: INC-1"},
		"a lease until 2100":      {`UPDATE page SET state = 'pending', lease_until = 4102444800000000000 WHERE incident = 1`, "pages are under a lease that does not end: INC-1/1/0/ana/ana-"},
		"delivered without proof": {`DELETE FROM attempt`, "pages left the outbox without an attempt: INC-1/1/0/ana/ana-push"},
		"a timer far behind":      {`UPDATE timer SET held = 0, due_at = 1, incident = 77 WHERE kind = 'step'`, "open incidents have no next step"},
	} {
		t.Run(name, func(t *testing.T) {
			guard(t, nil, func(t *testing.T, g *guarded) {
				g.post(disk(), time.Hour)
				g.sleep(20 * time.Second)
				require.Empty(t, g.alarm.said())
				g.damage(c.query)
				g.sleep(59 * time.Second)
				require.Contains(t, g.alarm.said(), c.want)
				pings := len(g.ping.times())
				if name == "a deleted timer" { // nothing heals it
					g.sleep(2 * time.Minute)
					require.LessOrEqual(t, len(g.ping.times()), pings)
				}
			})
		})
	}
}

// When nobody's receivers take a page the path runs to its last step at once, and
// repeats that at its own pace, not as fast as it is refused.
func TestRefusalsDoNotRace(t *testing.T) {
	t.Parallel()
	guard(t, nil, func(t *testing.T, g *guarded) {
		g.phone.Answer(http.StatusForbidden)
		g.post(disk(), time.Hour)
		g.sleep(10 * time.Second)
		require.Positive(t, g.rows("page WHERE step = 3"), "the last step of the matrix")
		require.Zero(t, g.rows("page WHERE step > 3"))
		g.sleep(15 * time.Minute)
		require.Positive(t, g.rows("page WHERE step = 4"))
		require.Zero(t, g.rows("page WHERE step > 4"))
	})
}

// A page that no method of a person takes, and a configuration that cannot be
// reloaded, are told on the second way.
func TestRefusalsAndFailedReloadsAreTold(t *testing.T) {
	t.Parallel()
	guard(t, nil, func(t *testing.T, g *guarded) {
		g.phone.Answer(http.StatusForbidden)
		g.post(disk(), time.Hour)
		g.sleep(time.Minute)
		require.Contains(t, g.alarm.said(), "every way to reach ana was refused for a page of INC-1")
		g.phone.Answer(0)

		g.edit("roles: {preset: operations}", "roles: {preset: opreations}")
		require.Error(t, g.Daemon.Reload(t.Context()))
		g.sleep(10 * time.Minute)
		require.NotContains(t, g.alarm.said(), "could not be reloaded")
		g.sleep(80 * time.Second)
		require.Contains(t, g.alarm.said(), "the configuration could not be reloaded since 03:01 UTC")
		require.Greater(t, len(g.ping.times()), 11, "it does not stop the pings")
		g.edit("roles: {preset: opreations}", "roles: {preset: operations}")
		require.NoError(t, g.Daemon.Reload(t.Context()))
		g.sleep(2 * time.Minute)
		require.Contains(t, g.alarm.said(), "over after")
	})
}

// Reloading moves the alarm and the pings elsewhere; an address that cannot be
// read changes nothing.
func TestReloadMovesTheWatch(t *testing.T) {
	guard(t, nil, func(t *testing.T, g *guarded) {
		other := &heard{}
		g.Host("other.test", other)
		g.edit("deadman: [{url: 'http://ping.test/x'}]", "deadman: [{url_file: nowhere}]")
		require.ErrorContains(t, g.Daemon.Reload(t.Context()), "entry 1 of deadman: has no address")
		g.sleep(time.Minute)
		require.Len(t, g.ping.times(), 1)
		g.Write("nowhere", "http://other.test/y\n")
		require.NoError(t, g.Daemon.Reload(t.Context()))
		g.sleep(2 * time.Minute)
		require.Len(t, g.ping.times(), 1)
		require.Len(t, other.times(), 2)
	})
}

// Each rule that the daemon brings uses metrics that it has, and none fires
// while all is well.
func TestOurRulesUseMetricsThatExist(t *testing.T) {
	p := parser.NewParser(parser.Options{})
	groups, errs := rulefmt.Parse(dashboards.Rules(), false, model.UTF8Validation, p, nil)
	require.Empty(t, errs)
	names := map[string]string{}
	for _, g := range groups.Groups {
		for _, r := range g.Rules {
			require.Equal(t, "watchbill", r.Labels["service"], r.Alert)
			require.NotEmpty(t, r.Labels["severity"], r.Alert)
			require.NotEmpty(t, r.Annotations["summary"], r.Alert)
			require.NotEmpty(t, r.Annotations["first_action"], r.Alert)
			expr, err := p.ParseExpr(r.Expr)
			require.NoError(t, err, r.Alert)
			parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
				if v, ok := n.(*parser.VectorSelector); ok {
					names[v.Name] = r.Alert
				}
				return nil
			})
		}
	}
	require.Greater(t, len(names), 15)
	guard(t, nil, func(t *testing.T, g *guarded) {
		g.edit("\ndeadman:", "\nsources: [{name: edge, kind: remote_write, labels: {site: edge}}]\ndeadman:")
		require.NoError(t, g.frank.Reload(t.Context()))
		g.post(disk(), time.Hour)
		g.sleep(6 * time.Minute)
		metrics := g.scrape()
		for name, rule := range names {
			require.True(t, regexp.MustCompile(`(?m)^`+name+`[{ ]`).MatchString(metrics), "%s of %s is no metric", name, rule)
		}
		for _, inc := range g.incidents() {
			require.NotEqual(t, "watchbill", inc.Service, inc.Title)
		}
	})
}

// A site that was to write its series, and does not, is told of.
func TestASourceThatIsSilentPages(t *testing.T) {
	t.Parallel()
	guard(t, nil, func(t *testing.T, g *guarded) {
		g.edit("\ndeadman:", "\nsources: [{name: edge, kind: remote_write, labels: {site: edge}}]\ndeadman:")
		require.NoError(t, g.frank.Reload(t.Context()))
		g.sleep(10*time.Minute - time.Second)
		require.Empty(t, g.incidents())
		g.sleep(35 * time.Second)
		require.Equal(t, "Nothing that edge wrote was stored for ten minutes", g.incidents()[0].Title)
		require.NotEmpty(t, g.phone.Pages())
	})
}

// One of the rules becomes an incident like any other.
func TestOurRulesPage(t *testing.T) {
	t.Parallel()
	guard(t, nil, func(t *testing.T, g *guarded) {
		g.edit("roles: {preset: operations}", "roles: {preset: opreations}")
		require.Error(t, g.Daemon.Reload(t.Context()))
		g.sleep(11 * time.Minute)
		all := g.incidents()
		require.Len(t, all, 1)
		require.Equal(t, "watchbill", all[0].Service)
		require.Equal(t, "Watchbill's configuration could not be reloaded; the old one is in force", all[0].Title)
		require.NotEmpty(t, g.phone.Pages())
	})
}

// People try the alarm and confirm that they heard it, through the API.
func TestTheAlarmIsTriedAndConfirmed(t *testing.T) {
	guard(t, nil, func(t *testing.T, g *guarded) {
		require.NoError(t, g.frank.TestAlarm(t.Context()))
		require.Contains(t, g.alarm.said(), "confirm that it arrived with: watchbill alarm confirm")
		g.sleep(time.Minute)
		require.NoError(t, g.frank.ConfirmAlarm(t.Context()))
		require.Contains(t, g.scrape(), fmt.Sprintf("watchbill_alarm_last_confirmed_timestamp_seconds %g\n", float64(time.Now().Unix())))
		g.edit("alarm: {webhook: {url: 'http://alarm.test/x'}}", "")
		require.NoError(t, g.Daemon.Reload(t.Context()))
		require.ErrorContains(t, g.frank.TestAlarm(t.Context()), "no way to tell anybody")
	})
}
