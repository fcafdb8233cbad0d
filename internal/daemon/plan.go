package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"watchbill"
	"watchbill/incident"
	"watchbill/internal/web"
	"watchbill/runbooks"
)

// ActOnPlan does one act to an incident's plan.
func (f *flow) ActOnPlan(ctx context.Context, id watchbill.IncidentID, who web.Actor, a watchbill.PlanAct) (watchbill.Incident, error) {
	return f.act(ctx, id, func(w *work, inc watchbill.Incident) (incident.Effect, error) {
		facts, err := w.planFacts(inc, who, a)
		if err != nil {
			return incident.Effect{}, err
		}
		e, err := w.life.Plan(w.now, inc, incident.Actor(who), a, facts)
		if err != nil || a.Act != "handover" || len(e.Events) == 0 || inc.State.Live() {
			return e, err
		}
		return e, w.tell(notice{
			to: a.Owner, about: fmt.Sprintf("step %d of %s", a.Step, id), title: fmt.Sprintf("%s hands you step %d of the plan of %s", who.Person, a.Step, id),
			impact: a.Note, action: "watchbill plan show " + id.String(), why: "it is yours now; the incident itself is over",
		})
	})
}

// planFacts looks up what an act on a plan refers to.
func (w *work) planFacts(inc watchbill.Incident, who web.Actor, a watchbill.PlanAct) (incident.PlanFacts, error) {
	f := incident.PlanFacts{Production: w.matrix.Production(inc.Environment), Default: who.Person}
	if inc.State == watchbill.StateAcknowledged {
		f.Default = inc.AcknowledgedBy
	}
	if a.Owner != "" {
		if err := w.somebody("owner", a.Owner); err != nil {
			return f, err
		}
	}
	var err error
	if f.Next, err = w.nextStep(inc.ID); err != nil {
		return f, err
	}
	change := watchbill.ChangeID(0)
	for _, s := range inc.Plan {
		if s.N == a.Step {
			change = s.Change
		}
	}
	if a.Change != "" {
		if change, err = watchbill.ParseChangeID(a.Change); err != nil {
			return f, err
		}
	}
	if change != 0 {
		c, err := w.tx.Change(change)
		if err != nil {
			return f, err
		}
		f.Change = &c
	}
	if a.Act == "import" {
		return f, w.checklist(inc, a.Text, &f)
	}
	return f, nil
}

// checklist finds the steps of a runbook: the incident's, or the one of a name.
func (w *work) checklist(inc watchbill.Incident, name string, f *incident.PlanFacts) error {
	if f.Runbook = name; name == "" {
		f.Runbook = inc.Runbook
	}
	book, ok := w.runbooks.Get(f.Runbook)
	if !ok {
		return watchbill.Errorf(watchbill.CodeNotFound, "name one with: watchbill plan import "+inc.ID.String()+" --runbook NAME, or write steps with: watchbill plan add",
			"there is no runbook %q to import from", f.Runbook)
	}
	if s, ok := book.Section(runbooks.Steps); ok {
		f.Lines = s.Items
	}
	return nil
}

// nextStep is the step of the path that is due next by itself.
func (w *work) nextStep(id watchbill.IncidentID) (int, error) {
	timers, err := w.tx.TimersOf(id)
	i := slices.IndexFunc(timers, func(tm watchbill.Timer) bool { return tm.Kind == watchbill.TimerStep })
	if err != nil || i < 0 {
		return 0, err
	}
	return timers[i].Step, nil
}

// changeEnded brings the steps of the plan that a change does to their end.
func (w *work) changeEnded(c watchbill.Change, who incident.Actor) error {
	if !c.State.Performed() {
		return nil
	}
	inc, err := w.incident(c.Incident)
	if e, ok := errors.AsType[*watchbill.Error](err); ok && e.Code == watchbill.CodeNotFound {
		return nil // retention deleted it
	}
	if err != nil {
		return err
	}
	next, err := w.nextStep(inc.ID)
	if err != nil {
		return err
	}
	e, err := w.life.ChangeEnded(w.now, inc, who, c, next)
	if err != nil || len(e.Events) == 0 {
		return err
	}
	return w.apply(e, nil, nil)
}
