package daemon

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"watchbill"
	"watchbill/incident"
	"watchbill/intake"
	"watchbill/intake/mail"
	"watchbill/internal/web"
)

// intakeSource is the source of the alerts about sources.
const intakeSource = "intake"

// floodHold is how long the alert about a flood holds after the last request that
// was refused, and floodRenew how often it is renewed meanwhile.
const (
	floodHold  = 5 * time.Minute
	floodRenew = time.Minute
)

// intakes takes in what sources push and people raise, by the same way as any alert.
type intakes struct {
	flow    *flow
	beats   *heartbeats
	limits  intake.Limiter
	refused *prometheus.CounterVec

	mu    sync.Mutex
	flood map[string]time.Time // when the alert about a source was last renewed
}

func newIntakes(f *flow, b *heartbeats, reg prometheus.Registerer) *intakes {
	return &intakes{flow: f, beats: b, flood: map[string]time.Time{}, refused: promauto.With(reg).NewCounterVec(prometheus.CounterOpts{
		Name: "watchbill_intake_refused_total", Help: "Alerts that were refused because their source sent more than it may.",
	}, []string{"source"})}
}

func (h *intakes) source(name string) (intake.Source, bool) {
	hooks := h.flow.rooms.Load().hooks
	i := slices.IndexFunc(hooks, func(s intake.Source) bool { return s.Name == name })
	if i < 0 {
		return intake.Source{}, false
	}
	return hooks[i], true
}

// recipient names the source that an address of a mail is one of.
func (h *intakes) recipient(address string) (string, bool) {
	for _, s := range h.flow.rooms.Load().hooks {
		if slices.Contains(s.Recipients, address) {
			return s.Name, true
		}
	}
	return "", false
}

// Hook takes the body of a webhook in. It returns nil once what it changed is on
// disk, and the key of its first alert.
func (h *intakes) Hook(ctx context.Context, source string, body []byte) (string, error) {
	s, ok := h.source(source)
	if !ok {
		return "", watchbill.Errorf(watchbill.CodeDenied, "add it under sources: with the name of its token", "%q is not one of the sources that push alerts", source)
	}
	events, err := intake.Decode(s, body, time.Now().UTC())
	if limited := h.admit(ctx, s, len(events)); limited != nil { // what cannot be read counts too
		return "", limited
	}
	if err != nil || len(events) == 0 {
		return "", err
	}
	return events[0].Dedup, h.take(ctx, source, events)
}

// Mail opens a case for a mail, or adds it to the one that it is about.
func (h *intakes) Mail(ctx context.Context, source string, m mail.Message) error {
	s, ok := h.source(source)
	if !ok {
		return watchbill.Errorf(watchbill.CodeDenied, "add it under sources:", "%q is not one of the sources that push alerts", source)
	}
	if err := h.admit(ctx, s, 1); err != nil {
		return err
	}
	e := m.Event()
	if err := s.Finish(&e, time.Now().UTC()); err != nil {
		return err
	}
	return h.flow.receiveEvents(ctx, source, func(w *work) error {
		old, found, err := w.tx.KeyedAlert(source, e.Dedup)
		if err != nil {
			return err
		}
		if found && maps.Equal(old.Annotations, e.Alert.Annotations) { // the same mail, sent again
			return nil
		}
		if err := w.keyed(source, e); err != nil {
			return err
		}
		return w.remark(source, e.Dedup, func(inc watchbill.Incident) (incident.Effect, error) {
			return incident.Effect{Incident: inc, Events: []watchbill.Event{w.event(watchbill.EventNote, "%s", m.Note())}}, nil
		})
	}, 1)
}

// Raise opens an incident for what a person brings up.
func (h *intakes) Raise(ctx context.Context, who web.Actor, r web.RaiseRequest) (web.Raised, error) {
	var out web.Raised
	report := intake.Report{
		Kind: intake.ReportKind(r.Kind), Summary: r.Summary, Description: r.Description, Service: r.Service,
		Environment: r.Environment, Severity: r.Severity, Reporter: r.Reporter, Evidence: r.Evidence, Labels: r.Labels,
	}
	e, err := report.Event(uuid.NewString())
	if err != nil {
		return out, err
	}
	// No source can have a name with a colon.
	s := intake.Source{Name: "person:" + string(who.Person)}
	if err := s.Finish(&e, time.Now().UTC()); err != nil {
		return out, err
	}
	e.Alert.Source = string(who.Person)
	err = h.flow.receiveEvents(ctx, s.Name, func(w *work) error {
		out = web.Raised{} // it may be run again
		if err := w.keyed(s.Name, e); err != nil {
			return err
		}
		row, _, err := w.tx.KeyedAlert(s.Name, e.Dedup)
		if err != nil || row.Incident == 0 {
			out.Muted = row.Muted
			return err
		}
		err = w.remark(s.Name, e.Dedup, func(inc watchbill.Incident) (incident.Effect, error) {
			return w.life.Note(w.now, inc, incident.Actor(who), report.Note())
		})
		if err != nil {
			return err
		}
		inc, err := w.incident(row.Incident)
		out.Incident = &inc
		return err
	}, 1)
	return out, err
}

// receive takes alerts of Alertmanager's API in.
func (h *intakes) receive(ctx context.Context, source string, alerts []watchbill.Alert) error {
	s, ok := h.source(source)
	if !ok || s.Kind != intake.AlertmanagerAPI {
		return h.beats.receive(ctx, source, unclaimed(alerts))
	}
	if err := h.admit(ctx, s, len(alerts)); err != nil {
		return err
	}
	for i := range alerts {
		if err := s.Own(&alerts[i]); err != nil {
			return err
		}
	}
	return h.beats.receive(ctx, source, alerts)
}

// unclaimed returns alerts without the labels that only watchbill sets: with them
// an alert could be taken for one of another source.
func unclaimed(alerts []watchbill.Alert) []watchbill.Alert {
	for i, a := range alerts {
		for _, name := range watchbill.ReservedLabels() {
			if _, has := a.Labels[name]; has {
				a.Labels = maps.Clone(a.Labels)
				maps.DeleteFunc(a.Labels, func(name, _ string) bool { return slices.Contains(watchbill.ReservedLabels(), name) })
				alerts[i] = a
				break
			}
		}
	}
	return alerts
}

// admit lets n alerts of a source pass, or refuses them and raises an alert that
// says so.
func (h *intakes) admit(ctx context.Context, s intake.Source, n int) error {
	now := time.Now().UTC()
	wait := h.limits.Take(s, n, now)
	if wait == 0 {
		return nil
	}
	h.refused.WithLabelValues(s.Name).Add(float64(max(n, 1)))
	if err := h.flooded(ctx, s, now); err != nil {
		h.flow.logger.ErrorContext(ctx, "an alert about a flood could not be stored", "source", s.Name, "err", err)
	}
	return &watchbill.Error{
		Code: watchbill.CodeTooMany, Message: fmt.Sprintf("%s may send %d alerts a minute", s.Name, s.PerMinute),
		Hint: "send them again later, or raise limits.alerts of the source", RetryAfter: wait,
	}
}

// flooded raises or renews the alert that a source sends more than it may. It ends
// by itself once nothing was refused for a while.
func (h *intakes) flooded(ctx context.Context, s intake.Source, now time.Time) error {
	h.mu.Lock()
	last, told := h.flood[s.Name]
	if told && now.Sub(last) < floodRenew && !last.After(now) {
		h.mu.Unlock()
		return nil
	}
	h.flood[s.Name] = now
	h.mu.Unlock()
	err := h.flow.Receive(ctx, intakeSource, []watchbill.Alert{{
		Labels: watchbill.Labels{"alertname": "SourceFloods", "service": "watchbill", "source": s.Name, "severity": "page"},
		Annotations: watchbill.Labels{
			"summary": fmt.Sprintf("%s sends more than its %d alerts a minute: what is beyond is refused", s.Name, s.PerMinute),
			"description": "Refused alerts are answered 429 and are lost if their sender does not try again. Find out what it sends, " +
				"or raise limits.alerts of the source.",
		},
		EndsAt: now.Add(floodHold),
	}})
	if err != nil {
		h.mu.Lock()
		delete(h.flood, s.Name)
		h.mu.Unlock()
	}
	return err
}

// take takes events in. Those that are pings of a heartbeat open no incident.
func (h *intakes) take(ctx context.Context, source string, events []intake.Event) error {
	alerts := make([]watchbill.Alert, len(events))
	keyed := false
	for i, e := range events {
		alerts[i] = e.Alert
		keyed = keyed || e.Dedup != ""
	}
	if !keyed { // sent again while it lasts, as by Alertmanager
		return h.beats.receive(ctx, source, alerts)
	}
	rest, err := h.beats.heard(ctx, events)
	if err != nil || len(rest) == 0 {
		return err
	}
	return h.flow.receiveEvents(ctx, source, func(w *work) error {
		for _, e := range rest {
			if err := w.keyed(source, e); err != nil {
				return err
			}
		}
		return nil
	}, len(rest))
}

// heard takes the pings among events in and returns the others.
func (b *heartbeats) heard(ctx context.Context, events []intake.Event) (rest []intake.Event, err error) {
	set := b.set.Load()
	if len(set.alerts) == 0 {
		return events, nil
	}
	p := newPinged(set)
	for _, e := range events {
		if !p.by(e.Alert) {
			rest = append(rest, e)
		}
	}
	if len(p.pings) > 0 {
		err = b.hear(ctx, p.pings, nil)
	}
	return rest, err
}

// receiveEvents is Receive for n events that are looked up by their key, which is
// done in the transaction: of two requests with one key, the second finds what the
// first did.
func (f *flow) receiveEvents(ctx context.Context, source string, fn func(*work) error, n int) error {
	err := f.store.Room()
	if err == nil {
		err = f.commit(ctx, f.store.UpdateBulk, f.now(), fn)
	}
	if err != nil {
		f.rejected(err, n)
		return fmt.Errorf("take in from %s: %w", source, err)
	}
	f.stats.received.Add(float64(n))
	return nil
}

// keyed takes an event in. Under a key that fires it speaks of that alert, whose
// labels it cannot change; only a higher severity makes it another alert in the
// place of the old one. An end of what does not fire is dropped. A machine's
// acknowledgement changes nothing: only people acknowledge.
func (w *work) keyed(source string, e intake.Event) error {
	a := e.Alert
	if a.Source == "" {
		a.Source = source
	}
	if e.Action == intake.Acknowledge {
		return nil
	}
	if e.Dedup == "" {
		return w.receive(arriving(a))
	}
	old, found, err := w.tx.KeyedAlert(source, e.Dedup)
	if err != nil {
		return err
	}
	firing := found && !old.Ended
	worse := w.router.Severity(a.Labels).HigherThan(w.router.Severity(old.Labels))
	switch {
	case e.Action == intake.Resolve && !firing:
		return nil
	case e.Action == intake.Resolve:
		return w.over(old.Alert)
	case firing && !worse:
		a.Labels = old.Labels
		return w.receive(arriving(a))
	}
	if err := w.tx.PutKey(source, e.Dedup, a.Fingerprint()); err != nil {
		return err
	}
	if err := w.receive(arriving(a)); err != nil {
		return err
	}
	// Last, so that an incident which goes on under another alert does not end.
	if firing && old.Fingerprint() != a.Fingerprint() {
		return w.over(old.Alert)
	}
	return nil
}

// over ends an alert now.
func (w *work) over(a watchbill.Alert) error {
	a.EndsAt = w.now
	return w.receive(arriving(a))
}

// remark records something on the incident of the alert under a key, if it has one.
func (w *work) remark(source, key string, what func(watchbill.Incident) (incident.Effect, error)) error {
	row, _, err := w.tx.KeyedAlert(source, key)
	if err != nil || row.Incident == 0 {
		return err
	}
	inc, err := w.incident(row.Incident)
	if err != nil {
		return err
	}
	e, err := what(inc)
	if err != nil {
		return err
	}
	return w.apply(e, nil, nil)
}

// endTold ends the alerts of an incident whose senders do not send them again,
// since a person says that it is over, and returns how many others fire. The next
// event under such a key is news, and pages.
func (w *work) endTold(id watchbill.IncidentID) (firing int, err error) {
	rows, err := w.tx.AlertsOf(id)
	if err != nil {
		return 0, err
	}
	for _, row := range rows {
		switch {
		case row.Ended:
		case !row.ToldOnce():
			firing++
		default:
			row.EndsAt = w.now
			if err := w.occurred(&row); err != nil {
				return 0, err
			}
			row.Ended, row.Muted = true, ""
			if err := w.put(row); err != nil {
				return 0, err
			}
		}
	}
	return firing, w.tx.HastenMuted(w.now)
}
