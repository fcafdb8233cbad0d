package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"watchbill"
	"watchbill/internal/config"
	"watchbill/internal/store"
	"watchbill/router"
)

// Explanation says who would be paged for an alert at an instant, when and why.
type Explanation struct {
	At             time.Time            `json:"at"`
	Labels         watchbill.Labels     `json:"labels"`
	Service        string               `json:"service"`
	Environment    string               `json:"environment"`
	Activity       watchbill.ActivityID `json:"activity"`
	ActivityReason string               `json:"activity_reason"`
	Row            []ExplainedRole      `json:"row"`
	RowReason      string               `json:"row_reason,omitempty"` // the override that gives the row
	Severity       watchbill.Severity   `json:"severity"`
	SeverityReason string               `json:"severity_reason"`
	Group          string               `json:"group"`
	Muted          []string             `json:"muted,omitempty"`
	Joins          string               `json:"joins,omitempty"`
	Path           string               `json:"path"`
	Runbook        string               `json:"runbook,omitempty"`
	Pages          []ExplainedPage      `json:"pages"`
	Then           string               `json:"then"`
}

// ExplainedRole is one marked cell of the activity's row.
type ExplainedRole struct {
	Role watchbill.RoleID `json:"role"`
	Mark string           `json:"mark"`
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
}

// Explain answers for labels and an instant under a configuration alone: no
// silence is in force and no incident is open.
func Explain(cfg *config.Config, labels watchbill.Labels, at time.Time) (Explanation, error) {
	r, err := build(cfg, Options{Terminal: io.Discard})
	if err != nil {
		return Explanation{}, err
	}
	return r.explain(router.Input{Alert: asked(labels, at), Now: at}, nil), nil
}

// Check builds everything that a configuration describes, without running or
// touching any of it. It returns what only building can find, such as a template
// that fails on a page.
func Check(cfg *config.Config) error {
	r, err := build(cfg, Options{Terminal: io.Discard})
	if err != nil {
		return err
	}
	return errors.Join(r.notifier.CheckTemplates()...)
}

func asked(labels watchbill.Labels, at time.Time) watchbill.Alert {
	return watchbill.Alert{Labels: labels, StartsAt: at, EndsAt: at.Add(time.Hour)}
}

// explain answers with what the store knows: silences, what fires, and the
// incident that the alert would join.
func (f *flow) explain(ctx context.Context, labels watchbill.Labels, at time.Time) (any, error) {
	r := f.rooms.Load()
	in := router.Input{Alert: asked(labels, at), Now: at}
	var open *watchbill.Incident
	err := f.store.View(ctx, func(tx *store.Tx) error {
		all, err := tx.Silences(at)
		if err != nil {
			return err
		}
		if in.Silences, err = router.NewSilences(all); err != nil {
			return err
		}
		rows, err := tx.ActiveAlerts()
		if err != nil {
			return err
		}
		for _, row := range rows {
			in.Active = append(in.Active, row.Alert)
		}
		row, known, err := tx.Alert(in.Alert.Fingerprint())
		if err != nil {
			return err
		}
		if known {
			in.Alert.Flap = row.Flap
		}
		for _, key := range r.router.Upstream(in.Alert) {
			inc, found, err := tx.IncidentByKey(key)
			if err != nil {
				return err
			}
			if found && inc.State.Live() {
				in.Open = append(in.Open, inc)
			}
		}
		inc, found, err := tx.IncidentByKey(r.router.Decide(in).Key)
		if found {
			open = &inc
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return r.explain(in, open), nil
}

// explain walks the path as the live path does: the same Decide, opening, plan
// and compose. It stops after the first repeat of the last step.
func (r *rooms) explain(in router.Input, open *watchbill.Incident) Explanation {
	v := r.router.Decide(in)
	x := Explanation{
		At: in.Now, Labels: in.Alert.Labels, Service: v.Service, Environment: v.Environment,
		Activity: v.Activity, ActivityReason: v.ActivityReason, Severity: v.Severity, SeverityReason: v.SeverityReason,
		Group: v.Key, Pages: []ExplainedPage{},
	}
	x.RowReason = v.RowReason
	matrix := r.matrix.At(watchbill.Place{Service: v.Service, Environment: v.Environment})
	for _, role := range matrix.Roles {
		if m := matrix.Mark(v.Activity, role.ID); m != watchbill.NotMarked {
			x.Row = append(x.Row, ExplainedRole{role.ID, m.String()})
		}
	}
	for _, m := range v.Mutes {
		x.Muted = append(x.Muted, m.Reason)
	}
	inc := r.life.Open(in.Now, r.opening(in.Alert, v)).Incident
	x.Path, x.Runbook = inc.Path.Name, inc.Runbook
	if len(x.Muted) > 0 {
		x.Then = "nobody is paged while it is muted; what follows is for when the mute ends"
	}
	if open != nil && open.State.Live() && !v.Severity.HigherThan(open.Severity) {
		x.Joins = fmt.Sprintf("%s, which is %s as %s: it joins without a page of its own", open.ID, open.State, open.Severity)
		x.Then = "see the incident for its next step"
		return x
	}
	if open != nil && r.flapsAgain(*open, in.Alert, v.Severity, in.Now) {
		x.Joins = fmt.Sprintf("%s, which is %s as %s: the alert flaps, so those of the first step are not paged again", open.ID, open.State, open.Severity)
		x.Then = "see the incident for its next step"
		return x
	}
	if open != nil {
		x.Joins = fmt.Sprintf("%s, which is %s as %s: its path starts again", open.ID, open.State, open.Severity)
	}
	r.walk(in, inc, &x)
	return x
}

// unheld puts a step off as the live path does, while something mutes the alert at
// the instant at which it is due: a time interval that begins after the incident
// opened, for instance. It reports false if that lasts for longer than a week.
func (r *rooms) unheld(in router.Input, inc watchbill.Incident, s firing) (firing, bool) {
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
	for n := range len(inc.Path.Steps) + 1 {
		s := r.plan(inc, n, at)
		if !s.ok {
			x.Then = s.wait
			return
		}
		if len(x.Muted) == 0 {
			var ends bool
			if s, ends = r.unheld(in, inc, s); !ends {
				x.Then = s.wait
				return
			}
		}
		s.told = told
		for _, p := range r.compose(inc, s) {
			told = append(told, p.Person)
			why := []string{s.step.Reason, p.duty.Reason, p.method.Reason}
			if s.wait != "" {
				why = append(why, s.wait)
			}
			x.Pages = append(x.Pages, ExplainedPage{
				At: p.Due, Local: p.Due.In(r.people[p.Person].Zone()).Format("Mon 15:04:05 MST"), Step: n,
				Person: p.Person, Role: p.Role, Method: p.Method, Reason: strings.Join(why, "; "),
			})
		}
		at = s.next
	}
	slices.SortStableFunc(x.Pages, func(a, b ExplainedPage) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Step, b.Step))
	})
	x.Then = cmp.Or(x.Then, fmt.Sprintf("the last step again every %s until somebody acknowledges or it resolves", short(inc.Path.Repeat)))
}

// Text is the explanation for a person.
func (x Explanation) Text() string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-12s %s\n", name, fmt.Sprintf(format, args...))
	}
	line("alert", "%s", x.Labels)
	line("at", "%s", x.At.UTC().Format(time.RFC3339))
	line("about", "service %s, environment %s", cmp.Or(x.Service, "(none)"), x.Environment)
	line("activity", "%s: %s", x.Activity, x.ActivityReason)
	roles := make([]string, len(x.Row))
	for i, c := range x.Row {
		roles[i] = fmt.Sprintf("%s (%s)", c.Role, c.Mark)
	}
	line("roles", "%s", cmp.Or(strings.Join(roles, ", "), "none marked: the manager answers"))
	if x.RowReason != "" {
		line("", "as overridden at %s", x.RowReason)
	}
	line("severity", "%s: %s", x.Severity, x.SeverityReason)
	line("group", "%s", x.Group)
	for _, m := range x.Muted {
		line("muted", "%s", m)
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
		fmt.Fprintf(&b, "%4d  %s  %-16s  %-8s  %-14s  %-14s  %s\n",
			p.Step, p.At.UTC().Format(time.RFC3339), p.Local, p.Person, p.Role, p.Method, p.Reason)
	}
	fmt.Fprintf(&b, "\nthen: %s\n", x.Then)
	return b.String()
}
