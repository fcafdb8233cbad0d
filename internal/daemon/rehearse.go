package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"watchbill"
	"watchbill/internal/config"
	"watchbill/internal/notify"
	"watchbill/internal/store"
	"watchbill/internal/web"
)

// rehearsalIdle is how long the loops of a rehearsal sleep when nothing is due.
// The clock of a rehearsal never steps and nobody else writes its store, so there
// is no reason to look earlier.
const rehearsalIdle = 365 * 24 * time.Hour

// Rehearsal is the part of a daemon that stands between an alert and its page:
// the same intake, decisions, timers, store and page worker, without what
// scrapes, listens and watches. Pages go to a function instead of to people. It
// is what scenarios and replays run, in virtual time.
type Rehearsal struct {
	rooms      atomic.Pointer[rooms]
	store      *store.Store
	flow       *flow
	heartbeats *heartbeats
	worker     *notify.Worker
	o          RehearsalOptions

	cancel context.CancelFunc
	loops  sync.WaitGroup
}

// RehearsalOptions are what a rehearsal works with. All but Logger are required.
type RehearsalOptions struct {
	Config *config.Config
	// Store is the path of the SQLite file: a new one, or one that an earlier
	// rehearsal left behind, however it ended.
	Store string
	// Deliver is the world's receivers: it takes a page, or says why not.
	Deliver func(ctx context.Context, d watchbill.Delivery) (watchbill.Result, string)
	Logger  *slog.Logger
}

// Rehearse opens the store and starts the loops. Stop ends them.
func Rehearse(ctx context.Context, o RehearsalOptions) (_ *Rehearsal, err error) {
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	r := &Rehearsal{o: o}
	built, err := r.build(o.Config)
	if err != nil {
		return nil, err
	}
	r.rooms.Store(built)
	if r.store, err = store.Open(ctx, o.Store, store.Owner(0)); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.store.Close())
		}
	}()
	registry := prometheus.NewRegistry()
	wakeTimer := make(chan struct{}, 1)
	r.flow = &flow{
		store: r.store, rooms: &r.rooms, seen: newSeen(), known: &known{}, logger: o.Logger,
		stats: newStats(registry, "rehearsal"), idle: rehearsalIdle,
	}
	r.flow.wake = func(n store.News) {
		if !n.Due.IsZero() && r.flow.looksAfter(n.Due) {
			poke(wakeTimer)
		}
		if n.Pages {
			r.worker.Wake()
		}
	}
	r.flow.nudge = func() {}
	r.flow.stats.responses.configure(o.Config.Targets, o.Config.Services)
	r.heartbeats = newHeartbeats(r.flow, o.Config.Heartbeats, registry)
	r.worker = notify.NewWorker(notify.WorkerOptions{
		Outbox: outbox{r.flow}, Notifier: built.notifier, Logger: o.Logger, Poll: rehearsalIdle,
	})
	err = r.store.Update(ctx, func(tx *store.Tx) error { // as the daemon does at its start
		_, err := tx.ReleaseLeases()
		return err
	})
	if err != nil {
		return nil, err
	}
	ctx, r.cancel = context.WithCancel(ctx)
	r.loops.Go(func() { r.flow.timers(ctx, wakeTimer) })
	r.loops.Go(func() { _ = r.worker.Run(ctx) }) // it ends with its context, without an error
	return r, nil
}

func (r *Rehearsal) build(cfg *config.Config) (*rooms, error) {
	return build(cfg, Options{Logger: r.o.Logger, Terminal: nowhere{}, deliver: r.o.Deliver})
}

// nowhere takes what is printed.
type nowhere struct{}

func (nowhere) Write(b []byte) (int, error) { return len(b), nil }

func poke(ch chan<- struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// Stop ends the loops, which finish the page in hand, and closes the store.
func (r *Rehearsal) Stop() error {
	r.cancel()
	r.loops.Wait()
	return r.store.Close()
}

// Reload puts another configuration in force.
func (r *Rehearsal) Reload(cfg *config.Config) error {
	built, err := r.build(cfg)
	if err != nil {
		return err
	}
	r.rooms.Store(built)
	r.flow.stats.responses.configure(cfg.Targets, cfg.Services)
	r.worker.Reload(built.notifier)
	r.heartbeats.reload(cfg.Heartbeats)
	r.flow.wake(store.News{Pages: true, Due: time.Now()})
	return nil
}

// Receive takes alerts in, as if somebody had pushed them.
func (r *Rehearsal) Receive(ctx context.Context, alerts ...watchbill.Alert) error {
	return r.heartbeats.receive(ctx, "rehearsal", alerts)
}

// may checks what the API would: that the person exists and that the matrix
// allows what they do.
func (r *Rehearsal) may(id watchbill.PersonID, activity watchbill.ActivityID) (web.Actor, error) {
	rooms := r.rooms.Load()
	person, ok := rooms.people[id]
	if !ok {
		return web.Actor{}, watchbill.Errorf(watchbill.CodeNotFound, "name somebody of people:", "there is no person %q", id)
	}
	if p := rooms.matrix.May(person, activity, watchbill.Place{}, time.Now()); !p.OK {
		return web.Actor{}, watchbill.Errorf(watchbill.CodeDenied, "the matrix decides", "%s", p.Reason)
	}
	return web.Actor{Person: id, Via: "rehearsal"}, nil
}

// Acknowledge is a person taking an incident.
func (r *Rehearsal) Acknowledge(ctx context.Context, person watchbill.PersonID, id watchbill.IncidentID, note string) error {
	who, err := r.may(person, watchbill.ActivityRaiseAlerts)
	if err == nil {
		_, err = r.flow.Acknowledge(ctx, id, who, note)
	}
	return err
}

// Note is a person recording something on an incident.
func (r *Rehearsal) Note(ctx context.Context, person watchbill.PersonID, id watchbill.IncidentID, text string) error {
	who, err := r.may(person, watchbill.ActivityRaiseAlerts)
	if err == nil {
		_, err = r.flow.Note(ctx, id, who, text)
	}
	return err
}

// Resolve is a person saying that an incident is over. quiet, if it is not zero,
// is until when alerts that still fire are held quiet.
func (r *Rehearsal) Resolve(ctx context.Context, person watchbill.PersonID, id watchbill.IncidentID, reason string, quiet time.Time) error {
	who, err := r.may(person, watchbill.ActivityRaiseAlerts)
	if err == nil {
		_, err = r.flow.Resolve(ctx, id, who, web.ResolveRequest{Reason: reason, QuietUntil: quiet})
	}
	return err
}

// Silence is a person making a silence. It returns the silence's id, with an error
// also if it mutes nothing until a second person approves it.
func (r *Rehearsal) Silence(ctx context.Context, person watchbill.PersonID, s watchbill.Silence) (string, error) {
	who, err := r.may(person, watchbill.ActivityStates)
	if err != nil {
		return "", err
	}
	s, err = r.flow.PutSilence(ctx, who, s)
	if s.ID != "" && s.Waits() != "" { // the flow's own error has the id, which is another one each time
		err = watchbill.Errorf(watchbill.CodeConflict, "somebody else approves it", "it mutes nothing until a second person approved it: %s", s.Waits())
	}
	return s.ID, err
}

// Approve is a second person agreeing to a silence.
func (r *Rehearsal) Approve(ctx context.Context, person watchbill.PersonID, silence string) error {
	who, err := r.may(person, watchbill.ActivityStates)
	if err != nil {
		return err
	}
	_, err = r.flow.ApproveSilence(ctx, who, silence)
	return err
}

// Expire is a person ending a silence.
func (r *Rehearsal) Expire(ctx context.Context, person watchbill.PersonID, silence string) error {
	if _, err := r.may(person, watchbill.ActivityStates); err != nil {
		return err
	}
	return r.flow.ExpireSilence(ctx, web.Actor{Person: watchbill.ActorSelf}, silence)
}

// Record is everything that a store remembers.
type Record struct {
	Incidents []RecordedIncident
	// Muted are the decisions about alerts that opened no incident, oldest first.
	Muted []watchbill.Decision
	// Doubts are what the auditor would alarm of: what no correct daemon leaves.
	Doubts []string
}

// RecordedIncident is an incident with what happened to it and the alerts that
// are or were part of it, by fingerprint.
type RecordedIncident struct {
	watchbill.Incident
	Events []watchbill.Event
	Alerts map[watchbill.Fingerprint]watchbill.Alert

	decisions map[int64]watchbill.Decision // by the event that carries them
}

// maxRecorded bounds the incidents of a record.
const maxRecorded = 100_000

// Record returns what was remembered so far.
func (r *Rehearsal) Record(ctx context.Context) (rec Record, err error) {
	err = r.store.View(ctx, func(tx *store.Tx) (err error) {
		if rec, err = recordOf(tx, time.Time{}, time.Now().Add(time.Second)); err != nil {
			return err
		}
		audit, err := tx.Audit(time.Now(), store.AuditLimits{Overdue: overdueTimer, Lease: stuckLease})
		for _, d := range doubts(audit) {
			if d.Count > 0 {
				rec.Doubts = append(rec.Doubts, fmt.Sprintf("%d %s: %s", d.Count, d.text, strings.Join(d.Some, ", ")))
			}
		}
		return err
	})
	return rec, err
}

// Mark is how far everything has come.
type Mark struct {
	Events map[watchbill.IncidentID]int64 // number of the last event, of incidents that are not closed
	Muted  int                            // decisions about muted alerts
}

// Mark returns how far everything has come, so that what follows can be told from
// what was before it at the same instant.
func (r *Rehearsal) Mark(ctx context.Context) (Mark, error) {
	m := Mark{Events: map[watchbill.IncidentID]int64{}}
	err := r.store.View(ctx, func(tx *store.Tx) (err error) {
		if m.Muted, err = tx.LastDecision(); err != nil {
			return err
		}
		return tx.Heads(func(id watchbill.IncidentID, seq int64) { m.Events[id] = seq })
	})
	return m, err
}

// IncidentOf returns the newest incident of which an alert with labels is a part.
func (r *Rehearsal) IncidentOf(ctx context.Context, labels watchbill.Labels) (id watchbill.IncidentID, err error) {
	err = r.store.View(ctx, func(tx *store.Tx) error {
		row, _, err := tx.Alert(labels.Fingerprint())
		id = row.Incident
		return err
	})
	if err == nil && id == 0 {
		err = watchbill.Errorf(watchbill.CodeNotFound, "look at what muted it", "no incident has the alert %s", labels)
	}
	return id, err
}

// recordOf reads what happened from an instant on.
func recordOf(tx *store.Tx, since, until time.Time) (rec Record, err error) {
	incidents, err := tx.IncidentsBetween(since, until)
	if err != nil {
		return rec, err
	}
	if len(incidents) > maxRecorded {
		return rec, watchbill.Errorf(watchbill.CodeTooLarge, "ask for less time", "there are %d incidents, and at most %d can be looked at", len(incidents), maxRecorded)
	}
	for _, inc := range incidents {
		x := RecordedIncident{Incident: inc, Alerts: map[watchbill.Fingerprint]watchbill.Alert{}}
		if x.Events, err = tx.Events(inc.ID); err != nil {
			return rec, err
		}
		if x.decisions, err = store.Decisions(x.Events); err != nil {
			return rec, err
		}
		for _, d := range x.decisions {
			row, found, err := tx.Alert(d.Alert)
			if err != nil {
				return rec, err
			}
			if found {
				x.Alerts[d.Alert] = row.Alert
			}
		}
		rec.Incidents = append(rec.Incidents, x)
	}
	if rec.Muted, err = tx.DecisionsSince(since); err != nil {
		return rec, fmt.Errorf("read what was muted: %w", err)
	}
	return rec, nil
}

// Decision returns the decision that an event carries.
func (r RecordedIncident) Decision(e watchbill.Event) (watchbill.Decision, bool) {
	d, ok := r.decisions[e.Seq]
	return d, ok
}
