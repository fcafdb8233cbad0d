package collector_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/collector"
)

func TestAlertGoesFromMetricToNotify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop, in := newService(), newInbox()
		defer shop.server.Close()
		c, stop := start(t, collector.Config{Prometheus: []byte(scrape15), Rules: rule(broken), ExternalURL: "https://wb.example.com/"},
			collector.Options{Notify: in.notify, DialContext: shop.listener.DialContext})
		defer stop()
		time.Sleep(2 * time.Minute)
		require.Empty(t, in.all())

		shop.broken.Set(1)
		a := in.await(t, time.Minute, firing)
		require.Equal(t, watchbill.Labels{"alertname": "Broken", "severity": "page", "job": "shop", "instance": "shop:80"}, a.Labels)
		require.Equal(t, watchbill.Labels{"summary": "shop is at 1"}, a.Annotations)
		require.Equal(t, "rules", a.Source)
		require.Equal(t, "https://wb.example.com/graph?g0.expr="+url.QueryEscape("broken == 1")+"&g0.tab=1", a.GeneratorURL)
		require.Equal(t, 4*time.Minute, a.EndsAt.Sub(a.UpdatedAt))
		require.Equal(t, a.StartsAt, a.UpdatedAt)

		again := in.await(t, 2*time.Minute, firing)
		require.Equal(t, a.Fingerprint(), again.Fingerprint())
		require.Equal(t, a.StartsAt, again.StartsAt)
		require.InDelta(t, 60, again.UpdatedAt.Sub(a.UpdatedAt).Seconds(), 3.1, "repeated every minute")

		shop.broken.Set(0)
		over := in.await(t, time.Minute, resolved)
		require.Equal(t, a.Fingerprint(), over.Fingerprint())
		require.False(t, over.EndsAt.After(over.UpdatedAt))

		v, err := c.Query(t.Context(), `count_over_time(ALERTS{alertname="Broken",alertstate="firing"}[10m]) > 0`, time.Now())
		require.NoError(t, err)
		require.Len(t, v, 1)
	})
}

// TestDetectionTime measures the time from a flip of a metric to the call of
// Notify: on average half a scrape and half an evaluation of alerts, at most one
// of each. Between a scrape and the evaluation after it lies a time that is
// constant for a target, as both have fixed slots; so many targets are measured,
// over flips that are spread evenly over the scrape interval.
func TestDetectionTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop, in := newService(), newInbox()
		defer shop.server.Close()
		const jobs, flips = 40, 12
		var text strings.Builder
		text.WriteString("global: {scrape_interval: 15s, scrape_timeout: 5s, evaluation_interval: 15s}\nscrape_configs:\n")
		for i := range jobs {
			fmt.Fprintf(&text, "  - {job_name: shop%d, static_configs: [{targets: ['shop:80']}]}\n", i)
		}
		_, stop := start(t, collector.Config{Prometheus: []byte(text.String()), Rules: rule("groups: [{name: g, rules: [{alert: Broken, expr: broken == 1}]}]")},
			collector.Options{Notify: in.notify, DialContext: shop.listener.DialContext})
		defer stop()
		base := time.Now().Add(time.Minute)
		var sum, worst time.Duration
		for i := range flips {
			// A minute is a whole number of scrapes and of evaluations.
			time.Sleep(time.Until(base.Add(time.Duration(i) * (2*time.Minute + 15*time.Second/flips))))
			flipped := time.Now()
			shop.broken.Set(1)
			for range jobs {
				d := in.await(t, time.Minute, firing).at.Sub(flipped)
				sum, worst = sum+d, max(worst, d)
			}
			shop.broken.Set(0)
			for range jobs {
				in.await(t, time.Minute, resolved)
			}
		}
		mean := sum / (jobs * flips)
		t.Logf("15 s scrapes, alert rules every 3 s, %d targets, %d flips: mean %s, max %s",
			jobs, flips, mean.Round(time.Millisecond), worst.Round(time.Millisecond))
		require.LessOrEqual(t, mean, 9500*time.Millisecond)
		require.LessOrEqual(t, worst, 18*time.Second)
	})
}

func TestFirstScrapeWithinASecond(t *testing.T) {
	for job := range 5 {
		synctest.Test(t, func(t *testing.T) {
			shop, in := newService(), newInbox()
			defer shop.server.Close()
			began := time.Now()
			_, stop := start(t, collector.Config{Prometheus: fmt.Appendf(nil, `
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
scrape_configs: [{job_name: shop%d, static_configs: [{targets: ["shop:80"]}]}]
`, job)}, collector.Options{Notify: in.notify, DialContext: shop.listener.DialContext})
			defer stop()
			time.Sleep(5 * time.Second)
			require.Less(t, shop.firstScrape().Sub(began), 1300*time.Millisecond)
			require.False(t, shop.firstScrape().IsZero())
		})
	}
}

func TestAlertThatWasNotTakenIsRepeatedUntilItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop, in := newService(), newInbox()
		defer shop.server.Close()
		_, stop := start(t, collector.Config{Prometheus: []byte(scrape15), Rules: rule(broken)},
			collector.Options{Notify: in.notify, DialContext: shop.listener.DialContext})
		defer stop()
		in.fail(errors.New("store is away"))
		shop.broken.Set(1)
		time.Sleep(40 * time.Second)
		require.Empty(t, in.all())
		require.GreaterOrEqual(t, in.tries(), 20, "tried at least every second")
		back := time.Now()
		in.fail(nil)
		a := in.await(t, time.Minute, firing)
		require.LessOrEqual(t, a.at.Sub(back), time.Second)
		require.Less(t, a.StartsAt, back)
		time.Sleep(10 * time.Second)
		require.Empty(t, in.all(), "once taken it is not sent again before its minute")

		// The state that is handed over is the latest one.
		in.fail(errors.New("store is away"))
		time.Sleep(90 * time.Second)
		shop.broken.Set(0)
		time.Sleep(30 * time.Second)
		in.fail(nil)
		time.Sleep(2 * time.Second)
		require.Len(t, in.all(), 1)
		require.True(t, resolved(in.all()[0]))
	})
}

func TestExternalLabelsAndLinksFollowTheConfiguration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop, in := newService(), newInbox()
		defer shop.server.Close()
		prom := strings.Replace(scrape15, "{", "{external_labels: {environment: prod, severity: none}, ", 1)
		cfg := collector.Config{Prometheus: []byte(prom), Rules: rule(broken), ExternalURL: "http://one"}
		c, stop := start(t, cfg, collector.Options{Notify: in.notify, DialContext: shop.listener.DialContext})
		defer stop()
		shop.broken.Set(1)
		a := in.await(t, time.Minute, firing)
		require.Equal(t, "prod", a.Labels["environment"])
		require.Equal(t, "page", a.Labels["severity"], "the alert's own label stays")
		cfg.ExternalURL = "http://two"
		require.NoError(t, c.Reload(cfg))
		require.Contains(t, in.await(t, 2*time.Minute, firing).GeneratorURL, "http://two/graph")
	})
}

func TestRetentionFollowsTheConfiguration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop, in := newService(), newInbox()
		defer shop.server.Close()
		cfg := collector.Config{Prometheus: []byte(strings.ReplaceAll(scrape15, "15s", "3m")), Retention: 4 * time.Hour}
		c, stop := start(t, cfg, collector.Options{Notify: in.notify, DialContext: shop.listener.DialContext})
		defer stop()
		oldest := func() time.Duration {
			t.Helper()
			v, err := c.Query(t.Context(), "time() - min_over_time(timestamp(up)[2d:5m])", time.Now())
			require.NoError(t, err)
			require.Len(t, v, 1)
			return time.Duration(v[0].Value) * time.Second
		}
		time.Sleep(14 * time.Hour)
		require.Less(t, oldest(), 9*time.Hour)
		cfg.Retention = 10 * 24 * time.Hour
		require.NoError(t, c.Reload(cfg))
		time.Sleep(9 * time.Hour)
		require.Greater(t, oldest(), 12*time.Hour)
	})
}

func TestPoisonedAlertHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop := newService()
		defer shop.server.Close()
		in := newInbox()
		notify := func(ctx context.Context, alerts []watchbill.Alert) error {
			for _, a := range alerts {
				if a.Name() == "Poison" {
					return errors.New("cannot be stored")
				}
			}
			return in.notify(ctx, alerts)
		}
		_, stop := start(t, collector.Config{Prometheus: []byte(scrape15), Rules: rule(`
groups:
  - name: g
    rules:
      - {alert: Poison, expr: up == 1}
      - {alert: Good, expr: up == 1}
  - name: h
    rules:
      - {alert: Better, expr: up == 1}
`)}, collector.Options{Notify: notify, DialContext: shop.listener.DialContext})
		defer stop()
		time.Sleep(40 * time.Second)
		got := map[string]int{}
		for _, a := range in.all() {
			got[a.Name()]++
		}
		require.Equal(t, map[string]int{"Good": 1, "Better": 1}, got)
	})
}

func TestRecordingRulesStayOnTheGrid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop, in := newService(), newInbox()
		defer shop.server.Close()
		c, stop := start(t, collector.Config{Prometheus: []byte(scrape15), Rules: rule(`
groups:
  - name: mixed
    rules:
      - {record: shop:broken, expr: sum(broken)}
      - {alert: Always, expr: 'shop:broken == 0'}
  - name: own
    interval: 20s
    rules:
      - {record: shop:own, expr: sum(broken)}
      - {alert: Own, expr: 'shop:own == 0'}
`)}, collector.Options{Notify: in.notify, DialContext: shop.listener.DialContext})
		defer stop()
		time.Sleep(10 * time.Minute)
		for series, gap := range map[string]time.Duration{
			"shop:broken":                15 * time.Second,
			`ALERTS{alertname="Always"}`: 3 * time.Second,
			"shop:own":                   20 * time.Second,
			`ALERTS{alertname="Own"}`:    20 * time.Second,
		} {
			points, err := c.Query(t.Context(), series+"[5m]", time.Now())
			require.NoError(t, err)
			require.Len(t, points, int(5*time.Minute/gap), series)
			for i := 1; i < len(points); i++ {
				require.Equal(t, gap, points[i].At.Sub(points[i-1].At), series)
			}
		}
	})
}

const slow = `
groups:
  - name: slow
    rules:
      - {alert: Slow, expr: broken == 1, for: 30m}
`

func TestReopenKeepsSamplesAndForState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		shop, in := newService(), newInbox()
		defer shop.server.Close()
		cfg := collector.Config{Prometheus: []byte(scrape15), Rules: rule(slow)}
		o := collector.Options{Dir: dir, Notify: in.notify, DialContext: shop.listener.DialContext}
		shop.broken.Set(1)
		began := time.Now()
		_, stop := start(t, cfg, o)
		time.Sleep(20 * time.Minute)
		stop()
		time.Sleep(2 * time.Minute)

		c, stop := start(t, cfg, o)
		defer stop()
		v, err := c.Query(t.Context(), "count_over_time(broken[1h])", time.Now())
		require.NoError(t, err)
		require.Len(t, v, 1)
		require.InDelta(t, 80, v[0].Value, 2)
		require.Empty(t, in.all())
		a := in.await(t, time.Hour, firing)
		// The two minutes away do not count towards the 30.
		require.InDelta(t, (32 * time.Minute).Seconds(), a.at.Sub(began).Seconds(), 45)
	})
}

// TestKillKeepsWhatWasWritten copies the folder of a running collector, which is
// what a killed process leaves behind.
func TestKillKeepsWhatWasWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop, in := newService(), newInbox()
		defer shop.server.Close()
		cfg := collector.Config{Prometheus: []byte(scrape15), Rules: rule(slow)}
		live := filepath.Join(t.TempDir(), "live")
		shop.broken.Set(1)
		began := time.Now()
		_, stop := start(t, cfg, collector.Options{Dir: live, Notify: in.notify, DialContext: shop.listener.DialContext})
		time.Sleep(20 * time.Minute)
		left := filepath.Join(t.TempDir(), "left")
		require.NoError(t, os.CopyFS(left, os.DirFS(live)))
		stop()

		c, stop := start(t, cfg, collector.Options{Dir: left, Notify: in.notify, DialContext: shop.listener.DialContext})
		defer stop()
		v, err := c.Query(t.Context(), "count_over_time(broken[1h])", time.Now())
		require.NoError(t, err)
		require.InDelta(t, 80, v[0].Value, 2)
		a := in.await(t, time.Hour, firing)
		require.InDelta(t, (30 * time.Minute).Seconds(), a.at.Sub(began).Seconds(), 45)
	})
}

func TestReloadKeepsUnchangedGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop, in := newService(), newInbox()
		defer shop.server.Close()
		cfg := collector.Config{Prometheus: []byte(scrape15), Rules: rule(slow)}
		c, stop := start(t, cfg, collector.Options{Notify: in.notify, DialContext: shop.listener.DialContext})
		defer stop()
		shop.broken.Set(1)
		flipped := time.Now()
		time.Sleep(20 * time.Minute)
		cfg.Rules = append(cfg.Rules, collector.RuleFile{Name: "more.yaml", Content: []byte(broken)})
		require.NoError(t, c.Reload(cfg))
		a := in.await(t, time.Minute, firing)
		require.Equal(t, "Broken", a.Name(), "the new group works")
		b := in.await(t, time.Hour, func(a received) bool { return a.Name() == "Slow" })
		require.InDelta(t, (30 * time.Minute).Seconds(), b.at.Sub(flipped).Seconds(), 19, "the old one did not start again")
	})
}

func TestReloadRefusesAndLeavesTheOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop, in := newService(), newInbox()
		defer shop.server.Close()
		cfg := collector.Config{Prometheus: []byte(scrape15), Rules: rule(broken)}
		c, stop := start(t, cfg, collector.Options{Notify: in.notify, DialContext: shop.listener.DialContext})
		defer stop()
		time.Sleep(time.Minute)
		for name, bad := range map[string]struct {
			cfg  collector.Config
			want string
		}{
			"rule":      {collector.Config{Prometheus: []byte(scrape15), Rules: rule("groups: [{name: g, rules: [{alert: A, expr: 'sum('}]}]")}, "rules.yaml:1:45"},
			"two files": {collector.Config{Prometheus: []byte(scrape15), Rules: append(rule(slow), rule(slow)...)}, "rules.yaml is there twice"},
			"scrape":    {collector.Config{Prometheus: []byte("scrape_configs: [{job_name: a, nope: 1}]"), Rules: rule(slow)}, "nope"},
			"discovery": {collector.Config{Prometheus: []byte("scrape_configs: [{job_name: a, kubernetes_sd_configs: [{role: pod}]}]")}, "kubernetes_sd_configs"},
			"tls":       {collector.Config{Prometheus: []byte("scrape_configs: [{job_name: a, tls_config: {ca_file: /nowhere/ca.pem}}]")}, "/nowhere/ca.pem"},
			"foreign":   {collector.Config{Prometheus: []byte("rule_files: [a.yaml]")}, "rule_files has no meaning here"},
			"url":       {collector.Config{Prometheus: []byte(scrape15), ExternalURL: "http://a b/"}, "external URL"},
		} {
			err := c.Reload(bad.cfg)
			require.ErrorContains(t, err, bad.want, name)
			failure, ok := errors.AsType[*watchbill.Error](err)
			require.True(t, ok, name)
			require.Equal(t, watchbill.CodeInvalid, failure.Code)
			require.NotEmpty(t, failure.Hint)
		}
		shop.broken.Set(1)
		require.Equal(t, "Broken", in.await(t, 19*time.Second, firing).Name())
	})
}

func TestHTTPDiscovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop, in := newService(), newInbox()
		defer shop.server.Close()
		c, stop := start(t, collector.Config{Prometheus: []byte(`
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
scrape_configs: [{job_name: http, http_sd_configs: [{url: "http://sd/discovery"}]}]
`)}, collector.Options{Notify: in.notify, DialContext: shop.listener.DialContext})
		defer stop()
		time.Sleep(10 * time.Second)
		v, err := c.Query(t.Context(), `up{instance="found:80"} == 1`, time.Now())
		require.NoError(t, err)
		require.Len(t, v, 1)
	})
}

func TestFileDiscovery(t *testing.T) {
	t.Parallel()
	shop, in := newService(), newInbox()
	defer shop.server.Close()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "shop.json"), []byte(`[{"targets": ["one:80"]}]`), 0o600))
	_, stop := start(t, collector.Config{Dir: dir, Rules: rule(`
groups: [{name: g, rules: [{alert: Two, expr: 'count(up == 1) == 2'}]}]
`), Prometheus: []byte(`
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
scrape_configs: [{job_name: file, file_sd_configs: [{files: ["*.json"]}]}]
`)}, collector.Options{Notify: in.notify, DialContext: shop.listener.DialContext})
	defer stop()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "shop.json"), []byte(`[{"targets": ["one:80", "two:80"]}]`), 0o600))
	require.Equal(t, "Two", in.await(t, 30*time.Second, firing).Name())
}

func TestQuery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop, in := newService(), newInbox()
		defer shop.server.Close()
		c, stop := start(t, collector.Config{Prometheus: []byte(scrape1)}, collector.Options{Notify: in.notify, DialContext: shop.listener.DialContext})
		defer stop()
		time.Sleep(30 * time.Second)
		now := time.Now()
		for expr, n := range map[string]int{"1+1": 1, "up": 1, "up[10s]": 10, "nothing": 0, "count(up @ end()) offset -1s": -1, `"text"`: -1, "sum(": -1} {
			v, err := c.Query(t.Context(), expr, now)
			if n < 0 {
				require.Error(t, err, expr)
				continue
			}
			require.NoError(t, err, expr)
			require.Len(t, v, n, expr)
		}
	})
}

func TestTwoCollectorsLiveInOneProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o := func(name string) collector.Options {
		return collector.Options{Dir: filepath.Join(dir, name), Notify: newInbox().notify, Registerer: prometheus.NewRegistry()}
	}
	cfg := collector.Config{Prometheus: []byte(scrape15), Rules: rule(broken)}
	a, err := collector.New(cfg, o("a"))
	require.NoError(t, err)
	b, err := collector.New(cfg, o("b"))
	require.NoError(t, err)
	_, err = collector.New(cfg, o("a"))
	require.ErrorContains(t, err, "no other watchbill uses it")
	// Never run, they can still be closed, twice.
	require.NoError(t, a.Close())
	require.NoError(t, a.Close())
	require.NoError(t, b.Close())
	require.Error(t, a.Run(t.Context()))
	require.Error(t, a.Reload(cfg))
}

func TestNewRequiresFolderAndNotify(t *testing.T) {
	t.Parallel()
	_, err := collector.New(collector.Config{}, collector.Options{})
	require.ErrorContains(t, err, "required")
}
