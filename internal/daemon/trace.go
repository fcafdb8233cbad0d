package daemon

import (
	"encoding/json"
	"fmt"

	"watchbill"
	"watchbill/incident"
	"watchbill/internal/store"
	"watchbill/router"
)

// builtIn is where something stands that the configuration does not write.
const builtIn = "built-in"

// at returns where a path of the configuration stands.
func (r *rooms) at(path string) string {
	if r.line != nil {
		if line := r.line(path); line != "" {
			return line
		}
	}
	return builtIn
}

// weighed is a mute in the words of a trace.
func (r *rooms) weighed(mutes []router.Mute) []watchbill.Weighed {
	var all []watchbill.Weighed
	for _, m := range mutes {
		x := watchbill.Weighed{Kind: string(m.Kind), Why: m.Reason, Until: m.Until.UTC()}
		if m.Path != "" {
			x.Line = r.at(m.Path)
		}
		all = append(all, x)
	}
	return all
}

// traced is the trace of a verdict.
func (r *rooms) traced(row store.AlertRow, v router.Verdict, ruling watchbill.Ruling) watchbill.Decision {
	return watchbill.Decision{
		Alert: row.Fingerprint(), Ruling: ruling, Service: v.Service, Environment: v.Environment,
		Activity: v.Activity, ActivityWhy: v.ActivityReason, Roles: v.Roles,
		Severity: v.Severity, SeverityWhy: v.SeverityReason, Group: v.Key,
		Mutes: r.weighed(v.Mutes), Spared: r.weighed(v.Spared),
	}
}

// carry puts a value into the first event of an effect, which is the one that
// tells of what came in.
func carry(e *incident.Effect, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode the trace of a decision: %w", err)
	}
	if len(e.Events) > 0 {
		e.Events[0].Data = data
	}
	return nil
}

// carryDecision puts the decision about an alert into the first event of an effect:
// whole, or as the number of the event of this incident with the same reasons.
func (w *work) carryDecision(e *incident.Effect, d watchbill.Decision) (precedent, error) {
	if old := w.precedent(e.Incident.ID); old.seq != 0 && d.Agrees(old.whole) {
		return old, carry(e, watchbill.Decision{Alert: d.Alert, Ruling: d.Ruling, As: old.seq})
	}
	return precedent{whole: d, seq: e.Incident.Seq + 1}, carry(e, d)
}

// traceMuted keeps the decision about an alert that opens no incident, unless
// the same was decided about it before.
func (w *work) traceMuted(row store.AlertRow, v router.Verdict) error {
	if row.Muted == v.MuteReason() {
		return nil
	}
	d := w.traced(row, v, watchbill.RulingMuted)
	d.At, d.Labels = w.now, row.Labels
	return w.tx.PutDecision(d)
}

// traceEnd keeps that an alert ended which no incident tells of.
func (w *work) traceEnd(row store.AlertRow) error {
	if row.Source == selfSource {
		return nil
	}
	return w.tx.PutDecision(watchbill.Decision{Alert: row.Fingerprint(), At: w.now, Ruling: watchbill.RulingEnded, Labels: row.Labels})
}

// firingData is what the event of a fired step carries.
func firingData(s firing, pages []decided) (json.RawMessage, error) {
	f := watchbill.Firing{Step: s.n, Why: s.step.Reason, Next: s.next.UTC(), Pages: []watchbill.FiringPage{}}
	for i, p := range pages {
		if i == 0 || pages[i-1].Person != p.Person {
			f.Pages = append(f.Pages, watchbill.FiringPage{Person: p.Person, Role: p.duty.Role, Why: p.duty.Reason})
		}
		last := &f.Pages[len(f.Pages)-1]
		last.Methods = append(last.Methods, p.Method)
	}
	data, err := json.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("encode a step: %w", err)
	}
	return data, nil
}
