package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"watchbill"
	"watchbill/collector"
	"watchbill/dashboards"
	"watchbill/internal/config"
	"watchbill/internal/store"
	"watchbill/internal/watchdog"
)

// The loops that must go round for a page to leave.
const (
	loopTimers     = "timers"
	loopPages      = "pages"
	loopHeartbeats = "heartbeats"
)

// From when on something is wrong.
const (
	overdueTimer  = 30 * time.Second
	stuckLease    = 2 * time.Minute
	overduePage   = time.Minute
	stoppedLoop   = 25 * time.Second // idle loops go round every ten seconds
	failedReload  = 10 * time.Minute
	leastDiskFree = 0.05
)

// health is what the flow tells of itself as it works. Its zero value listens to
// nothing.
type health struct {
	pulse    *watchdog.Pulse
	alarm    *watchdog.Alarm
	wrote    atomic.Int64 // when a commit last succeeded, in Unix nanoseconds
	couldNot atomic.Int64 // when the store last could not be written
}

func (h *health) beat(loop string) {
	if h.pulse != nil {
		h.pulse.Beat(loop)
	}
}

// committed takes note of how a transaction ended. What was not allowed, or not
// wanted any more, says nothing about the store.
func (h *health) committed(err error) {
	if err == nil {
		h.wrote.Store(time.Now().UnixNano())
		return
	}
	e, ok := errors.AsType[*watchbill.Error](err)
	if ok && e.Code == watchbill.CodeUnavailable && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		h.couldNot.Store(time.Now().UnixNano())
	}
}

// unreached tells of a person whom no method reached.
func (h *health) unreached(text string) {
	if h.alarm != nil {
		h.alarm.Say(text)
	}
}

// watch is how the daemon watches itself.
type watch struct {
	d       *Daemon
	alarm   *watchdog.Alarm
	auditor *watchdog.Auditor
	deadman *watchdog.Deadman
	m       watchStats

	began        atomic.Int64 // when the loops were started, in Unix nanoseconds
	reloadFailed atomic.Int64 // since when the last reload has failed; 0: it did not
}

// watchStats are the metrics that a round of the auditor sets.
type watchStats struct {
	noStep, noAck, noEnd, lost, unsent, stuck, overdue, oldest prometheus.Gauge
	outbox, loops                                              *prometheus.GaugeVec
	diskFree, diskSize, wal                                    prometheus.Gauge
}

func newWatchStats(reg prometheus.Registerer) watchStats {
	f := promauto.With(reg)
	gauge := func(name, help string) prometheus.Gauge {
		return f.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	vec := func(name, help, label string) *prometheus.GaugeVec {
		return f.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{label})
	}
	return watchStats{
		noStep:   gauge("watchbill_incidents_without_next_step", "Open incidents that page and have no next step; must be 0."),
		noAck:    gauge("watchbill_incidents_without_ack_deadline", "Acknowledged incidents whose acknowledgement never expires; must be 0."),
		noEnd:    gauge("watchbill_incidents_without_end", "Resolved incidents that never close; must be 0."),
		lost:     gauge("watchbill_alerts_without_incident", "Firing alerts that nothing mutes and that belong to no incident; must be 0."),
		unsent:   gauge("watchbill_pages_without_attempt", "Pages that left the outbox although no attempt ended them; must be 0."),
		stuck:    gauge("watchbill_leases_stuck", "Pages under a lease that ends too far in the future; must be 0."),
		overdue:  gauge("watchbill_timers_overdue", "Timers, and looks at alerts, that are more than 30 s overdue; must be 0."),
		oldest:   gauge("watchbill_pages_due_oldest_age_seconds", "How long the page that waits longest has been due without being sent."),
		outbox:   vec("watchbill_outbox_pages", "Pages that wait: due, leased by an attempt, or due later.", "state"),
		loops:    vec("watchbill_loop_age_seconds", "How long ago a loop last went round.", "loop"),
		diskFree: gauge("watchbill_disk_free_bytes", "Room on the disk of the store for this process."),
		diskSize: gauge("watchbill_disk_size_bytes", "Size of the disk of the store."),
		wal:      gauge("watchbill_wal_size_bytes", "Size of the store's write-ahead log."),
	}
}

// newWatch makes what watches the daemon. The store is open and nothing runs yet.
func newWatch(cfg *config.Config, d *Daemon) (*watch, error) {
	if err := cfg.Watch.Validate(); err != nil {
		return nil, err
	}
	w := &watch{d: d, m: newWatchStats(d.registry)}
	var err error
	w.alarm, err = watchdog.NewAlarm(cfg.Watch.Alarm, watchdog.AlarmOptions{
		Logger: d.o.Logger, Name: cfg.ExternalURL, State: filepath.Join(cfg.DataDir, "alarm.json"),
		Registerer: d.registry, DialContext: d.o.DialContext,
	})
	if err != nil {
		return nil, fmt.Errorf("set up the alarm: %w", err)
	}
	w.auditor, err = watchdog.NewAuditor(watchdog.AuditorOptions{Look: w.look, Alarm: w.alarm, Logger: d.o.Logger, Registerer: d.registry})
	if err != nil {
		return nil, fmt.Errorf("set up the auditor: %w", err)
	}
	w.deadman, err = watchdog.NewDeadman(cfg.Watch.Deadman, watchdog.DeadmanOptions{
		SelfTest: d.flow.selfTest, Passed: w.auditor.Passed, Alarm: w.alarm, Logger: d.o.Logger,
		Version: cmp.Or(d.o.Version, "unknown"), Registerer: d.registry, DialContext: d.o.DialContext,
	})
	if err != nil {
		return nil, fmt.Errorf("set up the dead man's switch: %w", err)
	}
	pulse, err := d.pulse()
	if err != nil {
		return nil, err
	}
	d.flow.health.alarm, d.flow.health.pulse = w.alarm, pulse
	return w, nil
}

// pulse makes what the loops beat, and what tells systemd while they do.
func (d *Daemon) pulse() (*watchdog.Pulse, error) {
	every, err := watchdog.SystemdInterval()
	if err != nil {
		return nil, watchbill.Errorf(watchbill.CodeInvalid, "write WatchdogSec=30 into the unit", "systemd's watchdog cannot be used: %v", err)
	}
	if every == 0 {
		return watchdog.NewPulse(0, nil, loopTimers, loopPages, loopHeartbeats), nil
	}
	if every < 30*time.Second {
		d.o.Logger.Warn("WatchdogSec is too short: idle loops go round every ten seconds; write 30", "watchdog_sec", every)
	}
	feed := func() {
		if err := watchdog.SystemdAlive(); err != nil {
			d.o.Logger.Warn("systemd's watchdog could not be told", "err", err)
		}
	}
	return watchdog.NewPulse(every, feed, loopTimers, loopPages, loopHeartbeats), nil
}

// run starts what watches. The returned function stops the alarm, which goes
// last: it tells why the rest ended.
func (w *watch) run(ctx context.Context, part func(name string, run func() error)) (stop func()) {
	w.began.Store(time.Now().UnixNano())
	var alarm sync.WaitGroup
	speaking, hush := context.WithCancel(context.WithoutCancel(ctx))
	alarm.Go(func() { w.alarm.Run(speaking) })
	part("auditor", func() error { w.auditor.Run(ctx); return nil })
	part("deadman", func() error { w.deadman.Run(ctx); return nil })
	return func() {
		hush()
		alarm.Wait()
	}
}

// reload puts another configuration in force.
func (w *watch) reload(cfg *config.Config) {
	w.alarm.Reload(cfg.Watch.Alarm)
	w.deadman.Reload(cfg.Watch.Deadman)
	w.alarm.Clear("template")
}

// reloaded takes note of how a reload ended.
func (w *watch) reloaded(err error) {
	if err == nil {
		w.reloadFailed.Store(0)
	} else {
		w.reloadFailed.CompareAndSwap(0, time.Now().UnixNano())
	}
}

// storeFailed tells that the process ends because its disk failed.
func (w *watch) storeFailed(err error) {
	w.alarm.Raise("store-failed", fmt.Sprintf("the store cannot be trusted any more and watchbill ends, to be started again: %v", err))
}

// templateFailed tells that pages go out as plain text.
func (w *watch) templateFailed(receiver string) {
	w.alarm.Raise("template", fmt.Sprintf("a template of the receiver %s fails; its pages go out as plain text", receiver))
}

// doubt is what the auditor looks for, in words.
type doubt struct {
	key, text string
	store.Doubt
}

// doubts are what no correct daemon leaves behind in its store.
func doubts(a store.Audit) []doubt {
	return []doubt{
		{"no-step", "open incidents have no next step", a.NoStep},
		{"no-ack-deadline", "acknowledgements never expire", a.NoAck},
		{"no-end", "resolved incidents never close", a.NoEnd},
		{"lost", "firing alerts belong to no incident", a.Lost},
		{"unsent", "pages left the outbox without an attempt", a.Unsent},
		{"stuck", "pages are under a lease that does not end", a.Stuck},
	}
}

// look is one round of the auditor.
func (w *watch) look(ctx context.Context, now time.Time) ([]watchdog.Finding, error) {
	found := w.around(now)
	var a store.Audit
	err := w.d.store.View(ctx, func(tx *store.Tx) (err error) {
		a, err = tx.Audit(now, store.AuditLimits{Overdue: overdueTimer, Lease: stuckLease})
		return err
	})
	if err != nil {
		return found, err
	}
	gauges := []prometheus.Gauge{w.m.noStep, w.m.noAck, w.m.noEnd, w.m.lost, w.m.unsent, w.m.stuck}
	for i, d := range doubts(a) {
		gauges[i].Set(float64(d.Count))
		if d.Count > 0 {
			found = append(found, watchdog.Finding{Key: d.key, Text: fmt.Sprintf("%d %s: %s", d.Count, d.text, strings.Join(d.Some, ", "))})
		}
	}
	w.m.overdue.Set(float64(a.Overdue))
	if a.Overdue > 0 {
		found = append(found, watchdog.Finding{Key: "overdue", Text: fmt.Sprintf("%d timers are more than %s overdue", a.Overdue, short(overdueTimer))})
	}
	return append(found, w.outbox(a.Outbox, now)...), nil
}

func (w *watch) outbox(o store.OutboxDepth, now time.Time) []watchdog.Finding {
	for state, n := range map[string]int{"due": o.Due, "leased": o.Leased, "later": o.Later} {
		w.m.outbox.WithLabelValues(state).Set(float64(n))
	}
	var age time.Duration
	if !o.Oldest.IsZero() {
		age = now.Sub(o.Oldest)
	}
	w.m.oldest.Set(age.Seconds())
	if age > overduePage {
		return []watchdog.Finding{{Key: "pages-due", Text: fmt.Sprintf("a page has been due for %s and was not sent; %d are due", age.Round(time.Second), o.Due)}}
	}
	return nil
}

// around looks at everything but the rows of the store.
func (w *watch) around(now time.Time) []watchdog.Finding {
	var found []watchdog.Finding
	say := func(key string, aside bool, format string, args ...any) {
		found = append(found, watchdog.Finding{Key: key, Aside: aside, Text: fmt.Sprintf(format, args...)})
	}
	began := time.Unix(0, w.began.Load())
	h := &w.d.flow.health
	for loop, does := range map[string]string{loopTimers: "fires timers", loopPages: "sends pages", loopHeartbeats: "looks at heartbeats"} {
		age := h.pulse.Age(loop, now, began)
		w.m.loops.WithLabelValues(loop).Set(age.Seconds())
		if age > stoppedLoop {
			say("loop-"+loop, false, "the loop that %s has not gone round for %s", does, age.Round(time.Second))
		}
	}
	if failed := h.couldNot.Load(); failed > h.wrote.Load() {
		say("store", false, "the store cannot be written since %s", time.Unix(0, max(h.wrote.Load(), began.UnixNano())).UTC().Format("15:04:05 UTC"))
	}
	if since := w.reloadFailed.Load(); since != 0 && now.Sub(time.Unix(0, since)) > failedReload {
		say("reload", true, "the configuration could not be reloaded since %s; the old one is in force", time.Unix(0, since).UTC().Format("15:04 UTC"))
	}
	cfg := w.d.fixed
	if free, size, ok := diskSpace(cfg.DataDir); ok {
		w.m.diskFree.Set(float64(free))
		w.m.diskSize.Set(float64(size))
		if share := float64(free) / float64(size); share < leastDiskFree {
			say("disk", true, "the disk of %s is nearly full: %.1f %% are free", cfg.DataDir, math.Floor(share*1000)/10)
		}
	}
	if info, err := os.Stat(cfg.Store + "-wal"); err == nil {
		w.m.wal.Set(float64(info.Size()))
	}
	return found
}

// selfMonitored is the collector's configuration with the daemon's own metrics
// and the rules that watch them.
func selfMonitored(cfg *config.Config) collector.Config {
	c := cfg.Collector
	if !cfg.SelfMonitoring {
		return c
	}
	c.Self = true
	c.Rules = append(slices.Clip(c.Rules), collector.RuleFile{Name: "(built in) " + dashboards.RulesName, Content: dashboards.Rules()})
	return c
}

// systemd tells the service manager something, if there is one.
func (d *Daemon) systemd(ctx context.Context, tell func() error) {
	if err := tell(); err != nil {
		d.o.Logger.WarnContext(ctx, "systemd could not be told", "err", err)
	}
}
