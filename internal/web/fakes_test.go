package web_test

import (
	"context"

	"watchbill"
	"watchbill/internal/web"
)

func (w *world) Drill(_ context.Context, who web.Actor, r web.DrillRequest) (web.DrillView, error) {
	return web.DrillView{ID: 1}, w.act("drill of %s%s by %s: %s for %s", r.Role, r.Service, who.Person, r.Note, r.For.Duration())
}

func (w *world) ListDrills(context.Context, int) ([]web.DrillView, error) { return nil, w.failing() }

func (w *world) ShowDrill(_ context.Context, id watchbill.IncidentID) (web.DrillView, error) {
	return web.DrillView{ID: id}, w.failing()
}

func (w *world) Escalate(_ context.Context, id watchbill.IncidentID, who web.Actor, r web.EscalateRequest) (watchbill.Incident, error) {
	return incidentOne(), w.act("escalate %s by %s at %d/%d: %s", id, who.Person, r.Generation, r.Step, r.Note)
}

func (w *world) HandOver(_ context.Context, id watchbill.IncidentID, who web.Actor, r web.HandOverRequest) (watchbill.Incident, error) {
	return incidentOne(), w.act("hand %s over to %s by %s: %s", id, r.To, who.Person, r.Note)
}

func (w *world) NotMine(_ context.Context, id watchbill.IncidentID, who web.Actor, r web.NotMineRequest) (watchbill.Incident, error) {
	return incidentOne(), w.act("%s is %s's by %s: %s", id, r.Role, who.Person, r.Note)
}

func (w *world) Snooze(_ context.Context, id watchbill.IncidentID, who web.Actor, r web.SnoozeRequest) (watchbill.Incident, error) {
	return incidentOne(), w.act("snooze %s until %s by %s: %s", id, r.Until, who.Person, r.Note)
}

func (w *world) Call(_ context.Context, id watchbill.IncidentID, who web.Actor, r web.CallRequest) (watchbill.Incident, error) {
	return incidentOne(), w.act("call %v and %s to %s by %s: %s", r.People, r.Role, id, who.Person, r.Note)
}

func (w *world) Status(_ context.Context, id watchbill.IncidentID, who web.Actor, r web.StatusRequest) (watchbill.Incident, error) {
	return incidentOne(), w.act("status of %s by %s: %s %t", id, who.Person, r.Text, r.Plan)
}

func (w *world) WhyIncident(_ context.Context, id watchbill.IncidentID, person watchbill.PersonID) (web.IncidentWhy, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = person
	return web.IncidentWhy{Incident: watchbill.Incident{ID: id}}, w.fail
}

func (w *world) WhyAlerts(_ context.Context, labels watchbill.Labels) ([]web.AlertWhy, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.labels = labels
	return nil, w.fail
}

func (w *world) ActOnPlan(_ context.Context, id watchbill.IncidentID, who web.Actor, a watchbill.PlanAct) (watchbill.Incident, error) {
	return incidentOne(), w.act("%s plan of %s by %s: %s", a.Act, id, who.Person, a.Text)
}

func (w *world) CloseIncident(_ context.Context, id watchbill.IncidentID, who web.Actor, r web.CloseRequest) (watchbill.Incident, error) {
	return incidentOne(), w.act("close %s by %s: %s %s", id, who.Person, r.Cause, r.Verdict)
}

func (w *world) OpenActions(context.Context) ([]watchbill.Incident, error) {
	return []watchbill.Incident{{ID: 1, Actions: []watchbill.ActionItem{{N: 1}}}}, w.failing()
}

func (w *world) ActOnActions(_ context.Context, id watchbill.IncidentID, who web.Actor, r web.ActionRequest) (watchbill.Incident, error) {
	return incidentOne(), w.act("action of %s by %s: %s %d", id, who.Person, r.Text, r.Done)
}

func (w *world) Severity(_ context.Context, id watchbill.IncidentID, who web.Actor, r web.SeverityRequest) (watchbill.Incident, error) {
	return incidentOne(), w.act("%s is %s by %s: %s", id, r.Severity, who.Person, r.Reason)
}

func (w *world) Assign(_ context.Context, id watchbill.IncidentID, who web.Actor, r web.AssignRequest) (watchbill.Incident, error) {
	return incidentOne(), w.act("%s of %s is %s by %s", r.Role, id, r.Person, who.Person)
}
