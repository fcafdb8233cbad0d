package collector_test

import (
	"context"
	"io"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/collector"
	"watchbill/internal/pipenet"
)

func TestMain(m *testing.M) {
	// Outside of any bubble: see the package comment.
	pipenet.Warm(context.Background())
	os.Exit(m.Run())
}

// service is a scraped service on an in-memory network.
type service struct {
	listener *pipenet.Listener
	server   *http.Server
	broken   prometheus.Gauge

	mu      sync.Mutex
	scrapes []time.Time
}

func newService() *service {
	s := &service{
		listener: pipenet.Listen(),
		broken:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "broken", Help: "Whether the service is broken."}),
	}
	reg := prometheus.NewRegistry()
	reg.Register(s.broken)
	metrics := promhttp.HandlerFor(reg, promhttp.HandlerOpts{})
	s.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/discovery" {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `[{"targets": ["found:80"]}]`)
			return
		}
		s.mu.Lock()
		s.scrapes = append(s.scrapes, time.Now())
		s.mu.Unlock()
		metrics.ServeHTTP(w, r)
	})}
	go s.server.Serve(s.listener)
	return s
}

func (s *service) firstScrape() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.scrapes) == 0 {
		return time.Time{}
	}
	return s.scrapes[0]
}

// inbox is a fake of the alert's next room.
type inbox struct {
	mu     sync.Mutex
	err    error
	calls  int
	alerts []received
	change chan struct{}
}

type received struct {
	watchbill.Alert
	at time.Time
}

func newInbox() *inbox { return &inbox{change: make(chan struct{}, 1)} }

func (b *inbox) notify(_ context.Context, alerts []watchbill.Alert) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls++
	if b.err != nil {
		return b.err
	}
	for _, a := range alerts {
		b.alerts = append(b.alerts, received{a, time.Now()})
	}
	select {
	case b.change <- struct{}{}:
	default:
	}
	return nil
}

func (b *inbox) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

func (b *inbox) tries() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.calls
}

func (b *inbox) all() []received {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]received(nil), b.alerts...)
}

// await waits for an alert that fits, at most as long as given, and takes it and
// everything before it out.
func (b *inbox) await(t *testing.T, limit time.Duration, fits func(received) bool) received {
	t.Helper()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		b.mu.Lock()
		for i, a := range b.alerts {
			if fits(a) {
				b.alerts = b.alerts[i+1:]
				b.mu.Unlock()
				return a
			}
		}
		b.mu.Unlock()
		select {
		case <-b.change:
		case <-timer.C:
			require.FailNow(t, "no such alert", "within %s; got %v", limit, b.all())
		}
	}
}

func firing(a received) bool   { return a.EndsAt.After(a.at) }
func resolved(a received) bool { return !firing(a) }

// start makes and runs a collector; the returned function ends it.
func start(t *testing.T, cfg collector.Config, o collector.Options) (*collector.Collector, func()) {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	c, err := collector.New(cfg, o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	return c, func() {
		cancel()
		require.NoError(t, <-done)
	}
}

const scrape15 = `
global: {scrape_interval: 15s, scrape_timeout: 5s, evaluation_interval: 15s}
scrape_configs:
  - job_name: shop
    static_configs: [{targets: ["shop:80"]}]
`

const scrape1 = `
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
scrape_configs:
  - job_name: shop
    static_configs: [{targets: ["shop:80"]}]
`

func rule(text string) []collector.RuleFile {
	return []collector.RuleFile{{Name: "rules.yaml", Content: []byte(text)}}
}

const broken = `
groups:
  - name: shop
    rules:
      - alert: Broken
        expr: broken == 1
        labels: {severity: page}
        annotations: {summary: '{{ $labels.job }} is at {{ $value }}'}
`
