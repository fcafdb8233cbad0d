package scenario

import (
	"time"

	"watchbill"
)

// Verb is what an act does.
type Verb string

// The verbs of a script.
const (
	Fire    Verb = "fire"    // an alert begins
	Resolve Verb = "resolve" // alerts end; with an incident, a person says that it is over
	Ack     Verb = "ack"     // a person takes an incident
	Note    Verb = "note"    // a person records something
	Silence Verb = "silence" // a person makes a silence
	Approve Verb = "approve" // a second person agrees to one
	Expire  Verb = "expire"  // a person ends one
	Kill    Verb = "kill"    // the daemon ends without closing, and starts again from its store
	Reload  Verb = "reload"  // another configuration takes effect
	Down    Verb = "down"    // a receiver cannot be reached
	Refuse  Verb = "refuse"  // a receiver says no
	Hang    Verb = "hang"    // a receiver does not answer
	Up      Verb = "up"      // a receiver takes pages again
	End     Verb = "end"     // the scenario is over
)

// Step is one act at an instant.
type Step struct {
	At   time.Time `json:"at"`
	Verb Verb      `json:"verb"`
	Text string    `json:"text"` // as it stands in the script
	Line int       `json:"line,omitempty"`

	Labels      watchbill.Labels     `json:"labels,omitempty"`      // fire; resolve: of every alert that has them
	Exact       bool                 `json:"exact,omitempty"`       // resolve: and no other label
	Annotations watchbill.Labels     `json:"annotations,omitempty"` // fire
	Person      watchbill.PersonID   `json:"person,omitempty"`
	Incident    watchbill.IncidentID `json:"incident,omitempty"`
	Of          watchbill.Labels     `json:"of,omitempty"` // the incident that this alert is part of, where its number is not known
	Words       string               `json:"words,omitempty"`
	For         time.Duration        `json:"for,omitempty"`      // silence, kill; resolve: quiet for
	Matchers    []watchbill.Matcher  `json:"matchers,omitempty"` // silence
	Silence     int                  `json:"silence,omitempty"`  // approve, expire: its number, counted from 1
	Receiver    string               `json:"receiver,omitempty"`
	Config      string               `json:"config,omitempty"` // reload: path of the file
}

// Script is what is played.
type Script struct {
	Name   string    `json:"name"`
	Config string    `json:"config"` // path of the file
	Start  time.Time `json:"start"`
	Steps  []Step    `json:"steps"`
	End    time.Time `json:"end"`
	// Loose does not ask for the order of what is done and what is due at one
	// instant, which costs a read for each step.
	Loose bool `json:"loose,omitempty"`
}

// Kind says what an entry of a timeline tells.
type Kind string

// The kinds of entry, in the order in which they stand at one instant.
const (
	KindAct      Kind = "act"
	KindMute     Kind = "mute"
	KindIncident Kind = "incident"
	KindPage     Kind = "page"
	KindEnd      Kind = "end"
)

// Entry is one line of a timeline.
type Entry struct {
	At   time.Time `json:"at"`
	Kind Kind      `json:"kind"`
	Text string    `json:"text"`
	// Alert is the alert that was decided about, if it was one.
	Alert watchbill.Fingerprint `json:"alert,omitempty"`

	// Of a page.
	Person    watchbill.PersonID     `json:"person,omitempty"`
	Role      watchbill.RoleID       `json:"role,omitempty"`
	Method    string                 `json:"method,omitempty"`
	Key       string                 `json:"key,omitempty"`
	Incident  watchbill.IncidentID   `json:"incident,omitempty"`
	Group     string                 `json:"group,omitempty"`
	Delivered bool                   `json:"delivered,omitempty"`
	Also      []watchbill.IncidentID `json:"also,omitempty"` // that one message is about
	phase     int                    // how many steps had begun when it happened
	order     int                    // within a phase and a kind
	of        watchbill.Fingerprint  // whose line it is, for the order of mutes
}
