package watchbill

import "time"

// ActionItem is something that is left to do when an incident is over. It outlives it.
type ActionItem struct {
	N        int       `json:"n"` // from 1
	Text     string    `json:"text"`
	Owner    PersonID  `json:"owner"`
	Due      time.Time `json:"due"`
	AddedBy  PersonID  `json:"added_by"`
	AddedAt  time.Time `json:"added_at"`
	DoneBy   PersonID  `json:"done_by,omitempty"`
	DoneAt   time.Time `json:"done_at,omitzero"`
	Evidence string    `json:"evidence,omitempty"`
	RemindAt time.Time `json:"remind_at,omitzero"` // when its owner is told next
	Reminded int       `json:"reminded,omitempty"`
}

// Done reports whether it is.
func (a ActionItem) Done() bool { return !a.DoneAt.IsZero() }

// IncidentRole is a part that somebody has in an incident.
type IncidentRole string

// The parts. The strings are stored: never change one.
const (
	Commander IncidentRole = "commander" // decides
	Responder IncidentRole = "responder" // acts
	Scribe    IncidentRole = "scribe"    // writes down
)
