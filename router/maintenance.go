package router

import (
	"cmp"
	"slices"

	"watchbill"
)

// Covers reports whether the work holds back an alert of which a verdict says
// where it belongs. What the work does not bring about is held back only if it is
// not critical: planned work never hides another class's sev1 or sev2.
func (m Maintenance) Covers(a watchbill.Alert, v Verdict) bool {
	if m.elsewhere(a, v) != "" {
		return false
	}
	own := v.Activity != watchbill.ActivitySecurity
	if len(m.Activities) > 0 {
		own = slices.Contains(m.Activities, v.Activity)
	}
	return own || watchbill.Sev2.HigherThan(v.Severity)
}

// elsewhere says what the work is not on, if it is not on what the alert is about.
func (m Maintenance) elsewhere(a watchbill.Alert, v Verdict) string {
	switch {
	case !m.Concerns(v.Service, a.Labels["st"]):
		return cmp.Or(v.Service, "an alert without a service")
	case len(m.Environments) > 0 && !slices.Contains(m.Environments, v.Environment):
		return "the environment " + v.Environment
	}
	return ""
}

// maintained are the mutes of maintenance. An alert of a service target carries
// the target's id as the label st.
func (r *Router) maintained(in Input, v Verdict) []Mute {
	var mutes []Mute
	for _, m := range r.cfg.Maintenance {
		if !m.Covers(in.Alert, v) {
			continue
		}
		if until, ok := m.Running(in.Now); ok {
			reason := "maintenance " + m.Name
			if m.Reason != "" {
				reason += " (" + m.Reason + ")"
			}
			mutes = append(mutes, Mute{Kind: MuteMaintenance, ID: m.Name, Reason: reason, Until: until, Path: maintenancePath(m.Name)})
		}
	}
	return mutes
}

// Maintenance is all of it that mutes.
func (r *Router) Maintenance() []Maintenance { return r.cfg.Maintenance }
