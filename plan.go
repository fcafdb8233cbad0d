package watchbill

import (
	"strings"
	"time"
)

// PlanKind is what a step of a plan does. The strings are stored: never change one.
type PlanKind string

// The kinds of step. Those that touch production are done only through a change.
const (
	PlanCheck       PlanKind = "check"
	PlanCommunicate PlanKind = "communicate"
	PlanChange      PlanKind = "change"
	PlanDeploy      PlanKind = "deploy"
	PlanRollback    PlanKind = "rollback"
	PlanVerify      PlanKind = "verify"
)

// PlanKinds returns every kind.
func PlanKinds() []PlanKind {
	return []PlanKind{PlanCheck, PlanCommunicate, PlanChange, PlanDeploy, PlanRollback, PlanVerify}
}

// Touches reports whether such a step touches what runs.
func (k PlanKind) Touches() bool { return k == PlanChange || k == PlanDeploy || k == PlanRollback }

// PlanState is where a step stands. The strings are stored: never change one.
type PlanState string

// The states of a step.
const (
	PlanTodo    PlanState = "todo"
	PlanDoing   PlanState = "doing"
	PlanDone    PlanState = "done"
	PlanSkipped PlanState = "skipped" // with a reason
	PlanBlocked PlanState = "blocked" // with a reason
)

// PlanStep is one step of an incident's plan. Steps are never deleted, so that a
// number always means the same one.
type PlanStep struct {
	N        int       `json:"n"` // from 1, in the order in which they were added
	Kind     PlanKind  `json:"kind"`
	Text     string    `json:"text"`
	Owner    PersonID  `json:"owner,omitempty"`
	Due      time.Time `json:"due,omitzero"`
	State    PlanState `json:"state"`
	Reason   string    `json:"reason,omitempty"`   // why it is skipped or blocked
	Evidence string    `json:"evidence,omitempty"` // what was seen when it was done
	Change   ChangeID  `json:"change,omitempty"`   // through which it is done
	By       PersonID  `json:"by,omitempty"`       // who brought it into its state
	At       time.Time `json:"at,omitzero"`
	From     PersonID  `json:"from,omitempty"` // who handed it over to its owner

	Late   int       `json:"late,omitempty"` // 1: its owner was told that it is overdue, 2: the path was
	LateAt time.Time `json:"late_at,omitzero"`
}

// Over reports whether nothing is left to do.
func (s PlanStep) Over() bool { return s.State == PlanDone || s.State == PlanSkipped }

// PlanAct is one act on a plan.
type PlanAct struct {
	Act    string    `json:"act"` // add, import, edit, move, do, done, skip, block or handover
	Step   int       `json:"step,omitempty"`
	Kind   PlanKind  `json:"kind,omitempty"`   // of add and edit
	Text   string    `json:"text,omitempty"`   // likewise
	Owner  PersonID  `json:"owner,omitempty"`  // likewise, and to whom it is handed over
	Due    time.Time `json:"due,omitzero"`     // of add, edit and handover
	To     int       `json:"to,omitempty"`     // of move: the place, from 1
	Note   string    `json:"note,omitempty"`   // the reason, or what was seen
	Change string    `json:"change,omitempty"` // "CHG-7"
}

// PlanKindOf guesses what a line of a runbook is: by a kind in front of it, as in
// "deploy: …", else by its words.
func PlanKindOf(line string) (PlanKind, string) {
	if first, rest, ok := strings.Cut(line, ":"); ok {
		for _, k := range PlanKinds() {
			if strings.EqualFold(strings.TrimSpace(first), string(k)) && strings.TrimSpace(rest) != "" {
				return k, strings.TrimSpace(rest)
			}
		}
	}
	low := strings.ToLower(line)
	has := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(low, w) {
				return true
			}
		}
		return false
	}
	switch {
	case has("two people"):
		switch {
		case has("roll back", "rollback"):
			return PlanRollback, line
		case has("deploy"):
			return PlanDeploy, line
		}
		return PlanChange, line
	case strings.HasPrefix(low, "tell "), strings.HasPrefix(low, "inform "), has("status update", "stakeholder"):
		return PlanCommunicate, line
	case strings.HasPrefix(low, "verify"), strings.HasPrefix(low, "check that"):
		return PlanVerify, line
	}
	return PlanCheck, line
}
