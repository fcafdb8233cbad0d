// Package collector scrapes metrics, keeps them, evaluates rules over them and
// hands the alerts on. It is Prometheus as a library: its scrape manager with
// static, file, http and dns discovery, its time series database with a
// write-ahead log, its query engine and its rule groups, so that PromQL,
// scrape_configs and rule files mean here what they mean there.
//
// # Life
//
// [New] opens the database, replays its log and prepares everything; all that
// can fail fails there. [Collector.Run] scrapes and evaluates until its context
// ends, and then closes the database. [Collector.Reload] takes a new
// configuration: it is checked as a whole first, and what is wrong leaves the
// running one untouched. A rule group that did not change keeps its state, and a
// scrape pool that did not change keeps scraping.
//
// # Evaluation
//
// Recording rules run on a fixed grid, the evaluation interval, as irregular
// samples bias sums over time. Alert rules run five times as often, but not more
// than once a second: a group that holds alert rules and states no interval of
// its own is evaluated at a fifth of the evaluation interval. Detection then
// costs half a scrape interval and half of that fifth on average, 9 s for 15 s
// scrapes, instead of one and a half intervals. A group that holds both kinds is
// split: the recording rules keep the group's name and the grid, the alert rules
// move to a group of the same name with " alerts" appended. A group that states
// its interval is left alone.
//
// At most sixteen groups, or four for each processor, are evaluated over the
// series here at once. One that waits is evaluated for the moment at which it was
// due.
//
// The two halves of a split group are evaluated independently. An alert rule
// that reads a series recorded in its own group sees the value of the last grid
// point.
//
// # Alerts
//
// Alerts that fire, change or resolve go to Options.Notify, again every minute
// while they fire, as Prometheus sends them to an Alertmanager; an alert is valid
// for four minutes after it was last sent. Evaluation never waits for Notify: the
// latest state of each alert waits in memory until Notify takes it. A failed
// Notify is repeated at the next evaluation and at least every second; then
// alerts go one by one, so that a single one that cannot be taken holds up no
// other. External labels are added where the alert has no such label. What was not
// taken when the daemon is killed fires again after the
// restart, as the rules are evaluated again and their "for" is restored from the
// database (unless the daemon was away for more than an hour or "for" is shorter
// than ten minutes, as in Prometheus).
//
// # Probes
//
// Targets of Config.Probes are scraped from a host inside of the process, which
// asks them with blackbox_exporter's probers; see package probe.
//
// # The process' own metrics
//
// With Config.Self, what Options.Self gathers is kept too, at the scrape interval,
// as the job and instance "watchbill": rules can watch the daemon as they watch
// any target, without a network in between. Of the metrics of each rule group,
// those of generated files are left out but for how often evaluating failed:
// with a thousand service targets they would be more series than the targets'.
//
// # Queries
//
// [Collector.API] is Prometheus' HTTP API, its own code. It has an engine of its
// own, so that a dashboard uses no more than Config.Query allows and rules never
// wait for it: a query that takes longer than the timeout, waiting included, ends
// with 503, one that loads too many samples with 422, one with more than 11,000
// points a series with 400, each with Prometheus' body. What writes,
// administers or shows the configuration is not for mounting.
//
// # Remote write
//
// [Collector.Write] takes series from Prometheus servers that cannot be scraped
// from here, by Prometheus' own handler behind a filter: Config.Sources says who may
// write, which labels their series get, and how much. With sources, samples up to
// [WriteWindow] old are taken, in any order.
//
// # Bubbles
//
// Everything runs inside a testing/synctest bubble with Options.DialContext on
// an in-memory network. File discovery does not: it waits on the kernel. The
// scrape manager looks the host's name up, so a process with several bubbles must
// look it up once outside of them.
package collector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	config_util "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	_ "github.com/prometheus/prometheus/discovery/dns"  // dns_sd_configs
	_ "github.com/prometheus/prometheus/discovery/file" // file_sd_configs
	_ "github.com/prometheus/prometheus/discovery/http" // http_sd_configs
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/compression"

	"watchbill"
	"watchbill/collector/logs"
	"watchbill/collector/probe"
)

const (
	defaultRetention = 3 * 24 * time.Hour
	// The next four are Prometheus' defaults.
	outageTolerance = time.Hour
	forGracePeriod  = 10 * time.Minute
	resendDelay     = time.Minute
	lookback        = 5 * time.Minute

	// stripes is into how many parts the index of series in memory is divided, each
	// with a lock and two maps. Prometheus' 16,384 take 5 MiB before there is a
	// series, and are meant for more processors than a thousand would ever keep
	// waiting.
	stripes = 1 << 10
)

// Options are what the collector needs of the process it runs in.
type Options struct {
	// Dir is the folder of the time series. Required.
	Dir string
	// Notify takes alerts. It is called by one goroutine at a time and should be
	// done within ten seconds. An error means that none of the alerts was taken:
	// they are sent again. Required.
	Notify func(ctx context.Context, alerts []watchbill.Alert) error
	// Logger is silent if nil.
	Logger *slog.Logger
	// Registerer takes the collector's own metrics. A registry of its own if nil.
	Registerer prometheus.Registerer
	// DialContext makes the connections of scrapes and of http discovery. The
	// real network if nil.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
	// Self has the process' own metrics kept with the others, while Config.Self is
	// set.
	Self prometheus.Gatherer
}

// Collector scrapes, stores and evaluates.
type Collector struct {
	logger    *slog.Logger
	http      []config_util.HTTPClientOption
	db        *tsdb.DB
	engine    *promql.Engine
	discovery *discovery.Manager
	scrape    *scrape.Manager
	limits    *jobLimit
	jobs      *jobs
	logs      *logs.Runner
	remote    *remotes
	rules     *rules.Manager
	turns     turns
	loader    *loader
	sender    *sender
	probes    *probe.Prober
	// offset is rule_query_offset of the present configuration.
	offset atomic.Int64
	// self keeps the process' own metrics; nil if nobody gives them.
	self      *self
	selfEvery atomic.Int64
	selfOn    atomic.Bool
	generated atomic.Pointer[map[string]bool]
	// api answers queries, within the limits of the present configuration.
	api        atomic.Pointer[queryAPI]
	queryStats *queryStats
	intake     *intake
	// stopDiscovery ends discovery and stopEval what is left of evaluation.
	stopDiscovery, stopEval context.CancelFunc
	stopSelf, stopJobs      context.CancelFunc

	// mu is held by what changes the configuration or ends the collector, so
	// that neither meets the other half-way.
	mu      sync.Mutex
	current prepared
	started bool
	closed  bool
	running sync.WaitGroup
}

// New checks the configuration, opens the database and prepares everything.
// Whoever does not call Run must call Close.
func New(cfg Config, o Options) (*Collector, error) {
	if o.Dir == "" || o.Notify == nil {
		return nil, errors.New("start collector: Options.Dir and Options.Notify are required")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Registerer == nil {
		o.Registerer = prometheus.NewRegistry()
	}
	c := &Collector{logger: o.Logger, loader: &loader{}, turns: newTurns()}
	c.jobs = &jobs{c: c}
	if o.Self != nil {
		c.self = &self{c: c, from: o.Self}
	}
	c.probes = probe.New(probe.Options{Logger: o.Logger.With("component", "probes"), Registerer: o.Registerer})
	c.http = append(c.http, config_util.WithDialContextFunc(c.dialer(o.DialContext)))
	p, err := prepare(cfg, c.http)
	if err != nil {
		return nil, err
	}
	c.db, err = tsdb.Open(o.Dir, o.Logger.With("component", "tsdb"), o.Registerer, storeOptions(p), nil)
	if err != nil {
		return nil, watchbill.Errorf(watchbill.CodeUnavailable,
			"check that the folder is writable, has space, and that no other watchbill uses it",
			"open time series in %s: %v", o.Dir, err)
	}
	if err := c.build(o, p); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	if err := c.apply(p); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// dialer makes the connections of scrapes: into the process for the targets that
// it probes, and to the network for all others.
func (c *Collector) dialer(network config_util.DialContextFunc) config_util.DialContextFunc {
	if network == nil {
		network = (&net.Dialer{}).DialContext
	}
	return func(ctx context.Context, proto, addr string) (net.Conn, error) {
		if host, _, err := net.SplitHostPort(addr); err == nil && host == probe.Host {
			return c.probes.DialContext(ctx)
		}
		return network(ctx, proto, addr)
	}
}

// Probes answers GET /probe.
func (c *Collector) Probes() http.Handler { return c.probes }

// storeOptions are the options of the database.
func storeOptions(p prepared) *tsdb.Options {
	opts := tsdb.DefaultOptions()
	opts.RetentionDuration = p.retention.Milliseconds()
	opts.MaxBlockDuration = max(p.retention/10, 2*time.Hour).Milliseconds()
	opts.OutOfOrderTimeWindow = p.window().Milliseconds()
	opts.WALCompression = compression.Snappy
	opts.StripeSize = stripes
	return opts
}

// build makes the engines around the database.
func (c *Collector) build(o Options, p prepared) error {
	discoveryCtx, stopDiscovery := context.WithCancel(context.Background())
	evalCtx, stopEval := context.WithCancel(context.Background())
	c.stopDiscovery, c.stopEval = stopDiscovery, stopEval
	c.sender = newSender(o.Notify, o.Logger, o.Registerer)
	opts := c.engineOptions("query engine")
	opts.Reg = o.Registerer
	c.engine = promql.NewEngine(opts)
	var err error
	if c.queryStats, err = newQueryStats(o.Registerer); err != nil {
		return err
	}
	if c.intake, err = newIntake(c, o.Registerer); err != nil {
		return err
	}
	sd, err := discovery.CreateAndRegisterSDMetrics(o.Registerer)
	if err != nil {
		return fmt.Errorf("register discovery metrics: %w", err)
	}
	delay := discoveryDelay(p.prom)
	c.discovery = discovery.NewManager(discoveryCtx, o.Logger.With("component", "discovery"), o.Registerer, sd,
		discovery.Name("scrape"), discovery.Updatert(delay), discovery.HTTPClientOptions(c.http...))
	if c.discovery == nil {
		return errors.New("start discovery: its metrics are already registered")
	}
	if c.remote, err = newRemotes(o.Registerer, o.Logger); err != nil {
		return err
	}
	c.logs, err = logs.New(logs.Options{Storage: c.db, Logger: o.Logger.With("component", "logs"), Registerer: o.Registerer, HTTP: c.http})
	if err != nil {
		return err
	}
	if c.limits, err = newJobLimit(c.db, o.Registerer); err != nil {
		return err
	}
	c.scrape, err = scrape.NewManager(&scrape.Options{
		DiscoveryReloadInterval:  model.Duration(delay),
		DiscoveryReloadOnStartup: true,
		HTTPClientOptions:        c.http,
		PassMetadataInContext:    true, // jobLimit looks whose series they are
	}, o.Logger.With("component", "scrape"), nil, nil, c.limits, o.Registerer)
	if err != nil {
		return fmt.Errorf("start scrape manager: %w", err)
	}
	c.rules = rules.NewManager(&rules.ManagerOptions{
		NameValidationScheme:   model.UTF8Validation,
		ExternalURL:            p.externalURL,
		QueryFunc:              c.remote.queryFunc(rules.EngineQueryFunc(c.engine, c.db)),
		NotifyFunc:             c.sender.take,
		Context:                evalCtx,
		Appendable:             c.db,
		Queryable:              c.db,
		Logger:                 o.Logger.With("component", "rules"),
		Registerer:             o.Registerer,
		OutageTolerance:        outageTolerance,
		ForGracePeriod:         forGracePeriod,
		ResendDelay:            resendDelay,
		GroupLoader:            c.loader,
		DefaultRuleQueryOffset: func() time.Duration { return time.Duration(c.offset.Load()) },
		Parser:                 promParser(),
	})
	return nil
}

// engineOptions are the options of the engine that evaluates rules, and what its
// sibling of the query API starts from.
func (c *Collector) engineOptions(component string) promql.EngineOpts {
	return promql.EngineOpts{
		Logger:               c.logger.With("component", component),
		MaxSamples:           50_000_000,
		Timeout:              2 * time.Minute,
		LookbackDelta:        lookback,
		EnableAtModifier:     true,
		EnableNegativeOffset: true,
		Parser:               promParser(),
		// A subquery without a step takes the evaluation interval, as in
		// Prometheus.
		NoStepSubqueryIntervalFn: func(int64) int64 { return c.interval().Milliseconds() },
	}
}

// discoveryDelay is how long changes of discovery are gathered, in both managers:
// a quarter of the shortest scrape interval, so that with 1 s scrapes the first
// one comes within a second, but not more than Prometheus' 5 s.
func discoveryDelay(prom *config.Config) time.Duration {
	shortest := time.Duration(prom.GlobalConfig.ScrapeInterval)
	for _, job := range prom.ScrapeConfigs {
		shortest = min(shortest, time.Duration(job.ScrapeInterval))
	}
	return min(max(shortest/4, 100*time.Millisecond), 5*time.Second)
}

func promParser() parser.Parser { return parser.NewParser(parser.Options{}) }

// interval is the evaluation interval of the present configuration.
func (c *Collector) interval() time.Duration { return time.Duration(c.loader.interval.Load()) }

// Run scrapes and evaluates until ctx ends. Then it stops scraping, discovery
// and evaluation in this order, tries once more to hand over the alerts that
// wait, and closes the database.
func (c *Collector) Run(ctx context.Context) error {
	c.mu.Lock()
	if c.closed || c.started {
		c.mu.Unlock()
		return errors.New("run collector: it ran already, or it is closed")
	}
	c.started = true
	c.start()
	c.mu.Unlock()
	<-ctx.Done()
	return c.Close()
}

// start starts the loops. It is called once, with mu held.
func (c *Collector) start() {
	c.running.Go(func() { _ = c.discovery.Run() }) // returns the context's error only
	c.running.Go(func() {
		if err := c.scrape.Run(c.discovery.SyncCh()); err != nil {
			c.logger.Error("scraping ended", "error", err)
		}
	})
	c.running.Go(c.sender.run)
	c.running.Go(c.rules.Run)
	c.logs.Start()
	jobsCtx, stopJobs := context.WithCancel(context.Background())
	c.stopJobs = stopJobs
	c.running.Go(func() { c.jobs.run(jobsCtx) })
	if c.self != nil {
		ctx, stop := context.WithCancel(context.Background())
		c.stopSelf = stop
		c.running.Go(func() { c.self.run(ctx) })
	}
}

// Close ends everything and closes the database. Run calls it; calling it again
// does nothing.
func (c *Collector) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	if c.scrape != nil {
		c.scrape.Stop()
	}
	if c.stopSelf != nil {
		c.stopSelf()
	}
	if c.stopJobs != nil {
		c.stopJobs()
	}
	if c.logs != nil {
		c.logs.Close()
	}
	if c.stopDiscovery != nil {
		c.stopDiscovery()
	}
	if c.rules != nil {
		if !c.started {
			// Groups that were never let run cannot be stopped either.
			c.running.Go(c.rules.Run)
		}
		c.rules.Stop()
		c.stopEval()
	}
	if c.sender != nil {
		c.sender.stop()
	}
	c.running.Wait()
	err := c.probes.Close()
	if c.engine != nil {
		err = errors.Join(err, c.engine.Close())
	}
	if dbErr := c.db.Close(); dbErr != nil {
		err = errors.Join(err, fmt.Errorf("close time series: %w", dbErr))
	}
	return err
}
