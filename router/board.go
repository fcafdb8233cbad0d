package router

import (
	"slices"
	"time"

	"github.com/prometheus/alertmanager/inhibit"
	"github.com/prometheus/common/model"

	"watchbill"
)

// Sources is an index of the alerts that fire, by what the inhibit rules compare.
// With it a list of all alerts is decided about in time that grows with their
// number and not with its square.
type Sources struct {
	r      *Router
	active []watchbill.Alert
	by     []map[string][]int // by rule, then by the values of its equal labels
}

// Sources indexes the alerts that fire at now.
func (r *Router) Sources(active []watchbill.Alert, now time.Time) *Sources {
	s := &Sources{r: r, active: active, by: make([]map[string][]int, len(r.inhibit))}
	for i := range s.by {
		s.by[i] = map[string][]int{}
	}
	for n, a := range active {
		if a.Resolved(now) {
			continue
		}
		set := LabelSet(a.Labels)
		for i, rule := range r.inhibit {
			if rule.SourceMatchers.Matches(set) {
				key := equalKey(rule, set)
				s.by[i][key] = s.add(rule, s.by[i][key], n)
			}
		}
	}
	return s
}

// enough is how many sources of a kind are kept for a key: the target may be one
// of them itself.
const enough = 2

// add keeps the first sources, and the first of those that are not targets of
// the rule too, which alone count for a target that is also a source.
func (s *Sources) add(rule *inhibit.InhibitRule, kept []int, n int) []int {
	if len(kept) < enough {
		return append(kept, n)
	}
	if len(kept) >= 2*enough || rule.TargetMatchers.Matches(LabelSet(s.active[n].Labels)) {
		return kept
	}
	return append(kept, n)
}

// For returns the alerts that matter to the decision about one: what
// [Input.Active] needs, in the order of the whole list.
func (s *Sources) For(a watchbill.Alert) []watchbill.Alert {
	set := LabelSet(a.Labels)
	var all []int
	for i, rule := range s.r.inhibit {
		if rule.TargetMatchers.Matches(set) {
			all = append(all, s.by[i][equalKey(rule, set)]...)
		}
	}
	slices.Sort(all)
	out := make([]watchbill.Alert, 0, len(all))
	for _, n := range slices.Compact(all) {
		out = append(out, s.active[n])
	}
	return out
}

func equalKey(rule *inhibit.InhibitRule, set model.LabelSet) string {
	names := make([]model.LabelName, 0, len(rule.Equal))
	for name := range rule.Equal {
		names = append(names, name)
	}
	slices.Sort(names)
	var key []byte
	for _, name := range names {
		key = append(append(key, set[name]...), 0xff)
	}
	return string(key)
}

// GroupLabels are the labels that a group of alerts shares: those it is grouped
// by, with the verdict's own service, environment and activity, and without
// those that are empty.
func (r *Router) GroupLabels(a watchbill.Alert, v Verdict) watchbill.Labels {
	group := watchbill.Labels{}
	for _, name := range r.cfg.GroupBy {
		if value := grouped(name, a.Labels, v); value != "" {
			group[name] = value
		}
	}
	return group
}

// Config is the configuration that the router was made of, with its defaults.
// It is not to be changed.
func (r *Router) Config() Config { return r.cfg }
