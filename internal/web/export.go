package web

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"watchbill"
)

// CloseRequest is the closing proof of an incident.
type CloseRequest struct {
	Cause   string            `json:"cause,omitempty"`
	Verdict watchbill.Verdict `json:"verdict,omitempty"`
	Signal  string            `json:"signal,omitempty"` // why it may be closed though its signal is not back for long
}

func checkProof(cause, signal string, v watchbill.Verdict) error {
	if err := checkText("cause", cause); err != nil {
		return err
	}
	if err := checkText("signal", signal); err != nil {
		return err
	}
	if v == "" {
		return nil
	}
	_, err := watchbill.ParseVerdict(string(v))
	return err
}

func (s *Server) closeIncident(w http.ResponseWriter, c call) error {
	var body CloseRequest
	return s.act(w, c, &body, func(id watchbill.IncidentID) (watchbill.Incident, error) {
		if err := checkProof(body.Cause, body.Signal, body.Verdict); err != nil {
			return watchbill.Incident{}, err
		}
		return s.o.Plans.CloseIncident(c.Context(), id, c.actor(), body)
	})
}

// CloseIncident closes an incident with its proof.
func (c *Client) CloseIncident(ctx context.Context, id watchbill.IncidentID, r CloseRequest) (watchbill.Incident, error) {
	return c.act(ctx, id, "close", r)
}

// IncidentExport is all that is known of an incident.
type IncidentExport struct {
	IncidentView
	Changes []ChangeView `json:"changes"`
}

// Export reads all that is known of an incident.
func (s *Server) export(c call) (x IncidentExport, err error) {
	if x.IncidentView, err = s.show(c); err != nil {
		return x, err
	}
	changes, err := s.o.Changes.Changes(c.Context(), ChangeQuery{Incident: x.Incident.ID, Limit: maxList})
	if err != nil {
		return x, err
	}
	slices.Reverse(changes)
	x.Changes = []ChangeView{}
	for _, change := range changes {
		v, err := s.o.Changes.Change(c.Context(), change.ID)
		if err != nil {
			return x, err
		}
		x.Changes = append(x.Changes, v)
	}
	return x, nil
}

func (s *Server) exportIncident(w http.ResponseWriter, c call) error {
	format := cmp.Or(c.FormValue("format"), "markdown")
	if format != "markdown" && format != "json" {
		return watchbill.Invalidf("use markdown or json", "format: %q is not a format", format)
	}
	x, err := s.export(c)
	if err != nil {
		return err
	}
	if format == "json" {
		return reply(w, http.StatusOK, x)
	}
	w.Header().Set("Content-Type", "text/markdown; charset=utf-8")
	_, err = io.WriteString(w, x.Markdown())
	return err
}

// Export returns all that is known of an incident.
func (c *Client) Export(ctx context.Context, id watchbill.IncidentID) (x IncidentExport, err error) {
	err = c.do(ctx, http.MethodGet, "/api/ops/v1/incidents/"+id.String()+"/export?format=json", nil, &x)
	return x, err
}

// mark makes text safe to stand in Markdown: on one line, with nothing that a
// renderer takes for a mark, a cell's end or HTML. It comes from alerts too.
func mark(s string) string {
	var b strings.Builder
	for _, r := range strings.Join(strings.Fields(s), " ") {
		if strings.ContainsRune("\\`*_[]<>|#~!&", r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

func when(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

// table writes rows below a heading; nothing when there are none.
func table(b *strings.Builder, title string, head []string, rows [][]string) {
	fmt.Fprintf(b, "\n## %s\n\n", title)
	if len(rows) == 0 {
		b.WriteString("None.\n")
		return
	}
	fmt.Fprintf(b, "| %s |\n|%s\n", strings.Join(head, " | "), strings.Repeat("---|", len(head)))
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = cmp.Or(mark(cell), "–")
		}
		fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
	}
}

// Markdown is the record of an incident for people to read. All times are in UTC.
func (x IncidentExport) Markdown() string {
	inc := x.Incident
	var b strings.Builder
	fmt.Fprintf(&b, "# %s: %s\n\n", inc.ID, mark(inc.Title))
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "- **%s:** %s\n", name, mark(value))
		}
	}
	line("State", string(inc.State))
	line("Severity", inc.Severity.String())
	line("Service", inc.Service+"/"+inc.Environment)
	line("Activity", string(inc.Activity))
	line("Impact", inc.Annotations["impact"])
	line("Opened", when(inc.OpenedAt))
	var taken time.Time // the first time: what the incident has is renewed by all that is recorded
	for _, e := range x.Timeline {
		if e.Kind == watchbill.EventAcknowledged && taken.IsZero() {
			taken = e.At
		}
	}
	for _, t := range []struct {
		name string
		at   time.Time
	}{{"Acknowledged", taken}, {"Resolved", inc.ResolvedAt}, {"Closed", inc.ClosedAt}} {
		if !t.at.IsZero() {
			line(t.name, fmt.Sprintf("%s, %s after it opened", when(t.at), t.at.Sub(inc.OpenedAt).Round(time.Second)))
		}
	}
	line("Runbook", inc.Runbook)
	if inc.Previous != 0 {
		line("The one before", inc.Previous.String())
	}
	b.WriteString("\n## Cause and verdict\n\n")
	if p := inc.Proof; p != nil {
		line("Cause", cmp.Or(p.Cause, "not said"))
		line("Verdict", cmp.Or(string(p.Verdict), "not said"))
		line("Closed before its signal was back for long", p.Signal)
		line("Said by", fmt.Sprintf("%s, %s", p.By, when(p.At)))
	} else {
		b.WriteString("Nobody said what caused it.\n")
	}
	x.tables(&b)
	return b.String()
}

func (x IncidentExport) tables(b *strings.Builder) {
	inc := x.Incident
	table(b, "People", []string{"Person", "Part"}, x.people())
	var rows [][]string
	for _, a := range x.Alerts {
		rows = append(rows, []string{a.Name(), a.Labels.String(), when(a.StartsAt), when(a.EndsAt)})
	}
	table(b, "Alerts", []string{"Alert", "Labels", "From", "To"}, rows)
	rows = nil
	for _, p := range x.Pages {
		rows = append(rows, []string{string(p.Page.Person), p.Page.Method, when(p.Page.Due), p.State, fmt.Sprint(p.Attempts), p.Known.Text()})
	}
	table(b, "Pages", []string{"Person", "Method", "Due", "State", "Attempts", "Known"}, rows)
	rows = nil
	for _, s := range inc.Plan {
		rows = append(rows, []string{fmt.Sprint(s.N), string(s.State), string(s.Kind), s.Text, stepNotes(s)})
	}
	table(b, "Plan", []string{"Step", "State", "Kind", "What", "Notes"}, rows)
	rows = nil
	for _, a := range inc.Actions {
		done := "no"
		if a.Done() {
			done = strings.TrimSuffix(fmt.Sprintf("by %s, %s: %s", a.DoneBy, when(a.DoneAt), a.Evidence), ": ")
		}
		rows = append(rows, []string{fmt.Sprint(a.N), string(a.Owner), when(a.Due), a.Text, done})
	}
	table(b, "Action items", []string{"Action", "Owner", "Due", "What", "Done"}, rows)
	rows = nil
	for _, v := range x.Changes {
		c := v.Change
		var approvals []string
		for _, a := range c.Approvals {
			approvals = append(approvals, fmt.Sprintf("%s %s", a.Person, when(a.At)))
		}
		people := fmt.Sprintf("asked by %s, approved by %s, performed by %s, witnessed by %s", c.Requester,
			cmp.Or(strings.Join(approvals, " and "), "nobody"), cmp.Or(string(c.Performer), "nobody"), cmp.Or(string(c.Witness), "nobody"))
		if g := c.BreakGlass; g != nil {
			people += fmt.Sprintf("; the glass was broken by %s: %s; review by %s: %s", g.Person, g.Reason, cmp.Or(string(g.ReviewedBy), "nobody yet"), g.Review)
		}
		rows = append(rows, []string{c.ID.String(), string(c.State), string(c.Content.Kind), c.Content.Title, people, c.Outcome, c.Hash})
	}
	table(b, "Changes", []string{"Change", "State", "Kind", "What", "People", "Outcome", "SHA-256"}, rows)
	rows = nil
	for _, e := range x.Timeline {
		rows = append(rows, []string{when(e.At), string(e.Kind), e.Actor, e.Text})
	}
	table(b, "Timeline", []string{"When", "What", "Who", "Text"}, rows)
	fmt.Fprintf(b, "\nThe timeline is a chain of %d hashed events; its head is `%s`.\n", inc.Seq, inc.Head)
}

// people says who took which part.
func (x IncidentExport) people() (rows [][]string) {
	parts := map[string][]string{}
	add := func(who, part string) {
		if who != "" && who != watchbill.ActorSelf && !slices.Contains(parts[who], part) {
			parts[who] = append(parts[who], part)
		}
	}
	inc := x.Incident
	for _, p := range x.Pages {
		add(string(p.Page.Person), "paged")
	}
	for _, e := range x.Timeline {
		switch e.Kind { //nolint:exhaustive // the rest took part
		case watchbill.EventAcknowledged, watchbill.EventResolved, watchbill.EventClosed:
			add(e.Actor, string(e.Kind)+" it")
		default:
			add(e.Actor, "took part")
		}
	}
	for part, who := range inc.Parts {
		add(string(who), string(part))
	}
	for _, s := range inc.Plan {
		add(string(s.Owner), "owns a step of the plan")
	}
	for _, p := range inc.Responders {
		add(string(p), "called to help")
	}
	for who, list := range parts {
		slices.Sort(list)
		rows = append(rows, []string{who, strings.Join(list, ", ")})
	}
	slices.SortFunc(rows, func(a, b []string) int { return strings.Compare(a[0], b[0]) })
	return rows
}
