package daemon_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill/internal/daemon"
	"watchbill/internal/testkit"
)

// A rule over a series that only a Debian Prometheus has fires and pages here,
// and when that server is stopped its alert stays and our own metric says so.
func TestRulesOnAnotherPrometheus(t *testing.T) {
	t.Parallel()
	program, dir := peer(t, "prometheus"), t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	require.NoError(t, l.Close())
	require.NoError(t, os.WriteFile(filepath.Join(dir, "p.yml"), fmt.Appendf(nil,
		"global: {scrape_interval: 1s}\nscrape_configs: [{job_name: there, static_configs: [{targets: [%q]}]}]\n", addr), 0o600))
	cmd := exec.CommandContext(t.Context(), program, "--config.file="+filepath.Join(dir, "p.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+addr)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })

	w := testkit.New(t, t.TempDir())
	w.Tune = func(o *daemon.Options) {
		world := o.DialContext
		o.DialContext = func(ctx context.Context, network, to string) (net.Conn, error) {
			if to == addr {
				return (&net.Dialer{}).DialContext(ctx, network, to)
			}
			return world(ctx, network, to)
		}
	}
	w.Write("rules.yaml", `
groups:
  - name: there
    interval: 1s
    rules:
      - {record: there:heads, expr: 'count by (job) (prometheus_build_info)'}
      - {alert: OnlyThere, expr: 'there:heads == 1', labels: {severity: page, service: shop}, annotations: {summary: 'The series is there'}}
`)
	w.Write("watchbill.yaml", fmt.Sprintf(`external_url: https://watchbill.test
store: sqlite:data/watchbill.db
self_monitoring: true
global: {scrape_interval: 1s, evaluation_interval: 1s}
services: [{name: shop, environments: [prod]}]
roles: {preset: operations}
people: [{name: ana, roles: [manager, deployment, infrastructure, security, support], contact: [{receiver: ana-push}]}]
receivers: [{name: ana-push, webhook_configs: [{url: "http://push.test/ana-push"}]}]
rule_files: [rules.yaml]
prometheus: {url: "http://%s", timeout: 2s}
`, addr))
	phone := &testkit.Receiver{}
	w.Host("push.test", phone)
	w.Start()
	defer w.Stop()
	require.Eventually(t, func() bool { return len(phone.Pages()) > 0 }, 30*time.Second, 50*time.Millisecond)
	require.Contains(t, phone.Pages()[0].Annot["title"], "The series is there")
	inc := show(t, w.As("ana"), 1).Incident
	require.Equal(t, "shop", inc.Service)
	require.Equal(t, "there", inc.Labels["job"], "labels of the other server's series")

	require.NoError(t, cmd.Process.Kill())
	g := &guarded{scene: &scene{World: w, t: t}}
	g.frank = w.As("ana")
	require.Eventually(t, func() bool {
		return strings.Contains(g.scrape(), "\nwatchbill_prometheus_reachable 0\n")
	}, 20*time.Second, 100*time.Millisecond)
}

// A server that does not answer becomes an incident of our own, as do rules that
// cannot be evaluated, though nothing that is watched says anything.
func TestAPrometheusThatIsAwayIsTold(t *testing.T) {
	guard(t, nil, func(t *testing.T, g *guarded) {
		g.Host("mimir.test", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
		g.edit("roles: {preset: operations}", "roles: {preset: operations}\nprometheus: {url: 'http://mimir.test:9009'}")
		require.NoError(t, g.Daemon.Reload(t.Context()))
		g.sleep(2 * time.Minute)
		all := g.incidents()
		require.NotEmpty(t, all)
		require.Equal(t, "watchbill", all[0].Service)
		require.Equal(t, "Watchbill gets no answer from the Prometheus server that its rules are evaluated on", all[0].Title)
		require.NotEmpty(t, g.phone.Pages())
	})
}

// A scrape over a limit becomes an incident of our own, beside that of the
// service that is down for it.
func TestAScrapeOverALimitIsTold(t *testing.T) {
	t.Parallel()
	guard(t, nil, func(t *testing.T, g *guarded) {
		g.edit("job_name: checkout", "job_name: checkout\n    sample_limit: 1")
		require.NoError(t, g.Daemon.Reload(t.Context()))
		g.sleep(8 * time.Minute)
		titles := map[string]bool{}
		for _, inc := range g.incidents() {
			titles[inc.Title] = true
		}
		require.True(t, titles["Watchbill refuses scrapes that are over a limit, sample_limit"], "%v", titles)
		require.True(t, titles["checkout is down: none of its targets answers"], "%v", titles)
	})
}
