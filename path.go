package watchbill

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Path is an escalation path: steps at a delay after the generation began, then
// the last step again every Repeat, without end. With Times above 1 its first
// Round steps are walked that often, RoundLength apart, before those after them;
// the delays of these count as if there had been one round.
type Path struct {
	Name   string        `json:"name"`
	Steps  []PathStep    `json:"steps"`
	Repeat time.Duration `json:"repeat"`

	Round       int           `json:"round,omitempty"`
	Times       int           `json:"times,omitempty"`
	RoundLength time.Duration `json:"round_length,omitempty"`
	// Acks is how many people must acknowledge before the path stops; 0 is one.
	Acks int `json:"acks,omitempty"`
}

// PathStep is one step of a path. With Everyone set all people who hold one of
// the roles are paged, else those on duty. People and Receivers are paged
// besides; a step has at least one of the four.
type PathStep struct {
	After     time.Duration  `json:"after"`
	Roles     []RoleID       `json:"roles"`
	Everyone  bool           `json:"everyone,omitempty"`
	People    []PersonID     `json:"people,omitempty"`
	Receivers []string       `json:"receivers,omitempty"`
	Levels    map[string]int `json:"levels,omitempty"` // what those of the roles must have, by skill
	Behind    []RoleID       `json:"behind,omitempty"` // whose second person is paged, besides those of the roles
	When      *StepWhen      `json:"when,omitempty"`   // nil: always
	Reason    string         `json:"reason"`
	Line      string         `json:"line,omitempty"` // where it stands; empty when it is derived
}

// StepWhen says when a step applies; it is passed over otherwise.
type StepWhen struct {
	Severities []Severity `json:"severities,omitempty"` // none: all
	Hours      []DaySpan  `json:"hours,omitempty"`      // none: always
	Zone       string     `json:"zone,omitempty"`       // of the hours; empty is UTC
}

// DaySpan is a span of the day on some weekdays, in minutes after midnight on
// the wall clock. To may be 24:00, as 1440.
type DaySpan struct {
	Weekdays []time.Weekday `json:"weekdays"`
	From     int            `json:"from"`
	To       int            `json:"to"`
}

// Fails says why a step does not apply, and is empty when it does.
func (w *StepWhen) Fails(sev Severity, at time.Time) string {
	if w == nil {
		return ""
	}
	if len(w.Severities) > 0 && !slices.Contains(w.Severities, sev) {
		names := make([]string, len(w.Severities))
		for i, s := range w.Severities {
			names[i] = s.String()
		}
		return fmt.Sprintf("it is for %s, not for %s", strings.Join(names, ", "), sev)
	}
	if len(w.Hours) == 0 {
		return ""
	}
	zone, err := time.LoadLocation(w.Zone)
	if err != nil { // the zones changed since the path was frozen: better a page than none
		return ""
	}
	local := at.In(zone)
	minute := local.Hour()*60 + local.Minute()
	for _, h := range w.Hours {
		if slices.Contains(h.Weekdays, local.Weekday()) && minute >= h.From && minute < h.To {
			return ""
		}
	}
	return "it is outside of its hours at " + local.Format("Mon 15:04 MST")
}

// rounds is how many steps are walked before those after the rounds, beyond one
// round.
func (p Path) extra() int {
	if p.Times <= 1 || p.Round <= 0 || p.Round > len(p.Steps) {
		return 0
	}
	return (p.Times - 1) * p.Round
}

// Len is the number of steps until the last one repeats.
func (p Path) Len() int { return p.extra() + len(p.Steps) }

// Step returns step n of the path, counted from 0, and its delay after the
// generation began. Beyond the last step the last one repeats.
func (p Path) Step(n int) (PathStep, time.Duration) {
	extra := p.extra()
	if n < extra {
		s := p.Steps[n%p.Round]
		return s, s.After + time.Duration(n/p.Round)*p.RoundLength
	}
	begun := time.Duration(0)
	if extra > 0 {
		begun = time.Duration(p.Times-1) * p.RoundLength
	}
	n -= extra
	last := len(p.Steps) - 1
	if n <= last {
		return p.Steps[n], begun + p.Steps[n].After
	}
	return p.Steps[last], begun + p.Steps[last].After + time.Duration(n-last)*p.Repeat
}

// receiverMark begins the id under which a receiver that no person stands behind
// is paged; no person's name begins with it.
const receiverMark = "@"

// ReceiverID is the id under which a receiver is paged by itself.
func ReceiverID(name string) PersonID { return PersonID(receiverMark + name) }

// Receiver returns the receiver that an id stands for, if it is none of a person.
func (id PersonID) Receiver() (string, bool) { return strings.CutPrefix(string(id), receiverMark) }

// Whom says in words whom the step pages.
func (s PathStep) Whom() string {
	var all []string
	for _, r := range s.Roles {
		name := string(r)
		if s.Everyone {
			name = "everyone in " + name
		}
		all = append(all, name)
	}
	for _, r := range s.Behind {
		all = append(all, "who stands behind for "+string(r))
	}
	for _, p := range s.People {
		all = append(all, string(p))
	}
	for _, r := range s.Receivers {
		all = append(all, "the receiver "+r)
	}
	return strings.Join(all, ", ")
}
