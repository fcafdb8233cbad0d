package faults_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
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
	"watchbill/internal/web"
)

// built is where the command is built.
var built string

// TestMain makes the folder in which the command is built, and removes it.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "watchbill-faults")
	if err != nil {
		panic(err)
	}
	built = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// binary is the command as a user gets it, built once.
var binary = sync.OnceValues(func() (string, error) {
	bin := filepath.Join(built, "watchbill")
	out, err := exec.Command("go", "build", "-o", bin, "watchbill/cmd/watchbill").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return bin, nil
})

// rig is a configuration on loopback, the real binary to run on it, the receiver
// that it pages through, and a ledger of everything that it answered 2xx.
type rig struct {
	t      *testing.T
	bin    string
	dir    string
	addr   string
	sim    *pagesim
	push   string   // the receiver's URL
	env    []string // of the daemon, besides the usual
	client *web.Client
	proc   *process
	downs  []span
	died   time.Time

	mu       sync.Mutex
	accepted []accepted
	acks     []acknowledged
}

// slowPath lets a scenario end before the second step is due.
const slowPath = "escalation: {second: 1h, manager: 2h, everyone: 3h, repeat: 1h}"

// newRig makes a site in a folder; extra is added to its configuration.
func newRig(t *testing.T, dir, extra string) *rig {
	t.Helper()
	bin, err := binary()
	require.NoError(t, err)
	r := &rig{t: t, bin: bin, dir: dir, addr: freeAddr(t), sim: &pagesim{}}
	srv := httptest.NewServer(r.sim)
	t.Cleanup(srv.Close)
	r.push = srv.URL
	r.configure(extra)
	r.client = &web.Client{URL: "http://" + r.addr, Token: r.run("token", "create", "faults", "--person", "frank"), HTTP: &http.Client{
		Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 256},
	}}
	return r
}

// configure writes the configuration.
func (r *rig) configure(extra string) {
	r.t.Helper()
	text := fmt.Sprintf(`
external_url: http://%[1]s
listen: %[1]s
store: sqlite:watchbill.db
storm: {pages_per_minute: 1000000} # each page is looked for by its own key
global: {scrape_interval: 1s, evaluation_interval: 1s}
roles: {preset: operations}
people:
  - {name: ana, roles: [support], contact: [{receiver: ana}]}
  - {name: carla, roles: [deployment, infrastructure], contact: [{receiver: carla}]}
  - {name: eve, roles: [security], contact: [{receiver: eve}]}
  - {name: frank, roles: [manager], contact: [{receiver: frank}]}
receivers:
  - {name: ana, webhook_configs: [{url: '%[2]s/ana'}]}
  - {name: carla, webhook_configs: [{url: '%[2]s/carla'}]}
  - {name: eve, webhook_configs: [{url: '%[2]s/eve'}]}
  - {name: frank, webhook_configs: [{url: '%[2]s/frank'}]}
%[3]s
`, r.addr, r.push, extra)
	r.write(text)
}

// write puts a configuration in place as an editor does: whole.
func (r *rig) write(text string) {
	r.t.Helper()
	require.NoError(r.t, os.WriteFile(r.file()+".new", []byte(text), 0o600))
	require.NoError(r.t, os.Rename(r.file()+".new", r.file()))
}

func (r *rig) file() string { return filepath.Join(r.dir, "watchbill.yaml") }

func (r *rig) db() string { return filepath.Join(r.dir, "watchbill.db") }

func (r *rig) run(args ...string) string {
	r.t.Helper()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(context.Background(), r.bin, append(args, "--config", r.file())...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(r.t, err, "%v: %s%s", args, out, stderr.String())
	return strings.TrimSpace(string(out))
}

// process is a started program with everything that it started.
type process struct {
	cmd  *exec.Cmd
	logs *lockedBuffer
	done chan struct{}
	err  error // how it ended, once done is closed
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.b.Len() > 1<<20 {
		l.b.Reset() // the end is what matters
	}
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// tail is the end of the log.
func (l *lockedBuffer) tail() string {
	s := l.String()
	return s[max(0, len(s)-4000):]
}

// start starts the daemon, below another program such as strace if one is
// given. It does not wait.
func (r *rig) start(below ...string) *process {
	r.t.Helper()
	args := slices.Concat(below, []string{r.bin, "serve", "--config", r.file(), "--log-level", "warn"})
	p := &process{cmd: exec.CommandContext(context.Background(), args[0], args[1:]...), logs: &lockedBuffer{}, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.logs, p.logs
	p.cmd.Env = append(os.Environ(), r.env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.WaitDelay = 5 * time.Second
	require.NoError(r.t, p.cmd.Start())
	go func() {
		defer close(p.done)
		p.err = p.cmd.Wait()
	}()
	r.t.Cleanup(p.kill)
	r.proc = p
	return p
}

// kill ends the process and what it started, as kill -9 does.
func (p *process) kill() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // it may have ended already
	<-p.done
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// crash ends the daemon by kill -9 and notes when.
func (r *rig) crash() {
	r.proc.kill()
	r.died = time.Now()
}

// ready waits until the daemon is ready, and reports false if it ended before.
func (r *rig) ready(p *process) bool {
	r.t.Helper()
	client := &http.Client{Timeout: 2 * time.Second}
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		if p.ended() {
			return false
		}
		if resp, err := client.Get("http://" + r.addr + "/-/ready"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				if !r.died.IsZero() {
					r.downs = append(r.downs, span{r.died, time.Now()})
					r.died = time.Time{}
				}
				return true
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	require.FailNow(r.t, "the daemon did not get ready", p.logs.tail())
	return false
}

// serve starts the daemon and waits until it is ready.
func (r *rig) serve() *process {
	r.t.Helper()
	p := r.start()
	require.True(r.t, r.ready(p), "the daemon ended: %s", p.logs.tail())
	return p
}

// post pushes alerts and enters them in the ledger if they were answered 2xx.
func (r *rig) post(alerts ...watchbill.Alert) error {
	err := r.client.PostAlerts(context.Background(), alerts)
	if err != nil {
		return err
	}
	at := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range alerts {
		r.accepted = append(r.accepted, accepted{a.Fingerprint(), at})
	}
	return nil
}

// ack acknowledges an incident and enters it in the ledger if it was answered
// 2xx.
func (r *rig) ack(id watchbill.IncidentID) error {
	inc, err := r.client.Acknowledge(context.Background(), id, "")
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.acks = append(r.acks, acknowledged{id, inc.Generation, time.Now()})
	return nil
}

// open lists the incidents that nobody has answered.
func (r *rig) open() []watchbill.Incident {
	r.t.Helper()
	all, err := r.client.Incidents(r.t.Context(), "open", 1000)
	require.NoError(r.t, err)
	return all
}

// evidence is what is known now, with a dump.
func (r *rig) evidence(d dump, alive bool) evidence {
	r.mu.Lock()
	defer r.mu.Unlock()
	return evidence{
		now: time.Now().UTC(), alive: alive, dump: d, receipts: r.sim.receipts(), downs: r.downs,
		accepted: slices.Clone(r.accepted), acks: slices.Clone(r.acks),
	}
}

// settle waits until nothing is due any more.
func (r *rig) settle(within time.Duration) dump {
	r.t.Helper()
	for end := time.Now().Add(within); ; {
		now := time.Now() // what falls due while a large store is read is not late
		d := read(r.t, r.db())
		waiting := 0
		for _, p := range d.pages {
			if p.State == "pending" && !p.next.After(now) {
				waiting++
			}
		}
		for _, tm := range d.timers {
			if !tm.Due.After(now) {
				waiting++
			}
		}
		if waiting == 0 {
			return d
		}
		require.False(r.t, r.proc.ended(), "the daemon ended: %s", r.proc.logs.tail())
		require.True(r.t, now.Before(end), "%d timers and pages are still due after %s\n%s", waiting, within, r.proc.logs.tail())
		time.Sleep(200 * time.Millisecond)
	}
}

// alert is one that fires for a day. Each service has an incident of its own.
func alert(service, instance string) watchbill.Alert {
	return watchbill.Alert{
		Labels:      watchbill.Labels{"alertname": "Broken", "service": service, "instance": instance, "severity": "page"},
		Annotations: watchbill.Labels{"summary": service + " is broken"},
		EndsAt:      time.Now().Add(24 * time.Hour).UTC(),
	}
}

// freeAddr returns an address that nobody listens on. Its port is below those
// that the kernel gives to outgoing connections, so that none of them takes it
// before the daemon starts or while it restarts.
func freeAddr(t *testing.T) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(10_000)))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	require.FailNow(t, "no free port between 20000 and 30000")
	return ""
}

// tool returns the path of a program that a scenario needs.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if long() || os.Getenv("WATCHBILL_REQUIRE_PEERS") != "" {
		require.NoError(t, err, "install Debian's package %s", name)
	}
	t.Skipf("%s is not installed: apt-get install %s", name, name)
	return ""
}

// long says that the whole of it was asked for, by make faults.
func long() bool { return os.Getenv("WATCHBILL_FAULTS") != "" }

// full says that the rare, longest form was asked for.
func full() bool { return os.Getenv("WATCHBILL_FAULTS") == "full" }

// size chooses how large a scenario is: in go test, in make faults, and in its
// full form.
func size(smoke, usual, all int) int {
	switch {
	case full():
		return all
	case long():
		return usual
	default:
		return smoke
	}
}
