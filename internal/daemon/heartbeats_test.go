package daemon_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/web"
)

const beats = `
heartbeats:
  - {name: sync, key: 11111111-aaaa-bbbb-cccc-000000000001, period: 10m, grace: 2m, labels: {service: checkout, environment: prod}}
  - {name: nightly, key: 11111111-aaaa-bbbb-cccc-000000000002, slug: nightly, cron: "0 5 * * *", tz: Europe/Madrid, grace: 30m, severity: critical, labels: {service: backup}}
  - {name: prom-eu, alert: ['alertname="Watchdog"', 'cluster="eu"'], period: 1m, grace: 2m}
`

const (
	syncPing    = "/ping/11111111-aaaa-bbbb-cccc-000000000001"
	nightlyPing = "/ping/11111111-aaaa-bbbb-cccc-000000000002/nightly"
)

// expecting is a scene that expects heartbeats.
func expecting(t *testing.T, script func(*testing.T, *scene)) {
	t.Helper()
	playWith(t, func(s *scene) { s.expect(beats) }, script)
}

// expect replaces the heartbeats of the configuration.
func (s *scene) expect(yaml string) {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.Dir, "watchbill.yaml"))
	require.NoError(s.t, err)
	before, _, _ := strings.Cut(string(text), "\nheartbeats:")
	before = regexp.MustCompile(`(?m)^(scrape_configs:\n.*\n.*|targets: .*)\n`).ReplaceAllString(before, "") // what is scraped plays no part
	s.Write("watchbill.yaml", before+yaml)
}

// ask sends a request without a token and returns its status and body.
func (s *scene) ask(method, path, body string) (int, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.frank.URL+path, strings.NewReader(body))
	require.NoError(s.t, err)
	resp, err := s.frank.HTTP.Do(req)
	require.NoError(s.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(s.t, err)
	synctest.Wait()
	return resp.StatusCode, string(text)
}

func (s *scene) ping(path string) {
	s.t.Helper()
	code, body := s.ask(http.MethodGet, path, "")
	require.Equal(s.t, http.StatusOK, code, body)
	require.Equal(s.t, "OK", body)
}

// watchdog sends the alert that says that another Prometheus works.
func (s *scene) watchdog(cluster string) {
	s.t.Helper()
	s.post(watchbill.Labels{"alertname": "Watchdog", "cluster": cluster, "severity": "none"}, 4*time.Minute)
}

func (s *scene) beat(name string) web.HeartbeatView {
	s.t.Helper()
	v, err := s.frank.Heartbeat(s.t.Context(), name)
	require.NoError(s.t, err)
	return v
}

// titles are the live incidents of heartbeats, by what is broken.
func (s *scene) titles() []string {
	var all []string
	for _, inc := range s.incidents() {
		if inc.State.Live() && inc.State != watchbill.StateResolved {
			all = append(all, inc.Title)
		}
	}
	return all
}

// A heartbeat that stops pages at the very end of its grace, and its next ping
// resolves the incident.
func TestAHeartbeatThatStopsPages(t *testing.T) {
	expecting(t, func(t *testing.T, s *scene) {
		for range 2 { // until 03:20
			s.ping(syncPing)
			s.watchdog("eu")
			for range 9 {
				s.sleep(time.Minute)
				s.watchdog("eu")
			}
			s.sleep(time.Minute)
		}
		last := time.Now()
		s.ping(syncPing)
		require.Empty(t, s.incidents())
		require.Equal(t, "up", s.beat("sync").State)
		for range 11 {
			s.watchdog("eu")
			s.sleep(time.Minute)
		}
		require.Equal(t, "late", s.beat("sync").State)
		require.Empty(t, s.phone.Pages())
		s.watchdog("eu")
		s.sleep(time.Until(last.Add(12*time.Minute)) - time.Millisecond)
		require.Empty(t, s.phone.Pages())
		s.sleep(time.Millisecond)
		pages := s.phone.Pages()
		require.Len(t, pages, 1)
		require.Equal(t, last.Add(12*time.Minute).UTC(), pages[0].At, "grace after it was due, to the millisecond")
		require.Equal(t, "ana", pages[0].Person)
		require.Contains(t, pages[0].Annot["title"], "sync is silent; it was due at 2026-11-29 03:30:00 UTC")
		require.Contains(t, pages[0].Annot["evidence"], "its last success was at 2026-11-29 03:20:00 UTC")
		inc := s.incidents()[0]
		require.Equal(t, "checkout", inc.Service)
		require.Equal(t, "HeartbeatDown", inc.Labels["alertname"])
		require.Equal(t, "sync", inc.Labels["heartbeat"])

		s.ping(syncPing)
		require.Equal(t, watchbill.StateResolved, s.incidents()[0].State, "at once, with the ping's own commit")
	})
}

// An alert of a heartbeat outlives the hour for which it holds, and every hour
// after.
func TestAHeartbeatStaysDown(t *testing.T) {
	t.Parallel()
	expecting(t, func(t *testing.T, s *scene) {
		s.ping(syncPing)
		s.sleep(12 * time.Minute)
		_, err := s.As("ana").Acknowledge(t.Context(), s.incidents()[0].ID, "looking")
		require.NoError(t, err)
		s.sleep(65 * time.Minute)
		for _, inc := range s.incidents() {
			require.Contains(t, []watchbill.State{watchbill.StateOpen, watchbill.StateAcknowledged}, inc.State, inc.Title)
		}
	})
}

func TestWhatPingsSay(t *testing.T) {
	expecting(t, func(t *testing.T, s *scene) {
		code, body := s.ask(http.MethodHead, nightlyPing, "")
		require.Equal(t, http.StatusOK, code)
		require.Empty(t, body)
		code, body = s.ask(http.MethodPost, nightlyPing+"/3", "copying\nno space left on device\n")
		require.Equal(t, http.StatusOK, code)
		require.Equal(t, "OK", body)
		require.Equal(t, []string{"nightly failed with exit status 3"}, s.titles())
		require.Contains(t, s.phone.Pages()[0].Annot["evidence"], "no space left on device")
		v := s.beat("nightly")
		require.Equal(t, "failed", v.State)
		require.Equal(t, "copying\nno space left on device\n", v.Evidence)
		require.Equal(t, "0 5 * * * Europe/Madrid", v.Schedule)
		require.Len(t, v.Pings, 2)
		require.Equal(t, web.HeartbeatPing{At: v.Pings[0].At, Kind: "fail", Exit: 3, Via: "POST", Size: 32}, v.Pings[0])

		s.ping(nightlyPing + "/start")
		require.Equal(t, "failed", s.beat("nightly").State, "a start ends nothing")
		s.sleep(90 * time.Second)
		s.watchdog("eu")
		s.ping(nightlyPing + "/0")
		v = s.beat("nightly")
		require.Equal(t, "up", v.State)
		require.Equal(t, "1m30s", v.Took)
		require.Empty(t, v.Evidence, "what the last run said is gone with it")
		require.Empty(t, s.titles())

		s.ping(syncPing + "/start?rid=11111111-2222-3333-4444-555555555555")
		s.ping(syncPing + "/log")
		s.sleep(2 * time.Minute)
		require.Contains(t, s.titles()[0], "sync started at 2026-11-29 03:01:30 UTC and did not end within 2m")
		s.ping(syncPing + "?rid=11111111-2222-3333-4444-555555555555")
		require.Empty(t, s.titles())

		long := strings.Repeat("x", 3*web.MaxPingBody)
		code, _ = s.ask(http.MethodPost, syncPing, long)
		require.Equal(t, http.StatusOK, code)
		require.Len(t, s.beat("sync").Evidence, web.MaxPingBody)
		require.Equal(t, int64(len(long)), s.beat("sync").Pings[0].Size)

		all, err := s.frank.Heartbeats(t.Context())
		require.NoError(t, err)
		require.Len(t, all, 3)
		require.Empty(t, all[0].Evidence)
		_, err = s.frank.Heartbeat(t.Context(), "nobody")
		require.ErrorContains(t, err, "there is no heartbeat")
	})
}

// Whoever guesses learns nothing: every address that no heartbeat has is answered
// alike.
func TestUnknownAddressesOfHeartbeats(t *testing.T) {
	expecting(t, func(t *testing.T, s *scene) {
		for _, path := range []string{
			"/ping/11111111-aaaa-bbbb-cccc-00000000000f", "/ping/x/fail", "/ping/x/y/z/1", nightlyPing + "/0/0",
			"/ping/11111111-aaaa-bbbb-cccc-000000000002", "/ping/11111111-aaaa-bbbb-cccc-000000000002/fail", "/ping/11111111-aaaa-bbbb-cccc-000000000002/other",
		} {
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				code, body := s.ask(method, path, "")
				require.Equal(t, http.StatusNotFound, code, path)
				require.Equal(t, "not found", body, path)
			}
		}
		for path, want := range map[string]string{
			syncPing + "/256": "invalid url format", syncPing + "/done": "invalid url format", syncPing + "?rid=1": "invalid uuid format",
		} {
			code, body := s.ask(http.MethodGet, path, "")
			require.Equal(t, http.StatusBadRequest, code, path)
			require.Equal(t, want, body)
		}
		require.Empty(t, s.incidents())
		require.Equal(t, "new", s.beat("sync").State)
	})
}

// A Watchdog that is sent again and again is a heartbeat and no incident, also
// where a re-send changes nothing; of another cluster it is an alert like any.
func TestWatchdogsAreHeartbeats(t *testing.T) {
	expecting(t, func(t *testing.T, s *scene) {
		for range 5 {
			s.watchdog("eu")
			s.ping(syncPing)
			s.sleep(time.Minute)
		}
		require.Empty(t, s.incidents())
		require.Equal(t, "alert", s.beat("prom-eu").Pings[0].Via)
		last := s.beat("prom-eu").LastSuccess
		s.sleep(time.Until(last.Add(3 * time.Minute)))
		require.Len(t, s.titles(), 1)
		require.Contains(t, s.titles()[0], "prom-eu is silent")
		s.post(watchbill.Labels{"alertname": "Watchdog", "cluster": "eu", "severity": "none"}, -time.Second)
		require.Len(t, s.titles(), 1, "its end is no sign of life")
		s.watchdog("eu")
		require.Empty(t, s.titles())
		s.watchdog("us")
		require.Len(t, s.titles(), 1, "nothing expects the one of us")
	})
}

// A heartbeat that never arrives counts from when it was configured, across a
// restart.
func TestAHeartbeatThatNeverArrives(t *testing.T) {
	expecting(t, func(t *testing.T, s *scene) {
		s.sleep(5 * time.Minute)
		s.Stop()
		s.sleep(4 * time.Minute)
		s.Start()
		s.frank = s.As("frank")
		s.ping(nightlyPing)
		s.watchdog("eu")
		s.sleep(time.Until(s.began.Add(12*time.Minute)) - time.Second)
		s.watchdog("eu")
		require.Empty(t, s.titles())
		s.sleep(2 * time.Second)
		require.Equal(t, []string{"sync was never heard of; it was due at 2026-11-29 03:10:00 UTC"}, s.titles())
	})
}

// What stops while watchbill is down pages once it is back, when its grace has
// passed again; what stopped before that has its incident still.
func TestHeartbeatsAcrossARestart(t *testing.T) {
	t.Parallel()
	expecting(t, func(t *testing.T, s *scene) {
		s.ping(syncPing)
		s.sleep(time.Minute)
		s.ping(nightlyPing)
		s.watchdog("eu")
		s.sleep(4 * time.Minute) // prom-eu is silent since 03:04
		require.Len(t, s.titles(), 1)
		s.Stop()
		s.sleep(3 * time.Hour) // sync was due at 03:10, nightly at 04:00 (05:00 in Madrid)
		s.Start()
		back := time.Now()
		s.frank = s.As("frank")
		synctest.Wait()
		require.Len(t, s.incidents(), 1, "what was silent before did not end meanwhile")
		require.Equal(t, watchbill.StateOpen, s.incidents()[0].State)
		s.sleep(time.Minute)
		s.Stop() // going up and down puts nothing off
		s.Start()
		s.frank = s.As("frank")
		s.sleep(time.Until(back.Add(2*time.Minute)) - time.Millisecond)
		require.Len(t, s.titles(), 1)
		s.sleep(time.Millisecond)
		require.Len(t, s.titles(), 2)
		require.Contains(t, s.titles()[0], "sync is silent; it was due at 2026-11-29 03:10:00 UTC")
		s.sleep(time.Until(back.Add(10*time.Minute)) - time.Millisecond)
		require.Len(t, s.titles(), 2)
		s.sleep(time.Millisecond)
		require.Len(t, s.titles(), 3, "a grace of 30 m is ten minutes after a restart")
	})
}

// A heartbeat that is taken out of the configuration takes its alert along; one
// that comes new is expected from then on.
func TestHeartbeatsChangeWithTheConfiguration(t *testing.T) {
	expecting(t, func(t *testing.T, s *scene) {
		s.ping(syncPing + "/fail")
		require.Equal(t, []string{"sync failed"}, s.titles())
		s.sleep(time.Minute)
		s.expect("\nheartbeats:\n  - {name: fresh, key: 11111111-aaaa-bbbb-cccc-000000000001, period: 1h}\n")
		require.NoError(t, s.frank.Reload(t.Context()))
		s.sleep(time.Millisecond)
		require.Empty(t, s.titles())
		v := s.beat("fresh")
		require.Equal(t, "new", v.State)
		require.Equal(t, s.began.Add(time.Minute), v.Configured.Truncate(time.Second))
		require.Equal(t, "5m", v.Grace)
		all, err := s.frank.Heartbeats(t.Context())
		require.NoError(t, err)
		require.Len(t, all, 1)
		s.ping(syncPing)
		require.Equal(t, "up", s.beat("fresh").State, "the address is another's now")
	})
}
