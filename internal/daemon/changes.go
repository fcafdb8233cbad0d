package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	"watchbill"
	"watchbill/incident"
	"watchbill/incident/change"
	"watchbill/internal/config"
	"watchbill/internal/store"
	"watchbill/internal/web"
)

// control makes change control of a configuration.
func (r *rooms) control(cfg change.Config) { r.changes = change.New(cfg, r.onDuty) }

// onDuty reports whether somebody is on duty for one of their roles.
func (r *rooms) onDuty(id watchbill.PersonID, at time.Time) bool {
	for _, role := range r.people[id].Roles {
		for _, d := range r.planner.OnDuty(role, at) {
			if d.Person == id {
				return true
			}
		}
	}
	return false
}

// Changes returns changes, newest first.
func (f *flow) Changes(ctx context.Context, q web.ChangeQuery) (all []watchbill.Change, err error) {
	err = f.store.View(ctx, func(tx *store.Tx) error {
		all, err = tx.Changes(store.ChangeQuery{
			State: watchbill.ChangeState(q.State), Service: q.Service, Environment: q.Environment, Incident: q.Incident, Limit: q.Limit,
		})
		return err
	})
	return all, err
}

// Change returns a change with everything that happened to it.
func (f *flow) Change(ctx context.Context, id watchbill.ChangeID) (v web.ChangeView, err error) {
	m := f.now()
	err = f.store.View(ctx, func(tx *store.Tx) error {
		if v.Change, err = tx.Change(id); err != nil {
			return err
		}
		v.Timeline, err = tx.ChangeEvents(id)
		return err
	})
	v.Could = map[string][]watchbill.PersonID{}
	for verb, who := range m.changes.Could(v.Change, m.now) {
		v.Could[string(verb)] = who
	}
	return v, err
}

// RequestChange asks for a change. One whose key was used already is returned as it
// is, if it is the same person who asks for the same.
func (f *flow) RequestChange(ctx context.Context, who web.Actor, r web.ChangeRequest) (c watchbill.Change, err error) {
	var id watchbill.IncidentID
	if r.Incident != "" {
		if id, err = watchbill.ParseIncidentID(r.Incident); err != nil {
			return c, err
		}
	}
	err = f.update(ctx, func(w *work) error {
		if r.Key != "" {
			old, found, err := w.tx.ChangeByKey(r.Key)
			if err != nil {
				return err
			}
			if found && old.Requester != who.Person {
				return watchbill.Errorf(watchbill.CodeConflict, "use a key of your own", "key: %q was used by %s", r.Key, old.Requester)
			}
			if found {
				c = old
				return nil
			}
		}
		if id != 0 {
			inc, err := w.incident(id)
			if err != nil {
				return err
			}
			if inc.State == watchbill.StateClosed {
				return watchbill.Errorf(watchbill.CodeConflict, "leave the incident out", "%s is closed", id)
			}
		}
		e, err := w.changes.Request(w.now, change.Actor(who), change.Request{Key: r.Key, Incident: id, Content: r.ChangeContent})
		if err != nil {
			return err
		}
		c, err = w.applyChange(e, incident.Actor(who))
		return err
	})
	return c, err
}

// ActOnChange does one act to a change.
func (f *flow) ActOnChange(ctx context.Context, id watchbill.ChangeID, who web.Actor, a web.ChangeAct) (c watchbill.Change, err error) {
	err = f.update(ctx, func(w *work) error {
		before, err := w.tx.Change(id)
		if err != nil {
			return err
		}
		e, err := w.changes.Act(w.now, before, change.Actor(who), change.Act{Verb: change.Verb(a.Verb), Hash: a.Hash, Text: a.Text, Content: a.Content})
		if err != nil {
			return err
		}
		c, err = w.applyChange(e, incident.Actor(who))
		return err
	})
	return c, err
}

// changeDue does what time brings to a change.
func (w *work) changeDue(id watchbill.ChangeID) error {
	c, err := w.tx.Change(id)
	if err != nil {
		return err
	}
	e := w.changes.Due(w.now, c)
	if len(e.Events) == 0 && e.Change.RemindAt.Equal(c.RemindAt) {
		next := w.changes.Next(c)
		if !next.After(w.now) { // of another configuration's making: look again later
			next = w.now.Add(time.Minute)
		}
		return w.tx.PutChange(&c, next)
	}
	_, err = w.applyChange(e, incident.Actor{Person: watchbill.ActorSelf})
	return err
}

// applyChange stores an effect: the change with its events, the same on the
// timeline of its incident, and the pages to those who have to know.
func (w *work) applyChange(e change.Effect, who incident.Actor) (watchbill.Change, error) {
	c := e.Change
	if len(e.Events) == 0 && c.ID != 0 {
		return c, nil
	}
	for i := range e.Events {
		data, err := json.Marshal(map[string]any{"state": c.State, "hash": c.Hash, "version": c.Version})
		if err != nil {
			return c, fmt.Errorf("encode what became of a change: %w", err)
		}
		e.Events[i].Data = data
	}
	if err := w.tx.PutChange(&c, w.changes.Next(c), e.Events...); err != nil {
		return c, err
	}
	for i, t := range e.Tell {
		if err := w.tellOfChange(c, i, t); err != nil {
			return c, err
		}
	}
	if c.Incident == 0 {
		return c, nil
	}
	if err := w.onIncident(c, e.Events, who); err != nil {
		return c, err
	}
	return c, w.changeEnded(c, who)
}

// onIncident writes on the timeline of a change's incident what happened to it. A
// person's act renews the acknowledgement, as everything does that people record.
func (w *work) onIncident(c watchbill.Change, events []watchbill.Event, who incident.Actor) error {
	inc, err := w.incident(c.Incident)
	if err != nil {
		if e, ok := err.(*watchbill.Error); ok && e.Code == watchbill.CodeNotFound { //nolint:errorlint // the store's own
			return nil // retention deleted it
		}
		return err
	}
	var texts []string
	for _, e := range events {
		if e.Actor == watchbill.ActorSelf && who.Person != watchbill.ActorSelf {
			continue // it follows from the person's act
		}
		texts = append(texts, e.Text)
	}
	text := fmt.Sprintf("%s %s", c.ID, strings.Join(texts, "; "))
	if who.Person == watchbill.ActorSelf {
		return w.save(&inc, w.event(watchbill.EventChange, "%s", text))
	}
	e, err := w.life.Note(w.now, inc, who, text)
	if err != nil {
		return err
	}
	e.Events[0].Kind = watchbill.EventChange
	return w.apply(e, nil, nil)
}

// tellOfChange puts a page into the outbox for somebody who has to know of a
// change: by all their methods if it is urgent, else by the first.
func (w *work) tellOfChange(c watchbill.Change, n int, t change.Tell) error {
	person, ok := w.people[t.To]
	if !ok {
		return nil
	}
	h := fnv.New32a()
	_, _ = fmt.Fprintf(h, "%s %d %d", c.ID, c.Seq, n)
	sev, reason := watchbill.Sev4, "for your information"
	if t.Urgent {
		sev, reason = watchbill.Sev2, "a change needs you"
	}
	methods := w.notifier.Methods(person, sev, w.now)
	if !t.Urgent {
		methods = methods[:1]
	}
	content := watchbill.PageContent{
		Severity: sev, Service: c.Content.Service, Environment: c.Content.Environment, Title: t.Title, Impact: t.Impact, FirstAction: t.Action, Why: t.Why,
		Since: c.RequestedAt, At: w.now, LocalAt: w.now.In(person.Zone()).Format("Mon 15:04 MST"),
		Actions: []watchbill.Action{{Name: "Look", How: "watchbill change show " + c.ID.String()}},
		Reason:  reason, To: t.To, ToName: person.Name, ToEmail: person.Email,
		Labels: watchbill.Labels{"alertname": "WatchbillChange", "change": c.ID.String()},
	}
	for _, m := range methods {
		err := w.tx.PutPage(watchbill.Page{
			Incident: notices, Generation: int(w.now.Unix()), Step: int(h.Sum32()), Person: t.To, Method: m.Receiver, Due: m.At, Content: content,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Permit says whether a pipeline may make a change now.
func (f *flow) Permit(ctx context.Context, id watchbill.ChangeID, hash, environment string) (p watchbill.ChangePermit, err error) {
	m := f.now()
	err = f.store.View(ctx, func(tx *store.Tx) error {
		c, err := tx.Change(id)
		p = m.changes.Permit(m.now, c, hash, environment)
		return err
	})
	return p, err
}

// reported is how many changes a report reads at most.
const reported = 100_000

// ChangeReport returns every change of production in a time.
func (f *flow) ChangeReport(ctx context.Context, since, until time.Time) (r watchbill.ChangeReport, err error) {
	m := f.now()
	err = f.store.View(ctx, func(tx *store.Tx) error {
		all, err := tx.Changes(store.ChangeQuery{Since: since, Limit: reported})
		r = m.changes.Report(all, since, until)
		return err
	})
	return r, err
}

// loosen keeps the rules of a configuration, unless they are looser than those in
// force and no change that is being performed allows it.
func (d *Daemon) loosen(ctx context.Context, cfg *config.Config) error {
	now := time.Now().UTC()
	next := cfg.Changes.WithDefaults()
	return d.store.Update(ctx, func(tx *store.Tx) error {
		old, err := rulesInForce(tx, next.Policy)
		if err != nil {
			return err
		}
		if looser := next.Looser(old); len(looser) > 0 {
			control := change.New(cfg.Changes.Under(old), nil) // the old rules say whether it is allowed
			no := ""
			if next.LoosenedBy != 0 {
				c, err := tx.Change(next.LoosenedBy)
				if err != nil {
					return err
				}
				ok, why := control.Allows(now, c, next.Policy)
				if ok {
					err := tx.PutChange(&c, control.Next(c), watchbill.Event{
						At: now, Kind: watchbill.EventChange, Actor: watchbill.ActorSelf, Text: "the rules of changes are looser now: " + strings.Join(looser, "; "),
					})
					if err != nil {
						return err
					}
					return keepPolicy(tx, next.Policy)
				}
				no = "; " + why
			}
			return watchbill.Errorf(watchbill.CodeDenied,
				"ask with: watchbill change request --kind configuration --command \""+next.Digest()+"\" …, have it approved, perform it with a witness, set changes: {loosened_by: CHG-n} and reload",
				"the configuration loosens the rules of changes (%s), which takes a second person%s", strings.Join(looser, "; "), no)
		}
		return keepPolicy(tx, next.Policy)
	})
}

// keepRules is loosen for the start, which must not fail for it: people wait for
// pages. What was not allowed does not come into force: the rules stay as they were.
func (d *Daemon) keepRules(ctx context.Context, cfg *config.Config, r *rooms) error {
	err := d.loosen(ctx, cfg)
	if e, ok := err.(*watchbill.Error); !ok || e.Code != watchbill.CodeDenied { //nolint:errorlint // its own
		return err
	}
	d.o.Logger.WarnContext(ctx, "the rules of changes stay as they were", "err", err)
	return d.store.View(ctx, func(tx *store.Tx) error {
		old, err := rulesInForce(tx, cfg.Changes.WithDefaults().Policy)
		if err != nil {
			return err
		}
		r.control(cfg.Changes.Under(old))
		return nil
	})
}

// rulesInForce are the rules that a configuration must not loosen: those that were
// kept or, the first time, those without any configuration.
func rulesInForce(tx *store.Tx, next change.Policy) (old change.Policy, err error) {
	body, found, err := tx.ChangePolicy()
	if err != nil || !found {
		return next.Baseline(), err
	}
	if err := json.Unmarshal(body, &old); err != nil {
		return old, fmt.Errorf("read the rules of changes: %w", err)
	}
	return old, nil
}

func keepPolicy(tx *store.Tx, p change.Policy) error {
	body, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("encode the rules of changes: %w", err)
	}
	old, _, err := tx.ChangePolicy()
	if err != nil || string(old) == string(body) {
		return err
	}
	return tx.PutChangePolicy(body)
}
