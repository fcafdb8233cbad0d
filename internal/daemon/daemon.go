// Package daemon wires the rooms together: [New] builds everything that can
// fail, [Daemon.Run] runs it until its context ends, [Daemon.Reload] replaces
// the configuration whole or not at all.
//
// # The flow
//
// The collector's rules and the API hand alerts to flow.Receive; due rows come
// from flow.timers; what people do comes from the API through flow.Acknowledge
// and its neighbours. Each is one transaction of the store, in which the
// router decides, the incident's life says what changes, the planner says who
// is on duty, and the pages are written to the outbox. The page worker sends
// from there.
//
// # Stopping
//
// The parts stop in the order in which signals flow, each within a bound: HTTP
// finishes its requests, the collector stops evaluating, the timers and the
// worker stop between two rows, the store closes. Whatever was not sent is a row
// and is sent after the next start.
package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"watchbill"
	"watchbill/collector"
	"watchbill/escalation"
	"watchbill/incident"
	"watchbill/internal/auth"
	"watchbill/internal/config"
	"watchbill/internal/notify"
	"watchbill/internal/store"
	"watchbill/internal/watchdog"
	"watchbill/internal/web"
	"watchbill/router"
	"watchbill/runbooks"
)

// Options are what a daemon needs from outside. Load and Logger are required.
type Options struct {
	Load     func() (*config.Config, error) // reads the configuration; called again by Reload
	Logger   *slog.Logger
	Terminal io.Writer    // where the terminal receiver prints; nil discards
	Listener net.Listener // nil: listen where the configuration says
	Version  string
	// DialContext reaches scrape targets and receivers; nil is the network.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)

	// StopTimersAfter stops the loop that fires timers after a while, to see what
	// happens when it does; zero leaves it alone. It is for tests and drills.
	StopTimersAfter time.Duration

	// registerer is where the rooms register their metrics; nil for none.
	registerer prometheus.Registerer
	// fallback is told of a receiver whose templates fail; nil for nobody.
	fallback func(receiver string)
	// deliver takes pages in the place of every receiver; nil: the receivers.
	deliver func(ctx context.Context, d watchbill.Delivery) (watchbill.Result, string)
}

// Daemon is everything that runs.
type Daemon struct {
	o         Options
	fixed     *config.Config // what a reload does not change
	written   config.Written // the configuration in force, key by key
	rooms     atomic.Pointer[rooms]
	reload    sync.Mutex // held while a configuration is replaced
	registry  *prometheus.Registry
	stats     *stats
	store     *store.Store
	flow      *flow
	auth      *auth.Auth
	signIn    *auth.SignIn
	collector *collector.Collector
	worker    *notify.Worker
	listener  net.Listener
	server    *http.Server
	wakeTimer chan struct{}
	watch     *watch
	signals   *signals

	heartbeats *heartbeats
	intakes    *intakes
	mail       mailIntake
}

// build makes the rooms of a configuration. It touches nothing that runs.
func build(cfg *config.Config, o Options) (*rooms, error) {
	r := &rooms{
		matrix: cfg.Matrix, coverage: cfg.Coverage, externalURL: cfg.ExternalURL, keepIncidents: cfg.KeepIncidents, targets: cfg.Targets, services: cfg.Services,
		line: cfg.Line, pagesPerMinute: cfg.PagesPerMinute, hooks: cfg.Hooks, auditURL: cfg.AuditURL, cover: cfg.RunbookCover,
		people: map[watchbill.PersonID]watchbill.Person{}, configured: map[watchbill.PersonID][]watchbill.Contact{},
	}
	for _, p := range cfg.People {
		r.people[p.ID], r.configured[p.ID] = p, p.Contact
	}
	var err error
	if r.router, err = router.New(cfg.Router); err != nil {
		return nil, fmt.Errorf("set up the router: %w", err)
	}
	r.life = incident.New(cfg.Incident)
	if r.planner, err = escalation.New(cfg.Escalation); err != nil {
		return nil, fmt.Errorf("set up escalation: %w", err)
	}
	r.control(cfg.Changes)
	if r.runbooks, _, err = runbooks.New(cfg.Runbooks); err != nil {
		return nil, fmt.Errorf("read runbooks: %w", err)
	}
	r.notifier, err = notify.New(cfg.Notify, notify.Options{
		Logger: cmp.Or(o.Logger, slog.New(slog.DiscardHandler)), Terminal: o.Terminal, DialContext: o.DialContext, Registerer: o.registerer,
		Fallback: o.fallback, Deliver: o.deliver,
	})
	if err != nil {
		return nil, fmt.Errorf("set up receivers: %w", err)
	}
	return r, nil
}

// New opens the store and the series, and listens. Everything that can fail has
// happened when it returns nil.
func New(ctx context.Context, o Options) (_ *Daemon, err error) {
	cfg, err := o.Load()
	if err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	o.registerer = registry
	d := &Daemon{o: o, fixed: cfg, registry: registry, wakeTimer: make(chan struct{}, 1)}
	d.signals = &signals{d: d}
	d.o.fallback = func(receiver string) { d.watch.templateFailed(receiver) }
	d.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	d.stats = newStats(d.registry, cmp.Or(o.Version, "unknown"))
	r, err := build(cfg, d.o)
	if err = errors.Join(err, checkWeb(cfg.WebConfig)); err != nil {
		return nil, err
	}
	d.rooms.Store(r)
	d.written = cfg.Written
	d.stats.responses.configure(cfg.Targets, cfg.Services)
	if d.store, err = store.Open(ctx, cfg.Store, store.Owner(store.DefaultBallast)); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	if err = d.keepRules(ctx, cfg, r); err != nil {
		return nil, err
	}
	d.store.Committed(func(n int) { d.stats.batches.Observe(float64(n)) })
	d.registry.MustRegister(newStoreStats(d.store), newDutyStats(d.rooms.Load))
	d.flow = &flow{store: d.store, rooms: &d.rooms, wake: d.wake, nudge: d.nudge, seen: newSeen(), known: &known{}, logger: o.Logger, stats: d.stats}
	if d.flow.codes, err = openCodes(cfg.DataDir); err != nil {
		return nil, err
	}
	if err = errors.Join(d.flow.contactsChanged(ctx), d.dutyChanged(ctx)); err != nil {
		return nil, err
	}
	d.heartbeats = newHeartbeats(d.flow, cfg.Heartbeats, d.registry)
	d.intakes = newIntakes(d.flow, d.heartbeats, d.registry)
	if d.watch, err = newWatch(cfg, d); err != nil {
		return nil, err
	}
	d.worker = notify.NewWorker(notify.WorkerOptions{
		Outbox: outbox{d.flow}, Notifier: r.notifier, Logger: o.Logger, Registerer: d.registry,
		Beat: func() { d.flow.health.beat(loopPages) },
	})
	d.auth = auth.New(cfg.Auth, tokens{d.store}, d.person)
	d.signIn = auth.NewSignIn(cfg.Auth, accounts{d.store}, directory{d}, providerClient(o.DialContext))
	d.collector, err = collector.New(selfMonitored(cfg), collector.Options{
		Dir: filepath.Join(cfg.DataDir, "series"), Logger: o.Logger, Registerer: d.registry,
		Notify: d.fromRules, DialContext: o.DialContext, Self: d.registry,
	})
	if err != nil {
		return nil, fmt.Errorf("set up the collector: %w", err)
	}
	// The collector has read the rules; nobody needs their text any more.
	kept := *cfg
	kept.Collector.Rules, d.fixed = nil, &kept
	// The lock on the series' folder, which the collector holds now, makes this the
	// only daemon on this store: what a dead one was sending is sent again at once.
	if err = errors.Join(d.releaseLeases(ctx), d.tellHeld(ctx), d.tellStarted(ctx, cfg)); err != nil {
		return nil, err
	}
	if d.listener = o.Listener; d.listener == nil {
		if d.listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Listen); err != nil {
			return nil, watchbill.Errorf(watchbill.CodeUnavailable, "choose another address with listen: in the configuration", "cannot listen on %s: %v", cfg.Listen, err)
		}
	}
	if d.mail, err = listenForMail(ctx, cfg, d.intakes); err != nil {
		return nil, err
	}
	d.server = &http.Server{
		Handler: d.web().Handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(o.Logger.Handler(), slog.LevelWarn),
	}
	d.stats.reloaded.Set(1)
	d.stats.reloadTime.SetToCurrentTime()
	return d, nil
}

func (d *Daemon) releaseLeases(ctx context.Context) error {
	var n int64
	err := d.store.Update(ctx, func(tx *store.Tx) (err error) {
		n, err = tx.ReleaseLeases()
		return err
	})
	d.stats.leases.Add(float64(n))
	if n > 0 {
		d.o.Logger.WarnContext(ctx, "pages were being sent when watchbill ended; they are sent again under the same key", "pages", n)
	}
	return err
}

func (d *Daemon) web() *web.Server {
	return web.New(web.Options{
		Authenticate: d.auth.Authenticate,
		Matrix:       func() watchbill.Matrix { return d.rooms.Load().matrix },
		Tokens:       d.auth,
		SignIn:       d.signIn,
		External:     func() string { return d.rooms.Load().externalURL },
		Receive:      d.intakes.receive,
		Heartbeats:   d.heartbeats,
		Incidents:    d.flow,
		Acts:         d.flow,
		Moves:        d.flow,
		Drills:       d.flow,
		Runs:         d.flow,
		Plans:        d.flow,
		Actions:      d.flow,
		Responders:   d.flow,
		Pages:        d.flow,
		Texts:        d.flow,
		Contacts:     d.flow,
		ContactActs:  d.flow,
		Silences:     d.flow,
		Approvals:    d.flow,
		Alertmanager: board{d.flow, cmp.Or(d.o.Version, "unknown"), time.Now().UTC()},
		AlertHistory: board{flow: d.flow},
		Hold:         d.flow,
		Changes:      d.flow,
		Ledger:       d.flow,
		AuditLog:     d.flow,
		Services:     services{d},
		Alarm:        d.watch.alarm,
		Why:          d.flow,
		Oncall:       Oncall{d.rooms.Load, d.flow.pagesBetween},
		DutyChanges:  duty{d},
		Handovers:    d.flow,
		Calendars:    d.flow,
		Explain:      d.flow.explain,
		Runbook:      d.runbook,
		Reload:       d.reloadFor,
		Ready:        d.ready,
		Probe:        d.collector.Probes(),
		Metrics:      promhttp.HandlerFor(d.registry, promhttp.HandlerOpts{Registry: d.registry}),
		Query:        d.collector.API(),
		Write:        d.collector.Write,
		Hook:         d.intakes.Hook,
		Raise:        d.intakes.Raise,
		Logger:       d.o.Logger,
	})
}

// Addr is where the API listens.
func (d *Daemon) Addr() net.Addr { return d.listener.Addr() }

// Run runs the daemon until ctx ends or a part fails, then stops all of it.
func (d *Daemon) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var parts sync.WaitGroup
	part := func(name string, run func() error) {
		parts.Go(func() {
			if err := run(); err != nil && !errors.Is(err, context.Canceled) {
				cancel(fmt.Errorf("%s: %w", name, err))
			}
		})
	}
	stopHousekeeping, err := d.housekeeping()
	if err != nil {
		return errors.Join(err, d.close())
	}
	part("http", func() error {
		if err := d.serve(); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	part("store", func() error {
		select {
		case err := <-d.store.Failed():
			d.watch.storeFailed(err)
			return err
		case <-ctx.Done():
			return nil
		}
	})
	part("mail", d.mail.serve)
	part("collector", func() error { return d.collect(ctx) })
	// Before the timers: what was raised before a stop is renewed before it ends.
	if _, err := d.heartbeats.round(ctx); err != nil {
		d.o.Logger.ErrorContext(ctx, "cannot look at heartbeats yet", "err", err)
	}
	part("heartbeats", func() error { d.heartbeats.run(ctx); return nil })
	part("timers", func() error { d.timers(ctx); return nil })
	part("pages", func() error { return d.worker.Run(ctx) })
	stopAlarm := d.watch.run(ctx, part)
	d.systemd(ctx, watchdog.SystemdReady)
	d.o.Logger.InfoContext(ctx, "watchbill is on watch", "address", d.listener.Addr().String())

	<-ctx.Done()
	d.systemd(ctx, watchdog.SystemdStopping)
	err = context.Cause(ctx)
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	drain, done := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer done()
	err = errors.Join(err, d.server.Shutdown(drain), d.mail.stop(drain), stopHousekeeping())
	parts.Wait()
	stopAlarm()
	return errors.Join(err, d.store.Close())
}

// timers fires due timers until ctx ends, or until it is stopped for a drill.
func (d *Daemon) timers(ctx context.Context) {
	if d.o.StopTimersAfter > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.o.StopTimersAfter)
		defer cancel()
	}
	d.flow.timers(ctx, d.wakeTimer)
}

// close releases what New opened, when Run is never reached.
func (d *Daemon) close() error {
	var errs []error
	if d.listener != nil {
		errs = append(errs, d.listener.Close())
	}
	errs = append(errs, d.mail.close())
	if d.collector != nil {
		errs = append(errs, d.collector.Close())
	}
	return errors.Join(append(errs, d.store.Close())...)
}

// Reload reads the configuration again and puts it in force, whole or not at
// all: everything that can fail happens before anything live is touched.
func (d *Daemon) Reload(ctx context.Context) error { return d.reloadFor(ctx, web.Actor{}) }

// reloadFor is Reload in somebody's name.
func (d *Daemon) reloadFor(ctx context.Context, who web.Actor) error {
	d.reload.Lock()
	defer d.reload.Unlock()
	changes, err := d.replace(ctx)
	d.watch.reloaded(err)
	d.tellReloaded(ctx, who, changes, err)
	if err != nil {
		d.stats.reloaded.Set(0)
		d.o.Logger.ErrorContext(ctx, "the configuration was not reloaded; the old one stays in force", "err", err)
		return err
	}
	d.stats.reloaded.Set(1)
	d.stats.reloadTime.SetToCurrentTime()
	d.o.Logger.InfoContext(ctx, "configuration reloaded")
	return nil
}

// replace returns what is written differently.
func (d *Daemon) replace(ctx context.Context) (changes []string, err error) {
	cfg, err := d.o.Load()
	if err != nil {
		return nil, err
	}
	r, err := build(cfg, d.o)
	if err != nil {
		return nil, err
	}
	if err := cfg.Watch.Validate(); err != nil {
		return nil, err
	}
	for key, changed := range map[string]bool{
		"listen": cfg.Listen != d.fixed.Listen, "web_config_file": cfg.WebConfig != d.fixed.WebConfig, "store": cfg.Store != d.fixed.Store, "mail": !reflect.DeepEqual(cfg.Mail, d.fixed.Mail), "auth": !reflect.DeepEqual(cfg.Auth, d.fixed.Auth),
	} {
		if changed {
			d.o.Logger.WarnContext(ctx, "a reload does not change this; it takes effect at the next start", "key", key)
		}
	}
	if err := d.loosen(ctx, cfg); err != nil {
		return nil, err
	}
	d.flow.installing.Lock()
	defer d.flow.installing.Unlock()
	own, err := d.flow.ownContacts(ctx)
	if err != nil {
		return nil, err
	}
	if r, err = d.changed(ctx, r.with(own)); err != nil {
		return nil, err
	}
	if err := r.uncovered(); err != nil {
		return nil, err
	}
	if err := d.collector.Reload(selfMonitored(cfg)); err != nil { // checks all of it before it changes anything
		return nil, err
	}
	d.rooms.Store(r)
	d.stats.responses.configure(cfg.Targets, cfg.Services)
	d.proveCoverage(ctx)
	d.worker.Reload(r.notifier)
	d.watch.reload(cfg)
	d.heartbeats.reload(cfg.Heartbeats)
	d.sweepSessions(context.Background())
	d.wake(store.News{Pages: true, Due: time.Now()})
	changes = d.written.Changes(cfg.Written, maxChanges)
	d.written = cfg.Written
	return changes, nil
}

// wake tells the timers and the worker to look at their rows, if there is
// something new for them.
func (d *Daemon) wake(n store.News) {
	if !n.Due.IsZero() && d.flow.looksAfter(n.Due) {
		select {
		case d.wakeTimer <- struct{}{}:
		default:
		}
	}
	if n.Pages {
		d.worker.Wake()
	}
}

// nudge is wake for what concerns only the self-test.
func (d *Daemon) nudge() {
	select {
	case d.wakeTimer <- struct{}{}:
	default:
	}
	d.worker.WakeLoop()
}

// fromRules takes alerts of the rule engine in.
func (d *Daemon) fromRules(ctx context.Context, alerts []watchbill.Alert) error {
	err := d.flow.Receive(ctx, "rules", unclaimed(alerts))
	if err != nil {
		d.stats.notifyErrors.Inc()
	}
	return err
}

func (d *Daemon) person(id watchbill.PersonID) (watchbill.Person, bool) {
	p, ok := d.rooms.Load().people[id]
	return p, ok
}

func (d *Daemon) runbook(name string) ([]byte, bool) {
	book, ok := d.rooms.Load().runbooks.Get(name)
	return book.Source, ok
}

// ready proves that the store takes writes.
func (d *Daemon) ready(ctx context.Context) error {
	return d.store.Update(ctx, func(tx *store.Tx) error { return tx.Heartbeat(time.Now()) })
}
