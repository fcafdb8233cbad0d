package watchdog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// auditEvery is how often the auditor looks.
const auditEvery = 10 * time.Second

// auditFresh is how old a round may be for it to count.
const auditFresh = 3 * auditEvery

// auditShare bounds what auditing costs: a round that takes long is followed by
// a pause of that many times its length.
const auditShare = 20

// auditTime bounds one round.
const auditTime = 20 * time.Second

// Finding is something that must not be so. Key says what kind of thing it is
// and stays the same while it lasts.
type Finding struct {
	Key  string
	Text string
	// Aside is set for what is wrong around watchbill, such as a full disk: the
	// alarm is raised, and the audit counts as passed.
	Aside bool
}

// AuditorOptions is what an [Auditor] works with. Look and Alarm are required.
type AuditorOptions struct {
	// Look makes one round.
	Look   func(ctx context.Context, now time.Time) ([]Finding, error)
	Alarm  *Alarm
	Logger *slog.Logger // nil: silent
	// Registerer takes the metrics. Nil: they are not exposed.
	Registerer prometheus.Registerer
}

// Auditor looks in its own loop for what must not be so. What it finds in two
// rounds in a row goes to the alarm.
type Auditor struct {
	o        AuditorOptions
	log      *slog.Logger
	rounds   prometheus.Gauge
	findings prometheus.Gauge

	mu    sync.Mutex
	begun time.Time // of the last round that ended
	err   error     // what it found
	seen  []string  // keys of the last round
	told  []string  // keys that were raised
}

// NewAuditor makes an auditor. Nothing happens before Run.
func NewAuditor(o AuditorOptions) (*Auditor, error) {
	a := &Auditor{
		o: o, log: cmp.Or(o.Logger, slog.New(slog.DiscardHandler)),
		rounds: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "watchbill_auditor_last_round_timestamp_seconds", Help: "When the auditor last finished a round.",
		}),
		findings: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "watchbill_auditor_findings", Help: "Kinds of things that must not be so and that the auditor's last round found.",
		}),
	}
	if o.Registerer != nil {
		for _, c := range []prometheus.Collector{a.rounds, a.findings} {
			if err := o.Registerer.Register(c); err != nil {
				return nil, fmt.Errorf("register metric: %w", err)
			}
		}
	}
	return a, nil
}

// Run looks every ten seconds until ctx ends.
func (a *Auditor) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		begun := time.Now()
		a.round(ctx, begun)
		timer.Reset(max(auditEvery-time.Since(begun), auditShare*time.Since(begun)))
	}
}

// blind is the key of a round that failed.
const blind = "audit"

func (a *Auditor) round(ctx context.Context, now time.Time) {
	bounded, cancel := context.WithTimeout(ctx, auditTime)
	defer cancel()
	found, err := a.o.Look(bounded, now)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		found = append(found, Finding{Key: blind, Text: fmt.Sprintf("the auditor cannot look at the store: %v", err)})
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	var keys []string
	var errs []error
	for _, f := range found {
		keys = append(keys, f.Key)
		if !f.Aside {
			errs = append(errs, errors.New(f.Text))
		}
		if slices.Contains(a.seen, f.Key) {
			a.o.Alarm.Raise(f.Key, f.Text)
			if !slices.Contains(a.told, f.Key) {
				a.told = append(a.told, f.Key)
			}
		}
	}
	a.told = slices.DeleteFunc(a.told, func(key string) bool {
		if slices.Contains(keys, key) {
			return false
		}
		a.o.Alarm.Clear(key)
		return true
	})
	a.seen, a.err, a.begun = keys, errors.Join(errs...), now
	a.findings.Set(float64(len(found)))
	if err == nil {
		a.rounds.Set(float64(time.Now().Unix()))
	}
}

// Passed returns nil if the last round is fresh and found nothing, and what is
// wrong otherwise.
func (a *Auditor) Passed(now time.Time) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.begun.IsZero():
		return errors.New("the auditor has not looked yet")
	case a.err != nil:
		return a.err
	case now.Sub(a.begun) > auditFresh:
		return fmt.Errorf("the auditor last looked %s ago", now.Sub(a.begun).Round(time.Second))
	}
	return nil
}
