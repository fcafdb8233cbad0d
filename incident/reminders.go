package incident

import (
	"cmp"
	"fmt"
	"maps"
	"strings"
	"time"

	"watchbill"
)

// Reminders say what whoever has an incident owes, and when it is due. The zero
// value reminds of nothing.
type Reminders struct {
	// Status is the time from acknowledging, and from each status update, to the
	// next update that is due. A severity without one owes none.
	Status map[watchbill.Severity]time.Duration
	// Plan is the time from acknowledging to the plan that is due.
	Plan map[watchbill.Severity]time.Duration
	// Grace is how long after the reminder the path starts again. Zero is 10 m.
	Grace time.Duration
}

// DefaultReminders are what a section without keys asks for.
func DefaultReminders() Reminders {
	return Reminders{
		Status: map[watchbill.Severity]time.Duration{watchbill.Sev1: 30 * time.Minute, watchbill.Sev2: time.Hour},
		Plan: map[watchbill.Severity]time.Duration{
			watchbill.Sev1: 15 * time.Minute, watchbill.Sev2: 30 * time.Minute, watchbill.Sev3: 24 * time.Hour,
		},
		Grace: 10 * time.Minute,
	}
}

// With returns the reminders with other times for some severities; a time of zero
// turns one off.
func (r Reminders) With(status, plan map[watchbill.Severity]time.Duration) Reminders {
	r.Status, r.Plan = maps.Clone(r.Status), maps.Clone(r.Plan)
	maps.Copy(r.Status, status)
	maps.Copy(r.Plan, plan)
	return r
}

func (r Reminders) on() bool { return len(r.Status)+len(r.Plan) > 0 }

// remindStatus sets when the next status update is due.
func (l *Life) remindStatus(now time.Time, e *Effect) {
	inc := e.Incident
	if d := l.cfg.Reminders.Status[inc.Severity]; d > 0 {
		e.Set = append(e.Set, watchbill.Timer{Kind: watchbill.TimerStatus, Generation: inc.Generation, Due: now.Add(d)})
	}
}

// remind sets what is owed from now on.
func (l *Life) remind(now time.Time, e *Effect) {
	l.remindStatus(now, e)
	inc := e.Incident
	if d := l.cfg.Reminders.Plan[inc.Severity]; d > 0 && inc.PlannedAt.IsZero() {
		e.Set = append(e.Set, watchbill.Timer{Kind: watchbill.TimerPlan, Generation: inc.Generation, Due: now.Add(d)})
	}
}

// forget ends the reminders: nobody has the incident.
func (l *Life) forget(e *Effect) {
	if l.cfg.Reminders.on() {
		e.Cancel = append(e.Cancel, watchbill.TimerStatus, watchbill.TimerPlan)
	}
}

// Status records a status update; with plan set it says how the incident will be
// resolved, too. The next update is due its time from now.
func (l *Life) Status(now time.Time, inc watchbill.Incident, who Actor, text string, plan bool) (Effect, error) {
	if err := over(inc, "give a status update of"); err != nil {
		return Effect{}, err
	}
	if strings.TrimSpace(text) == "" {
		return Effect{}, watchbill.Invalidf("say how it stands", "text: is empty")
	}
	e := Effect{Incident: inc}
	answers(&e.Incident, who.Person)
	kind := watchbill.EventStatus
	e.Incident.StatusAt = now
	if plan {
		kind, e.Incident.PlannedAt = watchbill.EventPlanned, now
		if l.cfg.Reminders.on() {
			e.Cancel = append(e.Cancel, watchbill.TimerPlan)
		}
	}
	e.Events = append(e.Events, by(now, who, kind, text))
	if inc.State == watchbill.StateAcknowledged {
		l.promise(now, &e, inc.AcknowledgedBy)
		l.remindStatus(now, &e) // an update puts no plan off
	}
	return e, nil
}

// Reminder acts on something that is owed and was not given: whoever has the
// incident is paged, and if nothing comes of that, the path starts again. known
// says whether they can still be paged.
func (l *Life) Reminder(now time.Time, inc watchbill.Incident, tm watchbill.Timer, known bool) Effect {
	e := Effect{Incident: inc}
	owed, after := "status update", l.cfg.Reminders.Status[inc.Severity]
	if tm.Kind == watchbill.TimerPlan {
		owed, after = "plan", l.cfg.Reminders.Plan[inc.Severity]
	}
	if after <= 0 { // nobody is reminded any more
		return e
	}
	grace := cmp.Or(l.cfg.Reminders.Grace, 10*time.Minute)
	since := tm.Due.Add(-after)
	if tm.Step > 0 {
		since = since.Add(-grace)
	}
	at := since.UTC().Format("15:04 UTC")
	if tm.Step > 0 || !known {
		reason := fmt.Sprintf("re-paged: no %s by %s since %s", owed, inc.AcknowledgedBy, at)
		e.Events = append(e.Events, self(now, watchbill.EventReminded, "no %s by %s since %s, and a reminder changed nothing: the path starts again", owed, inc.AcknowledgedBy, at))
		restart(now, &e, reason)
		l.forget(&e)
		return e
	}
	how := fmt.Sprintf("watchbill incident status %s …", inc.ID)
	if tm.Kind == watchbill.TimerPlan {
		how = fmt.Sprintf("watchbill incident status %s --plan …", inc.ID)
	}
	e.Calls = []Call{{People: []watchbill.PersonID{inc.AcknowledgedBy}, Kind: watchbill.CallReminder, Reason: fmt.Sprintf("a %s is due: none since %s; record it with: %s", owed, at, how)}}
	e.Set = []watchbill.Timer{{Kind: tm.Kind, Generation: inc.Generation, Step: 1, Due: now.Add(grace)}}
	e.Events = append(e.Events, self(now, watchbill.EventReminded, "reminded %s: a %s is due, none since %s", inc.AcknowledgedBy, owed, at))
	return e
}
