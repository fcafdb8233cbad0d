package bench_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	scrapedTargets = 100
	firstTarget    = 2 // of 127.0.0.N
	seriesOfEach   = 1000
	flips          = 20
	flipsWithin    = 150 * time.Second
	flipPatience   = 90 * time.Second
)

// platform is what is watched: one server on a hundred loopback addresses, each a
// target of a thousand series, and gauges that say whether a service is broken.
type platform struct {
	addr string // port only, to follow 127.0.0.N
	mu   sync.Mutex
	bad  map[int]bool
}

func newPlatform(t testing.TB) *platform {
	l, err := net.Listen("tcp", "0.0.0.0:0")
	require.NoError(t, err)
	p := &platform{addr: ":" + strconv.Itoa(l.Addr().(*net.TCPAddr).Port), bad: map[int]bool{}}
	srv := &httptest.Server{Listener: l, Config: &http.Server{Handler: p, ReadHeaderTimeout: 5 * time.Second}}
	srv.Start()
	t.Cleanup(srv.Close)
	return p
}

func (p *platform) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/metrics" {
		_, _ = io.WriteString(w, "well")
		return
	}
	requests := time.Now().Unix() // a counter that grows
	for i := range seriesOfEach {
		fmt.Fprintf(w, "http_requests_total{handler=\"/h%d\",code=\"%d\"} %d\n", i/2, 200+300*(i%2), requests*int64(10-9*(i%2))/int64(i+1))
	}
	// Each on a target of its own, since the delay depends on when that is scraped
	// and when rules are evaluated, and both are fixed for a run.
	host, _, _ := net.SplitHostPort(r.Host)
	n, err := strconv.Atoi(host[strings.LastIndexByte(host, '.')+1:])
	if i := n - firstTarget; err == nil && i < flips {
		p.mu.Lock()
		defer p.mu.Unlock()
		broken := 0
		if p.bad[i] {
			broken = 1
		}
		fmt.Fprintf(w, "broken{service=\"flip-%d\"} %d\n", i, broken)
	}
}

// flip breaks a service, and returns when.
func (p *platform) flip(i int) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bad[i] = true
	return time.Now()
}

// targets are the addresses to scrape, as YAML.
func (p *platform) targets() string {
	var all []string
	for i := range scrapedTargets {
		all = append(all, fmt.Sprintf("'127.0.0.%d%s'", i+firstTarget, p.addr))
	}
	return "[" + strings.Join(all, ", ") + "]"
}

// told notes when each broken service was first told of.
type told struct {
	mu sync.Mutex
	at map[string]time.Time
}

var flipped = regexp.MustCompile(`flip-\d+`)

func (k *told) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	now := time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, name := range flipped.FindAllString(string(body), -1) {
		if _, known := k.at[name]; !known {
			k.at[name] = now
		}
	}
}

func newTold(t testing.TB) (*told, string) {
	k := &told{at: map[string]time.Time{}}
	srv := httptest.NewServer(k)
	t.Cleanup(srv.Close)
	return k, srv.URL
}

// delays are the times from the flips to when they were told, sorted.
func (k *told) delays(t testing.TB, name string, flipped []time.Time) []time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	var all []time.Duration
	for i, at := range flipped {
		came, ok := k.at["flip-"+strconv.Itoa(i)]
		require.True(t, ok, "%s never told of flip %d", name, i)
		all = append(all, came.Sub(at))
	}
	slices.Sort(all)
	return all
}

const brokenRule = `groups: [{name: broken, rules: [{alert: Broken, expr: 'broken == 1', labels: {severity: page}, annotations: {summary: 'it is broken'}}]}]
`

const blackboxModules = "modules: {http_2xx: {prober: http, timeout: 5s}}\n"

// stack is one way to watch the platform: programs that are measured together.
type stack struct {
	name     string
	programs []*server
	dir      string // of the series
	profiles string // where ours writes them
	api      string
	token    string
}

func (s stack) cpu(t testing.TB) (sum time.Duration) {
	for _, p := range s.programs {
		sum += p.cpu(t)
	}
	return sum
}

// rss is the resident memory of the programs in MiB, and how much of it is
// mapped from files, such as the programs themselves.
func (s stack) rss(t testing.TB) (all, files float64) {
	for _, p := range s.programs {
		all += p.rss(t)
		files += p.memory(t, "RssFile")
	}
	return all, files
}

func (s stack) disk(t testing.TB) (sum int64) {
	_ = filepath.WalkDir(s.dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if info, err := d.Info(); err == nil {
				sum += info.Size()
			}
		}
		return nil // files come and go
	})
	require.NotZero(t, sum)
	return sum
}

func write(t testing.TB, dir, name, text string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

// watching is the daemon with everything that it watches; extra is added to its
// configuration.
func watching(t testing.TB, bin string, p *platform, sink, extra string) stack {
	dir, addr := t.TempDir(), freeAddr(t)
	write(t, dir, "rules.yaml", brokenRule)
	write(t, dir, "blackbox.yml", blackboxModules)
	var probes []string
	for i := range 10 {
		probes = append(probes, fmt.Sprintf("{name: p%d, module: http_2xx, target: 'http://127.0.0.%d%s/', interval: 15s}", i, i+2, p.addr))
	}
	file := write(t, dir, "watchbill.yaml", fmt.Sprintf(`external_url: http://%[1]s
listen: %[1]s
store: sqlite:watchbill.db
storm: {pages_per_minute: 1000000} # each page is looked for by its own key
global: {scrape_interval: 15s, evaluation_interval: 15s}
scrape_configs: [{job_name: platform, static_configs: [{targets: %[3]s}]}]
rule_files: [rules.yaml]
probes: {modules: blackbox.yml, targets: [%[4]s]}
roles: {preset: operations}
people:
  - {name: ana, roles: [support, deployment, infrastructure, security, manager], contact: [{receiver: sink}]}
receivers: [{name: sink, webhook_configs: [{url: '%[2]s'}]}]
escalation: {second: 2h, manager: 3h, everyone: 4h, repeat: 4h}
%[5]s
`, addr, sink, p.targets(), strings.Join(probes, ", "), extra))
	token := filepath.Join(dir, "token")
	out, err := exec.CommandContext(t.Context(), bin, "token", "create", "bench", "--scope", "read", "--config", file, "--out", token).CombinedOutput()
	require.NoError(t, err, string(out))
	secret, err := os.ReadFile(token)
	require.NoError(t, err)
	s := &server{name: "watchbill", url: "http://" + addr}
	launch(t, s, "/-/ready", exec.CommandContext(context.Background(), bin, "serve", "--config", file, "--log-level", "error", "--profiles", dir))
	return stack{name: s.name, programs: []*server{s}, dir: dir, profiles: dir, api: s.url, token: strings.TrimSpace(string(secret))}
}

// debianStack is Debian's Prometheus, Alertmanager and blackbox_exporter, with
// one Alertmanager that waits for nothing and, unless patient is empty, another
// one with the defaults, which is not part of what is measured.
func debianStack(t testing.TB, p *platform, sink, patient, rules string) stack {
	find := func(name string) string {
		path, err := exec.LookPath(name)
		require.NoError(t, err, "apt-get install %s", name)
		return path
	}
	am := debian(t, sink, "service")
	managers := []string{am.url}
	if patient != "" {
		file := write(t, t.TempDir(), "am.yml", fmt.Sprintf("route: {receiver: sink, group_by: [service]}\nreceivers: [{name: sink, webhook_configs: [{url: '%s'}]}]\n", patient))
		addr := freeAddr(t)
		slow := &server{name: "Alertmanager with its defaults", url: "http://" + addr}
		launch(t, slow, "/-/ready", exec.CommandContext(context.Background(), find("prometheus-alertmanager"), "--config.file="+file,
			"--storage.path="+t.TempDir(), "--web.listen-address="+addr, "--cluster.listen-address=", "--log.level=error"))
		managers = append(managers, slow.url)
	}
	for i, m := range managers {
		managers[i] = "'" + strings.TrimPrefix(m, "http://") + "'"
	}
	dir, addr := t.TempDir(), freeAddr(t)
	bb := &server{name: "blackbox_exporter", url: "http://" + addr}
	launch(t, bb, "/-/healthy", exec.CommandContext(context.Background(), find("prometheus-blackbox-exporter"),
		"--config.file="+write(t, dir, "blackbox.yml", blackboxModules), "--web.listen-address="+addr, "--log.level=error"))
	var probed []string
	for i := range 10 {
		probed = append(probed, fmt.Sprintf("'http://127.0.0.%d%s/'", i+2, p.addr))
	}
	write(t, dir, "rules.yaml", brokenRule)
	if rules != "" {
		write(t, dir, "targets.yaml", rules)
	}
	file := write(t, dir, "prometheus.yml", fmt.Sprintf(`global: {scrape_interval: 15s, evaluation_interval: 15s}
rule_files: ['*.yaml']
alerting: {alertmanagers: [{static_configs: [{targets: [%s]}]}]}
scrape_configs:
  - {job_name: platform, static_configs: [{targets: %s}]}
  - job_name: blackbox
    metrics_path: /probe
    params: {module: [http_2xx]}
    static_configs: [{targets: [%s]}]
    relabel_configs:
      - {source_labels: [__address__], target_label: __param_target}
      - {source_labels: [__param_target], target_label: instance}
      - {target_label: __address__, replacement: '%s'}
`, strings.Join(managers, ", "), p.targets(), strings.Join(probed, ", "), addr))
	addr = freeAddr(t)
	prom := &server{name: "Prometheus", url: "http://" + addr}
	data := filepath.Join(dir, "data")
	launch(t, prom, "/-/ready", exec.CommandContext(context.Background(), find("prometheus"), "--config.file="+file,
		"--storage.tsdb.path="+data, "--web.listen-address="+addr, "--log.level=error"))
	return stack{name: "Prometheus, Alertmanager, blackbox_exporter", programs: []*server{prom, am, bb}, dir: data, api: prom.url}
}

// dashboard are queries as dashboards ask them.
func dashboard() []string {
	return []string{
		`up`, `sum(up) by (job)`, `sum(rate(http_requests_total[1m]))`, `sum by (instance) (rate(http_requests_total[1m]))`,
		`sum by (code) (rate(http_requests_total[1m]))`, `topk(10, rate(http_requests_total[1m]))`,
		`sum(rate(http_requests_total{code="500"}[1m])) / sum(rate(http_requests_total[1m]))`, `probe_success`, `probe_duration_seconds`,
		`count by (handler) (http_requests_total)`,
	}
}

// last is the newest value of a series.
func (s stack) last(t testing.TB, query string) string {
	series := s.get(t, query)
	var one struct{ Values [][2]any }
	require.NoError(t, json.Unmarshal(series[0], &one))
	return fmt.Sprint(one.Values[len(one.Values)-1][1])
}

// ask runs a query and returns how long the answer took.
func (s stack) ask(t testing.TB, query string) time.Duration {
	begun := time.Now()
	s.get(t, query)
	return time.Since(begun)
}

func (s stack) get(t testing.TB, query string) []json.RawMessage {
	now := time.Now()
	values := url.Values{"query": {query}, "start": {strconv.FormatInt(now.Add(-2*time.Minute).Unix(), 10)}, "end": {strconv.FormatInt(now.Unix(), 10)}, "step": {"15"}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.api+"/api/v1/query_range?"+values.Encode(), nil)
	require.NoError(t, err)
	if s.token != "" {
		req.Header.Set("Authorization", "Bearer "+s.token)
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	var answer struct {
		Status string
		Data   struct{ Result []json.RawMessage }
	}
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&answer))
	require.Equal(t, "success", answer.Status, "%s: %s", s.name, query)
	require.NotEmpty(t, answer.Data.Result, "%s: %s", s.name, query)
	return answer.Data.Result
}

// TestBenchSignals prints the second table of docs/performance.md: from a metric
// that turns to the webhook, and what watching costs, beside Debian's Prometheus,
// Alertmanager and blackbox_exporter on the same targets at the same time.
func TestBenchSignals(t *testing.T) {
	if os.Getenv("WATCHBILL_BENCH") == "" {
		t.Log("measures only for make bench")
		return
	}
	bin := filepath.Join(t.TempDir(), "watchbill")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", bin, "watchbill/cmd/watchbill").CombinedOutput()
	require.NoError(t, err, string(out))
	var table strings.Builder
	fmt.Fprintf(&table, "%d processors, %s, %s\n\n", runtime.NumCPU(), runtime.Version(), time.Now().UTC().Format(time.DateOnly))
	t.Run("watched", func(t *testing.T) { watched(t, bin, &table) })
	t.Run("evaluated", func(t *testing.T) { evaluated(t, bin, &table) })
	fmt.Println(table.String())
}

// watched flips gauges while both watch, and measures both.
func watched(t *testing.T, bin string, table *strings.Builder) {
	p := newPlatform(t)
	ours, ourSink := newTold(t)
	theirs, theirSink := newTold(t)
	patient, patientSink := newTold(t)
	stacks := []stack{watching(t, bin, p, ourSink, ""), debianStack(t, p, theirSink, patientSink, "")}
	time.Sleep(45 * time.Second) // both have scraped everything twice
	before := []time.Duration{stacks[0].cpu(t), stacks[1].cpu(t)}
	disk := []int64{stacks[0].disk(t), stacks[1].disk(t)}
	begun := time.Now()
	when := make([]time.Time, flips)
	for i := range flips { // at a random moment of each part of the time
		part := flipsWithin / flips
		time.Sleep(time.Until(begun.Add(part*time.Duration(i) + rand.N(part))))
		when[i] = p.flip(i)
	}
	time.Sleep(flipPatience)
	took := time.Since(begun)

	fmt.Fprintf(table, "| %d metrics turn, 15 s scrapes | mean | median | max | ratio of the means |\n|---|---|---|---|---|\n", flips)
	a := ours.delays(t, "watchbill", when)
	row := func(name string, all []time.Duration) {
		fmt.Fprintf(table, "| %s | %.1f s | %.1f s | %.1f s | %.2f |\n", name, mean(all).Seconds(), all[len(all)/2].Seconds(), all[len(all)-1].Seconds(), mean(a).Seconds()/mean(all).Seconds())
	}
	row("watchbill", a)
	row("Prometheus, 15 s evaluation, and Alertmanager, group_wait 0", theirs.delays(t, "Alertmanager", when))
	row("the same, Alertmanager's defaults (group_wait 30 s)", patient.delays(t, "Alertmanager with its defaults", when))

	fmt.Fprintf(table, "\n| %d targets with %d series, 10 probes | RSS | of it files | CPU | series on disk, an hour | ten dashboard queries |\n|---|---|---|---|---|---|\n", scrapedTargets, seriesOfEach)
	for i, s := range stacks {
		rss, files := s.rss(t)
		cpu, grown := s.cpu(t)-before[i], s.disk(t)-disk[i]
		var asked time.Duration
		for _, q := range dashboard() {
			asked += min(s.ask(t, q), s.ask(t, q))
		}
		fmt.Fprintf(table, "| %s | %.0f MiB | %.0f MiB | %.1f %% | %.0f MiB | %s |\n", s.name, rss, files, 100*cpu.Seconds()/took.Seconds(),
			float64(grown)/(1<<20)/took.Hours(), asked.Round(time.Millisecond))
	}
	stacks[0].parts(t)
	stacks[0].profile(t, bin)
}

// profile logs what the daemon's memory holds and what its processors do.
func (s stack) profile(t testing.TB, bin string) {
	p, err := os.FindProcess(s.programs[0].pid)
	require.NoError(t, err)
	require.NoError(t, p.Signal(syscall.SIGUSR1))
	for _, kind := range []string{"heap", "cpu"} {
		var file string
		require.Eventually(t, func() bool {
			found, err := filepath.Glob(filepath.Join(s.profiles, kind+"-*.pprof"))
			if err != nil || len(found) == 0 {
				return false
			}
			file = found[0]
			info, err := os.Stat(file)
			return err == nil && info.Size() > 0
		}, time.Minute, 100*time.Millisecond)
		out, err := exec.CommandContext(t.Context(), "go", "tool", "pprof", "-top", "-nodecount=25", bin, file).CombinedOutput()
		require.NoError(t, err, string(out))
		t.Logf("%s", out)
	}
}

// parts logs what the daemon says of its own memory.
func (s stack) parts(t testing.TB) {
	for _, name := range []string{"go_memstats_heap_inuse_bytes", "go_memstats_heap_alloc_bytes", "go_memstats_stack_inuse_bytes", "go_memstats_sys_bytes", "go_memstats_heap_released_bytes"} {
		t.Logf("%s %s", name, s.last(t, name))
	}
}

func mean(all []time.Duration) (sum time.Duration) {
	for _, d := range all {
		sum += d
	}
	return sum / time.Duration(len(all))
}

// evaluated has both evaluate the same thousand service targets, one after the
// other.
func evaluated(t *testing.T, bin string, table *strings.Builder) {
	const n, run = 1000, 90 * time.Second
	p := newPlatform(t)
	dir := t.TempDir()
	var slos strings.Builder
	for i := range n {
		fmt.Fprintf(&slos, "---\nversion: prometheus/v1\nservice: s%[1]d\nslos: [{name: requests, objective: 99.9, sli: {events: {error_query: 'sum(rate(http_requests_total{instance=~\"127.0.0.%[2]d:.*\",handler=\"/h%[3]d\",code=\"500\"}[{{.window}}]))', total_query: 'sum(rate(http_requests_total{instance=~\"127.0.0.%[2]d:.*\",handler=\"/h%[3]d\"}[{{.window}}]))'}}, alerting: {name: S%[1]d, page_alert: {}, ticket_alert: {}}}]\n", i, i%scrapedTargets+2, i%500)
	}
	targets := write(t, dir, "targets.yaml", slos.String())
	extra := "targets: ['" + targets + "']\nretention: {series: 40d}"
	_, sink := newTold(t)
	fmt.Fprintf(table, "\n| %d service targets, evaluated for %s | CPU | RSS |\n|---|---|---|\n", n, run)
	report := func(t *testing.T, s stack) {
		time.Sleep(30 * time.Second)
		before := s.cpu(t)
		time.Sleep(run)
		rss, _ := s.rss(t)
		fmt.Fprintf(table, "| %s | %.1f %% | %.0f MiB |\n", s.name, 100*(s.cpu(t)-before).Seconds()/run.Seconds(), rss)
		if s.token != "" {
			s.profile(t, bin)
		}
	}
	t.Run("watchbill", func(t *testing.T) { report(t, watching(t, bin, p, sink, extra)) })
	config := write(t, dir, "watchbill.yaml", "external_url: http://127.0.0.1:1\nroles: {preset: operations}\npeople: [{name: a, roles: [support, deployment, infrastructure, security, manager], contact: [{receiver: terminal}]}]\n"+extra+"\n")
	rules, err := exec.CommandContext(t.Context(), bin, "target", "rules", "--config", config).Output()
	require.NoError(t, err)
	t.Run("Prometheus", func(t *testing.T) { report(t, debianStack(t, p, sink, "", string(rules))) })
}
