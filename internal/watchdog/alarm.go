package watchdog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"watchbill"
)

const (
	maxLines     = 20               // of one message
	repeatEvery  = time.Hour        // while a condition lasts
	maxUnproven  = 48 * time.Hour   // without a confirmed test
	farewellTime = 15 * time.Second // for the last message of a process that ends
)

// AlarmOptions is what an [Alarm] works with.
type AlarmOptions struct {
	Logger *slog.Logger // nil: silent
	// Name says in messages which watchbill speaks, such as its external URL.
	Name string
	// State is a file that remembers when a test was last confirmed, over
	// restarts. Empty: nothing is remembered.
	State string
	// Registerer takes the metrics. Nil: they are not exposed.
	Registerer prometheus.Registerer
	// DialContext opens all connections. Nil: the network.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
}

// Alarm is the second notifier. It is safe for concurrent use; nothing of it
// blocks but Run, Test and Confirm.
type Alarm struct {
	o       AlarmOptions
	log     *slog.Logger
	wake    chan struct{}
	metrics alarmMetrics
	sending sync.Mutex    // one message at a time
	saving  chan struct{} // holds a token while the state is written

	mu         sync.Mutex
	cfg        AlarmConfig
	lasting    map[string]*condition
	lines      []string // not sent yet
	more       int      // messages beyond those lines
	state      alarmState
	nextTest   time.Time
	unreported string // a failure of the channels, for the next message
}

// condition is something wrong that lasts.
type condition struct {
	text  string
	since time.Time
	told  time.Time
}

type alarmMetrics struct {
	messages   *prometheus.CounterVec
	conditions prometheus.Gauge
	configured prometheus.Gauge
	confirmed  prometheus.Gauge
}

// NewAlarm makes an alarm. Nothing is sent before Run.
func NewAlarm(cfg AlarmConfig, o AlarmOptions) (*Alarm, error) {
	a := &Alarm{
		o: o, log: cmp.Or(o.Logger, slog.New(slog.DiscardHandler)), wake: make(chan struct{}, 1),
		lasting: map[string]*condition{}, saving: make(chan struct{}, 1),
		metrics: alarmMetrics{
			messages: prometheus.NewCounterVec(prometheus.CounterOpts{
				Name: "watchbill_alarm_messages_total", Help: "Messages of the second notifier, by channel and by how they ended.",
			}, []string{"channel", "result"}),
			conditions: prometheus.NewGauge(prometheus.GaugeOpts{
				Name: "watchbill_alarm_conditions", Help: "Failures of watchbill itself that last at this moment.",
			}),
			configured: prometheus.NewGauge(prometheus.GaugeOpts{
				Name: "watchbill_alarm_configured", Help: "Whether the second notifier has a way to tell anybody.",
			}),
			confirmed: prometheus.NewGauge(prometheus.GaugeOpts{
				Name: "watchbill_alarm_last_confirmed_timestamp_seconds", Help: "When somebody last confirmed a test of the second notifier; at first, when it was first started.",
			}),
		},
	}
	for _, channel := range []string{"webhook", "smtp"} {
		for _, result := range []string{"sent", "failed"} {
			a.metrics.messages.WithLabelValues(channel, result)
		}
	}
	if o.Registerer != nil {
		m := a.metrics
		for _, c := range []prometheus.Collector{m.messages, m.conditions, m.configured, m.confirmed} {
			if err := o.Registerer.Register(c); err != nil {
				return nil, fmt.Errorf("register metric: %w", err)
			}
		}
	}
	a.loadState(time.Now())
	a.Reload(cfg)
	return a, nil
}

// Reload puts another configuration in force.
func (a *Alarm) Reload(cfg AlarmConfig) {
	cfg.MinInterval = cmp.Or(cfg.MinInterval, defaultMinInterval)
	a.mu.Lock()
	a.cfg = cfg
	a.nextTest = cfg.Test.next(time.Now())
	a.mu.Unlock()
	a.metrics.configured.Set(0)
	if cfg.Configured() {
		a.metrics.configured.Set(1)
	}
	a.wakeUp()
}

func (a *Alarm) wakeUp() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// Raise says that something is wrong and stays wrong until Clear is called with
// the same key. Raising it again does nothing but keep its text.
func (a *Alarm) Raise(key, text string) {
	text = oneLine(text)
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.lasting[key]; c != nil {
		c.text = text
		return
	}
	now := time.Now()
	a.lasting[key] = &condition{text: text, since: now, told: now}
	a.metrics.conditions.Set(float64(len(a.lasting)))
	a.log.Error("watchbill itself is unwell", "condition", key, "what", text)
	a.add(text)
}

// Clear says that what was raised under a key is over.
func (a *Alarm) Clear(key string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.lasting[key]
	if c == nil {
		return
	}
	delete(a.lasting, key)
	a.metrics.conditions.Set(float64(len(a.lasting)))
	a.log.Info("watchbill is well again", "condition", key, "what", c.text)
	a.add(fmt.Sprintf("over after %s: %s", time.Since(c.since).Round(time.Second), c.text))
}

// Say tells something that happened once.
func (a *Alarm) Say(text string) {
	text = oneLine(text)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.log.Error("watchbill itself is unwell", "what", text)
	a.add(text)
}

// add puts a line into the next message. It is called with mu held.
func (a *Alarm) add(line string) {
	if len(a.lines) >= maxLines || slices.Contains(a.lines, line) {
		a.more++
		return
	}
	a.lines = append(a.lines, line)
	a.wakeUp()
}

// Run sends what is raised until ctx ends, and then, once, what is left.
func (a *Alarm) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			a.farewell(context.WithoutCancel(ctx))
			return
		case <-a.wake:
		case <-timer.C:
		}
		timer.Reset(max(time.Until(a.round(ctx)), 10*time.Millisecond))
	}
}

// round sends what is due and returns when there may be more.
func (a *Alarm) round(ctx context.Context) time.Time {
	now := time.Now()
	a.mu.Lock()
	test := !now.Before(a.nextTest)
	if test {
		a.nextTest = a.cfg.Test.next(now)
	}
	a.repeat(now)
	quiet := a.state.Sent.Add(a.cfg.MinInterval)
	ready := len(a.lines) > 0 && (a.state.Sent.IsZero() || !now.Before(quiet))
	a.mu.Unlock()
	if test {
		a.daily(ctx, now)
	} else if ready {
		a.flush(ctx, now)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	next := a.nextTest
	if len(a.lines) > 0 {
		next = earlier(next, a.state.Sent.Add(a.cfg.MinInterval))
	}
	for _, c := range a.lasting {
		next = earlier(next, c.told.Add(repeatEvery))
	}
	return next
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// repeat adds the conditions that were last told long ago. It is called with mu
// held.
func (a *Alarm) repeat(now time.Time) {
	for _, key := range sortedKeys(a.lasting) {
		if c := a.lasting[key]; now.Sub(c.told) >= repeatEvery {
			c.told = now
			a.add(fmt.Sprintf("still, since %s: %s", c.since.UTC().Format("15:04 UTC"), c.text))
		}
	}
}

// flush sends what has gathered. What no channel took is kept for the next time.
func (a *Alarm) flush(ctx context.Context, now time.Time) {
	a.mu.Lock()
	lines, more := a.lines, a.more
	a.lines, a.more, a.state.Sent = nil, 0, now
	a.remember()
	a.mu.Unlock()
	if err := a.send(ctx, now, "ALARM: "+short(lines[0], 80), a.body(lines, more)); err != nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		later := a.lines
		a.lines, a.more = lines, a.more+more
		for _, l := range later {
			a.add(l)
		}
	}
}

func (a *Alarm) body(lines []string, more int) string {
	var b strings.Builder
	for _, l := range lines {
		b.WriteString("- " + l + "\n")
	}
	if more > 0 {
		fmt.Fprintf(&b, "- and %d more since the last message; the log has them\n", more)
	}
	return b.String()
}

// farewell sends what is left when the process ends: nobody else will. A process
// that is restarted again and again does so once in the least interval, and not
// each time.
func (a *Alarm) farewell(ctx context.Context) {
	now := time.Now()
	a.mu.Lock()
	left := len(a.lines) > 0 && now.Sub(a.state.Farewell) >= a.cfg.MinInterval
	if left {
		a.state.Farewell = now
	}
	a.mu.Unlock()
	if !left {
		return
	}
	defer func() { // the state is written beside the message; a disk that hangs keeps nobody
		if sleepUnless(a.saving, time.Second) {
			<-a.saving
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, farewellTime)
	defer cancel()
	a.flush(ctx, now)
}

// Test sends a test now, through every channel, and reports what did not take
// it. It is not held to the least interval.
func (a *Alarm) Test(ctx context.Context) error {
	a.mu.Lock()
	configured := a.cfg.Configured()
	a.mu.Unlock()
	if !configured {
		return watchbill.Errorf(watchbill.CodeConflict, "add alarm: to the configuration, with webhook: or smtp:",
			"the alarm has no way to tell anybody")
	}
	err := a.send(ctx, time.Now(), "test of the alarm", "- somebody asked for a test; "+howToConfirm+"\n")
	if err != nil {
		return watchbill.Errorf(watchbill.CodeConflict, "correct alarm: in the configuration; the log has the details", "no channel took the test: %v", err)
	}
	return nil
}

const howToConfirm = "confirm that it arrived with: watchbill alarm confirm"

// daily sends the daily test, with what has gathered.
func (a *Alarm) daily(ctx context.Context, now time.Time) {
	a.mu.Lock()
	configured, since := a.cfg.Configured(), a.state.Confirmed
	lines, more := a.lines, a.more
	a.mu.Unlock()
	if !configured {
		return
	}
	text := "- this is the daily test; " + howToConfirm + "\n"
	if now.Sub(since) > maxUnproven {
		a.log.WarnContext(ctx, "nobody confirms the tests of the alarm", "last_confirmed", since)
		text += fmt.Sprintf("- NOBODY CONFIRMED a test since %s\n", since.UTC().Format("2006-01-02 15:04 UTC"))
	}
	if len(lines)+more > 0 {
		text += a.body(lines, more)
	}
	err := a.send(ctx, now, "daily test of the alarm", text)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil {
		a.state.Sent = now
		a.lines, a.more = a.lines[len(lines):], max(a.more-more, 0)
	}
}

// Confirm records that a test arrived.
func (a *Alarm) Confirm(who string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.state.Confirmed = time.Now()
	a.metrics.confirmed.Set(float64(a.state.Confirmed.Unix()))
	a.log.Info("a test of the alarm was confirmed", "by", who)
	return a.saveState(a.state)
}

// send gives one message to every channel at once. It fails if none took it.
func (a *Alarm) send(ctx context.Context, now time.Time, subject, body string) error {
	a.sending.Lock()
	defer a.sending.Unlock()
	a.mu.Lock()
	cfg := a.cfg
	earlierFailure := a.unreported
	a.mu.Unlock()
	channels := channelsOf(cfg, a.o.DialContext)
	if len(channels) == 0 {
		return nil // the log has it
	}
	if earlierFailure != "" {
		body += "- " + earlierFailure + "\n"
	}
	text := fmt.Sprintf("watchbill %s: %s\n%s\n\n%s\nThis comes from watchbill's second notifier, not from an incident.\n",
		a.o.Name, subject, now.UTC().Format("2006-01-02 15:04:05 UTC"), body)
	errs := make([]error, len(channels))
	var wg sync.WaitGroup
	for i, c := range channels {
		wg.Go(func() { errs[i] = c.send(ctx, "watchbill "+subject, text) })
	}
	wg.Wait()
	var failed []string
	for i, c := range channels {
		result := "sent"
		if errs[i] != nil {
			result = "failed"
			failed = append(failed, c.name+": "+errs[i].Error())
			a.log.ErrorContext(ctx, "the alarm could not be told", "channel", c.name, "err", errs[i])
		}
		a.metrics.messages.WithLabelValues(c.name, result).Inc()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(failed) < len(channels) {
		a.unreported = ""
	}
	if len(failed) > 0 {
		a.unreported = "a channel of the alarm failed: " + strings.Join(failed, "; ")
	}
	if len(failed) == len(channels) {
		return errors.New(strings.Join(failed, "; "))
	}
	return nil
}
