// Package router decides, for an alert and an instant, which activity it
// belongs to, which roles are responsible, which incident it joins and what, if
// anything, mutes it.
//
// # One decision
//
// [Router.Decide] is a pure function. The live path, explain and the API ask
// the same question of the same code, so what explain says before is what
// happens later.
//
// # From an alert to roles
//
// The first rule of activities: whose matchers all match names the activity; an
// alert that no rule matches is first-line. The activity is a row of the
// responsibility matrix ([watchbill.Matrix]); its marked roles are responsible.
// Overrides of the matrix replace rows for some services and environments, and an
// [Exception] caps the severity or sets other hours there.
//
// The service is the label service, else sloth_service, else job. The
// environment is the label environment, else env, else the first environment of
// the service in the configuration, else "prod". The severity is the
// configuration's for the label severity, else sev3.
//
// # Muting
//
// Silences, inhibit rules and time intervals are Alertmanager's, with its
// meaning: a silence mutes what all of its matchers match; an inhibit rule mutes
// a target while a source fires whose values of the equal labels are the same,
// and an alert that matches both sides is not muted by another such; a rule's
// mute_time_intervals mute inside, its active_time_intervals outside. Maintenance
// mutes the alerts of its services and service targets while it runs. An alert of
// a service waits while an incident of one that it depends on is live, is of the
// same activity and environment and is no less severe. A muted
// alert opens no incident until the mute ends; its end is always recorded.
package router

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/alertmanager/inhibit"
	"github.com/prometheus/alertmanager/timeinterval"
	"github.com/prometheus/common/model"

	"watchbill"
)

// Router holds the configuration in the form in which it is asked. It is
// immutable and safe for concurrent use.
type Router struct {
	cfg        Config
	inhibit    []*inhibit.InhibitRule
	intervener *timeinterval.Intervener
	services   map[string]watchbill.Service
	upstream   map[string][]string // what a service depends on, through others too
}

// New makes a router of a configuration.
func New(cfg Config) (*Router, error) {
	if len(cfg.GroupBy) == 0 {
		cfg.GroupBy = []string{"service", "environment", "activity"}
	}
	if cfg.ResolveTimeout == 0 {
		cfg.ResolveTimeout = 5 * time.Minute
	}
	cfg.Flapping = cfg.Flapping.withDefaults()
	if cfg.BroadSilence == 0 {
		cfg.BroadSilence = 10
	}
	if cfg.SilenceReminder == 0 {
		cfg.SilenceReminder = 15 * time.Minute
	}
	r := &Router{cfg: cfg, intervener: timeinterval.NewIntervener(cfg.TimeIntervals), services: map[string]watchbill.Service{}}
	for _, rule := range cfg.InhibitRules {
		r.inhibit = append(r.inhibit, inhibit.NewInhibitRule(rule))
	}
	for _, s := range cfg.Services {
		r.services[s.Name] = s
	}
	r.upstream = upstream(cfg.Services)
	for _, rule := range cfg.Activities {
		if !cfg.Matrix.HasActivity(rule.Activity) {
			return nil, watchbill.Invalidf("name a row of the matrix", "%s: there is no activity %q", rule.Line, rule.Activity)
		}
		if err := r.haveIntervals(rule.Line, rule.MuteTimeIntervals, rule.ActiveTimeIntervals); err != nil {
			return nil, err
		}
	}
	for _, e := range cfg.Exceptions {
		if err := r.haveIntervals(e.Line, e.MuteTimeIntervals, e.ActiveTimeIntervals); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// haveIntervals returns an error if a time interval that is named at a place is
// not defined.
func (r *Router) haveIntervals(line string, names ...[]string) error {
	for _, name := range slices.Concat(names...) {
		if _, ok := r.cfg.TimeIntervals[name]; !ok {
			return watchbill.Invalidf("add it to time_intervals", "%s: there is no time interval %q", line, name)
		}
	}
	return nil
}

// ResolveTimeout is how long an alert that was pushed without an end fires
// after it was last pushed.
func (r *Router) ResolveTimeout() time.Duration { return r.cfg.ResolveTimeout }

// Input is what a decision depends on.
type Input struct {
	Alert    watchbill.Alert
	Now      time.Time
	Active   []watchbill.Alert // firing alerts, for inhibit rules; see NeedsActive
	Silences *Silences
	Open     []watchbill.Incident // live incidents that it may wait behind; see Upstream
	// Weigh asks for what does not mute the alert, too; see [Verdict.Spared].
	Weigh Weigh
}

// Verdict is a decision with its reasons.
type Verdict struct {
	Service        string
	Environment    string
	Activity       watchbill.ActivityID
	ActivityReason string
	Roles          []watchbill.RoleID // responsible, those paged first in front
	RowReason      string             // the place of the override that gives the row; empty: the matrix itself
	Severity       watchbill.Severity
	SeverityReason string
	Key            string // group key
	Mutes          []Mute // empty: it may page
	Spared         []Mute // what was weighed and does not mute it; Reason says why not
}

// Muted reports whether something mutes the alert.
func (v Verdict) Muted() bool { return len(v.Mutes) > 0 }

// OnlyInhibited reports whether inhibit rules or dependencies mute the alert and
// nothing else does.
func (v Verdict) OnlyInhibited() bool {
	return v.Muted() && !slices.ContainsFunc(v.Mutes, func(m Mute) bool { return m.Kind != MuteInhibited && m.Kind != MuteDependency })
}

// MuteReason says in one line what mutes the alert; empty if nothing does.
func (v Verdict) MuteReason() string {
	reasons := make([]string, len(v.Mutes))
	for i, m := range v.Mutes {
		reasons[i] = m.Reason
	}
	return strings.Join(reasons, "; ")
}

// MuteKind says what kind of thing mutes.
type MuteKind string

// The kinds of mute.
const (
	MuteSilence      MuteKind = "silence"
	MuteInhibited    MuteKind = "inhibited"
	MuteTimeInterval MuteKind = "time_interval"
	MuteMaintenance  MuteKind = "maintenance"
	MuteDependency   MuteKind = "dependency"
)

// Mute is one thing that mutes an alert. Until is when it ends by itself, zero
// when that is not known.
type Mute struct {
	Kind   MuteKind
	ID     string // the silence's id, the source's fingerprint, the name of the interval or of the maintenance, the incident
	Reason string
	Until  time.Time
	Path   string // where it stands in the configuration, as "maintenance.patching"; empty for a silence
}

// NeedsActive reports whether the decision about an alert depends on the other
// alerts that fire, so that callers need not gather them in vain.
func (r *Router) NeedsActive(a watchbill.Alert) bool {
	set := LabelSet(a.Labels)
	return slices.ContainsFunc(r.inhibit, func(rule *inhibit.InhibitRule) bool { return rule.TargetMatchers.Matches(set) })
}

// Alone reports whether the decision about an alert depends on nothing that
// happens meanwhile but the silences: neither on other alerts nor on incidents. It
// may then be decided before the transaction that stores it.
func (r *Router) Alone(a watchbill.Alert) bool { return !r.NeedsActive(a) && len(r.Upstream(a)) == 0 }

// Decide returns the verdict on an alert at an instant. It depends on nothing
// but its argument and the configuration.
func (r *Router) Decide(in Input) Verdict {
	set := LabelSet(in.Alert.Labels)
	v := Verdict{}
	v.Service, v.Environment = r.place(in.Alert.Labels)
	rule := r.classify(set, &v)
	r.row(&v)
	v.Severity, v.SeverityReason = r.severity(in.Alert.Labels)
	exception := r.exception(&v)
	v.Key = r.key(in.Alert.Labels, v)

	v.Mutes = append(v.Mutes, in.Silences.mutes(set, v.Activity, in.Now)...)
	v.Mutes = append(v.Mutes, r.inhibited(set, in)...)
	if rule != nil {
		v.Mutes = append(v.Mutes, r.intervals(rule.MuteTimeIntervals, rule.ActiveTimeIntervals, in.Now)...)
	}
	if exception != nil {
		v.Mutes = append(v.Mutes, r.intervals(exception.MuteTimeIntervals, exception.ActiveTimeIntervals, in.Now)...)
	}
	v.Mutes = append(v.Mutes, r.maintained(in, v)...)
	v.Mutes = append(v.Mutes, r.waits(in, v)...)
	if in.Weigh != WeighNothing {
		v.Spared = r.spared(set, in, v, rule, exception)
	}
	return v
}

func (r *Router) classify(set model.LabelSet, v *Verdict) *Rule {
	for i, rule := range r.cfg.Activities {
		if rule.Match.Matches(set) {
			v.Activity = rule.Activity
			v.ActivityReason = fmt.Sprintf("%s matches %s", rule.Line, matcherText(rule))
			return &r.cfg.Activities[i]
		}
	}
	v.Activity = watchbill.ActivityFirstLine
	v.ActivityReason = "no rule of activities: matches"
	return nil
}

func matcherText(rule Rule) string {
	s := make([]string, len(rule.Match))
	for i, m := range rule.Match {
		s[i] = m.String()
	}
	return strings.Join(s, ", ")
}

func (r *Router) place(l watchbill.Labels) (service, environment string) {
	service = firstOf(l, "service", "sloth_service", "job")
	environment = firstOf(l, "environment", "env")
	if environment != "" {
		return service, environment
	}
	if s, ok := r.services[service]; ok && len(s.Environments) > 0 {
		return service, s.Environments[0]
	}
	return service, "prod"
}

func firstOf(l watchbill.Labels, names ...string) string {
	for _, n := range names {
		if l[n] != "" {
			return l[n]
		}
	}
	return ""
}

// Severity returns the severity of an alert's labels.
func (r *Router) Severity(l watchbill.Labels) watchbill.Severity {
	v := Verdict{}
	v.Severity, v.SeverityReason = r.severity(l)
	if len(r.cfg.Exceptions) > 0 {
		v.Service, v.Environment = r.place(l)
		r.classify(LabelSet(l), &v)
		r.exception(&v)
	}
	return v.Severity
}

func (r *Router) severity(l watchbill.Labels) (watchbill.Severity, string) {
	label := l["severity"]
	if sev, ok := r.cfg.Severities[label]; ok {
		return sev, fmt.Sprintf("severity=%q is %s", label, sev)
	}
	if sev, err := watchbill.ParseSeverity(label); err == nil {
		return sev, "its severity label"
	}
	return watchbill.Sev3, fmt.Sprintf("severity=%q is not in severities: so sev3", label)
}

// grouped is the value of a label by which alerts are grouped: the verdict's own
// service, environment and activity stand in place of labels of these names.
func grouped(name string, l watchbill.Labels, v Verdict) string {
	switch name {
	case "service":
		return v.Service
	case "environment":
		return v.Environment
	case "activity":
		return string(v.Activity)
	}
	return l[name]
}

// key returns the group key: name="value" of each label grouped by, and the case
// of an alert that is one.
func (r *Router) key(l watchbill.Labels, v Verdict) string {
	parts := make([]string, len(r.cfg.GroupBy))
	for i, name := range r.cfg.GroupBy {
		parts[i] = fmt.Sprintf("%s=%q", name, grouped(name, l, v))
	}
	if id := l[watchbill.LabelCase]; id != "" { // what a person raised joins nothing else
		parts = append(parts, fmt.Sprintf("case=%q", id))
	}
	return strings.Join(parts, ",")
}

func (r *Router) inhibited(target model.LabelSet, in Input) []Mute {
	own := in.Alert.Fingerprint()
	for i, rule := range r.inhibit {
		if !rule.TargetMatchers.Matches(target) {
			continue
		}
		twoSided := rule.SourceMatchers.Matches(target)
		for _, a := range in.Active {
			if a.Resolved(in.Now) || a.Fingerprint() == own {
				continue
			}
			source := LabelSet(a.Labels)
			if !rule.SourceMatchers.Matches(source) || !equalLabels(rule, source, target) {
				continue
			}
			if twoSided && rule.TargetMatchers.Matches(source) {
				continue
			}
			return []Mute{{
				Kind: MuteInhibited, ID: string(a.Fingerprint()), Path: inhibitPath(i),
				Reason: fmt.Sprintf("inhibited by %s %s%s", a.Name(), a.Labels, ruleName(rule)),
			}}
		}
	}
	return nil
}

func ruleName(rule *inhibit.InhibitRule) string {
	if rule.Name == "" {
		return ""
	}
	return " (rule " + rule.Name + ")"
}

func equalLabels(rule *inhibit.InhibitRule, a, b model.LabelSet) bool {
	for name := range rule.Equal {
		if a[name] != b[name] {
			return false
		}
	}
	return true
}

func (r *Router) intervals(muting, active []string, now time.Time) []Mute {
	var mutes []Mute
	if len(muting) > 0 {
		if in, names, err := r.intervener.Mutes(muting, now); err == nil && in {
			mutes = append(mutes, Mute{
				Kind: MuteTimeInterval, ID: names[0], Path: intervalPath(names[0]), Reason: "muted in the time interval " + strings.Join(names, ", "),
			})
		}
	}
	if len(active) > 0 {
		if in, _, err := r.intervener.Mutes(active, now); err == nil && !in {
			mutes = append(mutes, Mute{
				Kind: MuteTimeInterval, ID: active[0], Path: intervalPath(active[0]),
				Reason: "outside the time interval " + strings.Join(active, ", "),
			})
		}
	}
	return mutes
}

// LabelSet converts labels to the form that Alertmanager's matchers take.
func LabelSet(l watchbill.Labels) model.LabelSet {
	set := make(model.LabelSet, len(l))
	for name, value := range l {
		set[model.LabelName(name)] = model.LabelValue(value)
	}
	return set
}
