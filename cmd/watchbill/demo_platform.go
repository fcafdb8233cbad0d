package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// demoService is a small HTTP service that counts its answers, and a customer
// who calls it. Broken, it answers part of the calls with 503.
type demoService struct {
	Name   string
	Addr   string
	broken atomic.Bool
	server *http.Server
	listen net.Listener
}

// failing is the share of calls that a broken service fails.
const failing = 0.3

// callEvery is the pause between two calls of a service's customer.
const callEvery = 20 * time.Millisecond

func newDemoService(ctx context.Context, name string) (*demoService, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the service %s: %w", name, err)
	}
	reg := prometheus.NewRegistry()
	requests := promauto.With(reg).NewCounterVec(prometheus.CounterOpts{
		Name: "http_requests_total", Help: "Requests answered, by status code.",
	}, []string{"code"})
	s := &demoService{Name: name, Addr: l.Addr().String(), listen: l}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) {
		code := http.StatusOK
		if s.broken.Load() && rand.Float64() < failing {
			code = http.StatusServiceUnavailable
		}
		requests.WithLabelValues(strconv.Itoa(code)).Inc()
		w.WriteHeader(code)
	})
	s.server = &http.Server{Handler: mux, ReadHeaderTimeout: time.Second}
	return s, nil
}

// run serves, and calls itself as a customer would, until ctx ends.
func (s *demoService) run(ctx context.Context) error {
	var customer sync.WaitGroup
	defer customer.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	customer.Go(func() { s.call(ctx) })
	customer.Go(func() {
		<-ctx.Done()
		_ = s.server.Close() // the demo is over: nothing is left to finish
	})
	if err := s.server.Serve(s.listen); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", s.Name, err)
	}
	return nil
}

func (s *demoService) call(ctx context.Context) {
	client := &http.Client{Timeout: time.Second}
	tick := time.NewTicker(callEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Addr+"/", nil)
			if err != nil {
				continue
			}
			if resp, err := client.Do(req); err == nil {
				_ = resp.Body.Close()
			}
		}
	}
}

// freePort listens on a free port of loopback.
func freePort(ctx context.Context) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen on loopback: %w", err)
	}
	return l, nil
}
