package watchdog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	selfTestTime  = 30 * time.Second // one may take
	selfTestEvery = time.Minute      // without a monitor that wants it more often
	pingPause     = 2 * time.Second  // between two attempts of one ping
	startPause    = 5 * time.Second  // before the first ping of a process
	pingAttempts  = 2
)

// DeadmanOptions is what a [Deadman] works with. SelfTest, Passed and Alarm are
// required.
type DeadmanOptions struct {
	// SelfTest sends one alert the whole way and returns nil when its page was
	// delivered and recorded.
	SelfTest func(ctx context.Context) error
	// Passed is the auditor's word.
	Passed func(now time.Time) error
	Alarm  *Alarm
	Logger *slog.Logger // nil: silent
	// Version is told to the monitors.
	Version string
	// Registerer takes the metrics. Nil: they are not exposed.
	Registerer prometheus.Registerer
	// DialContext opens all connections. Nil: the network.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
}

// Deadman tests the whole way through watchbill, and pings monitors elsewhere
// while it works.
type Deadman struct {
	o       DeadmanOptions
	log     *slog.Logger
	tests   *prometheus.CounterVec
	tested  prometheus.Gauge
	pinged  *prometheus.GaugeVec
	changed chan []Ping

	testing sync.Mutex // one self-test at a time
	passed  time.Time  // when the last one passed; zero if it failed
}

// NewDeadman makes a dead man's switch. Nothing happens before Run.
func NewDeadman(pings []Ping, o DeadmanOptions) (*Deadman, error) {
	d := &Deadman{
		o: o, log: cmp.Or(o.Logger, slog.New(slog.DiscardHandler)), changed: make(chan []Ping, 1),
		tests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "watchbill_selftests_total", Help: "Alerts of our own sent the whole way, by how that ended.",
		}, []string{"result"}),
		tested: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "watchbill_selftest_last_success_timestamp_seconds", Help: "When an alert of our own last went the whole way; 0 before the first.",
		}),
		pinged: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "watchbill_deadman_ping_last_success_timestamp_seconds", Help: "When a monitor elsewhere last took a ping; n counts the entries of deadman: from 0.",
		}, []string{"n"}),
	}
	d.tests.WithLabelValues("passed")
	d.tests.WithLabelValues("failed")
	if o.Registerer != nil {
		for _, c := range []prometheus.Collector{d.tests, d.tested, d.pinged} {
			if err := o.Registerer.Register(c); err != nil {
				return nil, fmt.Errorf("register metric: %w", err)
			}
		}
	}
	d.changed <- pings
	return d, nil
}

// Reload pings other monitors from now on.
func (d *Deadman) Reload(pings []Ping) {
	select {
	case <-d.changed: // a change that was not taken up
	default:
	}
	d.changed <- pings
}

// Run tests and pings until ctx ends. A ping in hand is given up.
func (d *Deadman) Run(ctx context.Context) {
	var running sync.WaitGroup
	stop := func() {}
	for {
		select {
		case <-ctx.Done():
			stop()
			running.Wait()
			return
		case pings := <-d.changed:
			stop()
			running.Wait()
			var inner context.Context
			inner, stop = context.WithCancel(ctx)
			d.pinged.Reset()
			if len(pings) == 0 {
				running.Go(func() { d.every(inner, selfTestEvery, selfTestEvery, func() { _ = d.pass(inner, selfTestEvery) }) })
			}
			for n, p := range pings {
				running.Go(func() { d.monitor(inner, n, p) })
			}
		}
	}
}

// every calls fn at an interval until ctx ends, first after a pause.
func (d *Deadman) every(ctx context.Context, first, interval time.Duration, fn func()) {
	t := time.NewTimer(first)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		begun := time.Now()
		fn()
		t.Reset(max(interval-time.Since(begun), 0))
	}
}

// monitor serves one monitor.
func (d *Deadman) monitor(ctx context.Context, n int, p Ping) {
	p.Interval, p.Timeout = cmp.Or(p.Interval, defaultPingInterval), cmp.Or(p.Timeout, defaultPingTimeout)
	key := "deadman/" + strconv.Itoa(n)
	defer d.o.Alarm.Clear(key)
	d.every(ctx, min(startPause, p.Interval), p.Interval, func() {
		err := d.pass(ctx, p.Interval)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			if p.Fail {
				_ = d.ping(ctx, p, "/fail", err.Error()) // the missing ping says the same
			}
			return
		}
		if err = d.ping(ctx, p, "", fmt.Sprintf("watchbill %s: an alert of our own went the whole way", d.o.Version)); err == nil {
			d.pinged.WithLabelValues(strconv.Itoa(n)).Set(float64(time.Now().Unix()))
			d.o.Alarm.Clear(key)
		} else if ctx.Err() == nil {
			d.log.WarnContext(ctx, "a dead man's switch took no ping", "n", n, "err", err)
			d.o.Alarm.Raise(key, fmt.Sprintf("dead man's switch %d cannot be pinged: %v", n, err))
		}
	})
}

// pass runs the self-test, unless another monitor's passed just now, and asks the
// auditor.
func (d *Deadman) pass(ctx context.Context, interval time.Duration) error {
	d.testing.Lock()
	defer d.testing.Unlock()
	if d.passed.IsZero() || time.Since(d.passed) > interval/4 {
		if err := d.test(ctx); err != nil {
			return err
		}
	}
	if err := d.o.Passed(time.Now()); err != nil {
		return fmt.Errorf("the auditor is not content: %w", err)
	}
	return nil
}

func (d *Deadman) test(ctx context.Context) error {
	bounded, cancel := context.WithTimeoutCause(ctx, selfTestTime, fmt.Errorf("it took longer than %s", selfTestTime))
	defer cancel()
	err := d.o.SelfTest(bounded)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil {
		d.passed = time.Now()
		d.tests.WithLabelValues("passed").Inc()
		d.tested.Set(float64(d.passed.Unix()))
		d.o.Alarm.Clear("selftest")
		return nil
	}
	d.passed = time.Time{}
	d.tests.WithLabelValues("failed").Inc()
	err = fmt.Errorf("an alert of our own did not go the whole way: %w", err)
	d.log.ErrorContext(ctx, "self-test failed", "err", err)
	d.o.Alarm.Raise("selftest", err.Error())
	return err
}

// ping tells a monitor something, twice if need be.
func (d *Deadman) ping(ctx context.Context, p Ping, suffix, text string) (err error) {
	u, err := url.Parse(p.URL.reveal())
	if err != nil {
		return errors.New("its address is not valid")
	}
	dial := dialer(d.o.DialContext)
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	u.Path = u.Path + suffix
	for attempt := range pingAttempts {
		if attempt > 0 && !sleep(ctx, pingPause) {
			break
		}
		bounded, cancel := context.WithTimeout(ctx, p.Timeout)
		err = clean(request(bounded, dial, post{address: NewSecret(u.String()), body: []byte(oneLine(text) + "\n")}), p.URL)
		cancel()
		if err == nil || ctx.Err() != nil {
			break
		}
	}
	return err
}

// sleep waits, and reports whether ctx lasted.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
