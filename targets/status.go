package targets

import (
	"context"
	"fmt"
	"math"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"watchbill"
)

// Statuses says how targets stand at an instant: those of a service, or the one
// with an id, or all with both empty. It asks for the recorded series of all of
// them at once.
func (c Config) Statuses(ctx context.Context, now time.Time, service, id string, query Query) ([]watchbill.TargetStatus, error) {
	plans := c.plansOf(func(t Target) bool { return (service == "" || t.Service == service) && (id == "" || t.ID == id) })
	if len(plans) == 0 {
		return nil, nil
	}
	r, err := read(ctx, now, plans, query)
	if err != nil {
		return nil, err
	}
	out := make([]watchbill.TargetStatus, len(plans))
	for i, p := range plans {
		out[i] = p.status(r[p.ID])
		for _, m := range c.Maintenance {
			if _, running := m.Running(now); running && m.Exclude && m.Concerns(p.Service, p.ID) {
				out[i].Excluded = append(out[i].Excluded, m.Name)
			}
		}
	}
	return out, nil
}

// plansOf are the plans of some targets.
func (c Config) plansOf(wanted func(Target) bool) []plan {
	all := c.Targets
	c.Targets = nil
	for _, t := range all {
		if wanted(t) {
			c.Targets = append(c.Targets, t)
		}
	}
	return newGenerator(c).plans()
}

// reading is what the series say of one target.
type reading struct {
	values   map[string]float64 // by name of series
	alerts   []watchbill.TargetAlert
	measured bool
}

// batch is how many targets one query asks about.
const batch = 50

// read asks for the series of targets.
func read(ctx context.Context, now time.Time, plans []plan, query Query) (map[string]*reading, error) {
	out := map[string]*reading{}
	for _, p := range plans {
		out[p.ID] = &reading{values: map[string]float64{}}
	}
	for some := range slices.Chunk(plans, batch) {
		var ids, measured []string
		for _, p := range some {
			ids, measured = append(ids, regexp.QuoteMeta(p.ID)), append(measured, "("+p.measured()+")")
		}
		of := fmt.Sprintf("sloth_id=~%q", strings.Join(ids, "|"))
		names := `slo:(sli_error:ratio_rate.*|period_error_budget_spent:ratio|period_coverage:ratio|data_age:seconds|calendar_error_budget_remaining:ratio)|ALERTS`
		points, err := query(ctx, fmt.Sprintf("{__name__=~%q, %s}", names, of), now)
		if err != nil {
			return nil, fmt.Errorf("read what was recorded of the targets: %w", err)
		}
		for _, p := range points {
			if r := out[p.Labels["sloth_id"]]; r != nil {
				r.add(p)
			}
		}
		points, err = query(ctx, strings.Join(measured, "\nor\n"), now)
		if err != nil {
			return nil, fmt.Errorf("read whether the targets are measured: %w", err)
		}
		for _, p := range points {
			if r := out[p.Labels["sloth_id"]]; r != nil {
				r.measured = true
			}
		}
	}
	return out, nil
}

func (r *reading) add(p Point) {
	name := p.Labels["__name__"]
	if name == "ALERTS" {
		a := watchbill.TargetAlert{
			Name: p.Labels["alertname"], Tier: p.Labels["st_tier"], Severity: p.Labels["severity"], State: p.Labels["alertstate"],
		}
		if !slices.Contains(r.alerts, a) { // one for each disk
			r.alerts = append(r.alerts, a)
		}
		return
	}
	if name == CalendarSeries && p.Labels["basis"] != "projected" || math.IsNaN(p.Value) {
		return
	}
	r.values[name] = p.Value
}

func (r *reading) get(name string) *float64 {
	if v, ok := r.values[name]; ok {
		return &v
	}
	return nil
}

// firing are the tiers that fire and say that too much is bad.
func (r *reading) firing() []string {
	var out []string
	for _, a := range r.alerts {
		if a.State == "firing" && a.Tier != "no_data" && a.Tier != "out_of_range" && !strings.HasPrefix(a.Tier, "budget_") {
			out = append(out, a.Tier)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// status is how the target stands by what was read. It is pure.
func (p plan) status(r *reading) watchbill.TargetStatus {
	s := watchbill.TargetStatus{
		ID: p.ID, Service: p.Service, Name: p.Name, Kind: p.kind(), Objective: p.Objective,
		Period: days(p.windows.Period), Measured: r.measured, OnNoData: string(p.onNoData()),
		Coverage: r.get("slo:period_coverage:ratio"), BudgetLeft: p.left(r), Alerts: r.alerts,
	}
	if p.Calendar.Unit != "" {
		s.Period = "calendar " + string(p.Calendar.Unit)
	}
	good := func(w time.Duration) *float64 {
		v := r.get(ratio(w))
		if v == nil || p.SLI.Kind == KindCost { // of which the ratio is that of money
			return nil
		}
		share := 1 - *v
		return &share
	}
	s.Good = good(p.windows.Period)
	if r.measured {
		s.Current = good(p.base())
	}
	s.Since = r.values["slo:data_age:seconds"]
	s.Warming = s.Since < p.windows.Period.Seconds()
	s.Burn = p.burnRates(r)
	s.ExhaustsIn = p.exhaustsIn(r, s.BudgetLeft)
	s.State, s.Reason = p.state(r, s)
	return s
}

func (p plan) kind() string {
	switch {
	case p.SLI.Kind != "":
		return string(p.SLI.Kind)
	case p.SLI.ErrorRatio != "":
		return string(KindRaw)
	}
	return string(KindEvents)
}

func (p plan) onNoData() OnNoData {
	if p.OnNoData == "" {
		return NoDataAlert
	}
	return p.OnNoData
}

// left is the share of the budget that is left, as the steps of the policy see
// it.
func (p plan) left(r *reading) *float64 {
	if p.Calendar.Unit != "" && p.budget.Sign() > 0 {
		return r.get(CalendarSeries)
	}
	if p.budget.Sign() == 0 { // a single failure is all of it
		v := r.get(ratio(p.windows.Period))
		if v == nil {
			return nil
		}
		left := 1.0
		if *v > 0 {
			left = 0
		}
		return &left
	}
	spent := r.get("slo:period_error_budget_spent:ratio")
	if spent == nil {
		return nil
	}
	left := 1 - *spent
	return &left
}

// burnRates are the burn rates of all windows that are recorded.
func (p plan) burnRates(r *reading) []watchbill.TargetBurn {
	var out []watchbill.TargetBurn
	budget, _ := p.budget.Float64()
	if budget == 0 {
		return nil
	}
	for _, w := range append(p.recorded(), p.windows.Period) {
		if v := r.get(ratio(w)); v != nil {
			out = append(out, watchbill.TargetBurn{Window: text(w), Rate: *v / budget})
		}
	}
	return out
}

// exhaustsIn is when what is left is gone, in seconds.
func (p plan) exhaustsIn(r *reading, left *float64) *float64 {
	budget, _ := p.budget.Float64()
	v := r.get(ratio(max(p.windows.PageFast.Long, p.base())))
	if budget == 0 || left == nil || *left <= 0 || v == nil || *v <= 0 {
		return nil
	}
	period := p.windows.Period
	if p.Calendar.Unit != "" {
		period = p.Calendar.longest()
	}
	in := *left * period.Seconds() / (*v / budget)
	return &in
}

// frozen is the step of the policy that closes the gate.
func (p plan) frozen(left *float64) (PolicyStep, bool) {
	if left == nil {
		return PolicyStep{}, false
	}
	for _, step := range p.Policy {
		below, _ := new(big.Rat).SetString(step.Below)
		if at, _ := below.Float64(); step.Freeze && *left <= at {
			return step, true
		}
	}
	return PolicyStep{}, false
}

// state is the state and why.
func (p plan) state(r *reading, s watchbill.TargetStatus) (watchbill.TargetState, string) {
	left := ""
	if s.BudgetLeft != nil {
		left = humanPercent(*s.BudgetLeft) + " of the error budget of " + s.Period + " is left"
	}
	firing := r.firing()
	switch step, frozen := p.frozen(s.BudgetLeft); {
	case frozen:
		below, _ := new(big.Rat).SetString(step.Below)
		return watchbill.TargetFrozen, fmt.Sprintf("%s; its policy freezes releases at %s", left, percent(below))
	case s.BudgetLeft != nil && *s.BudgetLeft <= 0:
		return watchbill.TargetExhausted, left
	case !s.Measured && s.Since == 0:
		return watchbill.TargetNoData, "nothing was ever measured"
	case !s.Measured:
		return watchbill.TargetNoData, "nothing is measured now; there was data before"
	case len(firing) > 0:
		return watchbill.TargetBurning, strings.Join(firing, ", ") + " fires"
	case s.Warming:
		return watchbill.TargetOK, fmt.Sprintf("no alert fires; warming: there is data since %s of %s",
			text(time.Duration(s.Since*1e9).Truncate(time.Second)), days(p.windows.Period))
	}
	return watchbill.TargetOK, "no alert fires"
}

// humanPercent writes a share in percent with a digit or two that matter.
func humanPercent(v float64) string {
	return model.SampleValue(math.Round(v*1e4)/1e2).String() + "%"
}
