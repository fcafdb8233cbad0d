package collector_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill/collector"
	"watchbill/internal/pipenet"
)

// fleet is a number of targets, and the discovery that lists them.
type fleet struct {
	mu     sync.Mutex
	hosts  map[string]*pipenet.Listener
	down   map[string]bool
	bodies map[string]string
	listed string
}

func newFleet(t *testing.T, names ...string) *fleet {
	f := &fleet{hosts: map[string]*pipenet.Listener{}, down: map[string]bool{}, bodies: map[string]string{}}
	for _, name := range append(names, "discovery") {
		l := pipenet.Listen()
		f.hosts[name] = l
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			f.mu.Lock()
			defer f.mu.Unlock()
			switch {
			case name == "discovery":
				w.Header().Set("Content-Type", "application/json")
				io.WriteString(w, f.listed)
			case f.down[name]:
				w.WriteHeader(http.StatusInternalServerError)
			default:
				io.WriteString(w, f.bodies[name]+"\n")
			}
		})}
		go srv.Serve(l)
		t.Cleanup(func() { srv.Close() })
	}
	return f
}

func (f *fleet) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, _, _ := net.SplitHostPort(addr)
	return f.hosts[host].DialContext(ctx, network, addr)
}

func (f *fleet) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// listing writes what discovery answers: targets with their service.
func listing(targets ...string) string {
	var out []string
	for _, t := range targets {
		name, service, _ := strings.Cut(t, "/")
		out = append(out, fmt.Sprintf(`{"targets": [%q], "labels": {"service": %q}}`, name+":80", service))
	}
	return "[" + strings.Join(out, ",") + "]"
}

// names are the alerts that fire now, with the service.
func names(in *inbox) []string {
	last := map[string]received{}
	for _, a := range in.all() {
		last[a.Labels["alertname"]+" "+a.Labels["service"]+strings.TrimPrefix(a.Labels["metric"], "up")] = a
	}
	var out []string
	for name, a := range last {
		if a.EndsAt.After(time.Now()) {
			out = append(out, strings.TrimSpace(name))
		}
	}
	return out
}

const fleetStatic = `
global: {scrape_interval: 15s, scrape_timeout: 5s, evaluation_interval: 15s}
scrape_configs:
  - {job_name: shop, static_configs: [{targets: ["a:80", "b:80"]}]}
  - {job_name: db, static_configs: [{targets: ["c:80"], labels: {service: pg, environment: prod}}]}
`

// A target that is down is a warning while others of its service answer, and a
// page when none does. One or two failures, a start, a reload and a target that is
// taken out tell nobody anything.
func TestTargetsThatAreDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, in := newFleet(t, "a", "b", "c"), newInbox()
		cfg := collector.Config{Prometheus: []byte(fleetStatic), Vanishing: collector.Vanishing{Alerts: true, Services: []string{"shop"}}}
		c, stop := start(t, cfg, collector.Options{Notify: in.notify, DialContext: f.dial})
		defer stop()
		time.Sleep(5 * time.Minute)
		for range 20 { // a target that fails now and then
			f.set(func() { f.down["c"] = true })
			time.Sleep(15 * time.Second)
			f.set(func() { f.down["c"] = false })
			time.Sleep(45 * time.Second)
		}
		require.Empty(t, in.all())

		f.set(func() { f.down["a"] = true })
		a := in.await(t, 80*time.Second, firing)
		require.Equal(t, "warning", a.Labels["severity"])
		require.Equal(t, []string{"TargetDown", "shop", "a:80"}, []string{a.Labels["alertname"], a.Labels["service"], a.Labels["instance"]})
		require.Equal(t, "a:80 of the job shop is down; others of it answer", a.Annotations["summary"])

		f.set(func() { f.down["b"], f.down["c"] = true, true })
		two := map[string]received{}
		for len(two) < 2 {
			p := in.await(t, 80*time.Second, func(r received) bool { return firing(r) && r.Labels["severity"] == "page" })
			two[p.Labels["service"]] = p
		}
		require.Equal(t, "ServiceDown", two["shop"].Labels["alertname"])
		require.Equal(t, "shop is down: none of its targets answers", two["shop"].Annotations["summary"])
		require.Equal(t, "prod", two["pg"].Labels["environment"])
		in.await(t, time.Minute, func(r received) bool { return resolved(r) && r.Labels["alertname"] == "TargetDown" })

		// It does not flap with the target, and ends when most scrapes succeed again.
		for range 10 {
			f.set(func() { f.down["c"] = false })
			time.Sleep(15 * time.Second)
			f.set(func() { f.down["c"] = true })
			time.Sleep(45 * time.Second)
		}
		for _, r := range in.all() {
			require.True(t, r.Labels["service"] != "pg" || firing(r), "%v", r)
		}
		f.set(func() { clear(f.down) })
		time.Sleep(2 * time.Minute)
		require.Empty(t, names(in))

		// What is taken out of the configuration is not down, though it was stopped
		// before.
		f.set(func() { f.down["c"] = true })
		time.Sleep(20 * time.Second)
		cfg.Prometheus = []byte(strings.Replace(fleetStatic, `["c:80"]`, `["a:80"]`, 1))
		require.NoError(t, c.Reload(cfg))
		for range 20 {
			time.Sleep(30 * time.Second)
			require.Empty(t, names(in))
		}
	})
}

const fleetFound = `
global: {scrape_interval: 15s, scrape_timeout: 5s, evaluation_interval: 15s}
scrape_configs:
  - job_name: found
    http_sd_configs: [{url: "http://discovery/", refresh_interval: 15s}]
`

// A service that discovery does not list any more is told once, until it is
// back or the configuration of its job changes; one of several targets that goes is
// not. It survives a restart, and is not told when it goes by a reload.
func TestServicesThatVanishFromDiscovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, in := newFleet(t, "a", "b", "c"), newInbox()
		dir := t.TempDir()
		cfg := collector.Config{Prometheus: []byte(fleetFound), Vanishing: collector.Vanishing{Alerts: true}}
		run := func() (*collector.Collector, func()) {
			return start(t, cfg, collector.Options{Dir: dir, Notify: in.notify, DialContext: f.dial})
		}
		f.set(func() { f.listed = listing("a/shop", "b/shop", "c/pg") })
		_, end := run()
		stop := func() { end(); end = func() {} }
		defer func() { stop() }()
		time.Sleep(10 * time.Minute)
		f.set(func() { f.listed = listing("b/shop", "c/pg") }) // a replica less
		time.Sleep(20 * time.Minute)
		require.Empty(t, in.all())

		f.set(func() { f.listed = listing("b/shop") })
		a := in.await(t, 5*time.Minute, firing)
		require.Equal(t, []string{"ServiceVanished", "pg", "page", "found"}, []string{a.Labels["alertname"], a.Labels["service"], a.Labels["severity"], a.Labels["job"]})
		require.Equal(t, "pg is gone: discovery finds none of its targets any more", a.Annotations["summary"])
		time.Sleep(3 * time.Hour) // longer than it is remembered
		require.Equal(t, []string{"ServiceVanished pg"}, names(in))
		stop()
		time.Sleep(time.Minute)
		_, end = run()
		time.Sleep(10 * time.Minute)
		require.Equal(t, []string{"ServiceVanished pg"}, names(in), "a restart is no end of it")
		f.set(func() { f.listed = listing("b/shop", "c/pg") })
		in.await(t, 2*time.Minute, func(r received) bool { return resolved(r) })
		time.Sleep(5 * time.Minute)

		// It goes while the daemon is down.
		stop()
		f.set(func() { f.listed = listing("b/shop") })
		time.Sleep(10 * time.Minute)
		var c *collector.Collector
		c, end = run()
		time.Sleep(5 * time.Minute)
		require.Equal(t, []string{"ServiceVanished pg"}, names(in))

		// The job is changed: what is gone now is meant to be.
		cfg.Prometheus = []byte(strings.Replace(fleetFound, "job_name: found", "job_name: found\n    sample_limit: 1000", 1))
		require.NoError(t, c.Reload(cfg))
		in.await(t, time.Minute, func(r received) bool { return resolved(r) })
		require.NoError(t, c.Reload(cfg))
		f.set(func() { f.listed = listing("a/other") })
		cfg.Prometheus = []byte(strings.Replace(fleetFound, "job_name: found", "job_name: found\n    sample_limit: 1001", 1))
		require.NoError(t, c.Reload(cfg))
		time.Sleep(2 * time.Hour)
		require.Empty(t, names(in))
	})
}

// A series that an alert rule reads and that goes while its service answers is
// told; not one that never was, one of a service that is down, or one that a rule
// looks for itself.
func TestSeriesThatVanish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, in := newFleet(t, "a", "b", "c"), newInbox()
		f.bodies["a"], f.bodies["b"] = "requests 1\nerrors 1\nlooked_for 1", "requests 1"
		rules := rule(`groups: [{name: g, rules: [
			{alert: Errors, expr: 'errors > 5 and requests > 0'}, {alert: Never, expr: never > 1},
			{alert: Absent, expr: absent(looked_for), for: 30d}]}]`)
		rules[0].Watch = true
		cfg := collector.Config{Prometheus: []byte(fleetStatic), Rules: rules, Vanishing: collector.Vanishing{Alerts: true}}
		_, stop := start(t, cfg, collector.Options{Notify: in.notify, DialContext: f.dial})
		defer stop()
		time.Sleep(10 * time.Minute)
		f.set(func() { f.bodies["a"] = "requests 1" })
		time.Sleep(10 * time.Minute)
		require.Empty(t, in.all(), "a counter may take a while after a restart")
		a := in.await(t, 10*time.Minute, firing)
		require.Equal(t, []string{"SeriesVanished", "errors", "shop", "warning"}, []string{a.Labels["alertname"], a.Labels["metric"], a.Labels["job"], a.Labels["severity"]})
		time.Sleep(2 * time.Hour)
		require.Equal(t, []string{"SeriesVanished errors"}, names(in))
		f.set(func() { f.down["a"], f.down["b"] = true, true })
		time.Sleep(time.Hour)
		require.Equal(t, []string{"ServiceDown"}, names(in), "what is down has no series")
		f.set(func() { clear(f.down); f.bodies["b"] = "requests 1\nerrors 2" })
		time.Sleep(5 * time.Minute)
		require.Empty(t, names(in))
	})
}
