package router

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/alertmanager/inhibit"
	"github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/common/model"

	"watchbill"
)

// Weigh says how much of what does not mute an alert a verdict names.
type Weigh int

// How much is named: nothing; what was near, so that somebody may have counted
// on it, as the live path keeps it; everything there is, as explain shows it.
const (
	WeighNothing Weigh = iota
	WeighNear
	WeighAll
)

// maxWeighed bounds what is named of each kind, so that a trace stays small.
const maxWeighed = 10

func inhibitPath(i int) string           { return fmt.Sprintf("inhibit_rules.%d", i) }
func intervalPath(name string) string    { return "time_intervals." + name }
func maintenancePath(name string) string { return "maintenance." + name }
func dependsPath(service string) string  { return "services." + service + ".depends_on" }

// spared names what was weighed and does not mute the alert, each with why not.
func (r *Router) spared(set model.LabelSet, in Input, v Verdict, rule *Rule, exception *Exception) []Mute {
	all := slices.Concat(
		bounded(in.Silences.spared(set, in, v.Activity), MuteSilence),
		bounded(r.sparedByRules(set, in, v), MuteInhibited),
	)
	if rule != nil {
		all = append(all, r.sparedByIntervals(rule.MuteTimeIntervals, rule.ActiveTimeIntervals, in.Now)...)
	}
	if exception != nil {
		all = append(all, r.sparedByIntervals(exception.MuteTimeIntervals, exception.ActiveTimeIntervals, in.Now)...)
	}
	return slices.Concat(all,
		bounded(r.sparedByMaintenance(in, v), MuteMaintenance),
		bounded(r.sparedByDependencies(in, v), MuteDependency),
	)
}

// bounded cuts a long list and says how much was cut.
func bounded(all []Mute, kind MuteKind) []Mute {
	if n := len(all) - maxWeighed; n > 0 {
		all = append(all[:maxWeighed], Mute{Kind: kind, Reason: fmt.Sprintf("and %d more, none of which mutes it", n)})
	}
	return all
}

// unmatched returns the first matcher that a label set does not satisfy.
func unmatched(ms labels.Matchers, set model.LabelSet) (*labels.Matcher, bool) {
	for _, m := range ms {
		if !m.Matches(string(set[model.LabelName(m.Name)])) {
			return m, true
		}
	}
	return nil, false
}

func whyUnmatched(m *labels.Matcher, set model.LabelSet) string {
	if value := set[model.LabelName(m.Name)]; value != "" {
		return fmt.Sprintf("%s=%q does not match %s", m.Name, value, m)
	}
	return fmt.Sprintf("the alert has no label %s, and %s is asked for", m.Name, m)
}

func (s *Silences) spared(set model.LabelSet, in Input, activity watchbill.ActivityID) []Mute {
	if s == nil {
		return nil
	}
	var all []Mute
	for _, c := range s.all {
		m, differs := unmatched(c.matchers, set)
		var why string
		switch {
		case !c.EndsAt.After(in.Now):
			continue
		case differs && in.Weigh != WeighAll && shared(c.matchers, set) == 0:
			continue
		case differs:
			why = whyUnmatched(m, set)
		case c.Waits() != "":
			why = "it mutes nothing until a second person approved it: " + c.Waits()
		case c.StartsAt.After(in.Now):
			why = "it begins at " + c.StartsAt.UTC().Format(time.RFC3339)
		case activity == watchbill.ActivitySecurity && c.ApprovedBy == "":
			why = "a security alert is muted only by what two people agreed on"
		default:
			continue // it mutes
		}
		all = append(all, Mute{Kind: MuteSilence, ID: c.ID, Until: c.EndsAt, Reason: fmt.Sprintf("silence by %s (%s): %s", c.CreatedBy, c.Comment, why)})
	}
	return all
}

// shared counts the matchers that a label set satisfies by a label it has.
func shared(ms labels.Matchers, set model.LabelSet) int {
	n := 0
	for _, m := range ms {
		if value := set[model.LabelName(m.Name)]; value != "" && m.Matches(string(value)) {
			n++
		}
	}
	return n
}

func (r *Router) sparedByRules(set model.LabelSet, in Input, v Verdict) []Mute {
	var all []Mute
	inhibited := map[string]bool{}
	for _, m := range v.Mutes {
		inhibited[m.Path] = true
	}
	for i, rule := range r.inhibit {
		if inhibited[inhibitPath(i)] {
			continue
		}
		var why string
		if m, differs := unmatched(rule.TargetMatchers, set); differs {
			if in.Weigh != WeighAll {
				continue
			}
			why = "it is no target: " + whyUnmatched(m, set)
		} else {
			why = r.noSource(rule, set, in)
		}
		all = append(all, Mute{Kind: MuteInhibited, Path: inhibitPath(i), Reason: fmt.Sprintf("inhibit rule %s: %s", nameOf(rule, i), why)})
	}
	return all
}

func nameOf(rule *inhibit.InhibitRule, i int) string {
	if rule.Name != "" {
		return rule.Name
	}
	return fmt.Sprintf("%d", i+1)
}

// noSource says why no firing alert is the source of a rule whose target the
// alert is.
func (r *Router) noSource(rule *inhibit.InhibitRule, target model.LabelSet, in Input) string {
	own := in.Alert.Fingerprint()
	twoSided := rule.SourceMatchers.Matches(target)
	for _, a := range in.Active {
		if a.Resolved(in.Now) || a.Fingerprint() == own {
			continue
		}
		source := LabelSet(a.Labels)
		if !rule.SourceMatchers.Matches(source) {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(rule.Equal)) {
			if source[name] != target[name] {
				return fmt.Sprintf("%s fires, but with %s=%q, not %q", a.Name(), name, source[name], target[name])
			}
		}
		if twoSided && rule.TargetMatchers.Matches(source) {
			return fmt.Sprintf("%s and this alert both match both sides", a.Name())
		}
	}
	return "no firing alert matches " + matchersText(rule.SourceMatchers)
}

func matchersText(ms labels.Matchers) string {
	s := make([]string, len(ms))
	for i, m := range ms {
		s[i] = m.String()
	}
	return strings.Join(s, ", ")
}

func (r *Router) sparedByIntervals(muting, active []string, now time.Time) []Mute {
	var all []Mute
	for _, name := range muting {
		if in, _, err := r.intervener.Mutes([]string{name}, now); err == nil && !in {
			all = append(all, Mute{Kind: MuteTimeInterval, ID: name, Path: intervalPath(name), Reason: "not in the time interval " + name + " at this instant"})
		}
	}
	for _, name := range active {
		if in, _, err := r.intervener.Mutes([]string{name}, now); err == nil && in {
			all = append(all, Mute{Kind: MuteTimeInterval, ID: name, Path: intervalPath(name), Reason: "in the time interval " + name + ", in which it may page"})
		}
	}
	return all
}

func (r *Router) sparedByMaintenance(in Input, v Verdict) []Mute {
	var all []Mute
	for _, m := range r.cfg.Maintenance {
		elsewhere := m.elsewhere(in.Alert, v)
		_, running := m.Running(in.Now)
		covers := m.Covers(in.Alert, v)
		var why string
		switch {
		case covers && running, elsewhere != "" && in.Weigh != WeighAll:
			continue
		case covers:
			why = "it does not run at this instant"
		case elsewhere == "" && running:
			why = fmt.Sprintf("it runs, but never hides a %s of %s", v.Severity, v.Activity)
		case elsewhere == "":
			why = fmt.Sprintf("it never hides a %s of %s, and does not run at this instant", v.Severity, v.Activity)
		case running:
			why = "it runs, but is not on " + elsewhere
		default:
			why = "it is not on " + elsewhere + ", and does not run at this instant"
		}
		all = append(all, Mute{Kind: MuteMaintenance, ID: m.Name, Path: maintenancePath(m.Name), Reason: "maintenance " + m.Name + ": " + why})
	}
	return all
}
