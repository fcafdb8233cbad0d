package daemon_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill/internal/auth"
	"watchbill/internal/config"
	"watchbill/internal/daemon"
)

// alertBodies returns request bodies of size alerts each, of n label sets in
// all. groups is how many groups, and so incidents, they fall into.
func alertBodies(b *testing.B, n, size, groups int) [][]byte {
	b.Helper()
	type alert struct {
		Labels       map[string]string `json:"labels"`
		Annotations  map[string]string `json:"annotations"`
		StartsAt     time.Time         `json:"startsAt"`
		EndsAt       time.Time         `json:"endsAt"`
		GeneratorURL string            `json:"generatorURL"`
	}
	start := time.Now()
	var bodies [][]byte
	for i := 0; i < n; i += size {
		var all []alert
		for j := i; j < min(i+size, n); j++ {
			all = append(all, alert{
				Labels: map[string]string{
					"alertname": "HighErrorRate", "service": fmt.Sprint("service-", j%groups), "instance": fmt.Sprintf("10.0.%d.%d:9100", j/250, j%250),
					"job": "node", "severity": "warning", "environment": "prod", "series": fmt.Sprint(j),
				},
				Annotations: map[string]string{"summary": "the error rate is high", "description": "more than one in a hundred requests fails on this instance"},
				StartsAt:    start, EndsAt: start.Add(time.Hour), GeneratorURL: "http://prometheus:9090/graph?g0.expr=up",
			})
		}
		body, err := json.Marshal(all)
		require.NoError(b, err)
		bodies = append(bodies, body)
	}
	return bodies
}

// intake starts a daemon with a real listener and store, and returns a function
// that posts a body and wants a 200.
func intake(b *testing.B) func(body []byte) {
	b.Helper()
	w := world(b, "testdata/story")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	ctx, cancel := contextOf(b)
	d, err := daemon.New(ctx, daemon.Options{
		Load:        func() (*config.Config, error) { return config.Load(filepath.Join(w.Dir, "watchbill.yaml"), nil) },
		Logger:      slog.New(slog.DiscardHandler),
		Listener:    l,
		DialContext: refuse,
	})
	require.NoError(b, err)
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	b.Cleanup(func() { cancel(); <-done })
	secret, _, err := d.CreateToken(ctx, auth.Spec{Name: "bench", Scopes: []auth.Scope{auth.ScopeAlerts}, CreatedBy: "bench"})
	require.NoError(b, err)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	return func(body []byte) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+l.Addr().String()+"/api/v2/alerts", bytes.NewReader(body))
		if err != nil {
			b.Error(err)
			return
		}
		req.Header.Set("Authorization", "Bearer "+secret.Reveal())
		resp, err := client.Do(req)
		if err != nil {
			b.Error(err)
			return
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			b.Errorf("status %s", resp.Status)
		}
	}
}

func contextOf(b *testing.B) (context.Context, context.CancelFunc) {
	b.Helper()
	return context.WithCancel(context.Background())
}

func refuse(context.Context, string, string) (net.Conn, error) { return nil, net.ErrClosed }

// BenchmarkIntake measures pushed alerts from the socket to the disk, with the
// client on the same processors: re-sends that change nothing, new alerts that
// join open incidents, and alerts that each open an incident.
func BenchmarkIntake(b *testing.B) {
	run := func(name string, size, groups int, warm bool) {
		b.Run(fmt.Sprintf("%s/batch=%d", name, size), func(b *testing.B) {
			post := intake(b)
			bodies := alertBodies(b, max(b.N*size, 1), size, groups)
			if warm {
				bodies = alertBodies(b, 10_000, size, groups)
				for _, body := range bodies {
					post(body)
				}
			}
			var next atomic.Int64
			b.SetParallelism(4)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					post(bodies[int(next.Add(1)-1)%len(bodies)])
				}
			})
			b.StopTimer()
			b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "alerts/s")
		})
	}
	for _, size := range []int{1, 100} {
		run("resend", size, 100, true)
		run("join", size, 100, false)
		run("open", size, 1<<40, false)
	}
}
