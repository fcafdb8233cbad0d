package daemon

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"watchbill"
	"watchbill/escalation"
	"watchbill/incident"
	"watchbill/incident/change"
	"watchbill/intake"
	"watchbill/internal/config"
	"watchbill/internal/notify"
	"watchbill/internal/watchdog"
	"watchbill/router"
	"watchbill/runbooks"
	"watchbill/targets"
)

// rooms is one configuration in force: what decides, without anything that
// runs. A reload replaces it whole. Explain and the live path both work on it.
type rooms struct {
	hooks       []intake.Source
	matrix      watchbill.Matrix
	people      map[watchbill.PersonID]watchbill.Person
	configured  map[watchbill.PersonID][]watchbill.Contact // without what they added themselves
	externalURL string
	router      *router.Router
	life        *incident.Life
	changes     *change.Control
	planner     *escalation.Planner
	runbooks    *runbooks.Library
	notifier    *notify.Notifier
	targets     targets.Config
	services    []watchbill.Service
	line        func(path string) string // where something stands in the configuration
	coverage    config.Coverage
	cover       []config.RunbookCover

	auditURL       watchdog.Secret
	keepIncidents  time.Duration
	pagesPerMinute int // to one person, before they are bundled
}

// opening is what a new incident of an alert starts with, under a verdict.
func (r *rooms) opening(a watchbill.Alert, v router.Verdict) incident.Opening {
	o := incident.Opening{
		Key: v.Key, Alert: a, Service: v.Service, Environment: v.Environment,
		Activity: v.Activity, Severity: v.Severity, Path: r.planner.PathFor(v.Activity, watchbill.Place{Service: v.Service, Environment: v.Environment}),
		Why: fmt.Sprintf("%s because %s; %s because %s", v.Activity, v.ActivityReason, v.Severity, v.SeverityReason),
	}
	if v.RowReason != "" {
		o.Why += "; the roles are those of " + v.RowReason
	}
	if book, ok := r.runbooks.Find(a.Labels, a.Annotations, v.Activity); ok {
		o.Runbook = book.Name
		if o.Runbook == "" {
			o.Runbook = book.URL
		}
	}
	return o
}

// firing is one firing of a step of an incident's path.
type firing struct {
	n       int
	step    watchbill.PathStep
	due     time.Time // when it pages
	wait    string    // why that is later than planned
	ok      bool      // false: it never pages
	next    time.Time // when the next step is planned
	alerts  int       // firing alerts of the incident
	also    []watchbill.Duty
	told    []watchbill.PersonID // paged earlier in this generation
	because string               // why, for a page beside the path
	passed  []string             // the steps before it that do not apply, and why
	// waits are the pages of earlier steps that wait for their people's quiet hours to
	// end, by person and method, and until when.
	waits map[[2]string]time.Time
}

// waiting reports whether a page to somebody waits already, at least until then.
func (s firing) waiting(p watchbill.PersonID, m notify.Method) bool {
	return m.Quiet && !s.waits[[2]string{string(p), m.Receiver}].Before(m.At)
}

// plan says when step n, planned for an instant, pages, and when the next one
// is planned. It is pure.
func (r *rooms) plan(inc watchbill.Incident, n int, planned time.Time) firing {
	first := n == 0
	var passed []string
	for {
		s := firing{n: n, alerts: 1, passed: passed}
		var here, there time.Duration
		s.step, here = inc.Path.Step(n)
		_, there = inc.Path.Step(n + 1)
		s.due, s.wait, s.ok = r.planner.StepDue(inc.Severity, s.step, planned)
		if inc.Escalated != "" { // a person wants it now, whatever the severity
			s.due, s.wait, s.ok = planned, "", true
		}
		s.due = s.due.UTC()
		s.next = s.due.Add(there - here)
		why := s.step.When.Fails(inc.Severity, s.due)
		if !s.ok || why == "" || n >= inc.Path.Len() {
			return s
		}
		passed = append(passed, fmt.Sprintf("step %d (%s) is passed over: %s", n, s.step.Reason, why))
		// Nobody has been paged yet: the first step that applies does it at once.
		if !first {
			planned = planned.Add(there - here)
		}
		n++
	}
}

// decided is one page with why it goes to this person by this method.
type decided struct {
	watchbill.Page
	duty   watchbill.Duty
	method notify.Method
}

// compose returns the pages of a firing, person by person. It is pure: the same
// incident, instant and configuration give the same pages, live and in explain.
func (r *rooms) compose(inc watchbill.Incident, s firing) []decided {
	var pages []decided
	duties := r.awaited(inc, r.planner.StepTargets(s.step, s.due))
	for _, d := range s.also {
		if !slices.ContainsFunc(duties, func(x watchbill.Duty) bool { return x.Person == d.Person }) {
			duties = append(duties, d)
		}
	}
	next, _ := inc.Path.Step(s.n + 1)
	nextPeople := r.planner.StepTargets(next, s.next)
	for _, d := range duties {
		person := r.people[d.Person]
		content := r.content(inc, s, d)
		content.Next = fmt.Sprintf("%s at %s", r.names(nextPeople), clock(s.next, person.Zone(), s.next.Sub(s.due) < 2*time.Minute))
		content.AlsoTold = r.also(d.Person, duties, s.told)
		for _, m := range r.methods(d.Person, inc.Severity, s.due) {
			if s.waiting(d.Person, m) {
				continue
			}
			content := content
			address(&content, m)
			pages = append(pages, decided{duty: d, method: m, Page: watchbill.Page{
				Incident: inc.ID, Generation: inc.Generation, Step: s.n, Person: d.Person, Role: d.Role,
				Method: m.Receiver, Due: m.At, Content: content,
			}})
		}
	}
	return pages
}

// awaited are those of a step who have not acknowledged yet. If all have, the
// step pages them nevertheless: more people are wanted than it has.
func (r *rooms) awaited(inc watchbill.Incident, duties []watchbill.Duty) []watchbill.Duty {
	rest := slices.DeleteFunc(slices.Clone(duties), func(d watchbill.Duty) bool { return slices.Contains(inc.Acks, d.Person) })
	if len(rest) == 0 {
		return duties
	}
	return rest
}

// methods are the ways to reach a person, or a receiver that is paged by itself.
func (r *rooms) methods(id watchbill.PersonID, sev watchbill.Severity, at time.Time) []notify.Method {
	if name, ok := id.Receiver(); ok {
		return []notify.Method{{Receiver: name, At: at, Reason: "the step names this receiver", Contact: -1}}
	}
	return r.notifier.Methods(r.people[id], sev, at)
}

// summary says in one line who is paged, by which methods and why.
func summary(pages []decided) string {
	var lines []string
	for i, p := range pages {
		if i > 0 && pages[i-1].Person == p.Person {
			continue
		}
		var via []string
		for _, x := range pages[i:] {
			if x.Person == p.Person {
				via = append(via, x.Method)
			}
		}
		lines = append(lines, fmt.Sprintf("%s by %s (%s)", p.Person, strings.Join(via, ", "), p.duty.Reason))
	}
	return strings.Join(lines, "; ")
}

// clock writes an instant for a reader: their own time, then UTC. Seconds are
// shown when it is so soon that they matter.
func clock(t time.Time, zone *time.Location, soon bool) string {
	form := "15:04"
	if soon {
		form = "15:04:05"
	}
	if zone == time.UTC {
		return t.UTC().Format(form + " UTC")
	}
	return t.In(zone).Format(form+" MST") + " (" + t.UTC().Format(form+" UTC") + ")"
}

func (r *rooms) names(duties []watchbill.Duty) string {
	duties = slices.DeleteFunc(slices.Clone(duties), func(d watchbill.Duty) bool { return d.Copy })
	s := make([]string, len(duties))
	for i, d := range duties {
		if s[i] = fmt.Sprintf("%s (%s)", d.Person, d.Role); d.Role == "" {
			s[i] = string(d.Person)
		}
	}
	return strings.Join(s, ", ")
}

func (r *rooms) also(to watchbill.PersonID, targets []watchbill.Duty, told []watchbill.PersonID) string {
	var names []string
	add := func(id watchbill.PersonID) {
		if id != to && !slices.Contains(names, string(id)) {
			names = append(names, string(id))
		}
	}
	for _, id := range told {
		add(id)
	}
	for _, d := range targets {
		add(d.Person)
	}
	return strings.Join(names, ", ")
}

// content is what one person reads.
func (r *rooms) content(inc watchbill.Incident, s firing, d watchbill.Duty) watchbill.PageContent {
	person := r.people[d.Person]
	if name, ok := d.Person.Receiver(); ok {
		person.Name = name
	}
	ann := inc.Annotations
	c := watchbill.PageContent{
		Severity: inc.Severity, Service: inc.Service, Environment: inc.Environment,
		Title: inc.Title, Impact: ann["impact"], Since: inc.OpenedAt, Evidence: evidence(ann, inc.Title),
		EvidenceURL: ann["dashboard_url"], FirstAction: ann["first_action"],
		Changes: "no release is recorded",
		Why:     whyYou(d, s.step),
		Actions: []watchbill.Action{
			{Name: "Acknowledge", How: fmt.Sprintf("watchbill incident ack %s", inc.ID)},
			{Name: "Look", How: fmt.Sprintf("watchbill incident show %s", inc.ID)},
		},
		Incident: inc.ID, At: s.due, LocalAt: s.due.In(person.Zone()).Format("Mon 15:04 MST"),
		Reason: reason(inc, s), To: d.Person, ToName: person.Name, ToEmail: person.Email, Labels: inc.Labels,
	}
	if r.externalURL != "" && inc.ID != 0 {
		c.URL = r.externalURL + "/i/" + inc.ID.String()
	}
	if s.alerts > 1 {
		c.Related = fmt.Sprintf("%d alerts are firing in this incident", s.alerts)
	}
	if d.Copy {
		asCopy(&c, d)
	}
	book, ok := r.runbooks.Find(inc.Labels, inc.Annotations, inc.Activity)
	if !ok {
		return c
	}
	c.Runbook, c.RunbookURL, c.QuickReference = book.Title, book.URL, book.QuickReference
	if strings.HasPrefix(book.URL, "/") {
		c.RunbookURL = r.externalURL + book.URL
	}
	c.RunbookState = runbooks.State(book, s.due)
	if c.FirstAction == "" {
		c.FirstAction = book.FirstAction
	}
	return c
}

// asCopy marks what a trainee reads: nothing is asked of them.
func asCopy(c *watchbill.PageContent, d watchbill.Duty) {
	c.Copy, c.Title = true, "Copy: "+c.Title
	c.Why = fmt.Sprintf("you get a copy as a trainee for %s, and nothing is expected of you: %s", d.Role, d.Reason)
	c.Actions = slices.DeleteFunc(c.Actions, func(a watchbill.Action) bool { return a.Name == "Acknowledge" })
}

// whyYou says why a duty pages this reader.
func whyYou(d watchbill.Duty, step watchbill.PathStep) string {
	as := "you are paged"
	if d.Role != "" {
		as += " as " + string(d.Role)
	}
	why := d.Reason
	if step.Reason != "" {
		why += " (" + step.Reason + ")"
	}
	return as + ": " + why
}

// reason says why a page is sent, in the words of the page.
func reason(inc watchbill.Incident, s firing) string {
	switch {
	case s.because != "":
		return s.because
	case inc.Escalated != "":
		return inc.Escalated
	case s.n == 0:
		return inc.PageReason
	}
	_, after := inc.Path.Step(s.n)
	why := fmt.Sprintf("escalated: not acknowledged in %s", short(after))
	if inc.Generation > 1 {
		why += "; " + inc.PageReason
	}
	return why
}

// short writes a duration as people do: 5m, 1h30m.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// evidence is the value, the target and the window that the alert states, else
// its description.
func evidence(ann watchbill.Labels, title string) string {
	var parts []string
	if v := ann["value"]; v != "" {
		parts = append(parts, v)
	}
	if v := ann["target"]; v != "" {
		parts = append(parts, "target "+v)
	}
	if v := ann["window"]; v != "" && !strings.Contains(ann["target"], v) {
		parts = append(parts, v)
	}
	if len(parts) == 0 && ann["description"] != title {
		return ann["description"]
	}
	return strings.Join(parts, ", ")
}
