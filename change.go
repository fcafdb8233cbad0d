package watchbill

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ChangeID is the number in CHG-7. Zero is no change.
type ChangeID int64

// String returns the id as people say it: "CHG-7".
func (id ChangeID) String() string { return "CHG-" + strconv.FormatInt(int64(id), 10) }

// ParseChangeID reads "CHG-7", "chg-7" or "7".
func ParseChangeID(s string) (ChangeID, error) {
	digits := s
	if len(s) > 4 && strings.EqualFold(s[:4], "CHG-") {
		digits = s[4:]
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n <= 0 || digits[0] == '+' {
		return 0, Invalidf("write a change as CHG-7 or 7", "%q is not a change id", s)
	}
	return ChangeID(n), nil
}

// ChangeKind is what a change is. The strings are stored: never change one.
type ChangeKind string

// The kinds of change. An access change is what a team member asks of security;
// the manager approves it. A configuration change loosens the rules of changes.
const (
	ChangeProduction    ChangeKind = "change"
	ChangeDeploy        ChangeKind = "deploy"
	ChangeRollback      ChangeKind = "rollback"
	ChangeAccess        ChangeKind = "access"
	ChangeConfiguration ChangeKind = "configuration"
)

// ChangeKinds returns every kind.
func ChangeKinds() []ChangeKind {
	return []ChangeKind{ChangeProduction, ChangeDeploy, ChangeRollback, ChangeAccess, ChangeConfiguration}
}

// Activity is the row of the matrix that says whose the change is.
func (k ChangeKind) Activity() ActivityID {
	switch k {
	case ChangeDeploy:
		return ActivityDeployPlatform
	case ChangeAccess:
		return ActivitySecurity
	case ChangeProduction, ChangeRollback, ChangeConfiguration:
	}
	return ActivityChangeProduction
}

// ChangeState is where a change stands. The strings are stored: never change one.
type ChangeState string

// The states of a change. One that is approved has its approvals and waits for a
// performer and a witness; it is performing while both are there.
const (
	ChangeRequested  ChangeState = "requested"
	ChangeApproved   ChangeState = "approved"
	ChangePerforming ChangeState = "performing"
	ChangeDone       ChangeState = "done"
	ChangeFailed     ChangeState = "failed"
	ChangeRolledBack ChangeState = "rolled_back"
	ChangeRejected   ChangeState = "rejected"
	ChangeExpired    ChangeState = "expired"
)

// ChangeStates returns every state.
func ChangeStates() []ChangeState {
	return []ChangeState{
		ChangeRequested, ChangeApproved, ChangePerforming, ChangeDone, ChangeFailed, ChangeRolledBack, ChangeRejected, ChangeExpired,
	}
}

// Performed reports whether production was, or may have been, touched.
func (s ChangeState) Performed() bool {
	return s == ChangeDone || s == ChangeFailed || s == ChangeRolledBack
}

// Live reports whether somebody has still to act.
func (s ChangeState) Live() bool {
	return s == ChangeRequested || s == ChangeApproved || s == ChangePerforming
}

// ChangeContent is what is approved: an approval binds to the hash of all of it.
type ChangeContent struct {
	Kind         ChangeKind `json:"kind"`
	Title        string     `json:"title"`
	Service      string     `json:"service"`
	Environment  string     `json:"environment"`
	Target       string     `json:"target"`            // what is touched: hosts, a cluster, a repository
	Command      string     `json:"command,omitempty"` // what is run, exactly
	Diff         string     `json:"diff,omitempty"`    // or what is applied, exactly
	Risk         string     `json:"risk"`
	Rollback     string     `json:"rollback"`
	Verification string     `json:"verification"`
	NotBefore    time.Time  `json:"not_before,omitzero"`
	NotAfter     time.Time  `json:"not_after"`
}

// Place is where the change is made.
func (c ChangeContent) Place() Place { return Place{Service: c.Service, Environment: c.Environment} }

// Sum returns the SHA-256, in hexadecimal, of the content's canonical encoding: a
// line that names the encoding, then for each field its name, the length of its
// value in bytes, and the value. No two contents have one encoding.
func (c ChangeContent) Sum() string {
	b := []byte("watchbill change 1\n")
	for _, f := range [...][2]string{
		{"kind", string(c.Kind)},
		{"title", c.Title},
		{"service", c.Service},
		{"environment", c.Environment},
		{"target", c.Target},
		{"command", c.Command},
		{"diff", c.Diff},
		{"risk", c.Risk},
		{"rollback", c.Rollback},
		{"verification", c.Verification},
		{"not_before", instant(c.NotBefore)},
		{"not_after", instant(c.NotAfter)},
	} {
		b = fmt.Appendf(b, "%s %d\n%s\n", f[0], len(f[1]), f[1])
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func instant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// Change is something that touches production, or is said not to, with who asked
// for it, who agreed, who did it and who looked on.
type Change struct {
	ID       ChangeID    `json:"id"`
	Key      string      `json:"key,omitempty"`      // of the request: the same key makes no second change
	Incident IncidentID  `json:"incident,omitempty"` // to which it belongs
	State    ChangeState `json:"state"`

	Content ChangeContent `json:"content"`
	Version int           `json:"version"` // of the content, from 1
	Hash    string        `json:"hash"`    // of the content

	Requester   PersonID   `json:"requester"`
	RequestedAt time.Time  `json:"requested_at"`
	Authors     []PersonID `json:"authors"` // everybody who wrote the content: the requester and who edited

	Approvals []ChangeApproval `json:"approvals,omitempty"`

	Performer     PersonID  `json:"performer,omitempty"`
	Witness       PersonID  `json:"witness,omitempty"`
	PerformingAt  time.Time `json:"performing_at,omitzero"`
	PerformedHash string    `json:"performed_hash,omitempty"` // of the content when it began

	EndedAt time.Time `json:"ended_at,omitzero"`
	Outcome string    `json:"outcome,omitempty"` // evidence, or what went wrong

	BreakGlass *ChangeBreakGlass `json:"break_glass,omitempty"`

	RemindAt  time.Time `json:"remind_at,omitzero"` // when somebody is told next that it waits
	Reminders int       `json:"reminders,omitempty"`
	UpdatedAt time.Time `json:"updated_at"`

	Seq  int64  `json:"seq"`  // number of its last event
	Head string `json:"head"` // hash of its last event
}

// ChangeApproval is a person's yes to a hash, until an instant.
type ChangeApproval struct {
	Person  PersonID  `json:"person"`
	Hash    string    `json:"hash"`
	At      time.Time `json:"at"`
	Until   time.Time `json:"until"`
	Why     string    `json:"why"`             // why they may
	Note    string    `json:"note,omitempty"`  // their own words
	Voided  time.Time `json:"voided,omitzero"` // since when it counts no more
	VoidWhy string    `json:"void_why,omitempty"`
}

// ChangeBreakGlass is a change that was made without the people that it needs.
type ChangeBreakGlass struct {
	Person     PersonID  `json:"person"`
	Reason     string    `json:"reason"`
	At         time.Time `json:"at"`
	ReviewDue  time.Time `json:"review_due"`
	ReviewedBy PersonID  `json:"reviewed_by,omitempty"`
	ReviewedAt time.Time `json:"reviewed_at,omitzero"`
	Review     string    `json:"review,omitempty"`
}

// Waits reports whether its review has still to be done.
func (b *ChangeBreakGlass) Waits() bool { return b != nil && b.ReviewedAt.IsZero() }

// Record makes e the next event of the change: it gets the next number and is
// chained to the one before. The change must have its id, and its events carry
// the incident to which it belongs.
func (c *Change) Record(e Event) Event {
	c.Seq++
	e.Incident, e.Seq, e.Prev = c.Incident, c.Seq, c.Head
	e.At = e.At.UTC()
	e.Hash = e.Sum()
	c.Head = e.Hash
	return e
}

// ChangePermit is the answer to a pipeline that asks whether it may go on.
type ChangePermit struct {
	OK     bool        `json:"ok"`
	Change ChangeID    `json:"change"`
	State  ChangeState `json:"state"`
	Hash   string      `json:"hash"`
	Rule   string      `json:"rule,omitempty"` // which says no
	Reason string      `json:"reason"`
	Until  time.Time   `json:"until,omitzero"` // when the yes ends
}

// ChangeReport is every change of production in a time, the exceptions first.
type ChangeReport struct {
	Since      time.Time        `json:"since"`
	Until      time.Time        `json:"until"`
	Changes    int              `json:"changes"`
	Exceptions int              `json:"exceptions"`
	Entries    []ChangeReported `json:"entries"`
}

// ChangeReported is a line of the report.
type ChangeReported struct {
	Change
	Exceptions []string `json:"exceptions,omitempty"`
}
