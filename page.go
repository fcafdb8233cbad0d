package watchbill

import (
	"fmt"
	"time"
)

// Page is one notification to one person by one method. It is a row of the
// outbox, written in the transaction that decided it.
type Page struct {
	Incident   IncidentID  `json:"incident"`
	Generation int         `json:"generation"`
	Step       int         `json:"step"`
	Person     PersonID    `json:"person"`
	Role       RoleID      `json:"role"`
	Method     string      `json:"method"` // the receiver's name
	Due        time.Time   `json:"due"`
	Call       CallKind    `json:"call,omitempty"` // beside the path; then Step is below 0
	Content    PageContent `json:"content"`
	// Edit is the message that this one replaces where it stands. Nil: it is new.
	Edit *SentMessage `json:"edit,omitempty"`
}

// SentMessage is a message of a chat that can be edited, as the chat names it.
type SentMessage struct {
	Page        int64  `json:"page"`        // the row of the page that it carried
	Integration string `json:"integration"` // of the receiver: slack[0]
	Channel     string `json:"channel"`
	Stamp       string `json:"stamp"`
}

// CallKind says why a page goes to somebody beside the path. The strings are
// stored: never change one.
type CallKind string

// The kinds of call. Such a page is needed until the person does something, or
// the incident is over; acknowledging by somebody else does not end it.
const (
	CallResponder CallKind = "responder" // called to help
	CallHandOver  CallKind = "handover"  // asked to take it over
	CallReminder  CallKind = "reminder"  // whoever has it owes something
	CallPlan      CallKind = "plan"      // a step of the plan is theirs, or overdue
)

// Key is the idempotency key of the page: the same page has the same key in
// every attempt.
func (p Page) Key() string {
	return fmt.Sprintf("%s/%d/%d/%s/%s", p.Incident, p.Generation, p.Step, p.Person, p.Method)
}

// PageContent is what the person reads, in the order in which a half-awake
// reader needs it. Empty fields are left out when it is rendered.
type PageContent struct {
	// 1: the first twenty characters.
	Severity    Severity `json:"severity"`
	Service     string   `json:"service"`
	Environment string   `json:"environment"`
	// 2: what is broken, in users' words, at most 100 characters.
	Title string `json:"title"`
	// 3: who is hurt, since when, how fast it gets worse.
	Impact string    `json:"impact,omitempty"`
	Since  time.Time `json:"since"`
	// 4: value, target, window, and the expression's link.
	Evidence    string `json:"evidence,omitempty"`
	EvidenceURL string `json:"evidence_url,omitempty"`
	// 5: one imperative sentence.
	FirstAction string `json:"first_action,omitempty"`
	// 6: the runbook's name or title, its link, its freshness, and its quick
	// reference so that the page is useful when the link is not.
	Runbook        string `json:"runbook,omitempty"`
	RunbookURL     string `json:"runbook_url,omitempty"`
	RunbookState   string `json:"runbook_state,omitempty"` // "reviewed 12 d ago", "STALE: …"
	QuickReference string `json:"quick_reference,omitempty"`
	// 7: what changed.
	Changes string `json:"changes,omitempty"`
	// 8: how many alerts are grouped and suppressed.
	Related string `json:"related,omitempty"`
	// 9: the reader's role, why them, who else was paged, who is next and when.
	Why      string `json:"why"`
	AlsoTold string `json:"also_told,omitempty"`
	Next     string `json:"next,omitempty"`
	// 10: what the reader can do now.
	Actions []Action `json:"actions,omitempty"`
	// 11: the id one can say on the phone, and the time in both zones.
	Incident IncidentID `json:"incident"`
	URL      string     `json:"url,omitempty"`
	At       time.Time  `json:"at"`
	LocalAt  string     `json:"local_at"` // in the reader's zone, "Sun 04:15 CET"

	// Reason says why this page is sent: "first page", "escalated: not
	// acknowledged in 5m", "re-paged: acknowledgement expired".
	Reason string `json:"reason"`

	// To is the reader.
	To      PersonID `json:"to"`
	ToName  string   `json:"to_name"`
	ToEmail string   `json:"to_email,omitempty"`
	ToPhone string   `json:"to_phone,omitempty"` // empty: the person's

	// Status says how it stands now, in a message that is edited in place.
	Status string `json:"status,omitempty"`

	// Labels are the alert's, for templates of the user's own.
	Labels Labels `json:"labels,omitempty"`

	// Code is what the reader types to act from the page, and ActURL where. They are
	// worked out when the page is sent and stored nowhere.
	Code   string `json:"-"`
	ActURL string `json:"-"`
}

// Action is one thing the reader can do, and how.
type Action struct {
	Name string `json:"name"` // "Acknowledge"
	How  string `json:"how"`  // a command or a link
}

// Delivery is a claimed page: the row under a lease, and the number of this
// attempt, counted from 1.
type Delivery struct {
	ID      int64
	Attempt int
	Page    Page
	// Bundle are the pages that this message stands for, itself included; empty if
	// it stands for itself.
	Bundle []Delivery
}

// Outcome is the result of one attempt to deliver a page.
type Outcome struct {
	Delivery Delivery
	At       time.Time // when the attempt ended
	// Result is one of the Result values.
	Result Result
	Detail string        // the error, or what the receiver said
	Retry  time.Time     // when to try again; zero: never
	Sent   []SentMessage // what can be edited later
}

// Receipt is something that is known about a page after it was accepted.
type Receipt struct {
	Page   int64
	Kind   ReceiptKind
	At     time.Time // the first time
	Detail string
}

// ReceiptKind says what is known. The strings are stored and exported.
type ReceiptKind string

// The kinds of receipt. That a page was attempted and accepted is in its attempts.
const (
	ReceiptDelivered    ReceiptKind = "delivered"    // the provider says that it is on the device
	ReceiptFailed       ReceiptKind = "failed"       // the provider says that it never got there
	ReceiptOpened       ReceiptKind = "opened"       // its link was opened, by whomever
	ReceiptAcknowledged ReceiptKind = "acknowledged" // its code was used to acknowledge
)

// Result says how an attempt to deliver ended. The strings are metric labels
// and are stored.
type Result string

// The results of an attempt. ResultDropped is a page that was not needed any
// more: its incident had been acknowledged or resolved.
const (
	ResultDelivered Result = "delivered"
	ResultRetry     Result = "retry"   // failed; may work later
	ResultRefused   Result = "refused" // the receiver says no: use the next method at once
	ResultDropped   Result = "dropped"
)
