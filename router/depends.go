package router

import (
	"fmt"
	"slices"

	"watchbill"
)

// upstream returns, for each service, the services that it depends on, directly
// or through others, nearest first. What depends on itself was refused when the
// configuration was read; here it ends all the same.
func upstream(services []watchbill.Service) map[string][]string {
	direct := map[string][]string{}
	for _, s := range services {
		direct[s.Name] = s.DependsOn
	}
	all := map[string][]string{}
	for _, s := range services {
		var found []string
		for queue := slices.Clone(s.DependsOn); len(queue) > 0; queue = queue[1:] {
			if next := queue[0]; next != s.Name && !slices.Contains(found, next) {
				found = append(found, next)
				queue = append(queue, direct[next]...)
			}
		}
		if len(found) > 0 {
			all[s.Name] = found
		}
	}
	return all
}

// Upstream returns the group keys of the incidents behind which an alert may wait:
// those of the services that its own depends on, in the same environment and for
// the same activity. It is empty for a service that depends on nothing, and if
// incidents are not grouped by service. [Input.Open] wants those that are open.
func (r *Router) Upstream(a watchbill.Alert) []string {
	if len(r.upstream) == 0 || !slices.Contains(r.cfg.GroupBy, "service") {
		return nil
	}
	v := Verdict{}
	v.Service, v.Environment = r.place(a.Labels)
	parents := r.upstream[v.Service]
	if len(parents) == 0 {
		return nil
	}
	r.classify(LabelSet(a.Labels), &v)
	keys := make([]string, len(parents))
	for i, p := range parents {
		v.Service = p
		keys[i] = r.key(a.Labels, v)
	}
	return keys
}

// Behind returns the live incidents, of some that are given by group key, behind
// which an alert may wait: what [Input.Open] needs.
func (r *Router) Behind(a watchbill.Alert, incidents map[string]watchbill.Incident) []watchbill.Incident {
	var open []watchbill.Incident
	for _, key := range r.Upstream(a) {
		if inc, ok := incidents[key]; ok && inc.State.Live() {
			open = append(open, inc)
		}
	}
	return open
}

// waits is the mute of an alert whose cause is being worked on: an incident of a
// service that its own depends on is live, is of the same activity and
// environment, and is at least as severe. An incident that is itself held back
// and that nobody took is no reason to keep quiet.
func (r *Router) waits(in Input, v Verdict) []Mute {
	parents := r.upstream[v.Service]
	for _, inc := range in.Open {
		if !slices.Contains(parents, inc.Service) || inc.Environment != v.Environment || inc.Activity != v.Activity {
			continue
		}
		if told(inc) && !v.Severity.HigherThan(inc.Severity) {
			return []Mute{{
				Kind: MuteDependency, ID: inc.ID.String(), Path: dependsPath(v.Service),
				Reason: fmt.Sprintf("%s depends on %s, whose incident %sis not resolved", v.Service, inc.Service, numbered(inc)),
			}}
		}
	}
	return nil
}

// told reports whether somebody knows of an incident.
func told(inc watchbill.Incident) bool {
	return inc.State == watchbill.StateAcknowledged || inc.State == watchbill.StateOpen && inc.HeldBy == ""
}

// numbered is the number of an incident, and nothing for one that is only supposed.
func numbered(inc watchbill.Incident) string {
	if inc.ID == 0 {
		return ""
	}
	return inc.ID.String() + " "
}

// sparedByDependencies says why the alert does not wait behind what its service
// depends on.
func (r *Router) sparedByDependencies(in Input, v Verdict) []Mute {
	parents := r.upstream[v.Service]
	if len(parents) == 0 || slices.ContainsFunc(v.Mutes, func(m Mute) bool { return m.Kind == MuteDependency }) {
		return nil
	}
	mute := func(reason string) Mute {
		return Mute{Kind: MuteDependency, Path: dependsPath(v.Service), Reason: v.Service + " depends on " + reason}
	}
	var all []Mute
	for _, p := range parents {
		i := slices.IndexFunc(in.Open, func(inc watchbill.Incident) bool { return inc.Service == p })
		switch {
		case i < 0 && in.Weigh == WeighAll:
			all = append(all, mute(fmt.Sprintf("%s, which has no open incident of %s in %s", p, v.Activity, v.Environment)))
		case i < 0:
		case !told(in.Open[i]):
			all = append(all, mute(fmt.Sprintf("%s, whose incident %sis held back itself: %s", p, numbered(in.Open[i]), in.Open[i].HeldBy)))
		default:
			all = append(all, mute(fmt.Sprintf("%s, whose incident %sis only %s", p, numbered(in.Open[i]), in.Open[i].Severity)))
		}
	}
	return all
}
