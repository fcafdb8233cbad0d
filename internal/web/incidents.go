package web

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"watchbill"
)

// IncidentView is an incident with everything that belongs to it.
type IncidentView struct {
	Incident watchbill.Incident `json:"incident"`
	Alerts   []watchbill.Alert  `json:"alerts"`
	Timeline []watchbill.Event  `json:"timeline"`
	Pages    []PageView         `json:"pages"`
	Next     []NextView         `json:"next"`
}

// PageView is a page and what became of it.
type PageView struct {
	Key      string         `json:"key"`
	Page     watchbill.Page `json:"page"`
	State    string         `json:"state"`    // pending, delivered or dropped
	Attempts int            `json:"attempts"` // made so far
	Known    PageKnown      `json:"known"`
}

// PageKnown is what is known of a page, each with when it first was. They are
// different things: a message that a provider accepted need not be on a phone, and
// one that is on a phone was not read by that.
type PageKnown struct {
	Attempted    time.Time `json:"attempted,omitzero"`    // somebody tried to send it
	Accepted     time.Time `json:"accepted,omitzero"`     // its receiver took it
	Delivered    time.Time `json:"delivered,omitzero"`    // the provider says that it arrived
	Failed       time.Time `json:"failed,omitzero"`       // the provider says that it did not
	Failure      string    `json:"failure,omitempty"`     // and why
	Opened       time.Time `json:"opened,omitzero"`       // its link was opened
	Acknowledged time.Time `json:"acknowledged,omitzero"` // its code was used
}

// beyondAccepted reports whether more is known than what the receiver answered.
func (k PageKnown) beyondAccepted() bool {
	return !k.Delivered.IsZero() || !k.Failed.IsZero() || !k.Opened.IsZero() || !k.Acknowledged.IsZero()
}

// Text says it in words, in the order in which it happens.
func (k PageKnown) Text() string {
	var b strings.Builder
	for _, x := range []struct {
		what string
		at   time.Time
	}{
		{"attempted", k.Attempted},
		{"accepted", k.Accepted},
		{"delivered", k.Delivered},
		{"not delivered", k.Failed},
		{"opened", k.Opened},
		{"acknowledged", k.Acknowledged},
	} {
		if x.at.IsZero() {
			continue
		}
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s %s", x.what, x.at.UTC().Format("15:04:05"))
	}
	return b.String()
}

// NextView is what happens next if nobody acts.
type NextView struct {
	What string    `json:"what"` // step, ack, quiet or close
	Step int       `json:"step"`
	At   time.Time `json:"at"`
}

// AckRequest is the body of an acknowledgement.
type AckRequest struct {
	Note string `json:"note,omitempty"`
}

// NoteRequest is the body of a note.
type NoteRequest struct {
	Text string `json:"text"`
}

// ResolveRequest is the body of a resolve. Alerts that still fire are held
// quiet until QuietUntil, or for the configured time when it is zero.
type ResolveRequest struct {
	Reason     string    `json:"reason"`
	QuietUntil time.Time `json:"quiet_until,omitzero"`

	Cause   string            `json:"cause,omitempty"` // of the closing proof, if it is known by now
	Verdict watchbill.Verdict `json:"verdict,omitempty"`
}

// maxList is how many incidents one answer lists at most.
const maxList = 1000

// maxText bounds what a person writes in one go, in bytes.
const maxText = 16 << 10

func (s *Server) listIncidents(w http.ResponseWriter, c call) error {
	limit := 100
	if v := c.FormValue("limit"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > maxList {
			return watchbill.Invalidf(fmt.Sprintf("use 1 to %d", maxList), "limit: %q is not a count", v)
		}
		limit = n
	}
	state := c.FormValue("state")
	switch watchbill.State(state) {
	case "", "live", watchbill.StateOpen, watchbill.StateAcknowledged, watchbill.StateResolved, watchbill.StateClosed:
	default:
		return watchbill.Invalidf("use live, open, acknowledged, resolved or closed", "state: %q is not a state", state)
	}
	all, err := s.o.Incidents.List(c.Context(), state, limit)
	if err != nil {
		return err
	}
	if all == nil {
		all = []watchbill.Incident{}
	}
	return reply(w, http.StatusOK, all)
}

func (s *Server) show(c call) (IncidentView, error) {
	id, err := watchbill.ParseIncidentID(c.PathValue("id"))
	if err != nil {
		return IncidentView{}, err
	}
	return s.o.Incidents.Show(c.Context(), id)
}

func (s *Server) showIncident(w http.ResponseWriter, c call) error {
	v, err := s.show(c)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, v)
}

func (s *Server) incidentText(w http.ResponseWriter, c call) error {
	v, err := s.show(c)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, err = io.WriteString(w, v.Text())
	return err
}

// Text is the incident as plain text: what it is, what is next, what happened.
func (v IncidentView) Text() string {
	inc := v.Incident
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s  %s %s/%s: %s\n", inc.ID, inc.State, inc.Severity, inc.Service, inc.Environment, inc.Title)
	fmt.Fprintf(&b, "activity %s, opened %s", inc.Activity, inc.OpenedAt.UTC().Format(time.RFC3339))
	if inc.Previous != 0 {
		fmt.Fprintf(&b, ", the last one was %s", inc.Previous)
	}
	b.WriteByte('\n')
	if inc.AcknowledgedBy != "" && inc.State == watchbill.StateAcknowledged {
		fmt.Fprintf(&b, "acknowledged by %s until %s\n", inc.AcknowledgedBy, inc.AckDeadline.UTC().Format(time.RFC3339))
	}
	if inc.Offered != "" {
		fmt.Fprintf(&b, "%s is asked to take it over\n", inc.Offered)
	}
	if inc.HeldBy != "" {
		fmt.Fprintf(&b, "held: %s\n", inc.HeldBy)
	}
	if p := inc.Proof; p != nil {
		fmt.Fprintf(&b, "cause: %s\nverdict: %s\n", cmp.Or(p.Cause, "not said"), cmp.Or(string(p.Verdict), "not said"))
	}
	if inc.Runbook != "" {
		fmt.Fprintf(&b, "runbook: %s\n", inc.Runbook)
	}
	for _, n := range v.Next {
		fmt.Fprintf(&b, "next: %s at %s\n", n.Describe(inc), n.At.UTC().Format(time.RFC3339))
	}
	b.WriteString(PlanText(inc.Plan))
	b.WriteString("\nTimeline\n")
	for _, e := range v.Timeline {
		fmt.Fprintf(&b, "  %s  %-16s %-10s %s\n", e.At.UTC().Format("2006-01-02 15:04:05"), e.Kind, e.Actor, e.Text)
	}
	return b.String()
}

// Describe says in words what happens next to an incident.
func (n NextView) Describe(inc watchbill.Incident) string {
	switch watchbill.TimerKind(n.What) {
	case watchbill.TimerStep:
		step, _ := inc.Path.Step(n.Step)
		if len(step.People) == 0 && len(step.Receivers) == 0 {
			return fmt.Sprintf("step %d pages %s", n.Step, watchbill.JoinRoles(step.Roles, ""))
		}
		return fmt.Sprintf("step %d pages %s", n.Step, step.Whom())
	case watchbill.TimerAck:
		return fmt.Sprintf("the acknowledgement by %s expires", inc.AcknowledgedBy)
	case watchbill.TimerQuiet:
		return "the quiet time ends"
	case watchbill.TimerClose:
		return "it closes"
	case watchbill.TimerDrill:
		return "the drill ends"
	case watchbill.TimerProof:
		return "somebody is reminded of the closing proof"
	case watchbill.TimerAction:
		return "somebody is reminded of an action item"
	case watchbill.TimerPlanStep:
		return "a step of the plan is overdue"
	case watchbill.TimerStatus, watchbill.TimerPlan:
		owed := map[string]string{string(watchbill.TimerStatus): "a status update", string(watchbill.TimerPlan): "a plan"}[n.What]
		if n.Step > 0 {
			return fmt.Sprintf("the path starts again unless %s records %s", inc.AcknowledgedBy, owed)
		}
		return fmt.Sprintf("%s is reminded of %s", inc.AcknowledgedBy, owed)
	}
	return n.What
}

// act reads a body, checks the caller's words and answers with the incident as
// it is afterwards.
func (s *Server) act(w http.ResponseWriter, c call, body any, do func(watchbill.IncidentID) (watchbill.Incident, error)) error {
	id, err := watchbill.ParseIncidentID(c.PathValue("id"))
	if err != nil {
		return err
	}
	if err := read(c, body); err != nil {
		return err
	}
	inc, err := do(id)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, inc)
}

func checkText(field, text string) error {
	if len(text) > maxText {
		return watchbill.Errorf(watchbill.CodeTooLarge, "shorten it, or attach a link", "%s: is over %d KB", field, maxText>>10)
	}
	return nil
}

func (s *Server) ackIncident(w http.ResponseWriter, c call) error {
	var body AckRequest
	return s.act(w, c, &body, func(id watchbill.IncidentID) (watchbill.Incident, error) {
		if err := checkText("note", body.Note); err != nil {
			return watchbill.Incident{}, err
		}
		return s.o.Acts.Acknowledge(c.Context(), id, c.actor(), body.Note)
	})
}

func (s *Server) noteIncident(w http.ResponseWriter, c call) error {
	var body NoteRequest
	return s.act(w, c, &body, func(id watchbill.IncidentID) (watchbill.Incident, error) {
		if err := checkText("text", body.Text); err != nil {
			return watchbill.Incident{}, err
		}
		return s.o.Acts.Note(c.Context(), id, c.actor(), body.Text)
	})
}

func (s *Server) resolveIncident(w http.ResponseWriter, c call) error {
	var body ResolveRequest
	return s.act(w, c, &body, func(id watchbill.IncidentID) (watchbill.Incident, error) {
		if err := checkText("reason", body.Reason); err != nil {
			return watchbill.Incident{}, err
		}
		if err := checkProof(body.Cause, "", body.Verdict); err != nil {
			return watchbill.Incident{}, err
		}
		if err := watchbill.CheckTime("quiet_until", body.QuietUntil); err != nil {
			return watchbill.Incident{}, err
		}
		return s.o.Acts.Resolve(c.Context(), id, c.actor(), body)
	})
}
