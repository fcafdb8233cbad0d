package daemon_test

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	promconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"watchbill/internal/auth"
	"watchbill/internal/daemon"
)

func writeToken(t *testing.T, d *daemon.Daemon, source string) string {
	t.Helper()
	secret, _, err := d.CreateToken(t.Context(), auth.Spec{Name: source, Scopes: []auth.Scope{auth.ScopeWrite}, CreatedBy: "test"})
	require.NoError(t, err)
	return secret.Reveal()
}

// A Prometheus of an edge site, Debian's, writes what it scrapes to watchbill, whose
// rules and queries see it.
func TestPrometheusWritesFromTheEdge(t *testing.T) {
	t.Parallel()
	program, dir := peer(t, "prometheus"), t.TempDir()
	rules := filepath.Join(dir, "rules.yaml")
	require.NoError(t, os.WriteFile(rules, []byte(`
groups:
  - name: edge
    rules:
      - {record: edge:up, expr: 'sum by (site) (up{site="madrid"})'}
      - {alert: EdgeIsThere, expr: 'up{site="madrid"} == 1', labels: {severity: info}}
`), 0o600))
	d, addr := onNetwork(t, fmt.Sprintf(`
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [%q]
sources: [{name: edge, kind: remote_write, labels: {site: madrid}, limits: {series: 2000}}]
`, rules))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	own := l.Addr().String()
	require.NoError(t, l.Close())
	file := filepath.Join(dir, "prometheus.yml")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, `
global: {scrape_interval: 1s, scrape_timeout: 1s, external_labels: {site: madrid}}
scrape_configs:
  - job_name: prometheus
    static_configs: [{targets: [%q]}]
remote_write:
  - url: http://%s/api/v1/write
    authorization: {credentials: %q}
    queue_config: {batch_send_deadline: 500ms, retry_on_http_429: true}
`, own, addr, writeToken(t, d, "edge")), 0o600))
	log := new(lockedBuffer)
	cmd := exec.Command(program, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+own)
	cmd.Stdout, cmd.Stderr = log, log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("prometheus: %s", log)
		}
	})
	client, err := api.NewClient(api.Config{Address: "http://" + addr, RoundTripper: promconfig.NewAuthorizationCredentialsRoundTripper(
		"Bearer", promconfig.NewInlineSecret(scopedToken(t, d, auth.ScopeRead)), http.DefaultTransport)})
	require.NoError(t, err)
	prom := v1.NewAPI(client)
	finds := func(expr string) func() bool {
		return func() bool {
			v, _, _, err := prom.Query(t.Context(), expr, time.Now())
			return err == nil && len(v.(model.Vector)) > 0
		}
	}
	for _, expr := range []string{
		`up{job="prometheus", site="madrid"} == 1`, `rate(prometheus_tsdb_head_samples_appended_total{site="madrid"}[10s]) > 0`,
		`edge:up{site="madrid"} == 1`, `ALERTS{alertname="EdgeIsThere", alertstate="firing", site="madrid"}`,
	} {
		require.Eventually(t, finds(expr), 30*time.Second, 200*time.Millisecond, expr)
	}
	require.NotContains(t, log.String(), "server returned HTTP status")
}

// Who may not write is told so.
func TestWhoMayWrite(t *testing.T) {
	t.Parallel()
	d, addr := onNetwork(t, "sources: [{name: edge, kind: remote_write, labels: {site: madrid}}]\n")
	person, _, err := d.CreateToken(t.Context(), auth.Spec{Name: "frank", Person: "frank", CreatedBy: "test"})
	require.NoError(t, err)
	for _, x := range []struct {
		token string
		code  int
		said  string
	}{
		{"", http.StatusUnauthorized, "token"},
		{scopedToken(t, d, auth.ScopeRead), http.StatusForbidden, "does not allow"},
		{person.Reveal(), http.StatusForbidden, "is for machines"},
		{writeToken(t, d, "berlin"), http.StatusForbidden, `"berlin" is not one of the sources`},
		{writeToken(t, d, "edge"), http.StatusBadRequest, "not compressed with snappy"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+"/api/v1/write", strings.NewReader("\xff"))
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer "+x.token)
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		body := new(bytes.Buffer)
		_, err = body.ReadFrom(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, x.code, resp.StatusCode, x.said)
		require.Contains(t, body.String(), x.said)
	}
}
