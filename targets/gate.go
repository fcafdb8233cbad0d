package targets

import (
	"fmt"
	"time"

	"watchbill"
)

// GateFacts is everything that a release gate depends on.
type GateFacts struct {
	Service string
	Now     time.Time
	Targets []watchbill.TargetStatus // of the service
	// Incidents are those of the service that are not over.
	Incidents   []watchbill.Incident
	Maintenance []Maintenance
}

// Gate decides whether a service may be released. It depends on nothing but the
// facts.
//
// Against it are: a target whose budget is used up or whose policy freezes; a
// target that was measured and is not any more, unless it says that this is good
// or to be ignored; an open or acknowledged sev1 or sev2 incident; maintenance
// that runs.
func Gate(f GateFacts) watchbill.Gate {
	g := watchbill.Gate{Service: f.Service, At: f.Now.UTC(), Reasons: []watchbill.GateReason{}}
	against := func(kind watchbill.GateKind, subject string, until time.Time, format string, args ...any) {
		g.Reasons = append(g.Reasons, watchbill.GateReason{Kind: kind, Subject: subject, Text: fmt.Sprintf(format, args...), Until: until})
	}
	note := func(format string, args ...any) { g.Notes = append(g.Notes, fmt.Sprintf(format, args...)) }
	for _, t := range f.Targets {
		switch t.State {
		case watchbill.TargetFrozen:
			against(watchbill.GateFreeze, t.ID, time.Time{}, "%s", t.Reason)
		case watchbill.TargetExhausted:
			against(watchbill.GateBudget, t.ID, time.Time{}, "%s", t.Reason)
		case watchbill.TargetNoData:
			missing := OnNoData(t.OnNoData)
			if t.Since > 0 && (missing == NoDataAlert || missing == NoDataBad) {
				against(watchbill.GateNoData, t.ID, time.Time{}, "%s, so that nobody can tell whether a release harms", t.Reason)
				continue
			}
			note("%s: %s", t.ID, t.Reason)
		case watchbill.TargetBurning:
			note("%s: %s", t.ID, t.Reason)
		case watchbill.TargetOK:
			if t.Warming {
				note("%s: %s", t.ID, t.Reason)
			}
		}
	}
	if len(f.Targets) == 0 {
		note("the service has no target: nothing says how well it must work")
	}
	for _, inc := range f.Incidents {
		live := inc.State == watchbill.StateOpen || inc.State == watchbill.StateAcknowledged
		if inc.Service == f.Service && live && inc.Severity != 0 && !watchbill.Sev2.HigherThan(inc.Severity) {
			against(watchbill.GateIncident, inc.ID.String(), time.Time{}, "%s is %s: %s", inc.Severity, inc.State, inc.Title)
		}
	}
	for _, m := range f.Maintenance {
		// What is on one target of the service does not hold its releases up.
		until, running := m.Running(f.Now)
		if !running || !m.Concerns(f.Service, "") {
			continue
		}
		why := "it is worked on"
		if m.Reason != "" {
			why += ": " + m.Reason
		}
		against(watchbill.GateMaintenance, m.Name, until.UTC(), "%s until %s", why, until.UTC().Format(time.RFC3339))
	}
	g.Open = len(g.Reasons) == 0
	return g
}
