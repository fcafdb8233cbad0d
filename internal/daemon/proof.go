package daemon

import (
	"context"
	"slices"
	"strings"

	"watchbill"
	"watchbill/incident"
	"watchbill/internal/store"
	"watchbill/internal/web"
)

// CloseIncident closes an incident with its proof.
func (f *flow) CloseIncident(ctx context.Context, id watchbill.IncidentID, who web.Actor, r web.CloseRequest) (watchbill.Incident, error) {
	return f.act(ctx, id, func(w *work, inc watchbill.Incident) (incident.Effect, error) {
		facts, err := w.closeFacts(inc)
		if err != nil {
			return incident.Effect{}, err
		}
		return w.life.CloseBy(w.now, inc, watchbill.Proof{Cause: r.Cause, Verdict: r.Verdict, Signal: r.Signal}, incident.Actor(who), facts)
	})
}

// closeFacts looks up what closing an incident must know.
func (w *work) closeFacts(inc watchbill.Incident) (f incident.CloseFacts, err error) {
	alerts, err := w.tx.AlertsOf(inc.ID)
	if err != nil {
		return f, err
	}
	for _, a := range alerts {
		switch {
		case !a.Ended:
			f.Firing++
		case a.EndsAt.After(f.Ended):
			f.Ended = a.EndsAt
		}
	}
	changes, err := w.tx.Changes(store.ChangeQuery{Incident: inc.ID, Limit: reported})
	for _, c := range changes {
		if c.BreakGlass.Waits() {
			f.Reviews = append(f.Reviews, c.ID)
		}
	}
	slices.Sort(f.Reviews)
	return f, err
}

// closes ends an incident whose reopen window has passed, unless it must wait.
func (w *work) closes(inc watchbill.Incident) error {
	if !w.life.ProofNeeded(inc.Severity) {
		return w.apply(w.life.Close(w.now, inc), nil, nil)
	}
	facts, err := w.closeFacts(inc)
	if err != nil {
		return err
	}
	return w.apply(w.life.Closes(w.now, inc, facts), nil, nil)
}

// proofOwed tells whoever had an incident that its closing proof is owed, within
// the hours of their role.
func (w *work) proofOwed(inc watchbill.Incident) error {
	facts, err := w.closeFacts(inc)
	if err != nil {
		return err
	}
	step, _ := inc.Path.Step(0)
	due, _, ok := w.planner.StepDue(watchbill.Sev3, step, w.now)
	if ok && due.After(w.now) {
		return w.apply(w.life.ProofOwed(w.now, inc, facts, nil, due.UTC()), nil, nil)
	}
	var whom []watchbill.PersonID
	for _, id := range []watchbill.PersonID{inc.ResolvedBy, inc.AcknowledgedBy} {
		if _, known := w.people[id]; known && len(whom) == 0 {
			whom = append(whom, id)
		}
	}
	if len(whom) == 0 {
		for _, d := range w.planner.OnDuty(w.matrix.Manager, w.now) {
			whom = append(whom, d.Person)
		}
	}
	e := w.life.ProofOwed(w.now, inc, facts, whom, w.now)
	if e.Incident.State != watchbill.StateClosed {
		for _, id := range whom {
			err := w.tell(notice{
				to: id, about: "proof " + inc.ID.String(), title: inc.ID.String() + " waits for its closing proof: " + inc.Title,
				impact: strings.Join(w.life.Missing(w.now, inc, facts), "\n"), action: "watchbill incident close " + inc.ID.String() + " --cause … --verdict …",
				why: "you had it, and it is over",
			})
			if err != nil {
				return err
			}
		}
	}
	return w.apply(e, nil, nil)
}
