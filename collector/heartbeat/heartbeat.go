package heartbeat

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/common/model"

	"watchbill"
)

// DefaultGrace is how long a heartbeat may be overdue when nothing else is
// configured.
const DefaultGrace = 5 * time.Minute

// maxExcuse is the longest that what went overdue while nobody listened is given
// to be heard.
const maxExcuse = 10 * time.Minute

// Config is the heartbeats that are expected.
type Config []Heartbeat

// Heartbeat is one thing that is expected to report.
type Heartbeat struct {
	Name string
	// Key is the hash of the secret in its address; see [KeyOf]. The zero value is
	// no key.
	Key  [sha256.Size]byte
	Slug string // follows the key in the address; may be empty
	// Match has the alerts count as pings that all of these match. Empty: none.
	Match labels.Matchers
	// Period is the longest time between two successes. Zero: Cron says when each
	// is due.
	Period   time.Duration
	Cron     *Cron
	Grace    time.Duration
	Labels   map[string]string // of its alerts
	Severity string            // of its alerts
}

// KeyOf returns the hash of a secret, by which it is looked up: how long that
// takes says nothing about the secret.
func KeyOf(secret string) [sha256.Size]byte { return sha256.Sum256([]byte(secret)) }

// Kind is what a ping says.
type Kind string

// The kinds of pings.
const (
	Success Kind = "success"
	Fail    Kind = "fail"
	Start   Kind = "start"
	Log     Kind = "log"
)

// ParseKind reads the last part of a ping's address: "" or "0" is success, "start",
// "fail" and "log" are themselves, and an exit status from 1 to 255 is fail.
func ParseKind(s string) (kind Kind, exit int, ok bool) {
	switch s {
	case "":
		return Success, 0, true
	case "start", "fail", "log":
		return Kind(s), 0, true
	}
	if strings.TrimLeft(s, "0123456789") != "" || len(s) > 3 {
		return "", 0, false
	}
	exit, err := strconv.Atoi(s)
	switch {
	case err != nil || exit > 255:
		return "", 0, false
	case exit == 0:
		return Success, 0, true
	}
	return Fail, exit, true
}

// Ping is one thing that was heard.
type Ping struct {
	At   time.Time     `json:"at"`
	Kind Kind          `json:"kind"`
	Exit int           `json:"exit_status,omitempty"`
	Run  string        `json:"run,omitempty"`  // the id that ties a start to its end
	Via  string        `json:"via,omitempty"`  // GET, HEAD, POST or alert
	Size int64         `json:"size,omitempty"` // bytes of its body, of which the first ones are kept
	Took time.Duration `json:"took,omitempty"` // since the start of its run
}

// kept is how many pings a record remembers.
const kept = 10

// Record is what was heard of one heartbeat, and what was made of it.
type Record struct {
	Since   time.Time     `json:"since"` // when it was first configured
	Success time.Time     `json:"success,omitzero"`
	Fail    time.Time     `json:"fail,omitzero"`
	Failed  bool          `json:"failed,omitempty"`      // the last run that ended did so badly
	Exit    int           `json:"exit_status,omitempty"` // of the last fail
	Start   time.Time     `json:"start,omitzero"`        // of the run that has not ended; zero: none
	Run     string        `json:"run,omitempty"`         // of that start
	Took    time.Duration `json:"took,omitempty"`        // how long the last run took
	Pings   []Ping        `json:"pings,omitempty"`       // the last ones, newest first

	// Excused is since when somebody listens again, if it went overdue while
	// nobody did.
	Excused time.Time `json:"excused,omitzero"`
	// Raised are the labels of the alert that was raised, and Until is how long it
	// holds.
	Raised watchbill.Labels `json:"raised,omitempty"`
	Until  time.Time        `json:"until,omitzero"`
}

// After returns the record with a ping added. A ping that is older than what is
// known changes nothing but the list.
func (r Record) After(p Ping) Record {
	end := p.Kind == Success || p.Kind == Fail
	if end && !r.Start.IsZero() && r.Run == p.Run && !p.At.Before(r.Start) {
		p.Took = p.At.Sub(r.Start)
		r.Took, r.Start, r.Run = p.Took, time.Time{}, ""
	}
	switch {
	case end && p.At.Before(latest(r.Success, r.Fail)):
	case p.Kind == Success:
		r.Success, r.Failed, r.Excused = p.At, false, time.Time{}
	case p.Kind == Fail:
		r.Fail, r.Failed, r.Exit = p.At, true, p.Exit
	case p.Kind == Start && p.At.After(r.Start):
		r.Start, r.Run = p.At, p.Run
	}
	r.Pings = append([]Ping{p}, r.Pings[:min(len(r.Pings), kept-1)]...)
	return r
}

// Seen returns when anything was last heard; the zero time if nothing was.
func (r Record) Seen() time.Time {
	if len(r.Pings) == 0 {
		return time.Time{}
	}
	return r.Pings[0].At
}

// State is how a heartbeat is.
type State string

// The states of a heartbeat.
const (
	StateNew        State = "new"
	StateUp         State = "up"
	StateStarted    State = "started"
	StateLate       State = "late"
	StateDown       State = "down"
	StateNever      State = "never"
	StateUnfinished State = "unfinished"
	StateFailed     State = "failed"
)

// States returns every state.
func States() []State {
	return []State{StateNew, StateUp, StateStarted, StateLate, StateDown, StateNever, StateUnfinished, StateFailed}
}

// Bad reports whether the state is an alert.
func (s State) Bad() bool {
	return s == StateDown || s == StateNever || s == StateUnfinished || s == StateFailed
}

// Verdict is what is thought of a heartbeat at an instant.
type Verdict struct {
	State State
	Since time.Time // when it came into this state
	Due   time.Time // when the next success is expected
	Limit time.Time // when its absence becomes an alert
	// Look is when the verdict changes if nothing is heard; zero: never.
	Look time.Time
}

// Decide returns the state of a heartbeat at an instant. It is pure.
//
// A success is due one period after the last one, or at the first time of the
// schedule after it; before any, it counts from when the heartbeat was configured.
// It may be late by the grace, and a run that started may take the grace.
func Decide(h Heartbeat, r Record, now time.Time) Verdict {
	base := r.Success
	if base.IsZero() {
		base = r.Since
	}
	v := Verdict{Due: base.Add(h.Period)}
	if h.Cron != nil {
		v.Due = h.Cron.Next(base)
	}
	v.Due = v.Due.UTC()
	v.Limit = v.Due.Add(h.Grace)
	running := r.Start.After(r.Success) && r.Start.After(r.Fail)
	unfinished := r.Start.Add(h.Grace)
	if !r.Excused.IsZero() {
		heard := r.Excused.Add(min(h.Grace, maxExcuse))
		v.Limit, unfinished = latest(v.Limit, heard), latest(unfinished, heard)
	}
	switch {
	case r.Failed:
		v.State, v.Since = StateFailed, r.Fail
	case running && unfinished.Before(v.Limit) && !now.Before(unfinished):
		v.State, v.Since = StateUnfinished, unfinished
	case !now.Before(v.Limit) && r.Success.IsZero():
		v.State, v.Since = StateNever, v.Limit
	case !now.Before(v.Limit):
		v.State, v.Since = StateDown, v.Limit
	case running:
		v.State, v.Since, v.Look = StateStarted, r.Start, earliest(unfinished, v.Limit)
	case !now.Before(v.Due):
		v.State, v.Since, v.Look = StateLate, v.Due, v.Limit
	case r.Success.IsZero():
		v.State, v.Since, v.Look = StateNew, r.Since, v.Due
	default:
		v.State, v.Since, v.Look = StateUp, r.Success, v.Due
	}
	return v
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// Excuse returns the record for somebody who listens since an instant, and was
// away before. What went overdue meanwhile is excused: its pings could not arrive,
// so it has its grace again, at most ten minutes, before it is an alert. What is
// excused already keeps its instant, so that being away again and again puts
// nothing off.
func Excuse(h Heartbeat, r Record, since time.Time) (_ Record, changed bool) {
	v := Decide(h, r, since)
	if len(r.Raised) > 0 || !r.Excused.IsZero() || !v.State.Bad() || v.State == StateFailed {
		return r, false
	}
	r.Excused = since
	return r, true
}

// Alert returns the alert of a bad state, without an end. evidence is what the last
// ping carried.
func Alert(h Heartbeat, r Record, v Verdict, evidence []byte) watchbill.Alert {
	l := watchbill.Labels{"heartbeat": h.Name, "severity": h.Severity}
	maps.Copy(l, h.Labels)
	last := "nothing was heard of it since it was configured at " + stamp(r.Since)
	if !r.Success.IsZero() {
		last = "its last success was at " + stamp(r.Success)
	}
	a := watchbill.Labels{"value": last}
	switch v.State { //nolint:exhaustive // the bad ones; those that are well have no alert
	case StateFailed:
		l["alertname"] = "HeartbeatFailed"
		a["summary"] = h.Name + " failed"
		if r.Exit != 0 {
			a["summary"] += fmt.Sprintf(" with exit status %d", r.Exit)
		}
		if text := excerpt(evidence); text != "" {
			a["description"] = text
			a["value"] += "; its output ended:\n" + text
		}
	case StateUnfinished:
		l["alertname"] = "HeartbeatUnfinished"
		a["summary"] = fmt.Sprintf("%s started at %s and did not end within %s", h.Name, stamp(r.Start), model.Duration(h.Grace))
	case StateNever:
		l["alertname"] = "HeartbeatNever"
		a["summary"] = fmt.Sprintf("%s was never heard of; it was due at %s", h.Name, stamp(v.Due))
	default:
		l["alertname"] = "HeartbeatDown"
		a["summary"] = fmt.Sprintf("%s is silent; it was due at %s", h.Name, stamp(v.Due))
	}
	return watchbill.Alert{Labels: l, Annotations: a, StartsAt: v.Since}
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// excerpt is the end of a body, where the error mostly stands: at most three
// lines and 400 bytes of printable text.
func excerpt(body []byte) string {
	text := strings.Map(func(r rune) rune {
		if r == '\n' || r >= ' ' && r != 0x7f && r != '\uFFFD' {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(string(body), " "))
	lines := strings.Split(strings.TrimSpace(text), "\n")
	text = strings.Join(lines[max(0, len(lines)-3):], "\n")
	if len(text) > 400 {
		text = "…" + strings.ToValidUTF8(text[len(text)-400:], "")
	}
	return text
}
