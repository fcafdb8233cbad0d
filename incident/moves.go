package incident

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"watchbill"
)

// Call is a page to people beside the path.
type Call struct {
	People []watchbill.PersonID
	Kind   watchbill.CallKind
	Reason string // the page says it
}

// with joins what happened and a person's words.
func with(text, note string) string {
	if note = strings.TrimSpace(note); note != "" {
		return text + ": " + note
	}
	return text
}

func over(inc watchbill.Incident, what string) error {
	if inc.State.Live() {
		return nil
	}
	return watchbill.Errorf(watchbill.CodeConflict, "show it with: watchbill incident show "+inc.ID.String(),
		"%s is %s: there is nothing to %s", inc.ID, inc.State, what)
}

// Runbook records what somebody did by a runbook. It is an answer, and renews an
// acknowledgement, as a note does.
func (l *Life) Runbook(now time.Time, inc watchbill.Incident, who Actor, events ...watchbill.Event) (Effect, error) {
	if err := over(inc, "run a runbook for"); err != nil {
		return Effect{}, err
	}
	e := Effect{Incident: inc}
	for _, ev := range events {
		ev.At, ev.Kind, ev.Actor, ev.Via = now, watchbill.EventRunbook, string(who.Person), who.Via
		e.Events = append(e.Events, ev)
	}
	answers(&e.Incident, who.Person)
	if inc.State == watchbill.StateAcknowledged {
		l.promise(now, &e, inc.AcknowledgedBy)
	}
	return e, nil
}

// Escalate has the next step fire now. next is the step that is due next by
// itself. An acknowledged incident is open again and goes on with its second
// step: whoever has it needs others.
func (l *Life) Escalate(now time.Time, inc watchbill.Incident, who Actor, next int, note string) (Effect, error) {
	if err := over(inc, "escalate"); err != nil {
		return Effect{}, err
	}
	e := Effect{Incident: inc}
	if inc.State == watchbill.StateAcknowledged {
		restart(now, &e, "")
		l.forget(&e)
		e.Page, next = false, 1
	}
	why := with(fmt.Sprintf("escalated by %s", who.Person), note)
	e.Incident.Escalated = why
	if e.Stop {
		e.Incident.PageReason = why
	}
	e.Later = &watchbill.Timer{Kind: watchbill.TimerStep, Generation: e.Incident.Generation, Step: next, Due: now}
	e.Events = append(e.Events, by(now, who, watchbill.EventEscalated, with(fmt.Sprintf("escalated: step %d is due now", next), note)))
	return e, nil
}

// HandOver asks a person to take the incident. Until they acknowledge, everything
// stays as it is: a hand-over that nobody hears loses nothing.
func (l *Life) HandOver(now time.Time, inc watchbill.Incident, who Actor, to watchbill.PersonID, note string) (Effect, error) {
	if err := over(inc, "hand over"); err != nil {
		return Effect{}, err
	}
	if inc.State == watchbill.StateAcknowledged && inc.AcknowledgedBy == to {
		return Effect{}, watchbill.Errorf(watchbill.CodeConflict, "name somebody else", "%s has %s already", to, inc.ID)
	}
	e := Effect{Incident: inc}
	if inc.Offered == to {
		return e, nil
	}
	e.Incident.Offered = to
	e.Incident.Awaited = including(inc.Awaited, to)
	e.Calls = []Call{{People: []watchbill.PersonID{to}, Kind: watchbill.CallHandOver, Reason: with(fmt.Sprintf("%s asks you to take it over", who.Person), note)}}
	e.Events = append(e.Events, by(now, who, watchbill.EventHandedOver, with(fmt.Sprintf("asked %s to take it over", to), note)))
	return e, nil
}

// NotMine hands the incident to another role: a new generation walks the path of
// that role.
func (l *Life) NotMine(now time.Time, inc watchbill.Incident, who Actor, path watchbill.Path, note string) (Effect, error) {
	if err := over(inc, "hand on"); err != nil {
		return Effect{}, err
	}
	e := Effect{Incident: inc}
	if inc.State == watchbill.StateOpen && inc.Path.Name == path.Name {
		return e, nil
	}
	e.Incident.Path = path
	restart(now, &e, with(fmt.Sprintf("handed on: %s says that it belongs to %s", who.Person, path.Steps[0].Roles[0]), note))
	l.forget(&e)
	e.Events = append(e.Events, by(now, who, watchbill.EventRerouted, with(fmt.Sprintf("not mine: it belongs to %s", path.Steps[0].Roles[0]), note)))
	return e, nil
}

// maxSnooze bounds how long an incident may be put off.
const maxSnooze = 7 * 24 * time.Hour

// Snooze puts the pages of a sev3 or sev4 off until an instant; then a new
// generation walks the path from its beginning. A higher severity pages before.
func (l *Life) Snooze(now time.Time, inc watchbill.Incident, who Actor, until time.Time, note string) (Effect, error) {
	switch err := over(inc, "snooze"); {
	case err != nil:
		return Effect{}, err
	case inc.Severity.HigherThan(watchbill.Sev3):
		return Effect{}, watchbill.Errorf(watchbill.CodeConflict, "acknowledge it, or escalate it", "%s is %s: only sev3 and sev4 can be put off", inc.ID, inc.Severity)
	case !until.After(now):
		return Effect{}, watchbill.Invalidf("name a time in the future", "until: %s has passed", until.UTC().Format(time.RFC3339))
	case until.Sub(now) > maxSnooze:
		return Effect{}, watchbill.Invalidf("name a time within 7 days, or resolve it", "until: %s is too far away", until.UTC().Format(time.RFC3339))
	}
	e := Effect{Incident: inc}
	at := until.UTC().Format("2006-01-02 15:04 UTC")
	held := fmt.Sprintf("snoozed by %s until %s", who.Person, at)
	if inc.HeldBy == held {
		return e, nil
	}
	restart(now, &e, fmt.Sprintf("re-paged: the snooze by %s ended", who.Person))
	l.forget(&e)
	e.Page, e.Incident.HeldBy, e.Incident.PathBegan = false, held, until
	e.Later = &watchbill.Timer{Kind: watchbill.TimerStep, Generation: e.Incident.Generation, Due: until}
	e.Events = append(e.Events, by(now, who, watchbill.EventSnoozed, with("snoozed until "+at, note)))
	return e, nil
}

// Call pages people in addition. It changes nothing about whose the incident is.
func (l *Life) Call(now time.Time, inc watchbill.Incident, who Actor, people []watchbill.PersonID, note string) (Effect, error) {
	if err := over(inc, "call somebody to"); err != nil {
		return Effect{}, err
	}
	e := Effect{Incident: inc}
	var fresh []watchbill.PersonID
	for _, p := range people {
		if !slices.Contains(inc.Awaited, p) && !slices.Contains(fresh, p) {
			fresh = append(fresh, p)
		}
	}
	if len(fresh) == 0 {
		return e, nil
	}
	names := make([]string, len(fresh))
	for i, p := range fresh {
		names[i] = string(p)
		e.Incident.Awaited = including(e.Incident.Awaited, p)
		e.Incident.Responders = including(e.Incident.Responders, p)
	}
	e.Calls = []Call{{People: fresh, Kind: watchbill.CallResponder, Reason: with(fmt.Sprintf("%s calls you to help", who.Person), note)}}
	e.Events = append(e.Events, by(now, who, watchbill.EventCalled, with("called "+strings.Join(names, ", "), note)))
	return e, nil
}

// answers records that somebody who was called did something: their other methods
// need not be tried any more.
func answers(inc *watchbill.Incident, who watchbill.PersonID) {
	inc.Awaited = slices.DeleteFunc(slices.Clone(inc.Awaited), func(p watchbill.PersonID) bool { return p == who })
	if len(inc.Awaited) == 0 {
		inc.Awaited = nil
	}
}

func including(all []watchbill.PersonID, p watchbill.PersonID) []watchbill.PersonID {
	if slices.Contains(all, p) {
		return all
	}
	return append(slices.Clone(all), p)
}
