package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"watchbill"
	"watchbill/internal/config"
	"watchbill/internal/store"
	"watchbill/internal/web"
	"watchbill/router"
)

// Explanation says who would be paged for an alert at an instant, when and why.
type Explanation struct {
	At             time.Time            `json:"at"`
	Labels         watchbill.Labels     `json:"labels"`
	Firing         []watchbill.Labels   `json:"firing,omitempty"` // other alerts that were supposed to fire
	Service        string               `json:"service"`
	Environment    string               `json:"environment"`
	Activity       watchbill.ActivityID `json:"activity"`
	ActivityReason string               `json:"activity_reason"`
	Row            []ExplainedRole      `json:"row"`
	RowReason      string               `json:"row_reason,omitempty"` // the override that gives the row
	Severity       watchbill.Severity   `json:"severity"`
	SeverityReason string               `json:"severity_reason"`
	SeverityLine   string               `json:"severity_line"`
	Group          string               `json:"group"`
	Muted          []string             `json:"muted,omitempty"`  // what mutes it, in words
	Mutes          []watchbill.Weighed  `json:"mutes,omitempty"`  // the same with its kind and line
	Spared         []watchbill.Weighed  `json:"spared,omitempty"` // what was weighed and does not mute it, and why not
	Joins          string               `json:"joins,omitempty"`
	Path           string               `json:"path"`
	Runbook        string               `json:"runbook,omitempty"`
	Pages          []ExplainedPage      `json:"pages"`
	Passed         []string             `json:"passed,omitempty"` // steps that do not apply, and why
	Then           string               `json:"then"`
}

// ExplainedRole is one marked cell of the activity's row. Line is where the mark
// stands: in the configuration, or where it names the preset.
type ExplainedRole struct {
	Role watchbill.RoleID `json:"role"`
	Mark string           `json:"mark"`
	Line string           `json:"line"`
}

// ExplainedPage is one page that would be sent.
type ExplainedPage struct {
	At     time.Time          `json:"at"`
	Local  string             `json:"local"` // in the person's zone
	Step   int                `json:"step"`
	Person watchbill.PersonID `json:"person"`
	Role   watchbill.RoleID   `json:"role"`
	Method string             `json:"method"`
	Reason string             `json:"reason"`
	// Lines are where what decided it stands: when the step fires, who it pages, and
	// by what they are reached.
	Lines []string `json:"lines"`
}

// Explain answers under a configuration alone: no silence is in force, and what
// fires is what the question supposes.
func Explain(cfg *config.Config, q web.ExplainRequest) (Explanation, error) {
	r, err := build(cfg, Options{Terminal: io.Discard})
	if err != nil {
		return Explanation{}, err
	}
	x := r.explain(q, situation{now: q.At})
	r.crowded(&x, func(watchbill.PersonID) []time.Time { return nil })
	return x, nil
}

// Check builds everything that a configuration describes, without running or
// touching any of it. It returns what only building can find, such as a template
// that fails on a page.
func Check(cfg *config.Config) error {
	r, err := build(cfg, Options{Terminal: io.Discard})
	if err != nil {
		return err
	}
	return errors.Join(append(r.notifier.CheckTemplates(), r.uncovered())...)
}

// asked is an alert of a question. It goes on firing.
func asked(labels watchbill.Labels, at time.Time) watchbill.Alert {
	return watchbill.Alert{Labels: labels, StartsAt: at, EndsAt: at.AddDate(1, 0, 0)}
}

// situation is what is known beside the alert of a question.
type situation struct {
	now      time.Time
	silences *router.Silences
	active   []watchbill.Alert
	open     map[string]watchbill.Incident // not closed, by group key; of the keys that may matter
	flap     watchbill.Flap                // of the alert itself
}

// input is what a decision about an alert depends on.
func (s situation) input(r *rooms, a watchbill.Alert, weigh router.Weigh) router.Input {
	in := router.Input{Alert: a, Now: s.now, Silences: s.silences, Active: s.active, Weigh: weigh}
	in.Open = r.router.Behind(a, s.open)
	return in
}

// explain answers with what the store knows: silences, what fires, and the
// incidents that the alert would join or wait behind.
func (f *flow) explain(ctx context.Context, q web.ExplainRequest) (any, error) {
	r := f.rooms.Load()
	s := situation{now: q.At}
	err := f.store.View(ctx, func(tx *store.Tx) error {
		all, err := tx.Silences(q.At)
		if err != nil {
			return err
		}
		if s.silences, err = router.NewSilences(all); err != nil {
			return err
		}
		rows, err := tx.ActiveAlerts()
		if err != nil {
			return err
		}
		for _, row := range rows {
			s.active = append(s.active, row.Alert)
		}
		row, _, err := tx.Alert(q.Labels.Fingerprint())
		if err != nil {
			return err
		}
		s.flap = row.Flap
		s.open, err = r.openBeside(tx, q)
		return err
	})
	if err != nil {
		return nil, err
	}
	x := r.explain(q, s)
	r.crowded(&x, func(p watchbill.PersonID) []time.Time { return f.storm.lately(p, q.At) })
	return x, nil
}

// openBeside reads the incidents that the alerts of a question may join or wait
// behind.
func (r *rooms) openBeside(tx *store.Tx, q web.ExplainRequest) (map[string]watchbill.Incident, error) {
	open := map[string]watchbill.Incident{}
	for _, l := range append([]watchbill.Labels{q.Labels}, q.Firing...) {
		a := asked(l, q.At)
		for _, key := range append(r.router.Upstream(a), r.router.Decide(router.Input{Alert: a, Now: q.At}).Key) {
			inc, found, err := tx.IncidentByKey(key)
			if err != nil {
				return nil, err
			}
			if found {
				open[key] = inc
			}
		}
	}
	return open, nil
}

// explain walks the path as the live path does: the same Decide, life, plan and
// compose. It stops after the first repeat of the last step.
func (r *rooms) explain(q web.ExplainRequest, s situation) Explanation {
	for _, l := range q.Firing {
		s.active = append(s.active, asked(l, s.now))
	}
	s.open = r.supposed(q, s)
	a := asked(q.Labels, s.now)
	a.Flap = s.flap
	in := s.input(r, a, router.WeighAll)
	v := r.router.Decide(in)
	x := r.described(a, v)
	x.At, x.Firing = s.now, q.Firing
	inc := r.life.Open(s.now, r.opening(a, v)).Incident
	x.Path, x.Runbook = inc.Path.Name, inc.Runbook
	open, found := s.open[v.Key]
	if v.Muted() && !attaches(v, open) {
		x.Then = "nobody is paged while it is muted; what follows is for when the mute ends"
	}
	if found {
		at := fmt.Sprintf("%s, which is %s as %s: ", named(open), open.State, open.Severity)
		e := r.life.Join(s.now, open, a, v.Severity)
		flaps := r.flapsAgain(open, a, v.Severity, s.now)
		switch {
		case flaps:
			x.Joins = at + "the alert flaps, so those of the first step are not paged again"
		case !e.Page:
			x.Joins = at + "it joins without a page of its own"
		default:
			x.Joins = at + fmt.Sprintf("its path starts again (%s)", e.Incident.PageReason)
		}
		if flaps || !e.Page {
			x.Then = cmp.Or(x.Then, "see the incident for its next step")
			return x
		}
		inc = e.Incident
	}
	r.walk(in, inc, &x)
	return x
}

// described is what a verdict says, with the places in the configuration.
func (r *rooms) described(a watchbill.Alert, v router.Verdict) Explanation {
	x := Explanation{
		Labels: a.Labels, Service: v.Service, Environment: v.Environment,
		Activity: v.Activity, ActivityReason: v.ActivityReason, Severity: v.Severity, SeverityReason: v.SeverityReason,
		SeverityLine: r.at("severities." + a.Labels["severity"]),
		Group:        v.Key, Mutes: r.weighed(v.Mutes), Spared: r.spared(v), Pages: []ExplainedPage{},
	}
	x.RowReason = v.RowReason
	matrix := r.matrix.At(watchbill.Place{Service: v.Service, Environment: v.Environment})
	for _, role := range matrix.Roles {
		if m := matrix.Mark(v.Activity, role.ID); m != watchbill.NotMarked {
			line := r.at(fmt.Sprintf("matrix.%s.%s", v.Activity, role.ID))
			if line == builtIn {
				line = r.at("roles.preset")
			}
			x.Row = append(x.Row, ExplainedRole{role.ID, m.String(), cmp.Or(v.RowReason, line)})
		}
	}
	for _, m := range v.Mutes {
		x.Muted = append(x.Muted, m.Reason)
	}
	return x
}

// spared is what was weighed in vain, without the built-in rules that are about
// something else altogether.
func (r *rooms) spared(v router.Verdict) []watchbill.Weighed {
	return slices.DeleteFunc(r.weighed(v.Spared), func(w watchbill.Weighed) bool {
		return w.Line == builtIn && strings.Contains(w.Why, ": it is no target: ")
	})
}

// named says which incident it is: its number, or the alert that would have
// opened it.
func named(inc watchbill.Incident) string {
	if inc.ID != 0 {
		return inc.ID.String()
	}
	return "the incident of " + inc.Labels.String()
}

// supposed are the open incidents as they would be if the alerts of a question
// fired, one after the other.
func (r *rooms) supposed(q web.ExplainRequest, s situation) map[string]watchbill.Incident {
	s.open = maps.Clone(s.open)
	if s.open == nil {
		s.open = map[string]watchbill.Incident{}
	}
	for _, l := range q.Firing {
		a := asked(l, s.now)
		v := r.router.Decide(s.input(r, a, router.WeighNothing))
		if v.Muted() || l.Fingerprint() == q.Labels.Fingerprint() {
			continue
		}
		if inc, ok := s.open[v.Key]; ok {
			s.open[v.Key] = r.life.Join(s.now, inc, a, v.Severity).Incident
		} else {
			s.open[v.Key] = r.life.Open(s.now, r.opening(a, v)).Incident
		}
	}
	return s.open
}

// unheld puts a step off as the live path does, while something mutes the alert at
// the instant at which it is due: a time interval that begins after the incident
// opened, for instance. It reports false if that lasts for longer than a week.
func (r *rooms) unheld(in router.Input, inc watchbill.Incident, s firing) (firing, bool) {
	in.Weigh = router.WeighNothing
	for limit := s.due.Add(week); s.due.Before(limit); {
		in.Now = s.due
		v := r.router.Decide(in)
		if !v.Muted() {
			return s, true
		}
		wait := "held until then: " + v.MuteReason()
		s = r.plan(inc, s.n, recheckAt(v, s.due))
		s.wait = cmp.Or(s.wait, wait)
		if !s.ok {
			return s, true
		}
	}
	return s, false
}

func (r *rooms) walk(in router.Input, inc watchbill.Incident, x *Explanation) {
	at := in.Now
	var told []watchbill.PersonID
	waits := map[[2]string]time.Time{}
	for n := 0; n <= inc.Path.Len(); n++ {
		s := r.plan(inc, n, at)
		if !s.ok {
			x.Then = s.wait
			return
		}
		if len(x.Muted) == 0 {
			var ends bool
			if s, ends = r.unheld(in, inc, s); !ends || !s.ok {
				x.Then = s.wait
				return
			}
		}
		n, s.told, s.waits = s.n, told, waits
		x.Passed = append(x.Passed, s.passed...)
		for _, p := range r.compose(inc, s) {
			told = append(told, p.Person)
			if p.method.Quiet {
				waits[[2]string{string(p.Person), p.Method}] = p.Due
			}
			why := []string{s.step.Reason, p.duty.Reason, p.method.Reason}
			if s.wait != "" {
				why = append(why, s.wait)
			}
			x.Pages = append(x.Pages, ExplainedPage{
				At: p.Due, Local: p.Due.In(r.people[p.Person].Zone()).Format("Mon 15:04:05 MST"), Step: n,
				Person: p.Person, Role: p.Role, Method: p.Method, Reason: strings.Join(why, "; "),
				Lines: places([]string{r.stepLine(inc, n, s.step), r.ownerLine(inc, s.step), r.dutyLine(s.step, p.duty), r.methodLine(p)}),
			})
		}
		at = s.next
	}
	slices.SortStableFunc(x.Pages, func(a, b ExplainedPage) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Step, b.Step))
	})
	x.Then = cmp.Or(x.Then, fmt.Sprintf("the last step again every %s until somebody acknowledges or it resolves", short(inc.Path.Repeat)))
}

// stepLine is where it stands that step n of a path fires when it does.
func (r *rooms) stepLine(inc watchbill.Incident, n int, step watchbill.PathStep) string {
	if step.Line != "" {
		return step.Line
	}
	switch last := inc.Path.Len() - 1; {
	case n == 0:
		return r.rowLine(inc)
	case n == last:
		return r.at("escalation.everyone")
	case n > last:
		return r.at("escalation.repeat")
	case n == last-1:
		return r.at("escalation.manager")
	}
	return r.at("escalation.second")
}

// ownerLine is where a service names its owner, if a step pages somebody for that;
// else empty.
func (r *rooms) ownerLine(inc watchbill.Incident, step watchbill.PathStep) string {
	if step.Reason == "owns "+inc.Service {
		return r.at(fmt.Sprintf("services.%s.owner", inc.Service))
	}
	return ""
}

// rowLine is where the row of an incident's activity stands.
func (r *rooms) rowLine(inc watchbill.Incident) string {
	if o, ok := r.matrix.OverriddenBy(inc.Activity, watchbill.Place{Service: inc.Service, Environment: inc.Environment}); ok {
		return o.Line
	}
	if line := r.at("matrix." + string(inc.Activity)); line != builtIn {
		return line
	}
	return r.at("roles.preset")
}

// dutyLine is where it stands that a step pages this person: their roster, or
// the roles that they hold.
func (r *rooms) dutyLine(step watchbill.PathStep, d watchbill.Duty) string {
	if _, ok := d.Person.Receiver(); ok || d.Role == "" {
		return "" // the step itself names it
	}
	if d.Line != "" && !step.Everyone {
		return d.Line
	}
	return r.at(fmt.Sprintf("people.%s.roles", d.Person))
}

// methodLine is where it stands that a person is reached by a method.
func (r *rooms) methodLine(p decided) string {
	if name, ok := p.Person.Receiver(); ok {
		return r.at("receivers." + name)
	}
	if contacts := r.people[p.Person].Contact; p.method.Contact >= 0 && contacts[p.method.Contact].Own {
		return "watchbill contact list"
	}
	if p.method.Contact >= 0 {
		return r.at(fmt.Sprintf("people.%s.contact.%d", p.Person, p.method.Contact))
	}
	return r.at(fmt.Sprintf("people.%s", p.Person))
}

// Text is the explanation for a person.
func (x Explanation) Text() string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-12s %s\n", name, fmt.Sprintf(format, args...))
	}
	line("alert", "%s", x.Labels)
	for _, l := range x.Firing {
		line("beside", "%s", l)
	}
	line("at", "%s", x.At.UTC().Format(time.RFC3339))
	line("about", "service %s, environment %s", cmp.Or(x.Service, "(none)"), x.Environment)
	line("activity", "%s: %s", x.Activity, x.ActivityReason)
	roles := make([]string, len(x.Row))
	var rows []string
	for i, c := range x.Row {
		roles[i] = fmt.Sprintf("%s (%s)", c.Role, c.Mark)
		if !slices.Contains(rows, c.Line) {
			rows = append(rows, c.Line)
		}
	}
	line("roles", "%s", cmp.Or(strings.Join(roles, ", "), "none marked: the manager answers")+inBrackets(rows))
	if x.RowReason != "" {
		line("", "as overridden at %s", x.RowReason)
	}
	line("severity", "%s: %s [%s]", x.Severity, x.SeverityReason, x.SeverityLine)
	line("group", "%s", x.Group)
	for _, m := range x.Mutes {
		line("muted", "%s%s", m.Why, inBrackets([]string{m.Line}))
	}
	for _, m := range x.Spared {
		line("not muted", "%s%s", m.Why, inBrackets([]string{m.Line}))
	}
	if x.Joins != "" {
		line("joins", "%s", x.Joins)
	}
	if x.Runbook != "" {
		line("runbook", "%s", x.Runbook)
	}
	line("path", "%s", x.Path)
	if len(x.Pages) > 0 {
		b.WriteString("\nstep  UTC                   local time        person    role            method          why\n")
	}
	for _, p := range x.Pages {
		fmt.Fprintf(&b, "%4d  %s  %-16s  %-8s  %-14s  %-14s  %s%s\n",
			p.Step, p.At.UTC().Format(time.RFC3339), p.Local, p.Person, p.Role, p.Method, p.Reason, inBrackets(p.Lines))
	}
	for _, why := range x.Passed {
		fmt.Fprintf(&b, "%4s  %s\n", "-", why)
	}
	fmt.Fprintf(&b, "\nthen: %s\n", x.Then)
	return b.String()
}

// places are lines of a configuration, without those that name nothing and
// repetitions.
func places(lines []string) []string {
	return slices.Compact(slices.DeleteFunc(lines, func(l string) bool { return l == "" }))
}

// inBrackets writes places.
func inBrackets(lines []string) string {
	lines = places(slices.Clone(lines))
	if len(lines) == 0 {
		return ""
	}
	return " [" + strings.Join(lines, ", ") + "]"
}
