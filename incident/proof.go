package incident

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"watchbill"
)

// ProofRules say what must be known before an incident is closed. The zero value
// lets an incident close by itself at the end of the reopen window; a person who
// closes one is asked for it in any case.
type ProofRules struct {
	Needed bool // nothing closes without it, not even by itself
	// Fields are what is asked for, by severity; nil is [DefaultProof].
	Fields map[watchbill.Severity][]watchbill.ProofField
	// Remind is the time between reminders of a proof that is owed. Default 4 h.
	Remind time.Duration
	// Signal is how long the alerts must have stayed away. Default 10 m.
	Signal time.Duration
}

// DefaultProof is what is asked for where nothing is configured.
func DefaultProof() map[watchbill.Severity][]watchbill.ProofField {
	all := watchbill.ProofFields()
	return map[watchbill.Severity][]watchbill.ProofField{
		watchbill.Sev1: all, watchbill.Sev2: all,
		watchbill.Sev3: {watchbill.ProofVerdict, watchbill.ProofPlan, watchbill.ProofReviews},
	}
}

// WithDefaults fills in what is not set.
func (r ProofRules) WithDefaults() ProofRules {
	fields := DefaultProof()
	maps.Copy(fields, r.Fields)
	r.Fields = fields
	r.Remind, r.Signal = cmp.Or(r.Remind, 4*time.Hour), cmp.Or(r.Signal, 10*time.Minute)
	return r
}

// CloseFacts are what closing must know besides the incident.
type CloseFacts struct {
	Firing  int       // alerts that still fire
	Ended   time.Time // when the last alert did
	Reviews []watchbill.ChangeID
}

// Missing returns what the closing proof of an incident lacks, one thing each.
func (l *Life) Missing(now time.Time, inc watchbill.Incident, f CloseFacts) []string {
	proof := watchbill.Proof{}
	if inc.Proof != nil {
		proof = *inc.Proof
	}
	var missing []string
	for _, field := range l.cfg.Proof.Fields[inc.Severity] {
		switch field {
		case watchbill.ProofCause:
			if proof.Cause == "" {
				missing = append(missing, "cause: nobody said what caused it")
			}
		case watchbill.ProofVerdict:
			if proof.Verdict == "" {
				missing = append(missing, "verdict: nobody said whether it was useful, noise or unclear")
			}
		case watchbill.ProofPlan:
			for _, s := range inc.Plan {
				if !s.Over() && (s.From == "" || !s.Due.After(now)) {
					missing = append(missing, fmt.Sprintf("plan: step %d is %s; finish it, skip it, or hand it over with a time in the future", s.N, s.State))
				}
			}
		case watchbill.ProofReviews:
			for _, id := range f.Reviews {
				missing = append(missing, fmt.Sprintf("reviews: the broken glass of %s is not reviewed", id))
			}
		case watchbill.ProofSignal:
			if back := f.Ended.Add(l.cfg.Proof.Signal); proof.Signal == "" && !f.Ended.IsZero() && now.Before(back) {
				missing = append(missing, fmt.Sprintf("signal: the last alert ended at %s; wait until %s, or say why not", f.Ended.UTC().Format("15:04 UTC"), back.UTC().Format("15:04 UTC")))
			}
		}
	}
	return missing
}

// CloseBy closes an incident that is resolved, with its proof.
func (l *Life) CloseBy(now time.Time, inc watchbill.Incident, p watchbill.Proof, who Actor, f CloseFacts) (Effect, error) {
	switch {
	case inc.State == watchbill.StateClosed:
		return Effect{}, watchbill.Errorf(watchbill.CodeConflict, "show it with: watchbill incident show "+inc.ID.String(), "%s is closed already", inc.ID)
	case inc.State.Live():
		return Effect{}, watchbill.Errorf(watchbill.CodeConflict, "say that it is over first: watchbill incident resolve "+inc.ID.String()+" --reason …", "%s is %s", inc.ID, inc.State)
	case f.Firing > 0:
		return Effect{}, watchbill.Errorf(watchbill.CodeConflict, "wait until they end", "%d alerts of %s still fire", f.Firing, inc.ID)
	}
	e := Effect{Incident: inc}
	e.Incident.Proof = merge(inc.Proof, p, who.Person, now)
	if missing := l.Missing(now, e.Incident, f); len(missing) > 0 {
		return Effect{}, watchbill.Errorf(watchbill.CodeConflict,
			"complete it with: watchbill incident close "+inc.ID.String()+" --cause … --verdict …", "%s lacks its closing proof: %s", inc.ID, strings.Join(missing, "; "))
	}
	e.Events = []watchbill.Event{by(now, who, watchbill.EventClosed, "closed: "+said(*e.Incident.Proof))}
	l.keepSteps(now, &e, who)
	l.shut(now, &e)
	return e, nil
}

// merge is a proof with what is said now.
func merge(old *watchbill.Proof, p watchbill.Proof, who watchbill.PersonID, now time.Time) *watchbill.Proof {
	if old == nil {
		old = &watchbill.Proof{}
	}
	return &watchbill.Proof{
		Cause:   cmp.Or(strings.TrimSpace(p.Cause), old.Cause),
		Verdict: cmp.Or(p.Verdict, old.Verdict),
		Signal:  cmp.Or(strings.TrimSpace(p.Signal), old.Signal),
		By:      who, At: now,
	}
}

// said is a proof in words.
func said(p watchbill.Proof) string {
	var parts []string
	for _, x := range [][2]string{{"cause", p.Cause}, {"verdict", string(p.Verdict)}, {"signal", p.Signal}} {
		if x[1] != "" {
			parts = append(parts, x[0]+": "+x[1])
		}
	}
	if len(parts) == 0 {
		return "nothing is asked of it"
	}
	return strings.Join(parts, "; ")
}

// shut ends an incident for good.
func (l *Life) shut(now time.Time, e *Effect) {
	e.Incident.State, e.Incident.ClosedAt = watchbill.StateClosed, now
	e.Cancel = append(e.Cancel, watchbill.TimerAck, watchbill.TimerQuiet, watchbill.TimerClose, watchbill.TimerStep)
	if l.cfg.Proof.Needed {
		e.Cancel = append(e.Cancel, watchbill.TimerProof)
	}
	if len(e.Incident.Plan) > 0 {
		e.Cancel = append(e.Cancel, watchbill.TimerPlanStep)
	}
}

// Closes ends an incident whose reopen window has passed, unless its closing proof
// is owed: then it stays resolved, and reopens as before if it fires again.
func (l *Life) Closes(now time.Time, inc watchbill.Incident, f CloseFacts) Effect {
	missing := l.Missing(now, inc, f)
	if !l.cfg.Proof.Needed || len(missing) == 0 {
		return l.Close(now, inc)
	}
	return Effect{
		Incident: inc,
		Events:   []watchbill.Event{self(now, watchbill.EventQueued, "it stays resolved until its closing proof is there: %s", strings.Join(missing, "; "))},
		Set:      []watchbill.Timer{{Kind: watchbill.TimerProof, Generation: inc.Generation, Due: now}},
	}
}

// ProofOwed acts on a closing proof that is owed: a person is told, again and
// again, until it is there. whom is empty when nobody can be told now; then it is
// tried again at an instant.
func (l *Life) ProofOwed(now time.Time, inc watchbill.Incident, f CloseFacts, whom []watchbill.PersonID, again time.Time) Effect {
	if !l.cfg.Proof.Needed || len(l.Missing(now, inc, f)) == 0 {
		return l.Close(now, inc)
	}
	e := Effect{Incident: inc}
	if len(whom) > 0 {
		again = now.Add(l.cfg.Proof.Remind)
		names := make([]string, len(whom))
		for i, p := range whom {
			names[i] = string(p)
		}
		slices.Sort(names)
		e.Events = []watchbill.Event{self(now, watchbill.EventReminded, "reminded %s: the closing proof is owed", strings.Join(names, ", "))}
	}
	e.Set = []watchbill.Timer{{Kind: watchbill.TimerProof, Generation: inc.Generation, Due: again}}
	return e
}

// ProofNeeded reports whether an incident of a severity does not close by itself
// before something is known of it.
func (l *Life) ProofNeeded(sev watchbill.Severity) bool {
	return l.cfg.Proof.Needed && len(l.cfg.Proof.Fields[sev]) > 0
}
