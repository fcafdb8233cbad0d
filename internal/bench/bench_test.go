package bench_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// connections is how many requests are under way at once.
const connections = 8

// pushed is an alert as Prometheus sends it.
type pushed struct {
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL"`
}

// bodies returns requests of size alerts each, n alerts in all from number from
// on, in so many groups.
func bodies(from, n, size, groups int) [][]byte {
	start := time.Now()
	var out [][]byte
	for i := from; i < from+n; i += size {
		var all []pushed
		for j := i; j < i+size; j++ {
			all = append(all, pushed{
				Labels: map[string]string{
					"alertname": "HighErrorRate", "service": fmt.Sprint("service-", j%groups), "instance": fmt.Sprint("10.0.0.1:", j),
					"job": "node", "severity": "page", "environment": "prod",
				},
				Annotations: map[string]string{"summary": "the error rate is high", "description": "more than one in a hundred requests fails on this instance"},
				StartsAt:    start, EndsAt: start.Add(4 * time.Hour), GeneratorURL: "http://prometheus:9090/graph?g0.expr=up",
			})
		}
		body, _ := json.Marshal(all) // strings and times always encode
		out = append(out, body)
	}
	return out
}

// result is one measurement of one server.
type result struct {
	alerts   int
	elapsed  time.Duration
	cpu      time.Duration
	p50, p99 time.Duration
}

func (r result) rate() float64   { return float64(r.alerts) / r.elapsed.Seconds() }
func (r result) micros() float64 { return float64(r.cpu.Microseconds()) / float64(r.alerts) }

// load is what is pushed: requests of size alerts each, once or again and again,
// for a limited time.
type load struct {
	requests [][]byte
	size     int
	loop     bool
	limit    time.Duration
}

// drive posts requests over a few connections until they are used up or the time
// is over, and counts only what was answered 2xx.
func drive(t testing.TB, s *server, l load) result {
	t.Helper()
	requests := l.requests
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}}
	defer client.CloseIdleConnections()
	var next, accepted atomic.Int64
	times := make([][]time.Duration, connections)
	before, begun := s.cpu(t), time.Now()
	var wg sync.WaitGroup
	for c := range connections {
		wg.Go(func() {
			for time.Since(begun) < l.limit {
				i := int(next.Add(1) - 1)
				if i >= len(requests) && !l.loop {
					return
				}
				sent := time.Now()
				if post(client, s, requests[i%len(requests)]) {
					accepted.Add(1)
					times[c] = append(times[c], time.Since(sent))
				}
			}
		})
	}
	wg.Wait()
	elapsed := time.Since(begun)
	all := slices.Concat(times...)
	require.NotEmpty(t, all, "%s accepted nothing", s.name)
	slices.Sort(all)
	return result{
		alerts: int(accepted.Load()) * l.size, elapsed: elapsed, cpu: s.cpu(t) - before,
		p50: all[len(all)/2], p99: all[len(all)*99/100],
	}
}

func post(client *http.Client, s *server, body []byte) bool {
	req, err := http.NewRequest(http.MethodPost, s.url+"/api/v2/alerts", bytes.NewReader(body))
	if err != nil {
		return false
	}
	req.Header.Set("Content-Type", "application/json")
	if s.token != "" {
		req.Header.Set("Authorization", "Bearer "+s.token)
	}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode/100 == 2
}

// sink is a webhook receiver that remembers when the first and the last
// notification came.
type sink struct {
	mu          sync.Mutex
	n           int
	first, last time.Time
	arrived     chan time.Time
}

func (k *sink) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	now := time.Now()
	k.mu.Lock()
	if k.n == 0 {
		k.first = now
	}
	k.n, k.last = k.n+1, now
	k.mu.Unlock()
	select {
	case k.arrived <- now:
	default:
	}
}

// TestBench prints the table of docs/performance.md. It runs when WATCHBILL_BENCH
// is set; `make bench` sets it to 1. Anything else is a word of the kind of alerts
// that is to be measured alone, such as joining.
func TestBench(t *testing.T) {
	if os.Getenv("WATCHBILL_BENCH") == "" {
		t.Log("measures only for make bench; this run checks the wiring of the newest Alertmanager")
		k := &sink{arrived: make(chan time.Time, 1)}
		hook := httptest.NewServer(k)
		defer hook.Close()
		s := newest(t, hook.URL, "service")
		require.True(t, post(http.DefaultClient, s, bodies(0, 1, 1, 1)[0]))
		select {
		case <-k.arrived:
		case <-time.After(10 * time.Second):
			t.Fatal("the newest Alertmanager notified nobody")
		}
		return
	}
	bin := filepath.Join(t.TempDir(), "watchbill")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", bin, "watchbill/cmd/watchbill").CombinedOutput()
	require.NoError(t, err, string(out))
	b := &bench{T: t, bin: bin}
	fmt.Fprintf(&b.table, "%d processors, %s, %s\n\n", runtime.NumCPU(), runtime.Version(), time.Now().UTC().Format(time.DateOnly))
	b.intake()
	if b.only() == "" {
		b.latency()
		b.pages()
		b.memory()
	}
	fmt.Println(b.table.String())
}

type bench struct {
	*testing.T
	bin   string
	table strings.Builder
}

// only is a word of what is to be measured alone, or empty.
func (b *bench) only() string {
	if word := os.Getenv("WATCHBILL_BENCH"); word != "1" {
		return word
	}
	return ""
}

// each starts the three servers with a sink of their own and calls do with each.
func (b *bench) each(groupBy string, do func(*server, *sink)) {
	for _, start := range []func(string) *server{
		func(url string) *server { return watchbill(b, b.bin, url) },
		func(url string) *server { return newest(b, url, groupBy) },
		func(url string) *server { return debian(b, url, groupBy) },
	} {
		k := &sink{arrived: make(chan time.Time, 1)}
		hook := httptest.NewServer(k)
		do(start(hook.URL), k)
		hook.Close()
	}
}

const (
	runFor = 2 * time.Second
	turns  = 2
)

func (b *bench) intake() {
	fmt.Fprintf(&b.table, "| alerts pushed | per request | server | alerts/s | CPU µs/alert | p50 | p99 | ratio to the faster Alertmanager |\n|---|---|---|---|---|---|---|---|\n")
	kinds := []struct {
		name   string
		groups int
		loop   bool
	}{{"re-sent, unchanged", 100, true}, {"new, joining 100 open groups", 100, false}, {"new, each its own group", 1 << 30, false}}
	for _, kind := range kinds {
		if !strings.Contains(kind.name, b.only()) {
			continue
		}
		for _, size := range []int{1, 100} {
			first, requests := [][]byte(nil), bodies(1000, 160_000, size, kind.groups)
			switch {
			case kind.loop:
				requests = bodies(0, 10_000, size, kind.groups)
				first = requests
			case kind.groups == 100:
				first = bodies(0, 100, size, 100)
			}
			// The servers take turns, and the best turn of each counts: other work on
			// the machine only takes away.
			var best []result
			var names []string
			for range turns {
				n := 0
				b.each("service", func(s *server, _ *sink) {
					if first != nil {
						drive(b, s, load{requests: first, size: size, limit: time.Minute})
					}
					r := drive(b, s, load{requests: requests, size: size, loop: kind.loop, limit: runFor})
					if n == len(best) {
						best, names = append(best, r), append(names, s.name)
					} else if r.rate() > best[n].rate() {
						best[n] = r
					}
					n++
				})
			}
			for i, r := range best {
				ratio := ""
				if i == 0 {
					ratio = fmt.Sprintf(" %.2f ", r.rate()/max(best[1].rate(), best[2].rate()))
				}
				fmt.Fprintf(&b.table, "| %s | %d | %s | %.0f | %.1f | %s | %s |%s|\n", kind.name, size, names[i], r.rate(), r.micros(),
					r.p50.Round(10*time.Microsecond), r.p99.Round(10*time.Microsecond), ratio)
			}
		}
	}
}

// latency measures from the moment a new alert is sent until its notification
// arrives, one at a time, at 100 alerts a second.
func (b *bench) latency() {
	fmt.Fprintf(&b.table, "\n| pushed alert to webhook, 100/s | p50 | p99 | max |\n|---|---|---|---|\n")
	b.each("service", func(s *server, k *sink) {
		fmt.Fprintf(&b.table, "| %s | %s |\n", s.name, strings.Join(b.lag(s, k, bodies(0, 1000, 1, 1<<30)), " | "))
	})
}

// lag sends one alert at a time, each of a group of its own, and returns the
// median, the 99th percentile and the longest time to its notification.
func (b *bench) lag(s *server, k *sink, requests [][]byte) []string {
	client := &http.Client{}
	defer client.CloseIdleConnections()
	for len(k.arrived) > 0 { // of what was sent before
		<-k.arrived
	}
	var times []time.Duration
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for i, body := range requests {
		<-tick.C
		sent := time.Now()
		require.True(b, post(client, s, body))
		select {
		case at := <-k.arrived:
			times = append(times, at.Sub(sent))
		case <-time.After(10 * time.Second):
			b.Fatalf("%s: notification %d did not arrive", s.name, i)
		}
	}
	slices.Sort(times)
	return []string{
		times[len(times)/2].Round(10 * time.Microsecond).String(), times[len(times)*99/100].Round(10 * time.Microsecond).String(),
		times[len(times)-1].Round(10 * time.Microsecond).String(),
	}
}

// pages pushes 5,000 alerts of a group each and counts notifications a second.
func (b *bench) pages() {
	const n = 5000
	fmt.Fprintf(&b.table, "\n| %d new groups at once | notifications/s | the last after |\n|---|---|---|\n", n)
	requests := bodies(0, n, 100, 1<<30)
	b.each("service", func(s *server, k *sink) {
		begun := time.Now()
		r := drive(b, s, load{requests: requests, size: 100, limit: time.Minute})
		require.Equal(b, n, r.alerts, s.name)
		k.wait(b, s, n)
		k.mu.Lock()
		defer k.mu.Unlock()
		fmt.Fprintf(&b.table, "| %s | %.0f | %s |\n", s.name, n/k.last.Sub(begun).Seconds(), k.last.Sub(begun).Round(10*time.Millisecond))
	})
}

// wait waits until so many notifications came.
func (k *sink) wait(b *bench, s *server, n int) {
	require.Eventually(b, func() bool { k.mu.Lock(); defer k.mu.Unlock(); return k.n >= n }, 2*time.Minute, 20*time.Millisecond, s.name)
}

// memory pushes 100,000 alerts in 1,000 groups and measures resident memory, and
// the time until the first and the last group was notified. Then, as each alert
// held is due some time and looked for among the others, it measures how long a
// new one takes.
func (b *bench) memory() {
	fmt.Fprintf(&b.table, "\n| 100,000 alerts in 1,000 groups | accepted in | first notification | last of 1,000 | RSS | then a new alert: p50 | p99 | max |\n|---|---|---|---|---|---|---|---|\n")
	requests := bodies(0, 100_000, 100, 1000)
	b.each("service", func(s *server, k *sink) {
		begun := time.Now()
		r := drive(b, s, load{requests: requests, size: 100, limit: 5 * time.Minute})
		require.Equal(b, 100_000, r.alerts, s.name)
		k.wait(b, s, 1000)
		k.mu.Lock()
		first, last := k.first.Sub(begun), k.last.Sub(begun)
		k.mu.Unlock()
		rss := s.rss(b)
		lag := b.lag(s, k, bodies(200_000, 300, 1, 1<<30))
		fmt.Fprintf(&b.table, "| %s | %s | %s | %s | %.0f MiB | %s |\n", s.name, r.elapsed.Round(10*time.Millisecond),
			first.Round(time.Millisecond), last.Round(10*time.Millisecond), rss, strings.Join(lag, " | "))
	})
}
