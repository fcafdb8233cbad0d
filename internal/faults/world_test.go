package faults_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/auth"
	"watchbill/internal/config"
	"watchbill/internal/daemon"
	"watchbill/internal/pipenet"
	"watchbill/internal/web"
)

// world is the whole daemon in a bubble, with a network of named hosts in which
// names can fail to resolve.
type world struct {
	*rig
	hosts  map[string]*pipenet.Listener
	api    *pipenet.Listener
	cancel context.CancelFunc
	done   chan error

	names    sync.Mutex
	resolver map[string]resolution // of hosts that do not resolve as they should
}

// resolution is how the name of a host fails.
type resolution string

const (
	resolves resolution = ""
	unknown  resolution = "NXDOMAIN"
	servfail resolution = "SERVFAIL"
	silent   resolution = "the resolver does not answer"
)

// resolverTimeout is how long the C library's resolver tries two servers.
const resolverTimeout = 20 * time.Second

// people of the virtual worlds: whoever is paged first has two ways, each
// receiver its own host.
const people = `
people:
  - {name: ana, roles: [support], contact: [{receiver: ana}, {receiver: ana-phone, after: 2m}]}
  - {name: carla, roles: [deployment, infrastructure], contact: [{receiver: carla}]}
  - {name: eve, roles: [security], contact: [{receiver: eve}]}
  - {name: frank, roles: [manager], contact: [{receiver: frank}]}
receivers:
  - {name: ana, webhook_configs: [{url: 'http://ana.test/ana'}]}
  - {name: ana-phone, webhook_configs: [{url: 'http://phone.test/ana-phone'}]}
  - {name: carla, webhook_configs: [{url: 'http://carla.test/carla'}]}
  - {name: eve, webhook_configs: [{url: 'http://eve.test/eve'}]}
  - {name: frank, webhook_configs: [{url: 'http://frank.test/frank'}]}
`

// everybody is one person with all roles, so that each step is one page.
const everybody = `
people:
  - {name: frank, roles: [support, deployment, infrastructure, security, manager], contact: [{receiver: frank}]}
receivers:
  - {name: frank, webhook_configs: [{url: 'http://frank.test/frank'}]}
`

// virtually plays a script against a daemon in a bubble.
func virtually(t *testing.T, configuration string, script func(*testing.T, *world)) {
	t.Helper()
	pipenet.Warm(t.Context())
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2026, 11, 29, 3, 0, 0, 0, time.UTC)))
		dir, err := disk() // no power is cut here: what takes the time is not to be the disk
		require.NoError(t, err)
		defer os.RemoveAll(dir)
		w := &world{
			rig:   &rig{t: t, dir: dir, sim: &pagesim{}},
			hosts: map[string]*pipenet.Listener{}, resolver: map[string]resolution{},
		}
		w.write("external_url: http://watchbill.test\nstore: sqlite:watchbill.db\nroles: {preset: operations}\n" +
			"storm: {pages_per_minute: 1000000}\n" + // each page is looked for by its own key
			"global: {scrape_interval: 10m, evaluation_interval: 10m}\n" + configuration)
		for _, host := range []string{"ana.test", "phone.test", "carla.test", "eve.test", "frank.test"} {
			w.host(host)
		}
		w.begin()
		defer func() { w.end() }() // also when the script fails, else the bubble never ends
		script(t, w)
	})
}

func (w *world) host(name string) {
	l := pipenet.Listen()
	w.hosts[name] = l
	srv := &http.Server{Handler: w.sim, ReadHeaderTimeout: time.Minute}
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

// resolve makes the name of a host fail, or resolve again.
func (w *world) resolve(how resolution, host string) {
	w.names.Lock()
	defer w.names.Unlock()
	w.resolver[host] = how
}

func (w *world) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	w.names.Lock()
	how := w.resolver[host]
	w.names.Unlock()
	failed := &net.DNSError{Err: string(how), Name: host}
	switch how {
	case resolves:
		return w.hosts[host].DialContext(ctx, network, addr)
	case unknown:
		failed.IsNotFound = true
	case servfail:
		failed.IsTemporary = true
	case silent:
		// Transports dial in a context of their own, which outlives the request: what
		// ends it is the resolver's patience.
		timer := time.NewTimer(resolverTimeout)
		defer timer.Stop()
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		failed.IsTimeout = true
	}
	return nil, &net.OpError{Op: "dial", Net: network, Err: failed}
}

// begin starts the daemon.
func (w *world) begin() {
	w.t.Helper()
	w.api = pipenet.Listen()
	var ctx context.Context
	ctx, w.cancel = context.WithCancel(context.Background())
	d, err := daemon.New(ctx, daemon.Options{
		Load:     func() (*config.Config, error) { return config.Load(filepath.Join(w.dir, "watchbill.yaml"), nil) },
		Logger:   slog.New(slog.DiscardHandler),
		Listener: w.api, DialContext: w.dial,
	})
	require.NoError(w.t, err)
	w.done = make(chan error, 1)
	go func() { w.done <- d.Run(ctx) }()
	secret, _, err := d.CreateToken(w.t.Context(), auth.Spec{Name: "faults", Person: "frank", CreatedBy: "faults"})
	require.NoError(w.t, err)
	transport := &http.Transport{DialContext: w.api.DialContext}
	w.client = &web.Client{URL: "http://watchbill.test", Token: secret.Reveal(), HTTP: &http.Client{Transport: transport}}
	w.t.Cleanup(transport.CloseIdleConnections)
}

// end stops the daemon.
func (w *world) end() {
	w.t.Helper()
	w.client.HTTP.CloseIdleConnections()
	w.cancel()
	require.NoError(w.t, <-w.done)
}

func (w *world) sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// fire posts an alert of a service of its own.
func (w *world) fire(format string, args ...any) watchbill.Alert {
	w.t.Helper()
	a := alert(fmt.Sprintf(format, args...), "1")
	require.NoError(w.t, w.post(a))
	synctest.Wait()
	return a
}

// now is the evidence at this moment.
func (w *world) now(alive bool) evidence {
	w.t.Helper()
	return w.evidence(read(w.t, w.db()), alive)
}
