package watchbill

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Duty is one person who is on duty for a role, with the reason.
type Duty struct {
	Person PersonID `json:"person"`
	Role   RoleID   `json:"role"`
	Reason string   `json:"reason"`
	Line   string   `json:"line,omitempty"` // where it stands, "watchbill.yaml:41"; empty when it is derived
	// Copy is a trainee who reads along: nothing is expected of them, and they never
	// count as the one who was to be reached.
	Copy bool `json:"copy,omitempty"`
}

// Leave is a time in which somebody is away.
type Leave struct {
	From, To time.Time // To is the first instant at which they are back
	Reason   string
	Line     string
}

// DutyChangeKind says what a change of the duty is. The strings are stored and
// exported.
type DutyChangeKind string

// The kinds of change. An override puts a person on duty for a role, whoever has
// the turn. A cover has a person stand in for another one. A swap is two covers,
// made together. A leave says that a person is away.
const (
	DutyOverride DutyChangeKind = "override"
	DutyCover    DutyChangeKind = "cover"
	DutySwap     DutyChangeKind = "swap"
	DutyLeave    DutyChangeKind = "leave"
)

// DutyChange is a change of the rosters that somebody made while the daemon runs.
// Of changes that contradict each other the one that was made last counts.
type DutyChange struct {
	ID       int64          `json:"id"`
	Kind     DutyChangeKind `json:"kind"`
	Role     RoleID         `json:"role,omitempty"`     // of an override and a swap; empty: all roles
	Location string         `json:"location,omitempty"` // of an override: the roster of this location; empty: all
	Person   PersonID       `json:"person,omitempty"`   // who takes the duty; nobody for a leave
	Instead  PersonID       `json:"instead,omitempty"`  // of whom; nobody in particular for an override
	From     time.Time      `json:"from"`
	To       time.Time      `json:"to"` // the first instant after it
	Reason   string         `json:"reason"`
	Author   PersonID       `json:"author"`
	Via      string         `json:"via,omitempty"`
	MadeAt   time.Time      `json:"made_at"`
	Swap     int64          `json:"swap,omitempty"` // the other half
	// Ends is the change that this one ends: it has nothing else to say than who did
	// so, when and why.
	Ends int64 `json:"ends,omitempty"`
}

// In reports whether the change counts at an instant.
func (c DutyChange) In(at time.Time) bool { return !at.Before(c.From) && at.Before(c.To) }

// String says who does what for whom, and until when.
func (c DutyChange) String() string {
	until := c.To.UTC().Format("Mon 2 Jan 15:04 UTC")
	switch c.Kind {
	case DutyOverride:
		return fmt.Sprintf("override %d by %s until %s: %s", c.ID, c.Author, until, c.Reason)
	case DutyCover, DutySwap:
		return fmt.Sprintf("%s %d by %s, in the place of %s until %s: %s", c.Kind, c.ID, c.Author, c.Instead, until, c.Reason)
	case DutyLeave:
	}
	return fmt.Sprintf("leave %d of %s by %s until %s: %s", c.ID, c.Instead, c.Author, until, c.Reason)
}

// Validate reports what is wrong with a change that is to be made at an instant.
func (c DutyChange) Validate(now time.Time) error {
	bad := func(hint, format string, args ...any) error { return Invalidf(hint, format, args...) }
	switch c.Kind {
	case DutyOverride:
		if c.Role == "" || c.Person == "" {
			return bad("name a role and a person", "an override is for a role, and puts a person on duty")
		}
	case DutyCover, DutySwap:
		if c.Person == "" || c.Instead == "" || c.Person == c.Instead {
			return bad("name two people", "a %s has one person stand in for another", c.Kind)
		}
	case DutyLeave:
		if c.Instead == "" || c.Person != "" {
			return bad("name one person, who is away, as instead", "a leave is of one person")
		}
	default:
		return bad("use override, cover, swap or leave", "%q is no change of the duty", c.Kind)
	}
	switch {
	case strings.TrimSpace(c.Reason) == "":
		return bad("say why, in a few words", "a change of the duty needs a reason")
	case c.From.IsZero() || c.To.IsZero():
		return bad("give from and to", "a change of the duty has a beginning and an end")
	case !c.To.After(c.From):
		return bad("give a later end", "it ends at %s, which is not after its beginning at %s", c.To.UTC().Format(time.RFC3339), c.From.UTC().Format(time.RFC3339))
	case !c.To.After(now):
		return bad("give a later end", "it ended at %s", c.To.UTC().Format(time.RFC3339))
	case c.To.Sub(c.From) > 400*24*time.Hour:
		return bad("change the roster in the configuration", "it lasts for more than 400 days")
	}
	return nil
}

// ChainDutyChange returns the hash of a change that follows prev: it covers prev
// and the change as it is stored.
func ChainDutyChange(prev string, body []byte) string {
	h := sha256.New()
	_, _ = h.Write([]byte(prev))
	_, _ = h.Write([]byte{0})
	_, _ = h.Write(body)
	return hex.EncodeToString(h.Sum(nil))
}

// JSON is the change as it is stored.
func (c DutyChange) JSON() ([]byte, error) {
	c.From, c.To, c.MadeAt = c.From.UTC(), c.To.UTC(), c.MadeAt.UTC()
	b, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode a change of the duty: %w", err)
	}
	return b, nil
}

// Watch is who is on duty for a role at an instant.
type Watch struct {
	Role    RoleID    `json:"role"`
	At      time.Time `json:"at"`
	Primary Duty      `json:"primary"`
	Second  []Duty    `json:"second,omitempty"` // who stands behind, in order
	Copies  []Duty    `json:"copies,omitempty"` // trainees who read along
	// Vacant says that nobody of the role is on duty, and somebody else answers.
	Vacant bool `json:"vacant,omitempty"`
}

// Strength is how many people are on duty, without those who only read along.
func (w Watch) Strength() int {
	if w.Vacant || w.Primary.Person == "" {
		return 0
	}
	return 1 + len(w.Second)
}

// Holders names who is on duty, in a line.
func (w Watch) Holders() string {
	names := []string{string(w.Primary.Person)}
	for _, d := range w.Second {
		names = append(names, string(d.Person)+" behind")
	}
	for _, d := range w.Copies {
		names = append(names, string(d.Person)+" reads along")
	}
	return cmp.Or(strings.Join(names, ", "), "nobody")
}

// Shift is a span of time in which the same people are on duty for a role.
type Shift struct {
	From  time.Time `json:"from"`
	To    time.Time `json:"to"`
	Watch Watch     `json:"watch"`
}

// GapKind says what is missing. The strings are exported.
type GapKind string

// What a proof of coverage finds missing.
const (
	GapVacant      GapKind = "vacant"      // nobody of the role is on duty
	GapUnreachable GapKind = "unreachable" // who is on duty cannot be reached
	GapFallback    GapKind = "fallback"    // nobody else stands behind
	GapLocation    GapKind = "location"    // nobody on duty is at the location
	GapFourEyes    GapKind = "four-eyes"   // no two people on duty may change production
)

// Gap is a span of time in which something is missing.
type Gap struct {
	Kind     GapKind   `json:"kind"`
	Role     RoleID    `json:"role,omitempty"`
	Location string    `json:"location,omitempty"`
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Why      string    `json:"why"`
}

// About says what the gap is in.
func (g Gap) About() string {
	if g.Kind == GapFourEyes {
		return "changes of production"
	}
	if g.Location != "" {
		return string(g.Role) + " in " + g.Location
	}
	return string(g.Role)
}

// DutyLoad is what a roster asks of a person.
type DutyLoad struct {
	Person  PersonID `json:"person"`
	Hours   float64  `json:"hours"`   // on duty, for any role; two at once count once
	Nights  int      `json:"nights"`  // on duty at any time between 22:00 and 07:00 of their own clock
	Weekend float64  `json:"weekend"` // hours on Saturdays and Sundays
	Second  float64  `json:"second"`  // hours of standing behind somebody
	Pages   int      `json:"pages"`
	Woken   int      `json:"woken"` // pages at night
}

// String says what is missing, where and when.
func (g Gap) String() string {
	const form = "Mon 2 Jan 2006 15:04"
	return fmt.Sprintf("%s: %s from %s to %s UTC: %s", g.Kind, g.About(), g.From.UTC().Format(form), g.To.UTC().Format(form), g.Why)
}
