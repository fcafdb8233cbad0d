package bench_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// server is one program under measurement, on a fresh folder.
type server struct {
	name  string
	url   string
	token string
	pid   int
}

func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// launch starts a program and waits until it answers at path.
func launch(t testing.TB, s *server, path string, cmd *exec.Cmd) {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(t, cmd.Start())
	done := make(chan struct{})
	go func() { defer close(done); _ = cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-done })
	s.pid = cmd.Process.Pid
	require.Eventually(t, func() bool {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+path, nil)
		if err != nil {
			return false
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}, 30*time.Second, 20*time.Millisecond, "%s does not answer", s.name)
}

// amConfig is an Alertmanager that groups as the daemon does and notifies a sink
// at once.
func amConfig(t testing.TB, sink, groupBy string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "alertmanager.yml")
	text := fmt.Sprintf("route: {receiver: sink, group_by: [%s], group_wait: 0s, group_interval: 5m, repeat_interval: 4h}\n"+
		"receivers: [{name: sink, webhook_configs: [{url: '%s', send_resolved: false}]}]\n", groupBy, sink)
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

func newest(t testing.TB, sink, groupBy string) *server {
	addr := freeAddr(t)
	s := &server{name: "Alertmanager 0.34.2", url: "http://" + addr}
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(context.Background(), self)
	cmd.Env = append(os.Environ(), envConfig+"="+amConfig(t, sink, groupBy), envListen+"="+addr)
	launch(t, s, "/api/v2/status", cmd)
	return s
}

func debian(t testing.TB, sink, groupBy string) *server {
	path, err := exec.LookPath("prometheus-alertmanager")
	require.NoError(t, err, "apt-get install prometheus-alertmanager")
	addr := freeAddr(t)
	s := &server{name: "Debian's Alertmanager", url: "http://" + addr}
	launch(t, s, "/-/ready", exec.CommandContext(context.Background(), path, "--config.file="+amConfig(t, sink, groupBy),
		"--storage.path="+t.TempDir(), "--web.listen-address="+addr, "--cluster.listen-address=", "--log.level=error"))
	return s
}

// watchbill starts the daemon as its users do, with every person reached at the
// sink.
func watchbill(t testing.TB, bin, sink string) *server {
	dir, addr := t.TempDir(), freeAddr(t)
	text := fmt.Sprintf(`external_url: http://%[1]s
listen: %[1]s
store: sqlite:watchbill.db
storm: {pages_per_minute: 1000000} # each page is looked for by its own key
roles: {preset: operations}
people:
  - {name: ana, roles: [support, deployment, infrastructure, security, manager], contact: [{receiver: sink}]}
receivers: [{name: sink, webhook_configs: [{url: '%[2]s'}]}]
escalation: {second: 2h, manager: 3h, everyone: 4h, repeat: 4h}
`, addr, sink)
	file := filepath.Join(dir, "watchbill.yaml")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	token := filepath.Join(dir, "token")
	out, err := exec.CommandContext(t.Context(), bin, "token", "create", "bench", "--scope", "alerts", "--config", file, "--out", token).CombinedOutput()
	require.NoError(t, err, string(out))
	secret, err := os.ReadFile(token)
	require.NoError(t, err)
	s := &server{name: "watchbill", url: "http://" + addr, token: strings.TrimSpace(string(secret))}
	launch(t, s, "/-/ready", exec.CommandContext(context.Background(), bin, "serve", "--config", file, "--log-level", "error"))
	return s
}

// cpu is the processor time that a process has used.
func (s *server) cpu(t testing.TB) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.pid))
	require.NoError(t, err)
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+2:]))
	var ticks int
	for _, f := range fields[11:13] { // utime and stime; see proc(5)
		n, err := strconv.Atoi(f)
		require.NoError(t, err)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond // USER_HZ is 100 on Linux
}

// rss is the resident memory of a process, in MiB.
func (s *server) rss(t testing.TB) float64 { return s.memory(t, "VmRSS") }

// memory is a field of /proc/PID/status, in MiB; see proc(5).
func (s *server) memory(t testing.TB, field string) float64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.pid))
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			kb, err := strconv.Atoi(strings.Fields(rest)[0])
			require.NoError(t, err)
			return float64(kb) / 1024
		}
	}
	t.Fatalf("no %s", field)
	return 0
}
