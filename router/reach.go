package router

import (
	"fmt"
	"time"

	"github.com/prometheus/alertmanager/pkg/labels"

	"watchbill"
)

// maxExamples is how many alerts of a reach are named.
const maxExamples = 5

// Reach returns how much a silence mutes of alerts that fired in the last 7 days,
// each given once. Those that have not ended at now fire.
func (r *Router) Reach(s watchbill.Silence, alerts []watchbill.Alert, now time.Time) (watchbill.SilenceReach, error) {
	reach := watchbill.SilenceReach{}
	ms, err := compile(s)
	if err != nil {
		return reach, watchbill.Invalidf("correct it and send it again", "matchers: %v", err)
	}
	for _, a := range alerts {
		set := LabelSet(a.Labels)
		if !ms.Matches(set) {
			continue
		}
		reach.Week++
		if !a.Resolved(now) {
			reach.Now++
		}
		v := Verdict{}
		if r.classify(set, &v); v.Activity == watchbill.ActivitySecurity {
			reach.Security++
		}
		if len(reach.Examples) < maxExamples {
			reach.Examples = append(reach.Examples, a.Labels.String())
		}
	}
	return reach, nil
}

// NeedsApproval says why a silence with a reach takes a second person: it is for
// security alerts, it mutes more than a few, or it names nothing that it is for.
// It is empty for a silence that one person may make.
func (r *Router) NeedsApproval(s watchbill.Silence, reach watchbill.SilenceReach) string {
	positive := false
	for _, m := range s.Matchers {
		if !m.IsEqual {
			continue
		}
		if m.Value != "" && (!m.IsRegex || !matchesAnything(m)) {
			positive = true
		}
	}
	s.Reach = &reach
	switch {
	case reach.Security > 0:
		return fmt.Sprintf("it mutes %d security alerts of the last 7 days", reach.Security)
	case r.ForSecurity(s):
		return "it is for security alerts"
	case !positive:
		return "it names nothing that it is for, only what it is not for"
	case reach.Week > r.cfg.BroadSilence:
		return fmt.Sprintf("it is broad: it mutes %d alerts of the last 7 days, %d of which fire, and one person may mute %d", reach.Week, reach.Now, r.cfg.BroadSilence)
	}
	return ""
}

// ForSecurity reports whether a silence is for security alerts: its own labels make
// an alert one, or it mutes some that fired.
func (r *Router) ForSecurity(s watchbill.Silence) bool {
	own := watchbill.Labels{}
	for _, m := range s.Matchers {
		if m.IsEqual && !m.IsRegex {
			own[m.Name] = m.Value
		}
	}
	v := Verdict{}
	r.classify(LabelSet(own), &v)
	return v.Activity == watchbill.ActivitySecurity || s.Reach != nil && s.Reach.Security > 0
}

// matchesAnything reports whether a regular expression matches texts that have
// nothing in common, as .* and .+ do.
func matchesAnything(m watchbill.Matcher) bool {
	c, err := labels.NewMatcher(labels.MatchRegexp, m.Name, m.Value)
	return err == nil && c.Matches("x") && c.Matches("another text, \U0001F6A2") && c.Matches("0")
}

// Remind returns when the author of a silence is told that it ends soon, and false
// if that is over or will not be.
func (r *Router) Remind(s watchbill.Silence) (time.Time, bool) {
	if s.Reminded || s.Waits() != "" {
		return time.Time{}, false
	}
	return s.EndsAt.Add(-min(r.cfg.SilenceReminder, s.EndsAt.Sub(s.StartsAt)/4)), true
}
