package daemon_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/testkit"
	"watchbill/internal/web"
)

// binary builds the command as a user gets it.
func binary(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "watchbill")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "watchbill/cmd/watchbill").CombinedOutput()
	require.NoError(t, err, string(out))
	return bin
}

// peer returns the path of a program of another project. Without it the test is
// skipped, unless the environment says that it must be there.
func peer(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("WATCHBILL_REQUIRE_PEERS") != "" {
		require.NoError(t, err, "install Debian's package for %s", name)
	}
	t.Skipf("%s is not installed: apt-get install prometheus prometheus-node-exporter", name)
	return ""
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// process is a started program.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	logs *lockedBuffer
	done chan struct{}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func start(t *testing.T, name string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.CommandContext(context.Background(), name, args...), logs: &lockedBuffer{}, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.logs, p.logs
	require.NoError(t, p.cmd.Start())
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // killed is how most of them end
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(name), p.logs)
		}
	})
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Signal(syscall.SIGKILL) // it may have ended already
	<-p.done
}

// site is a configuration on loopback with a daemon to run on it.
type site struct {
	t      *testing.T
	bin    string
	dir    string
	addr   string
	phone  *testkit.Receiver
	client *web.Client
}

func newSite(t *testing.T, extra string, files map[string]string) *site {
	s := &site{t: t, bin: binary(t), dir: t.TempDir(), addr: freeAddr(t), phone: &testkit.Receiver{}}
	push := httptest.NewServer(s.phone)
	t.Cleanup(push.Close)
	text := fmt.Sprintf(`
external_url: http://%[1]s
listen: %[1]s
store: sqlite:watchbill.db
storm: {pages_per_minute: 1000000} # each page is looked for by its own key
global: {scrape_interval: 1s, evaluation_interval: 1s}
roles: {preset: operations}
people:
  - {name: ana, roles: [support], contact: [{receiver: push}]}
  - {name: carla, roles: [deployment, infrastructure], contact: [{receiver: push}]}
  - {name: eve, roles: [security], contact: [{receiver: push}]}
  - {name: frank, roles: [manager], contact: [{receiver: push}]}
receivers:
  - {name: push, webhook_configs: [{url: '%[2]s/push'}]}
escalation: {second: 6s, manager: 9s, everyone: 12s, repeat: 10s}
%[3]s
`, s.addr, push.URL, extra)
	require.NoError(t, os.WriteFile(s.file(), []byte(text), 0o600))
	for name, content := range files {
		s.write(name, content)
	}
	s.client = &web.Client{URL: "http://" + s.addr, Token: s.token("--person", "frank"), HTTP: &http.Client{Timeout: 10 * time.Second}}
	return s
}

// write writes a file beside the configuration and returns its path.
func (s *site) write(name, text string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	require.NoError(s.t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func (s *site) file() string { return filepath.Join(s.dir, "watchbill.yaml") }

func (s *site) run(args ...string) string {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), s.bin, append(args, "--config", s.file())...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(s.t, err, "%s: %s%s", strings.Join(args, " "), out, stderr.String())
	return strings.TrimSpace(string(out))
}

func (s *site) token(args ...string) string {
	return s.run(append([]string{"token", "create", "test"}, args...)...)
}

// serve starts the daemon and waits until it is ready.
func (s *site) serve() *process {
	s.t.Helper()
	p := start(s.t, s.bin, "serve", "--config", s.file())
	require.Eventually(s.t, func() bool {
		resp, err := http.Get("http://" + s.addr + "/-/ready")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}, 20*time.Second, 20*time.Millisecond, "%s", p.logs)
	return p
}

func (s *site) pages(n int, within time.Duration) []testkit.Page {
	s.t.Helper()
	require.Eventually(s.t, func() bool { return len(s.phone.Pages()) >= n }, within, 10*time.Millisecond, "%d pages did not arrive", n)
	return s.phone.Pages()
}

// delivered waits until the arrival of a page is on record. One that arrived and
// is not is sent again after a crash, under the same key, as it must be.
func (s *site) delivered(key string) {
	s.t.Helper()
	require.Eventually(s.t, func() bool {
		v, err := s.client.Incident(s.t.Context(), 1)
		return err == nil && slices.ContainsFunc(v.Pages, func(p web.PageView) bool { return p.Key == key && p.State == "delivered" })
	}, 10*time.Second, 10*time.Millisecond)
}

// kill -9 while nobody has answered: after the restart the next step fires at its
// own time, nothing is sent twice under two keys, and the record verifies.
func TestKillNineBetweenSteps(t *testing.T) {
	s := newSite(t, "", nil)
	p := s.serve()
	require.NoError(t, s.client.PostAlerts(t.Context(), []watchbill.Alert{{Labels: disk()}}))
	first := s.pages(1, 5*time.Second)[0]
	require.Equal(t, "ana", first.Person)
	s.delivered(first.Key)
	p.kill()
	p = s.serve()

	second := s.pages(2, 15*time.Second)[1]
	require.Equal(t, "carla", second.Person)
	v, err := s.client.Incident(t.Context(), 1)
	require.NoError(t, err)
	due := v.Incident.OpenedAt.Add(6 * time.Second)
	require.WithinRange(t, second.At, due, due.Add(time.Second), "the second step is due six seconds after it opened")
	s.delivered(second.Key)
	p.kill()
	p = s.serve()
	s.pages(3, 15*time.Second)

	_, err = s.client.Acknowledge(t.Context(), 1, "")
	require.NoError(t, err)
	p.kill() // right after the answer: the acknowledgement was on disk
	n := len(s.phone.Pages())
	s.serve()
	require.Never(t, func() bool { return len(s.phone.Pages()) > n }, 12*time.Second, 100*time.Millisecond, "acknowledged is quiet, across a crash too")
	v, err = s.client.Incident(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, watchbill.StateAcknowledged, v.Incident.State)

	// One page has one key, however often it was sent.
	type page struct {
		person string
		step   int
		gen    int
	}
	keys := map[page]string{}
	for _, x := range v.Pages {
		id := page{string(x.Page.Person), x.Page.Step, x.Page.Generation}
		require.Empty(t, keys[id])
		keys[id] = x.Key
	}
	for _, x := range s.phone.Pages() {
		require.Contains(t, keys, page{x.Person, stepOf(t, x.Key), 1})
	}
	require.Contains(t, s.run("audit", "verify"), "1 incidents, ")
	require.Contains(t, s.run("audit", "verify"), "; 0 are wrong")
}

func stepOf(t *testing.T, key string) int {
	t.Helper()
	var id, gen, step int
	_, err := fmt.Sscanf(key, "INC-%d/%d/%d/", &id, &gen, &step)
	require.NoError(t, err)
	return step
}

// kill -9 right after the answer to an alert: the page is sent after the
// restart.
func TestKillNineAfterTheAnswer(t *testing.T) {
	s := newSite(t, "", nil)
	s.phone.Answer(http.StatusServiceUnavailable) // whatever is sent before the kill does not arrive
	p := s.serve()
	require.NoError(t, s.client.PostAlerts(t.Context(), []watchbill.Alert{{Labels: disk()}}))
	p.kill()
	s.phone.Answer(0)
	s.serve()
	page := s.pages(1, 3*time.Second)[0]
	require.Equal(t, "INC-1/1/0/ana/push", page.Key, "whoever held its lease is dead: it is sent again at once")
}

// Real peers: Debian's node_exporter is scraped, a rule on one of its metrics
// pages; Debian's Prometheus, told of us as an Alertmanager, opens an incident.
func TestRealPeers(t *testing.T) {
	exporter, prometheus := peer(t, "prometheus-node-exporter"), peer(t, "prometheus")
	node := freeAddr(t)
	start(t, exporter, "--web.listen-address="+node, "--no-collector.systemd", "--no-collector.logind")
	s := newSite(t, fmt.Sprintf(`
scrape_configs:
  - job_name: node
    static_configs: [{targets: ['%s'], labels: {service: db}}]
rule_files: [rules.yaml]
`, node), map[string]string{"rules.yaml": `
groups:
  - name: node
    rules:
      - alert: NodeIsUp
        expr: node_time_seconds > 0
        labels: {severity: page}
        annotations: {summary: 'The clock of {{ $labels.instance }} runs', value: '{{ $value }}'}
`})
	s.serve()
	page := s.pages(1, 30*time.Second)[0]
	require.Equal(t, "ana", page.Person)
	require.Equal(t, "The clock of "+node+" runs", page.Annot["title"])
	require.Equal(t, "sev2", page.Severity)

	token := s.write("prometheus.token", s.token("--scope", "alerts"))
	s.write("prom-rules.yaml", `
groups:
  - name: upstream
    interval: 1s
    rules:
      - {alert: Upstream, expr: vector(1), labels: {service: payments, severity: critical}, annotations: {summary: Seen by another Prometheus}}
`)
	file := s.write("prometheus.yml", fmt.Sprintf(`
rule_files: [prom-rules.yaml]
alerting:
  alertmanagers:
    - authorization: {credentials_file: %s}
      static_configs: [{targets: ['%s']}]
`, token, s.addr))
	start(t, prometheus, "--config.file="+file, "--rules.alert.resend-delay=2s", "--storage.tsdb.path="+filepath.Join(s.dir, "prom"), "--web.listen-address="+freeAddr(t))
	require.Eventually(t, func() bool {
		all, err := s.client.Incidents(t.Context(), "live", 10)
		if err != nil {
			return false
		}
		for _, inc := range all {
			if inc.Service == "payments" && inc.Title == "Seen by another Prometheus" {
				return true
			}
		}
		return false
	}, 30*time.Second, 200*time.Millisecond)
}
