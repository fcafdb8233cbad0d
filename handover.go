package watchbill

import (
	"fmt"
	"time"
)

// HandoverPack is what whoever comes on duty for a role has to know.
type HandoverPack struct {
	Role RoleID    `json:"role"`
	At   time.Time `json:"at"`
	Now  Shift     `json:"now"`
	Next *Shift    `json:"next,omitempty"` // nil: nobody else is on duty in the days ahead
	// Incidents are those whose path names the role and that are not over: first what
	// nobody has taken, the worst first; then the others, by who has had one longest.
	Incidents  []HandoverIncident `json:"incidents"`
	Silences   []Silence          `json:"silences"`   // in force or to come, by when they end
	Approvals  []Silence          `json:"approvals"`  // that wait for a second person
	Production []HandoverChange   `json:"production"` // changes of production that wait for somebody
	Windows    []HandoverWindow   `json:"windows"`    // maintenance that runs or is to come
	Changes    []DutyChange       `json:"changes"`    // of the duty for the role, that count now or will
	Accepted   *Handover          `json:"accepted,omitempty"`
}

// HandoverIncident is an incident as a pack tells of it.
type HandoverIncident struct {
	ID       IncidentID `json:"id"`
	Severity Severity   `json:"severity"`
	State    State      `json:"state"`
	Service  string     `json:"service"`
	Title    string     `json:"title"`
	OpenedAt time.Time  `json:"opened_at"`
	Owner    PersonID   `json:"owner,omitempty"` // empty: nobody has taken it
	Since    time.Time  `json:"since,omitzero"`  // when they took it
	Said     string     `json:"said,omitempty"`  // the last words of a person
	SaidBy   string     `json:"said_by,omitempty"`
	Next     string     `json:"next,omitempty"` // what happens by itself next
	NextAt   time.Time  `json:"next_at,omitzero"`
}

// HandoverChange is a change of production as a pack tells of it.
type HandoverChange struct {
	ID        ChangeID    `json:"id"`
	State     ChangeState `json:"state"` // requested ones wait for approval, approved ones for their performer
	Title     string      `json:"title"`
	Service   string      `json:"service"`
	Requester PersonID    `json:"requester"`
	NotAfter  time.Time   `json:"not_after,omitzero"`
}

// HandoverWindow is a maintenance window as a pack tells of it.
type HandoverWindow struct {
	Name   string    `json:"name"`
	Reason string    `json:"reason,omitempty"`
	From   time.Time `json:"from,omitzero"` // zero: it runs already
	To     time.Time `json:"to"`
	Mutes  bool      `json:"mutes"`
}

// Handover says that somebody who comes on duty read a pack and accepted it.
type Handover struct {
	ID   int64     `json:"id"`
	Role RoleID    `json:"role"`
	By   PersonID  `json:"by"`
	From PersonID  `json:"from,omitempty"` // who was on duty then; empty: the same person
	At   time.Time `json:"at"`
	Note string    `json:"note,omitempty"`
	// Pack is as it was then. It is kept with the acceptance, and left out of lists.
	Pack *HandoverPack `json:"pack,omitempty"`
}

// String says who accepted what, and when.
func (h Handover) String() string {
	text := fmt.Sprintf("%d  %s  %s accepted by %s", h.ID, h.At.UTC().Format(time.RFC3339), h.Role, h.By)
	if h.From != "" {
		text += " from " + string(h.From)
	}
	if h.Note != "" {
		text += ": " + h.Note
	}
	return text
}
