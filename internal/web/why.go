package web

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"watchbill"
)

// Why answers why somebody was paged or not, from what was kept when it was
// decided.
type Why interface {
	// WhyIncident says who was paged for an incident and why. With a person it also
	// says why that person was, or was not.
	WhyIncident(ctx context.Context, id watchbill.IncidentID, person watchbill.PersonID) (IncidentWhy, error)
	// WhyAlerts returns the decisions about alerts whose labels hold all of these,
	// those that fire first.
	WhyAlerts(ctx context.Context, labels watchbill.Labels) ([]AlertWhy, error)
}

// IncidentWhy is how an incident came to page whom it paged.
type IncidentWhy struct {
	Incident  watchbill.Incident `json:"incident"`
	Decisions []DecisionView     `json:"decisions"` // about its alerts, oldest first
	Course    []CourseView       `json:"course"`    // what it did about people, oldest first
	Person    *PersonWhy         `json:"person,omitempty"`
}

// DecisionView is a decision with the labels of its alert, if those are still
// known.
type DecisionView struct {
	watchbill.Decision
	Of watchbill.Labels `json:"of,omitempty"`
}

// CourseView is a step that fired, or something that kept one from it.
type CourseView struct {
	At     time.Time         `json:"at"`
	Kind   string            `json:"kind"` // of the event
	Text   string            `json:"text"`
	Firing *watchbill.Firing `json:"firing,omitempty"` // of a step that fired
}

// PersonWhy is the answer for one person.
type PersonWhy struct {
	Person watchbill.PersonID `json:"person"`
	Paged  bool               `json:"paged"`
	Pages  []PersonPage       `json:"pages,omitempty"`
	Why    []string           `json:"why"` // each a sentence
}

// PersonPage is one page to a person and what became of it.
type PersonPage struct {
	At     time.Time `json:"at"` // when it was due
	Step   int       `json:"step"`
	Method string    `json:"method"`
	State  string    `json:"state"` // pending, delivered, dropped or held
	Last   string    `json:"last,omitempty"`
	Known  PageKnown `json:"known"`
}

// AlertWhy is an alert with the decisions about it, newest first.
type AlertWhy struct {
	Alert     watchbill.Alert      `json:"alert"`
	Ended     bool                 `json:"ended"`
	Muted     string               `json:"muted,omitempty"` // what mutes it now
	Incident  watchbill.IncidentID `json:"incident,omitempty"`
	Decisions []watchbill.Decision `json:"decisions"`
}

func (s *Server) whyRoutes(read Need) []Route {
	return []Route{
		{"GET", "/api/ops/v1/incidents/{id}/why", read, "Why people were paged, and why others were not: ?person=ana; without, the caller", s.whyIncident},
		{"GET", "/api/ops/v1/alerts/why", read, "What was decided about alerts: ?label=name=value, more than once", s.whyAlerts},
	}
}

func (s *Server) whyIncident(w http.ResponseWriter, c call) error {
	id, err := watchbill.ParseIncidentID(c.PathValue("id"))
	if err != nil {
		return err
	}
	person := watchbill.PersonID(c.FormValue("person"))
	v, err := s.o.Why.WhyIncident(c.Context(), id, cmp.Or(person, c.id.Person.ID))
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, v)
}

func (s *Server) whyAlerts(w http.ResponseWriter, c call) error {
	labels := watchbill.Labels{}
	for _, pair := range c.URL.Query()["label"] {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return watchbill.Invalidf("write it as label=name=value", "label: %q names no value", pair)
		}
		labels[name] = value
	}
	if len(labels) == 0 {
		return watchbill.Invalidf("write label=alertname=DiskFull, for example", "label: there is none")
	}
	all, err := s.o.Why.WhyAlerts(c.Context(), labels)
	if err != nil {
		return err
	}
	if all == nil {
		all = []AlertWhy{}
	}
	return reply(w, http.StatusOK, all)
}

// WhyIncident asks why people were paged for an incident, and why a person was or
// was not; the caller if it is empty.
func (c *Client) WhyIncident(ctx context.Context, id watchbill.IncidentID, person watchbill.PersonID) (IncidentWhy, error) {
	var v IncidentWhy
	err := c.do(ctx, http.MethodGet, "/api/ops/v1/incidents/"+id.String()+"/why?"+url.Values{"person": {string(person)}}.Encode(), nil, &v)
	return v, err
}

// WhyAlerts asks what was decided about alerts that have all of these labels.
func (c *Client) WhyAlerts(ctx context.Context, labels watchbill.Labels) ([]AlertWhy, error) {
	q := url.Values{}
	for name, value := range labels {
		q.Add("label", name+"="+value)
	}
	var all []AlertWhy
	err := c.do(ctx, http.MethodGet, "/api/ops/v1/alerts/why?"+q.Encode(), nil, &all)
	return all, err
}

const whyTime = "2006-01-02 15:04:05"

// Text is the answer for a person to read, the person's own part first.
func (v IncidentWhy) Text() string {
	var b strings.Builder
	inc := v.Incident
	fmt.Fprintf(&b, "%s  %s  %s %s/%s: %s\n", inc.ID, inc.State, inc.Severity, inc.Service, inc.Environment, inc.Title)
	if p := v.Person; p != nil {
		verdict := "was not paged"
		if p.Paged {
			verdict = "was paged"
		}
		fmt.Fprintf(&b, "\n%s %s\n", p.Person, verdict)
		for _, g := range p.Pages {
			fmt.Fprintf(&b, "  %s  step %d by %s: %s\n", g.At.UTC().Format(whyTime), g.Step, g.Method, strings.TrimSuffix(g.State+", "+g.Last, ", "))
			if g.Known.beyondAccepted() {
				fmt.Fprintf(&b, "      %s\n", g.Known.Text())
			}
		}
		for _, why := range p.Why {
			fmt.Fprintf(&b, "  %s\n", why)
		}
	}
	b.WriteString("\nWhat was decided about its alerts\n")
	for _, d := range v.Decisions {
		b.WriteString(decisionText(d.Decision, d.Of))
	}
	b.WriteString("\nWhom it paged, and what kept it from that\n")
	for _, c := range v.Course {
		fmt.Fprintf(&b, "  %s  %s\n", c.At.UTC().Format(whyTime), c.Text)
	}
	return b.String()
}

// decisionText is one decision, a line for each reason.
func decisionText(d watchbill.Decision, of watchbill.Labels) string {
	var b strings.Builder
	name := string(d.Alert)
	if of != nil {
		name = of["alertname"] + " " + of.String()
	}
	fmt.Fprintf(&b, "  %s  %s: %s\n", d.At.UTC().Format(whyTime), rulingText(d), name)
	if d.Ruling == watchbill.RulingEnded {
		return b.String()
	}
	line := func(what, format string, args ...any) {
		fmt.Fprintf(&b, "      %-10s %s\n", what, fmt.Sprintf(format, args...))
	}
	line("activity", "%s: %s", d.Activity, d.ActivityWhy)
	line("roles", "%s", watchbill.JoinRoles(d.Roles, "none is marked: the manager"))
	line("severity", "%s: %s", d.Severity, d.SeverityWhy)
	line("group", "%s", d.Group)
	for _, m := range d.Mutes {
		line("muted", "%s", placed(m))
	}
	for _, m := range d.Spared {
		line("not muted", "%s", placed(m))
	}
	return b.String()
}

func placed(m watchbill.Weighed) string {
	if m.Line == "" {
		return m.Why
	}
	return m.Why + " [" + m.Line + "]"
}

func rulingText(d watchbill.Decision) string {
	switch d.Ruling {
	case watchbill.RulingOpened:
		return "opened " + d.Incident.String()
	case watchbill.RulingJoined:
		return "joined " + d.Incident.String()
	case watchbill.RulingMuted:
		return "muted, no incident"
	case watchbill.RulingEnded:
	}
	return "ended"
}

// Text is the alert and the decisions about it.
func (v AlertWhy) Text() string {
	var b strings.Builder
	state := "fires since " + v.Alert.StartsAt.UTC().Format(whyTime)
	if v.Ended {
		state = "ended " + v.Alert.EndsAt.UTC().Format(whyTime)
	}
	fmt.Fprintf(&b, "%s %s  %s", v.Alert.Name(), v.Alert.Labels, state)
	switch {
	case v.Incident != 0:
		fmt.Fprintf(&b, ", in %s\n", v.Incident)
	case v.Muted != "":
		fmt.Fprintf(&b, ", muted: %s\n", v.Muted)
	default:
		b.WriteString(", no incident\n")
	}
	for _, d := range v.Decisions {
		b.WriteString(decisionText(d, nil))
	}
	if len(v.Decisions) == 0 {
		b.WriteString("  nothing was kept of how it was decided: it began before that was\n")
	}
	return b.String()
}
