package incident

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"watchbill"
)

// maxActions bounds the action items of an incident.
const maxActions = 100

// remindAction is the time between reminders of an action item that is overdue.
const remindAction = 24 * time.Hour

// AddAction adds an action item, to an incident in any state.
func (l *Life) AddAction(now time.Time, inc watchbill.Incident, who Actor, a watchbill.ActionItem) (Effect, error) {
	a.Text = strings.TrimSpace(a.Text)
	switch {
	case inc.Drill != nil:
		return Effect{}, watchbill.Errorf(watchbill.CodeConflict, "acknowledge it", "%s is a drill", inc.ID)
	case a.Text == "" || len(a.Text) > maxStepText:
		return Effect{}, watchbill.Invalidf(fmt.Sprintf("say what is to do, in at most %d bytes", maxStepText), "text: is empty or too long")
	case a.Owner == "":
		return Effect{}, watchbill.Invalidf("name a person", "owner: is empty")
	case !a.Due.After(now):
		return Effect{}, watchbill.Invalidf("name a time in the future", "due: is missing or has passed")
	case len(inc.Actions) >= maxActions:
		return Effect{}, watchbill.Errorf(watchbill.CodeConflict, "do some of them first", "%s has %d action items already", inc.ID, maxActions)
	}
	e := Effect{Incident: inc}
	e.Incident.Actions = slices.Clone(inc.Actions)
	l.act(now, &e, who, a)
	return e, nil
}

// act adds an action item that was checked.
func (l *Life) act(now time.Time, e *Effect, who Actor, a watchbill.ActionItem) {
	inc := &e.Incident
	a.N, a.AddedBy, a.AddedAt = len(inc.Actions)+1, who.Person, now
	a.Due = a.Due.UTC()
	a.RemindAt = a.Due
	inc.Actions = append(inc.Actions, a)
	e.Events = append(e.Events, by(now, who, watchbill.EventAction, fmt.Sprintf("action %d for %s, due %s: %s", a.N, a.Owner, a.Due.Format("2006-01-02 15:04 UTC"), a.Text)))
	l.timeActions(e)
}

// DoneAction says that an action item is done.
func (l *Life) DoneAction(now time.Time, inc watchbill.Incident, who Actor, n int, note string) (Effect, error) {
	if n < 1 || n > len(inc.Actions) {
		return Effect{}, watchbill.Errorf(watchbill.CodeNotFound, "list them with: watchbill action list", "action: %s has no action item %d", inc.ID, n)
	}
	e := Effect{Incident: inc}
	if inc.Actions[n-1].Done() {
		return e, nil
	}
	e.Incident.Actions = slices.Clone(inc.Actions)
	a := &e.Incident.Actions[n-1]
	a.DoneBy, a.DoneAt, a.Evidence, a.RemindAt = who.Person, now, strings.TrimSpace(note), time.Time{}
	e.Events = []watchbill.Event{by(now, who, watchbill.EventAction, with(fmt.Sprintf("action %d is done", n), note))}
	l.timeActions(&e)
	return e, nil
}

// timeActions sets when somebody is reminded next.
func (l *Life) timeActions(e *Effect) {
	var next time.Time
	for _, a := range e.Incident.Actions {
		if !a.Done() && (next.IsZero() || a.RemindAt.Before(next)) {
			next = a.RemindAt
		}
	}
	if next.IsZero() {
		e.Cancel = append(e.Cancel, watchbill.TimerAction)
		return
	}
	e.Set = append(e.Set, watchbill.Timer{Kind: watchbill.TimerAction, Generation: e.Incident.Generation, Due: next})
}

// ActionsDue returns the action items of which somebody must be told now, and what
// follows.
func (l *Life) ActionsDue(now time.Time, inc watchbill.Incident) (Effect, []watchbill.ActionItem) {
	e := Effect{Incident: inc}
	e.Incident.Actions = slices.Clone(inc.Actions)
	var due []watchbill.ActionItem
	for i := range e.Incident.Actions {
		a := &e.Incident.Actions[i]
		if a.Done() || a.RemindAt.After(now) {
			continue
		}
		a.Reminded++
		a.RemindAt = now.Add(remindAction)
		due = append(due, *a)
		e.Events = append(e.Events, self(now, watchbill.EventReminded, "reminded %s: action %d is due since %s", a.Owner, a.N, a.Due.Format("2006-01-02 15:04 UTC")))
	}
	l.timeActions(&e)
	return e, due
}

// keepSteps makes action items of the steps that were handed over and are not over.
func (l *Life) keepSteps(now time.Time, e *Effect, who Actor) {
	e.Incident.Actions = slices.Clone(e.Incident.Actions)
	for _, s := range e.Incident.Plan {
		if !s.Over() && s.From != "" && s.Owner != "" && s.Due.After(now) && len(e.Incident.Actions) < maxActions {
			l.act(now, e, who, watchbill.ActionItem{Text: s.Text, Owner: s.Owner, Due: s.Due})
		}
	}
}

// SetSeverity changes the severity by a person's word. The alerts that end lower it
// no more; one that is worse raises it as before.
func (l *Life) SetSeverity(now time.Time, inc watchbill.Incident, who Actor, to watchbill.Severity, reason string) (Effect, error) {
	if err := over(inc, "change"); err != nil {
		return Effect{}, err
	}
	switch {
	case inc.Drill != nil:
		return Effect{}, watchbill.Errorf(watchbill.CodeConflict, "acknowledge it", "%s is a drill", inc.ID)
	case strings.TrimSpace(reason) == "":
		return Effect{}, watchbill.Invalidf("say why", "reason: is empty")
	case to == inc.Severity:
		return Effect{Incident: inc}, nil
	}
	e := Effect{Incident: inc}
	verb := "lowered"
	if to.HigherThan(inc.Severity) {
		verb = "raised"
	}
	e.Incident.Severity, e.Incident.SeverityBy = to, who.Person
	text := fmt.Sprintf("%s from %s to %s", verb, inc.Severity, to)
	e.Events = []watchbill.Event{by(now, who, watchbill.EventSeverity, with(text, reason))}
	answers(&e.Incident, who.Person)
	switch {
	case inc.State == watchbill.StateAcknowledged: // it stays with whoever has it, by the deadlines of the new one
		l.promise(now, &e, inc.AcknowledgedBy)
		l.forget(&e)
		l.remind(now, &e)
	case verb == "raised":
		restart(now, &e, fmt.Sprintf("re-paged: %s %s", who.Person, with(text, reason)))
		l.forget(&e)
	}
	return e, nil
}

// Assign gives a person a part in an incident, or, with no person, takes it back.
func (l *Life) Assign(now time.Time, inc watchbill.Incident, who Actor, role watchbill.IncidentRole, person watchbill.PersonID) (Effect, error) {
	switch err := over(inc, "take a part in"); {
	case err != nil:
		return Effect{}, err
	case role != watchbill.Commander && role != watchbill.Responder && role != watchbill.Scribe:
		return Effect{}, watchbill.Invalidf("use commander, responder or scribe", "role: %q is not a part in an incident", role)
	}
	e := Effect{Incident: inc}
	if inc.Parts[role] == person {
		return e, nil
	}
	e.Incident.Parts = maps.Clone(inc.Parts)
	if e.Incident.Parts == nil {
		e.Incident.Parts = map[watchbill.IncidentRole]watchbill.PersonID{}
	}
	text := fmt.Sprintf("%s is %s", person, role)
	if e.Incident.Parts[role] = person; person == "" {
		delete(e.Incident.Parts, role)
		text = fmt.Sprintf("nobody is %s any more", role)
	}
	answers(&e.Incident, who.Person)
	if inc.State == watchbill.StateAcknowledged {
		l.promise(now, &e, inc.AcknowledgedBy)
	}
	e.Events = []watchbill.Event{by(now, who, watchbill.EventAssigned, text)}
	return e, nil
}
