package watchbill

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

// State is where an incident stands in its life.
type State string

// The states of an incident, in their usual order. An incident that fires again
// within the reopen window of StateResolved goes back to StateOpen.
const (
	StateOpen         State = "open"
	StateAcknowledged State = "acknowledged"
	StateResolved     State = "resolved"
	StateClosed       State = "closed"
)

// Live reports whether the incident still needs somebody.
func (s State) Live() bool { return s == StateOpen || s == StateAcknowledged }

// Incident is one group of alerts with a life. Key is its group key; at most
// one incident of a key is not closed.
type Incident struct {
	ID          IncidentID `json:"id"`
	Key         string     `json:"key"`
	Generation  int        `json:"generation"` // from 1; each restart of the path adds one
	State       State      `json:"state"`
	Severity    Severity   `json:"severity"`
	Service     string     `json:"service"`
	Environment string     `json:"environment"`
	Activity    ActivityID `json:"activity"`
	Title       string     `json:"title"` // what is broken, in users' words
	Labels      Labels     `json:"labels"`
	Annotations Labels     `json:"annotations"`
	Runbook     string     `json:"runbook,omitempty"`   // name or URL
	Path        Path       `json:"path"`                // frozen when it opened
	PageReason  string     `json:"page_reason"`         // why the present generation pages
	PathBegan   time.Time  `json:"path_began,omitzero"` // when step 0 of this generation was due
	HeldBy      string     `json:"held_by,omitempty"`   // the mute that holds its pages back

	OpenedAt       time.Time  `json:"opened_at"`
	AcknowledgedAt time.Time  `json:"acknowledged_at,omitzero"`
	AcknowledgedBy PersonID   `json:"acknowledged_by,omitempty"`
	AckDeadline    time.Time  `json:"ack_deadline,omitzero"`
	Acks           []PersonID `json:"acks,omitempty"` // who acknowledged this generation, while more people are wanted
	ResolvedAt     time.Time  `json:"resolved_at,omitzero"`
	ResolvedBy     PersonID   `json:"resolved_by,omitempty"` // empty: the alerts cleared
	QuietUntil     time.Time  `json:"quiet_until,omitzero"`  // a person resolved while alerts fired
	ClosedAt       time.Time  `json:"closed_at,omitzero"`
	Offered        PersonID   `json:"offered,omitempty"`    // asked to take it over
	Awaited        []PersonID `json:"awaited,omitempty"`    // called, and not heard of yet
	Responders     []PersonID `json:"responders,omitempty"` // called to help
	StatusAt       time.Time  `json:"status_at,omitzero"`   // of the last status update
	PlannedAt      time.Time  `json:"planned_at,omitzero"`  // when somebody said how it will be resolved
	Escalated      string     `json:"escalated,omitempty"`  // why the next step fires before its time
	Previous       IncidentID `json:"previous,omitempty"`   // the closed incident of the same key

	Plan  []PlanStep `json:"plan,omitempty"`  // how it will be resolved, in order
	Proof *Proof     `json:"proof,omitempty"` // what people said of it when it was over

	Actions    []ActionItem              `json:"actions,omitempty"`     // what is left to do
	Parts      map[IncidentRole]PersonID `json:"parts,omitempty"`       // who is commander, responder, scribe
	SeverityBy PersonID                  `json:"severity_by,omitempty"` // who changed the severity last, if a person did

	Drill *Drill `json:"drill,omitempty"` // nil: it is real

	Seq  int64  `json:"seq"`  // number of its last event
	Head string `json:"head"` // hash of its last event
}

// Drill marks an incident that is a drill.
type Drill struct {
	Of          string    `json:"of"` // "role support"
	By          string    `json:"by"`
	Until       time.Time `json:"until"`
	AnsweredBy  PersonID  `json:"answered_by,omitempty"`
	AnsweredVia string    `json:"answered_via,omitempty"`
}

// EventKind says what an event records.
type EventKind string

// The kinds of event. The strings are stored and exported: never change one.
const (
	EventOpened       EventKind = "opened"
	EventAlertJoined  EventKind = "alert_joined"
	EventAlertEnded   EventKind = "alert_ended"
	EventSeverity     EventKind = "severity_changed"
	EventStepFired    EventKind = "step_fired"
	EventPageSent     EventKind = "page_sent"
	EventPageFailed   EventKind = "page_failed"
	EventPageDropped  EventKind = "page_dropped"
	EventAcknowledged EventKind = "acknowledged"
	EventAckExpired   EventKind = "ack_expired"
	EventNote         EventKind = "note"
	EventResolved     EventKind = "resolved"
	EventReopened     EventKind = "reopened"
	EventClosed       EventKind = "closed"
	EventQueued       EventKind = "queued"
	EventChange       EventKind = "change"
	EventEscalated    EventKind = "escalated"
	EventHandedOver   EventKind = "handed_over"
	EventRerouted     EventKind = "rerouted"
	EventSnoozed      EventKind = "snoozed"
	EventCalled       EventKind = "called"
	EventStatus       EventKind = "status_update"
	EventPlanned      EventKind = "planned"
	EventReminded     EventKind = "reminded"
	EventPlan         EventKind = "plan"     // something happened to a step of the plan
	EventAction       EventKind = "action"   // likewise to an action item
	EventAssigned     EventKind = "assigned" // somebody has a part in it

	EventPageDelivered EventKind = "page_delivered" // as the provider says
	EventPageOpened    EventKind = "page_opened"
	EventCodeLocked    EventKind = "code_locked" // too many wrong codes
)

// Event is one entry of an incident's timeline. Events are hash-chained per
// incident: Hash covers Prev and everything else in the event.
type Event struct {
	Incident IncidentID      `json:"incident"`
	Seq      int64           `json:"seq"` // from 1
	At       time.Time       `json:"at"`
	Kind     EventKind       `json:"kind"`
	Actor    string          `json:"actor"` // a person's id, or "watchbill"
	Via      string          `json:"via,omitempty"`
	Text     string          `json:"text"`
	Data     json.RawMessage `json:"data,omitempty"`
	Prev     string          `json:"prev"`
	Hash     string          `json:"hash"`
}

// Sum returns the SHA-256, in hexadecimal, of the event as JSON without its own
// hash. Prev is part of it, so that each event vouches for all before it.
func (e Event) Sum() string {
	e.Hash = ""
	e.At = e.At.UTC()
	var room [1024]byte
	p := plain{b: room[:0]}.event(e)
	if !p.ok {
		var err error
		if p.b, err = json.Marshal(e); err != nil { // only Data could fail, and it was JSON when it was stored
			p.b = fmt.Append(nil, e.Incident, e.Seq, e.At, e.Kind, e.Actor, e.Via, e.Text, e.Prev, string(e.Data))
		}
	}
	sum := sha256.Sum256(p.b)
	var text [2 * sha256.Size]byte
	hex.Encode(text[:], sum[:])
	return string(text[:])
}

// Record makes e the next event of the incident: it gets the next number and
// is chained to the one before. The incident must have its id.
func (inc *Incident) Record(e Event) Event {
	inc.Seq++
	e.Incident, e.Seq, e.Prev = inc.ID, inc.Seq, inc.Head
	e.At = e.At.UTC()
	e.Hash = e.Sum()
	inc.Head = e.Hash
	return e
}

// VerifyChain checks that events are one unbroken chain from the first event
// to head. It returns nil, or what is wrong and at which event.
func VerifyChain(events []Event, head string) error {
	prev := ""
	for i, e := range events {
		switch {
		case e.Seq != int64(i)+1:
			return fmt.Errorf("event %d of %s is missing: found %d in its place", i+1, e.Incident, e.Seq)
		case e.Prev != prev:
			return fmt.Errorf("event %d of %s does not follow the one before it", e.Seq, e.Incident)
		case e.Hash != e.Sum():
			return fmt.Errorf("event %d of %s was altered after it was written", e.Seq, e.Incident)
		}
		prev = e.Hash
	}
	if prev != head {
		return fmt.Errorf("the chain ends after %d events, not where its incident says", len(events))
	}
	return nil
}

// ActorSelf is the actor of what the daemon did by itself.
const ActorSelf = "watchbill"

// TimerKind says what a timer does when it is due.
type TimerKind string

// The kinds of timer. The strings are stored: never change one. Alerts have no
// timers: when one is looked at again is part of its own row.
const (
	TimerStep  TimerKind = "step"  // fire escalation step Step of Generation
	TimerAck   TimerKind = "ack"   // the acknowledgement expires
	TimerQuiet TimerKind = "quiet" // a manual resolve stops holding alerts quiet
	TimerClose TimerKind = "close" // the reopen window ends

	// Something is owed that was not given: at step 0 whoever has the incident is
	// reminded, at step 1 the path starts again.
	TimerStatus TimerKind = "status" // a status update
	TimerPlan   TimerKind = "plan"   // a plan

	TimerDrill TimerKind = "drill" // a drill's time is over

	TimerProof TimerKind = "proof" // the closing proof is owed

	// What belongs to the incident whatever its generation.
	TimerPlanStep TimerKind = "plan_step" // a step of the plan is overdue
	TimerAction   TimerKind = "action"    // an action item is due
)

// Timer is a row that says what happens to an incident at Due. There is at most
// one of a kind per incident.
type Timer struct {
	ID         int64
	Kind       TimerKind
	Incident   IncidentID
	Generation int
	Step       int
	Due        time.Time
}
