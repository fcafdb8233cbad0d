package watchbill

import "time"

// Ruling is what came of a decision about an alert. The strings are stored:
// never change one.
type Ruling string

// The rulings. An alert that a person's silence, an inhibit rule, a time
// interval, maintenance or a dependency mutes opens no incident until the mute ends;
// one that only inhibit rules and dependencies mute joins the incident of its group
// if there is one.
const (
	RulingOpened Ruling = "opened"
	RulingJoined Ruling = "joined"
	RulingMuted  Ruling = "muted"
	RulingEnded  Ruling = "ended"
)

// Decision is the trace of one decision about an alert: what it was taken for,
// whose it is, what was weighed, and what came of it. It is kept in the event
// that it caused, as that event's data, or in a row of its own when it caused
// none because the alert was muted. Of an end only Alert and Ruling are set.
type Decision struct {
	Alert    Fingerprint `json:"alert"`
	At       time.Time   `json:"at,omitzero"`
	Ruling   Ruling      `json:"ruling"`
	Incident IncidentID  `json:"incident,omitempty"`
	Labels   Labels      `json:"labels,omitempty"` // only of what is muted; an incident's alerts are in rows of their own

	Service     string     `json:"service,omitempty"`
	Environment string     `json:"environment,omitempty"`
	Activity    ActivityID `json:"activity,omitempty"`
	ActivityWhy string     `json:"activity_why,omitempty"`
	Roles       []RoleID   `json:"roles,omitempty"` // responsible, those paged first in front
	Severity    Severity   `json:"severity,omitempty"`
	SeverityWhy string     `json:"severity_why,omitempty"`
	Group       string     `json:"group,omitempty"`

	Mutes  []Weighed `json:"mutes,omitempty"`  // what mutes it
	Spared []Weighed `json:"spared,omitempty"` // what was near to muting it, and why it does not
}

// Weighed is one thing that mutes an alert, or that was looked at and does not.
type Weighed struct {
	Kind  string    `json:"kind"` // silence, inhibited, time_interval, maintenance, dependency
	Why   string    `json:"why"`
	Line  string    `json:"line,omitempty"` // where it stands: "watchbill.yaml:41"; "built-in"; empty for a silence
	Until time.Time `json:"until,omitzero"` // when it ends by itself, if that is known
}

// Firing is the data of the event that a step of a path fired: whom it paged,
// by which methods and why.
type Firing struct {
	Step  int          `json:"step"`
	Why   string       `json:"why"` // of the step
	Pages []FiringPage `json:"pages"`
	Next  time.Time    `json:"next"` // when the next step is planned
}

// FiringPage is a person whom a step paged.
type FiringPage struct {
	Person  PersonID `json:"person"`
	Role    RoleID   `json:"role"`
	Why     string   `json:"why"`
	Methods []string `json:"methods"`
}
