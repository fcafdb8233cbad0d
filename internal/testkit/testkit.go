// Package testkit is a world for tests of the whole daemon: an in-memory
// network of named hosts, a service whose health the test sets, a receiver that
// remembers what reached it and when, and the daemon itself.
//
// A [World] is made inside a testing/synctest bubble. Nothing in it uses the
// kernel's network, so that virtual time passes; the store and the time series
// are real files in the test's folder.
package testkit

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/auth"
	"watchbill/internal/config"
	"watchbill/internal/daemon"
	"watchbill/internal/pipenet"
	"watchbill/internal/web"
)

// World is everything around and inside one daemon.
type World struct {
	t      testing.TB
	Dir    string
	Daemon *daemon.Daemon
	hosts  map[string]*pipenet.Listener
	api    *pipenet.Listener
	cancel context.CancelFunc
	done   chan error
	client *http.Transport
	// Tune, if set, changes what the next daemon is started with.
	Tune func(*daemon.Options)
}

// New makes a world without a daemon. dir holds the configuration, under the
// name watchbill.yaml, and everything the daemon writes.
func New(t testing.TB, dir string) *World {
	w := &World{t: t, Dir: dir, hosts: map[string]*pipenet.Listener{}}
	w.client = &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		return w.api.DialContext(ctx, network, addr)
	}}
	return w
}

// Host serves a handler under a host name, on every port.
func (w *World) Host(name string, h http.Handler) {
	l := pipenet.Listen()
	w.hosts[name] = l
	w.serve(l, h)
}

// HostTLS is Host for https. The certificate is its own: whoever connects must not
// insist on another.
func (w *World) HostTLS(name string, h http.Handler) {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(w.t, err)
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	require.NoError(w.t, err)
	l := pipenet.Listen()
	w.hosts[name] = l
	w.serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}), h)
}

func (w *World) serve(l net.Listener, h http.Handler) {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		_ = srv.Serve(l) // ends with ErrServerClosed
	}()
	w.t.Cleanup(func() {
		_ = srv.Close()
		<-stopped
	})
}

// dial reaches the hosts of the world; any other name is refused at once.
func (w *World) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	l, ok := w.hosts[host]
	if !ok {
		return nil, &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("there is no host %s in this world", host)}
	}
	return l.DialContext(ctx, network, addr)
}

// Start starts a daemon on the world's folder. Stop it before starting another.
func (w *World) Start() {
	w.t.Helper()
	w.api = pipenet.Listen()
	var ctx context.Context
	ctx, w.cancel = context.WithCancel(context.Background())
	logs := io.Discard
	if testing.Verbose() {
		logs = w.t.Output()
	}
	o := daemon.Options{
		Load:        func() (*config.Config, error) { return config.Load(filepath.Join(w.Dir, "watchbill.yaml"), nil) },
		Logger:      slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Listener:    w.api,
		DialContext: w.dial,
	}
	if w.Tune != nil {
		w.Tune(&o)
	}
	d, err := daemon.New(ctx, o)
	require.NoError(w.t, err)
	w.Daemon, w.done = d, make(chan error, 1)
	go func() { w.done <- d.Run(ctx) }()
}

// Stop stops the daemon and waits until it has.
func (w *World) Stop() {
	w.t.Helper()
	w.client.CloseIdleConnections()
	w.cancel()
	require.NoError(w.t, <-w.done)
}

// As returns a client that acts as a person.
func (w *World) As(person watchbill.PersonID) *web.Client {
	w.t.Helper()
	secret, _, err := w.Daemon.CreateToken(w.t.Context(), auth.Spec{Name: "test", Person: person, CreatedBy: "test"})
	require.NoError(w.t, err)
	return &web.Client{URL: "http://watchbill.test", Token: secret.Reveal(), HTTP: &http.Client{Transport: w.client}}
}

// Write writes a file into the world's folder.
func (w *World) Write(name, content string) {
	w.t.Helper()
	path := filepath.Join(w.Dir, filepath.FromSlash(name))
	require.NoError(w.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(w.t, os.WriteFile(path, []byte(content), 0o600))
}

// Service is a service with client_golang metrics whose share of failed
// requests the test sets. Its counters grow by a hundred requests a second of
// the bubble's time.
type Service struct {
	mu     sync.Mutex
	ratio  float64
	since  time.Time
	counts *prometheus.CounterVec
	http   http.Handler
}

// NewService returns a healthy service.
func NewService() *Service {
	s := &Service{since: time.Now(), counts: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "http_requests_total", Help: "Requests by code."}, []string{"code"})}
	reg := prometheus.NewRegistry()
	reg.MustRegister(s.counts)
	s.counts.WithLabelValues("200").Add(0)
	s.counts.WithLabelValues("500").Add(0)
	s.http = promhttp.HandlerFor(reg, promhttp.HandlerOpts{})
	return s
}

// Fail sets the share of requests that fail from now on.
func (s *Service) Fail(ratio float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance()
	s.ratio = ratio
}

func (s *Service) advance() {
	n := time.Since(s.since).Seconds() * 100
	s.since = time.Now()
	s.counts.WithLabelValues("200").Add(n * (1 - s.ratio))
	s.counts.WithLabelValues("500").Add(n * s.ratio)
}

// ServeHTTP serves the metrics.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.advance()
	s.mu.Unlock()
	s.http.ServeHTTP(w, r)
}

// Page is what a webhook receiver got, and when.
type Page struct {
	At       time.Time
	Path     string
	Person   string
	Key      string
	Severity string
	Reason   string
	Labels   map[string]string
	Annot    map[string]string
}

// Receiver is a webhook receiver that remembers.
type Receiver struct {
	mu    sync.Mutex
	pages []Page
	code  int
}

// Answer makes the receiver answer with a status from now on; 0 is 200.
func (r *Receiver) Answer(code int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.code = code
}

// Pages returns what arrived so far.
func (r *Receiver) Pages() []Page {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Page(nil), r.pages...)
}

// ServeHTTP takes a webhook of Alertmanager's version 4.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	var body struct {
		Alerts []struct {
			Labels      map[string]string `json:"labels"`
			Annotations map[string]string `json:"annotations"`
		} `json:"alerts"`
	}
	if err := json.NewDecoder(req.Body).Decode(&body); err != nil || len(body.Alerts) != 1 {
		http.Error(w, "not a page", http.StatusBadRequest)
		return
	}
	a := body.Alerts[0]
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.code != 0 {
		w.WriteHeader(r.code)
		return
	}
	r.pages = append(r.pages, Page{
		At: time.Now().UTC(), Path: req.URL.Path, Person: a.Labels["person"], Key: a.Labels["page_key"],
		Severity: a.Labels["severity"], Reason: a.Annotations["reason"], Labels: a.Labels, Annot: a.Annotations,
	})
}

// Timeline writes pages one a line, with their time after start.
func Timeline(pages []Page, start time.Time) string {
	var b strings.Builder
	for _, p := range pages {
		fmt.Fprintf(&b, "%9s  %-8s %-6s %s\n", p.At.Sub(start).Truncate(time.Second), p.Person, p.Severity, p.Reason)
	}
	return b.String()
}
