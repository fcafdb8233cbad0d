package daemon_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	amconfig "github.com/prometheus/alertmanager/config"
	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/auth"
	"watchbill/internal/web"
)

// amSite is a daemon on the network, Alertmanager's tool logged in to it as a
// person, and a client.
type amSite struct {
	t      *testing.T
	addr   string
	dir    string
	client *web.Client
	tool   string
}

func newAMSite(t *testing.T, yaml string) *amSite {
	t.Helper()
	d, addr := onNetwork(t, yaml)
	secret, _, err := d.CreateToken(t.Context(), auth.Spec{Name: "frank", Person: "frank", CreatedBy: "test"})
	require.NoError(t, err)
	s := &amSite{t: t, addr: addr, dir: t.TempDir(), client: &web.Client{URL: "http://" + addr, Token: secret.Reveal(), HTTP: http.DefaultClient}}
	s.write("login.yml", "authorization: {type: Bearer, credentials: "+secret.Reveal()+"}\n")
	return s
}

func (s *amSite) write(name, text string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	require.NoError(s.t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func (s *amSite) amtool(args ...string) string {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), s.tool, append([]string{"--alertmanager.url", "http://" + s.addr, "--http.config.file", filepath.Join(s.dir, "login.yml")}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+s.dir)
	var stderr bytes.Buffer // it warns there of another version
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(s.t, err, "amtool %s: %s%s", strings.Join(args, " "), out, &stderr)
	return strings.TrimSpace(string(out))
}

// get asks for something and decodes it.
func (s *amSite) get(path string, into any) int {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://"+s.addr+path, nil)
	require.NoError(s.t, err)
	req.Header.Set("Authorization", "Bearer "+s.client.Token)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(s.t, err)
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		require.NoError(s.t, json.NewDecoder(resp.Body).Decode(into))
	}
	return resp.StatusCode
}

// A session with Debian's amtool, on the daemon itself.
func TestAmtoolSession(t *testing.T) {
	t.Parallel()
	tool := peer(t, "amtool")
	s := newAMSite(t, "")
	s.tool = tool
	s.amtool("alert", "add", "alertname=DiskFull", "service=db", "severity=warning", "--annotation=summary=The disk is full")
	s.amtool("alert", "add", "alertname=Slow", "service=web", "severity=info")
	require.Contains(t, s.amtool("alert", "query"), "DiskFull")
	require.Contains(t, s.amtool("alert", "query", "service=db"), "The disk is full")
	require.NotContains(t, s.amtool("alert", "query", "service=db"), "Slow")
	require.Contains(t, s.amtool("alert", "query", "service=~w.+"), "Slow")

	id := s.amtool("silence", "add", "service=db", "-c", "replacing it", "-d", "1h")
	require.NotContains(t, s.amtool("alert", "query"), "DiskFull", "a silenced alert is not listed as active")
	require.Contains(t, s.amtool("alert", "query", "--silenced"), "DiskFull")
	require.Contains(t, s.amtool("silence", "query"), id)
	updated := s.amtool("silence", "update", "-d", "2h", "-o", "json", id)
	require.Contains(t, updated, "replacing it")
	exported := s.write("silences.json", s.amtool("silence", "query", "-o", "json"))
	for silence := range strings.FieldsSeq(s.amtool("silence", "query", "-q")) {
		s.amtool("silence", "expire", silence)
	}
	require.Contains(t, s.amtool("alert", "query"), "DiskFull")
	require.Empty(t, s.amtool("silence", "query", "-q"))
	s.amtool("silence", "import", exported)
	require.NotContains(t, s.amtool("alert", "query"), "DiskFull")

	s.amtool("alert", "add", "alertname=Slow", "service=web", "severity=info", "--end="+time.Now().Add(-time.Second).UTC().Format(time.RFC3339))
	require.NotContains(t, s.amtool("alert", "query"), "Slow")
	require.Contains(t, s.amtool("config", "show"), "resolve_timeout")
	require.Contains(t, s.amtool("config", "routes", "test", "alertname=DiskFull"), "support")
	require.Contains(t, s.amtool("cluster", "show"), "disabled")
}

// The routing that the status shows is a configuration of Alertmanager's, and
// Grafana finds what it asks for.
func TestStatusAndGroups(t *testing.T) {
	t.Parallel()
	s := newAMSite(t, `
activities: [{match: ['signal="security"'], activity: security}]
`)
	var status struct {
		Config      struct{ Original string }
		Cluster     struct{ Status string }
		VersionInfo struct{ Version, GoVersion string }
	}
	require.Equal(t, http.StatusOK, s.get("/api/v2/status", &status))
	cfg, err := amconfig.Load(status.Config.Original)
	require.NoError(t, err, status.Config.Original)
	require.Equal(t, "5m0s", time.Duration(cfg.Global.ResolveTimeout).String())
	require.Equal(t, "security", cfg.Route.Routes[0].Receiver)
	require.Equal(t, http.StatusNotFound, s.get("/alertmanager/api/v2/status", nil))

	require.NoError(t, s.client.PostAlerts(t.Context(), []watchbill.Alert{
		{Labels: watchbill.Labels{"alertname": "A", "service": "db", "имя": "да"}},
		{Labels: watchbill.Labels{"alertname": "B", "service": "db"}},
		{Labels: watchbill.Labels{"alertname": "C", "signal": "security", "service": "db"}},
	}))
	var groups []struct {
		Labels   map[string]string
		Receiver struct{ Name string }
		Alerts   []struct {
			Labels    map[string]string
			Receivers []struct{ Name string }
			Status    struct{ State string }
		}
	}
	require.Equal(t, http.StatusOK, s.get("/api/v2/alerts/groups", &groups))
	require.Len(t, groups, 2)
	require.Equal(t, map[string]string{"service": "db", "environment": "prod", "activity": "first-line"}, groups[0].Labels)
	require.Len(t, groups[0].Alerts, 2)
	require.Equal(t, "security", groups[1].Receiver.Name)
	require.Equal(t, "active", groups[1].Alerts[0].Status.State)
	require.Equal(t, http.StatusOK, s.get("/api/v2/alerts/groups?receiver=sec.*&filter=%22signal%22%3Dsecurity", &groups))
	require.Len(t, groups, 1)
	var alerts []struct{ Labels map[string]string }
	require.Equal(t, http.StatusOK, s.get("/api/v2/alerts?filter=%22%D0%B8%D0%BC%D1%8F%22%3D%22%D0%B4%D0%B0%22", &alerts))
	require.Len(t, alerts, 1)
	require.Equal(t, "A", alerts[0].Labels["alertname"])
	for _, bad := range []string{"filter=%7B%7B", "receiver=(", "active=perhaps", "filter=a"} {
		require.Equal(t, http.StatusBadRequest, s.get("/api/v2/alerts?"+bad, nil), bad)
	}
	var receivers []struct{ Name string }
	require.Equal(t, http.StatusOK, s.get("/api/v2/receivers", &receivers))
	require.True(t, slices.ContainsFunc(receivers, func(r struct{ Name string }) bool { return r.Name == "support" }))
}

// Debian's Prometheus fires a rule, with credentials, and the incident opens;
// the rule ends, and the incident resolves.
func TestPrometheusSession(t *testing.T) {
	t.Parallel()
	prometheus := peer(t, "prometheus")
	s := newAMSite(t, "")
	token := s.write("token", s.client.Token)
	rules := func(expr string) {
		s.write("rules.yaml", `
groups:
  - name: session
    interval: 1s
    rules:
      - {alert: Session, expr: '`+expr+`', labels: {service: shop, severity: warning}, annotations: {summary: A session}}
`)
	}
	rules("vector(1)")
	file := s.write("prometheus.yml", fmt.Sprintf(`
rule_files: [rules.yaml]
alerting:
  alertmanagers:
    - authorization: {credentials_file: %s}
      static_configs: [{targets: ['%s']}]
`, token, s.addr))
	at := freeAddr(t)
	start(t, prometheus, "--config.file="+file, "--rules.alert.resend-delay=1s", "--storage.tsdb.path="+filepath.Join(s.dir, "prom"),
		"--web.listen-address="+at, "--web.enable-lifecycle")
	state := func(want watchbill.State) func() bool {
		return func() bool {
			all, err := s.client.Incidents(t.Context(), "", 10)
			return err == nil && len(all) == 1 && all[0].Service == "shop" && all[0].State == want
		}
	}
	require.Eventually(t, state(watchbill.StateOpen), 30*time.Second, 100*time.Millisecond)
	rules("vector(1) > 2")
	resp, err := http.Post("http://"+at+"/-/reload", "", nil)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Eventually(t, state(watchbill.StateResolved), 30*time.Second, 100*time.Millisecond)
}
