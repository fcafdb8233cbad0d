package watchbill

import "time"

// TargetState says in one word how a service target stands.
type TargetState string

// The states of a target, the one that weighs most first: a step of the budget
// policy closes the release gate, nothing of the budget is left, nothing is
// measured, an alert fires, none of these.
const (
	TargetFrozen    TargetState = "frozen"
	TargetExhausted TargetState = "exhausted"
	TargetNoData    TargetState = "no_data"
	TargetBurning   TargetState = "burning"
	TargetOK        TargetState = "ok"
)

// TargetStatus is how a service target stands at an instant. What is not known
// is nil. Shares are between 0 and 1; BudgetLeft is below 0 once more was spent
// than there was.
type TargetStatus struct {
	ID        string      `json:"id"`
	Service   string      `json:"service"`
	Name      string      `json:"name"`
	Kind      string      `json:"kind"`
	Objective string      `json:"objective"` // percent, as it was written
	Period    string      `json:"period"`    // "30d" or "calendar month"
	State     TargetState `json:"state"`
	Reason    string      `json:"reason"` // why it is in this state
	Measured  bool        `json:"measured"`
	// OnNoData is what missing data means to the target.
	OnNoData string `json:"on_no_data"`

	Current    *float64     `json:"current,omitempty"` // good share over the shortest window
	Good       *float64     `json:"good,omitempty"`    // good share over the period
	BudgetLeft *float64     `json:"budget_left,omitempty"`
	Burn       []TargetBurn `json:"burn,omitempty"` // shortest window first
	// ExhaustsIn is when the rest of the budget is gone at the burn rate of the
	// fast page's long window, in seconds. Nil if it is not burning.
	ExhaustsIn *float64 `json:"exhausts_in_seconds,omitempty"`

	// Coverage is the share of the period for which there is data. While Warming
	// there was never a whole period of it.
	Coverage *float64 `json:"coverage,omitempty"`
	Warming  bool     `json:"warming"`
	Since    float64  `json:"data_age_seconds,omitempty"` // since the first data; 0: there was none

	Alerts   []TargetAlert `json:"alerts,omitempty"`   // pending and firing
	Excluded []string      `json:"excluded,omitempty"` // maintenance that runs and does not count
}

// TargetBurn is how fast the budget burns: at 1 it lasts exactly for the period.
type TargetBurn struct {
	Window string  `json:"window"`
	Rate   float64 `json:"rate"`
}

// TargetAlert is an alert of a target.
type TargetAlert struct {
	Name     string `json:"name"`
	Tier     string `json:"tier"`
	Severity string `json:"severity"`
	State    string `json:"state"` // pending or firing
}

// Gate is the answer to whether a service may be released. It is open when there
// is no reason against it; notes are doubts that do not close it.
type Gate struct {
	Service string       `json:"service"`
	Open    bool         `json:"open"`
	At      time.Time    `json:"at"`
	Reasons []GateReason `json:"reasons"`
	Notes   []string     `json:"notes,omitempty"`
}

// GateReason is one reason against a release. Until is when it ends by itself,
// zero when that is not known.
type GateReason struct {
	Kind    GateKind  `json:"kind"`
	Subject string    `json:"subject"` // a target, an incident, a maintenance
	Text    string    `json:"text"`
	Until   time.Time `json:"until,omitzero"`
}

// GateKind is what closes a gate.
type GateKind string

// What closes a gate.
const (
	GateBudget      GateKind = "budget"
	GateFreeze      GateKind = "freeze"
	GateNoData      GateKind = "no_data"
	GateIncident    GateKind = "incident"
	GateMaintenance GateKind = "maintenance"
)

// SignalPost is something about a service that somebody tells, such as the
// results of its tests: counts of what passed and failed, or a value.
type SignalPost struct {
	Name        string   `json:"name"`
	Environment string   `json:"environment,omitempty"`
	Passed      *int64   `json:"passed,omitempty"`
	Failed      *int64   `json:"failed,omitempty"`
	Value       *float64 `json:"value,omitempty"`
	Labels      Labels   `json:"labels,omitempty"`
}
