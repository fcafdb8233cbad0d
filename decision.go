package watchbill

import (
	"slices"
	"time"
)

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
//
// Thousands of alerts may join one incident for the same reasons. Those after the
// first name the event that holds the reasons, As, instead of repeating them.
type Decision struct {
	Alert    Fingerprint `json:"alert"`
	At       time.Time   `json:"at,omitzero"`
	Ruling   Ruling      `json:"ruling"`
	Incident IncidentID  `json:"incident,omitempty"`
	Labels   Labels      `json:"labels,omitempty"` // only of what is muted; an incident's alerts are in rows of their own
	As       int64       `json:"as,omitempty"`     // stored only: the event of the same incident whose decision has the fields below; 0: they are here

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

// Agrees reports whether two decisions took their alerts for the same, for the
// same reasons: all but which alert it is, when, and what came of it.
func (d Decision) Agrees(o Decision) bool {
	return d.Service == o.Service && d.Environment == o.Environment && d.Activity == o.Activity && d.ActivityWhy == o.ActivityWhy &&
		d.Severity == o.Severity && d.SeverityWhy == o.SeverityWhy && d.Group == o.Group && slices.Equal(d.Roles, o.Roles) &&
		slices.EqualFunc(d.Mutes, o.Mutes, Weighed.equal) && slices.EqualFunc(d.Spared, o.Spared, Weighed.equal)
}

// In returns the decision with the reasons of another one, which [Decision.As]
// named.
func (d Decision) In(whole Decision) Decision {
	whole.Alert, whole.At, whole.Ruling, whole.Incident, whole.Labels, whole.As = d.Alert, d.At, d.Ruling, d.Incident, d.Labels, 0
	return whole
}

// Weighed is one thing that mutes an alert, or that was looked at and does not.
type Weighed struct {
	Kind  string    `json:"kind"` // silence, inhibited, time_interval, maintenance, dependency
	Why   string    `json:"why"`
	Line  string    `json:"line,omitempty"` // where it stands: "watchbill.yaml:41"; "built-in"; empty for a silence
	Until time.Time `json:"until,omitzero"` // when it ends by itself, if that is known
}

func (w Weighed) equal(o Weighed) bool {
	return w.Kind == o.Kind && w.Why == o.Why && w.Line == o.Line && w.Until.Equal(o.Until)
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
