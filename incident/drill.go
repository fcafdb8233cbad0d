package incident

import (
	"cmp"
	"fmt"
	"time"

	"watchbill"
)

// DrillOrder is a drill that somebody asked for.
type DrillOrder struct {
	Key      string
	Drill    watchbill.Drill
	Service  string
	Place    string // the environment
	Severity watchbill.Severity
	Path     watchbill.Path
	Note     string
}

// Drill opens a marked incident that walks a real path, until it is acknowledged
// or its time is over.
func (l *Life) Drill(now time.Time, o DrillOrder) Effect {
	said := with("drill asked for by "+o.Drill.By, o.Note)
	d := o.Drill
	inc := watchbill.Incident{
		Key: o.Key, Generation: 1, State: watchbill.StateOpen, Severity: o.Severity, Drill: &d,
		Service: o.Service, Environment: o.Place, Activity: watchbill.ActivityFirstLine,
		Title:  fmt.Sprintf("DRILL of %s: please acknowledge", d.Of),
		Labels: watchbill.Labels{"alertname": "Drill", "drill": d.Of},
		Annotations: watchbill.Labels{
			"impact": "None: this is a drill, nothing is broken", "first_action": "Acknowledge it, as you would a real page",
		},
		Path: o.Path, PageReason: "DRILL, " + said, PathBegan: now, OpenedAt: now,
	}
	return Effect{
		Incident: inc, Page: true, Events: []watchbill.Event{self(now, watchbill.EventOpened, "%s, of %s, until %s", said, d.Of, d.Until.UTC().Format("15:04 UTC"))},
		Set: []watchbill.Timer{{Kind: watchbill.TimerDrill, Generation: 1, Due: d.Until}},
	}
}

// drilled ends a drill that somebody answered.
func drilled(now time.Time, e *Effect, who Actor) {
	closeDrill(now, e)
	e.Incident.Drill = &watchbill.Drill{
		Of: e.Incident.Drill.Of, By: e.Incident.Drill.By, Until: e.Incident.Drill.Until, AnsweredBy: who.Person, AnsweredVia: cmp.Or(who.Via, "api"),
	}
	e.Set = nil
	e.Events = append(e.Events, self(now, watchbill.EventClosed, "the drill was answered by %s via %s after %s",
		who.Person, cmp.Or(who.Via, "api"), now.Sub(e.Incident.OpenedAt).Round(time.Second)))
}

func closeDrill(now time.Time, e *Effect) {
	inc := &e.Incident
	inc.State, inc.ClosedAt, inc.AckDeadline, inc.HeldBy, inc.Offered, inc.Awaited = watchbill.StateClosed, now, time.Time{}, "", "", nil
	e.Stop = true
	e.Cancel = append(e.Cancel, watchbill.TimerAck, watchbill.TimerDrill, watchbill.TimerClose, watchbill.TimerStep, watchbill.TimerStatus, watchbill.TimerPlan)
}

// DrillOver ends a drill that nobody answered in its time.
func (l *Life) DrillOver(now time.Time, inc watchbill.Incident) Effect {
	e := Effect{Incident: inc}
	closeDrill(now, &e)
	e.Events = append(e.Events, self(now, watchbill.EventClosed, "nobody answered the drill within %s", now.Sub(inc.OpenedAt).Round(time.Second)))
	return e
}
