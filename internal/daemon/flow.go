package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"watchbill"
	"watchbill/incident"
	"watchbill/internal/store"
	"watchbill/router"
)

// flow is the path from an alert to a page, and from a person's act to silence.
// Each of its entry points is one transaction: the alert's change, its incident,
// the timers and the outbox rows are on disk together, or none of them is.
type flow struct {
	store  *store.Store
	rooms  *atomic.Pointer[rooms]
	wake   func(store.News) // after a commit
	nudge  func()           // the same, when only the self-test has work
	idle   time.Duration    // how long the timers sleep when nothing is due; zero: the default
	look   atomic.Int64     // when the timers next look, in Unix nanoseconds; 0: now
	seen   *seen
	known  *known
	muting silences
	logger *slog.Logger
	stats  *stats
	health health
	self   selfTest

	codes   *codes // nil in rehearsals: nobody acts from a page
	guesses guesses
	replies replies

	installing sync.Mutex // held while rooms are replaced

	digests  digests
	storm    storm
	refusals refusals
}

// work is one transaction at one instant under one configuration.
type work struct {
	*rooms
	tx       *store.Tx
	seen     *seen
	known    *known
	now      time.Time
	silences *silenced
	ledger   ledger

	responses *responses

	selfGeneration int // of the self-test's incident
}

// update runs fn in a transaction. Whoever waits for due rows is woken after
// the commit.
func (f *flow) update(ctx context.Context, fn func(*work) error) error {
	return f.commit(ctx, f.store.Update, f.now(), fn)
}

// moment is an instant under one configuration.
type moment struct {
	*rooms
	now time.Time
}

func (f *flow) now() moment { return moment{f.rooms.Load(), time.Now().UTC()} }

// commit is update through one of the store's queues.
func (f *flow) commit(ctx context.Context, through func(context.Context, func(*store.Tx) error) error, m moment, fn func(*work) error) error {
	begun := time.Now()
	var news store.News
	self := false
	err := through(ctx, func(tx *store.Tx) error {
		silences, err := f.muting.at(tx, m.now)
		if err != nil {
			return err
		}
		w := &work{rooms: m.rooms, tx: tx, seen: f.seen, known: f.known, now: m.now, silences: silences, ledger: newLedger(), responses: f.stats.responses}
		if err := fn(w); err != nil {
			return err
		}
		self = w.selfGeneration != 0
		err = w.flush()
		news = tx.News()
		return err
	})
	f.stats.commits.Observe(time.Since(begun).Seconds())
	f.health.committed(err)
	switch {
	case err != nil:
	case self:
		f.nudge()
	default:
		f.wake(news)
	}
	return err
}

// Receive takes alerts in. It returns nil once what they changed is on disk.
func (f *flow) Receive(ctx context.Context, source string, alerts []watchbill.Alert) error {
	m := f.now()
	news := f.seen.news(alerts, m.now, m.router.ResolveTimeout())
	if len(news) == 0 {
		f.stats.received.Add(float64(len(alerts)))
		return nil
	}
	err := f.store.Room()
	if err == nil {
		err = m.prepare(news, source, m.now, f.muting.last.Load())
	}
	if err == nil {
		err = f.commit(ctx, f.store.UpdateBulk, m, func(w *work) error { return w.receiveAll(news) })
	}
	if err != nil {
		f.rejected(err, len(news))
		return err
	}
	f.stats.received.Add(float64(len(alerts)))
	return nil
}

// rejected counts alerts that were not taken in.
func (f *flow) rejected(err error, n int) {
	code := watchbill.CodeInternal
	if e, ok := errors.AsType[*watchbill.Error](err); ok {
		code = e.Code
	}
	f.stats.rejected.WithLabelValues(string(code)).Add(float64(n))
}

// receiveAll takes the alerts of a request in.
func (w *work) receiveAll(news []arrival) error {
	fps := make([]watchbill.Fingerprint, len(news))
	for i := range news {
		fps[i] = news[i].fp
	}
	if err := w.tx.Fetch(fps); err != nil {
		return err
	}
	for i := range news {
		if err := w.receive(&news[i]); err != nil {
			return err
		}
	}
	return nil
}

// receive takes one alert in: it ends, goes on, or begins.
func (w *work) receive(n *arrival) error {
	old, known, err := w.tx.Alert(n.fp)
	if err != nil {
		return err
	}
	firing := known && !old.Ended
	if n.begins != nil && !firing && old.Flap.IsZero() {
		return w.beginPrepared(n)
	}
	a := complete(n.alert, w.now, w.router.ResolveTimeout())
	a.Flap = old.Flap
	if firing && !old.Flap.Clearing && old.StartsAt.Before(a.StartsAt) {
		a.StartsAt = old.StartsAt
	}
	switch {
	case a.Resolved(w.now) && !firing:
		return nil // it was never here, or its end was recorded
	case a.Resolved(w.now) && old.Flap.Clearing:
		return nil // its end is known, and counts when it stayed away
	case a.Resolved(w.now):
		old.Alert = a
		return w.ends(old)
	case firing:
		if err := w.stillFires(old); err != nil {
			return err
		}
		if old.Flap.Clearing {
			return w.cameBack(old, a)
		}
		return w.goOn(old, a)
	}
	return w.begin(store.AlertRow{Alert: a})
}

// complete fills in what a source may leave out, with Alertmanager's meaning: no
// start is now, and no end is the resolve timeout from now.
func complete(a watchbill.Alert, now time.Time, resolveTimeout time.Duration) watchbill.Alert {
	a.UpdatedAt = now
	if a.StartsAt.IsZero() {
		a.StartsAt = now
		if !a.EndsAt.IsZero() && a.EndsAt.Before(now) {
			a.StartsAt = a.EndsAt
		}
	}
	if a.EndsAt.IsZero() {
		a.EndsAt = now.Add(resolveTimeout)
	}
	return a
}

// put stores an alert, here and in what is remembered of it.
func (w *work) put(row store.AlertRow) error {
	w.seen.note(w.tx, row)
	return w.tx.PutAlert(row)
}

// goOn takes a re-send in. One that changes nothing writes nothing.
func (w *work) goOn(old store.AlertRow, a watchbill.Alert) error {
	if w.seen.sighting(old.Alert).covers(w.seen.sighting(a), w.now) {
		w.seen.note(w.tx, old)
		return nil
	}
	if a.EndsAt.Before(old.EndsAt) { // what was granted is not taken back
		a.EndsAt = old.EndsAt
	}
	old.Alert = a
	if old.Muted == "" || a.EndsAt.Before(old.Due) {
		old.Due = a.EndsAt
	}
	return w.put(old)
}

// begin decides about an alert that began to fire, or that was muted until now.
func (w *work) begin(row store.AlertRow) error {
	v, err := w.decide(row.Alert, router.WeighNear)
	if err != nil {
		return err
	}
	return w.begun(row, v)
}

// beginPrepared is begin for an alert about which all was worked out before, if
// nobody has changed the silences since.
func (w *work) beginPrepared(n *arrival) error {
	if n.under != w.silences {
		return w.begin(n.begins.Row())
	}
	return w.begun(n.begins.Row(), n.verdict)
}

// begun acts on the verdict about an alert that begins.
func (w *work) begun(row store.AlertRow, v router.Verdict) error {
	if row.Source == selfSource {
		return w.openSelfTest(row, v)
	}
	inc, found, err := w.newest(v.Key)
	if err != nil {
		return err
	}
	var previous watchbill.IncidentID
	if found && inc.State == watchbill.StateClosed {
		found, previous = false, inc.ID
	}
	if v.Muted() && !attaches(v, inc) {
		if err := w.traceMuted(row, v); err != nil {
			return err
		}
		if err := w.waiting(row, v); err != nil {
			return err
		}
		row.Muted, row.Due = v.MuteReason(), recheckAt(v, w.now)
		row.Mutes = muted(row.Mutes, row.Muted, w.now)
		if row.EndsAt.Before(row.Due) {
			row.Due = row.EndsAt
		}
		return w.put(row)
	}
	var e incident.Effect
	ruling := watchbill.RulingOpened
	if found {
		ruling = watchbill.RulingJoined
		if inc, err = w.goesOn(inc, row.Name()); err != nil {
			return err
		}
		if w.flapsAgain(inc, row.Alert, v.Severity, w.now) {
			e = w.life.Flapped(w.now, inc, row.Alert, len(row.Flap.Ends))
		} else {
			e = w.life.Join(w.now, inc, row.Alert, v.Severity)
		}
	} else {
		o := w.opening(row.Alert, v)
		o.Previous = previous
		e = w.life.Open(w.now, o)
	}
	if e.Page && row.Muted != "" {
		e.Incident.PageReason += "; until now " + row.Muted
	}
	p, err := w.carryDecision(&e, w.traced(row, v, ruling))
	if err != nil {
		return err
	}
	row.Muted, row.Due = "", row.EndsAt
	row.Mutes = muted(row.Mutes, v.MuteReason(), w.now)
	if err := w.apply(e, &row, nil); err != nil {
		return err
	}
	w.setPrecedent(row.Incident, p)
	return nil
}

// attaches reports whether a muted alert joins the incident of its group. What is
// only inhibited still belongs there, so that the incident does not end before it,
// and pages nobody.
func attaches(v router.Verdict, inc watchbill.Incident) bool {
	return inc.State.Live() && v.OnlyInhibited() && !v.Severity.HigherThan(inc.Severity)
}

// recheckAt is when a muted alert is decided again: when the mute ends, if that
// is known, and within a minute in any case, since what inhibits it may end.
func recheckAt(v router.Verdict, now time.Time) time.Time {
	at := now.Add(time.Minute)
	for _, m := range v.Mutes {
		if !m.Until.IsZero() && m.Until.Before(at) {
			at = m.Until
		}
	}
	return at
}

func (w *work) decide(a watchbill.Alert, weigh router.Weigh) (router.Verdict, error) {
	in := router.Input{Alert: a, Now: w.now, Silences: w.silences.set, Weigh: weigh}
	if w.router.NeedsActive(a) {
		active, err := w.tx.ActiveAlerts()
		if err != nil {
			return router.Verdict{}, err
		}
		for _, row := range active {
			in.Active = append(in.Active, row.Alert)
		}
	}
	for _, key := range w.router.Upstream(a) {
		inc, found, err := w.newest(key)
		if err != nil {
			return router.Verdict{}, err
		}
		if found && inc.State.Live() {
			in.Open = append(in.Open, inc)
		}
	}
	return w.router.Decide(in), nil
}

// waiting writes on the timeline of the incident behind which an alert waits that
// it does, once.
func (w *work) waiting(row store.AlertRow, v router.Verdict) error {
	i := slices.IndexFunc(v.Mutes, func(m router.Mute) bool { return m.Kind == router.MuteDependency })
	if i < 0 || strings.Contains(row.Muted, v.Mutes[i].Reason) {
		return nil
	}
	id, err := watchbill.ParseIncidentID(v.Mutes[i].ID)
	if err != nil {
		return err
	}
	inc, err := w.incident(id)
	if err != nil {
		return err
	}
	return w.save(&inc, w.event(watchbill.EventAlertJoined, "%s %s waits here instead of paging: %s", row.Name(), row.Labels, v.Mutes[i].Reason))
}

// end records that an alert ended.
func (w *work) end(row store.AlertRow) error {
	if row.Flap.Clearing { // it stayed away: it does not flap any more
		row.Flap = watchbill.Flap{}
	} else {
		row.Flap = w.router.CountEnd(row.Flap, w.now)
		if err := w.occurred(&row); err != nil {
			return err
		}
	}
	row.Ended, row.Muted = true, ""
	// What this alert inhibited may page now.
	if err := w.tx.HastenMuted(w.now); err != nil {
		return err
	}
	if row.Incident == 0 {
		if err := w.traceEnd(row); err != nil {
			return err
		}
		return w.put(row)
	}
	inc, err := w.incident(row.Incident)
	if err != nil {
		return err
	}
	if inc.State == watchbill.StateClosed {
		return w.put(row)
	}
	if err := w.put(row); err != nil {
		return err
	}
	firing, err := w.firing(inc.ID)
	if err != nil {
		return err
	}
	var rest watchbill.Severity
	for _, a := range firing {
		if sev := w.router.Severity(a.Labels); sev.HigherThan(rest) {
			rest = sev
		}
	}
	e := w.life.AlertEnded(w.now, inc, row.Alert, len(firing), rest)
	if err := carry(&e, watchbill.Decision{Alert: row.Fingerprint(), Ruling: watchbill.RulingEnded}); err != nil {
		return err
	}
	return w.apply(e, nil, nil)
}

func (w *work) firing(id watchbill.IncidentID) ([]watchbill.Alert, error) {
	rows, err := w.tx.AlertsOf(id)
	if err != nil {
		return nil, err
	}
	var firing []watchbill.Alert
	for _, r := range rows {
		if !r.Ended {
			firing = append(firing, r.Alert)
		}
	}
	return firing, nil
}

// apply stores an effect: the incident with its events, the alert that caused
// it, the timers, and the first step of a new generation, which also pages the
// people in also.
func (w *work) apply(e incident.Effect, row *store.AlertRow, also []watchbill.Duty) error {
	inc := e.Incident
	if err := w.save(&inc, e.Events...); err != nil {
		return err
	}
	w.answered(inc, e.Events)
	if err := w.edit(inc, e.Events); err != nil {
		return err
	}
	if !inc.State.Live() { // what waited behind it is decided again
		if err := w.tx.HastenMuted(w.now); err != nil {
			return err
		}
	}
	if row != nil {
		row.Incident = inc.ID
		if err := w.put(*row); err != nil {
			return err
		}
	}
	if e.Stop {
		drop := w.tx.DropPages
		if inc.State.Live() { // who was called is still wanted
			drop = w.tx.DropStepPages
		}
		if _, err := drop(inc.ID); err != nil {
			return err
		}
		e.Cancel = append(e.Cancel, watchbill.TimerStep)
	}
	if len(e.Cancel) > 0 {
		if err := w.tx.CancelTimers(inc.ID, e.Cancel...); err != nil {
			return err
		}
	}
	if e.Later != nil {
		e.Set = append(e.Set, *e.Later)
	}
	for _, tm := range e.Set {
		tm.Incident = inc.ID
		if err := w.tx.SetTimer(tm); err != nil {
			return err
		}
	}
	if err := w.call(inc, e.Calls); err != nil {
		return err
	}
	if !e.Page {
		return nil
	}
	return w.step(inc, 0, w.now, also)
}

// step fires step n of the path, planned for an instant, or puts it off to when
// it may page.
func (w *work) step(inc watchbill.Incident, n int, planned time.Time, also []watchbill.Duty) error {
	at := planned
	if w.now.Sub(planned) > late { // the process was down: do not fire the missed steps in one burst
		at = w.now
	}
	s := w.plan(inc, n, at)
	if !s.ok {
		return w.save(&inc, w.event(watchbill.EventQueued, "%s", s.wait))
	}
	n = s.n
	if len(s.passed) > 0 {
		var events []watchbill.Event
		for _, why := range s.passed {
			events = append(events, w.event(watchbill.EventQueued, "%s", why))
		}
		if err := w.save(&inc, events...); err != nil {
			return err
		}
	}
	if s.due.After(w.now) {
		if err := w.tx.SetTimer(stepTimer(inc, n, s.due)); err != nil {
			return err
		}
		if s.wait == "" { // after steps that were passed over, at its own time
			return nil
		}
		return w.save(&inc, w.event(watchbill.EventQueued, "step %d waits until %s: %s", n, s.due.Format(time.RFC3339), s.wait))
	}
	firing, err := w.firing(inc.ID)
	if err != nil {
		return err
	}
	if inc.Escalated == "" {
		held, err := w.held(&inc, n, firing)
		if err != nil || held {
			return err
		}
	}
	told, err := w.told(inc)
	if err != nil {
		return err
	}
	s.also, s.alerts, s.told = also, len(firing), told
	if s.waits, err = w.waits(inc); err != nil {
		return err
	}
	pages := w.compose(inc, s)
	for _, p := range pages {
		if err := w.tx.PutPage(p.Page); err != nil {
			return err
		}
	}
	if err := w.tx.SetTimer(stepTimer(inc, n+1, s.next)); err != nil {
		return err
	}
	inc.Escalated = ""
	fired := w.event(watchbill.EventStepFired, "step %d (%s): %s", n, s.step.Reason, summary(pages))
	if fired.Data, err = firingData(s, pages); err != nil {
		return err
	}
	return w.save(&inc, fired)
}

// late is how far behind its due time a step counts as missed, so that the next
// one is counted from when it fired.
const late = 30 * time.Second

func stepTimer(inc watchbill.Incident, n int, due time.Time) watchbill.Timer {
	return watchbill.Timer{Kind: watchbill.TimerStep, Incident: inc.ID, Generation: inc.Generation, Step: n, Due: due}
}

func (w *work) event(kind watchbill.EventKind, format string, args ...any) watchbill.Event {
	return watchbill.Event{At: w.now, Kind: kind, Actor: watchbill.ActorSelf, Text: fmt.Sprintf(format, args...)}
}
