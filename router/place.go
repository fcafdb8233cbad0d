package router

import (
	"fmt"
	"slices"

	"watchbill"
)

// row fills in whose the alert is: the row of its activity, as it is for the
// service and the environment.
func (r *Router) row(v *Verdict) {
	at := watchbill.Place{Service: v.Service, Environment: v.Environment}
	m := r.cfg.Matrix
	if o, ok := m.OverriddenBy(v.Activity, at); ok {
		v.RowReason = o.Line
		m = m.At(at)
	}
	v.Roles = m.Responsible(v.Activity)
}

// exception returns the first exception that covers the alert, and applies its
// cap to the severity.
func (r *Router) exception(v *Verdict) *Exception {
	at := watchbill.Place{Service: v.Service, Environment: v.Environment}
	for i, e := range r.cfg.Exceptions {
		place := watchbill.Override{Services: e.Services, Environments: e.Environments}
		if !place.Covers(at) || len(e.Activities) > 0 && !slices.Contains(e.Activities, v.Activity) {
			continue
		}
		if e.MaxSeverity != 0 && v.Severity.HigherThan(e.MaxSeverity) {
			v.Severity = e.MaxSeverity
			v.SeverityReason += fmt.Sprintf(", and at most %s here (%s)", e.MaxSeverity, e.Line)
		}
		return &r.cfg.Exceptions[i]
	}
	return nil
}
