package targets

import (
	"fmt"
	"math/big"
	"time"

	"github.com/prometheus/prometheus/model/rulefmt"
)

// Names of series, with a window at their end.
func bad(w time.Duration) string      { return "slo:sli_bad:rate" + text(w) }
func total(w time.Duration) string    { return "slo:sli_total:rate" + text(w) }
func raw(w time.Duration) string      { return "slo:sli_raw:ratio_rate" + text(w) }
func ratio(w time.Duration) string    { return "slo:sli_error:ratio_rate" + text(w) }
func observed(w time.Duration) string { return "slo:sli_measured:ratio_rate" + text(w) }
func increase(w time.Duration) string { return "slo:sli_bad:increase" + text(w) }

// What counts for the budget, if that is not all that was measured.
func budgetBad(w time.Duration) string   { return "slo:budget_bad:rate" + text(w) }
func budgetTotal(w time.Duration) string { return "slo:budget_total:rate" + text(w) }

const seriesBudgetGood = "slo:budget_good:ratio"

// Series that the daemon appends, as no rule can know their values.
const (
	// ExclusionSeries is 1 while maintenance is excluded from the budget of a
	// target, by sloth_id.
	ExclusionSeries = "st_exclusion_active"
	// CalendarSeries is the share of a calendar period's budget that is left, by
	// sloth_id, period and basis.
	CalendarSeries = "slo:calendar_error_budget_remaining:ratio"
	// SignalSeries is what was posted about a service, by service and signal.
	SignalSeries = "st_signal"
)

// record is a recording rule with the labels of the target.
func (p plan) record(name, expr string, more ...map[string]string) rulefmt.Rule {
	return rulefmt.Rule{Record: name, Expr: expr, Labels: merge(append([]map[string]string{p.Labels, p.id}, more...)...)}
}

// recordRatio is the error ratio over a window.
func (p plan) recordRatio(w time.Duration, expr string) rulefmt.Rule {
	return p.record(ratio(w), expr, map[string]string{"sloth_window": text(w)})
}

// fill puts a window into a query and normalises it.
func (p plan) fill(query string, w time.Duration) (string, error) {
	q, err := render(query, p.vars(w))
	if err != nil {
		return "", err
	}
	return expression(q)
}

// baseRules are the slices that everything over longer windows is made of.
func (p plan) baseRules() ([]rulefmt.Rule, error) {
	var rules []rulefmt.Rule
	base := p.base()
	for _, in := range p.SLI.Inputs {
		rules = append(rules, p.record(in.Name, in.Query))
	}
	switch {
	case p.SLI.Kind == KindCost:
		return rules, nil
	case p.slices():
		q, err := p.fill(p.SLI.Slice, p.every)
		if err != nil {
			return nil, err
		}
		return append(append(rules, p.record(seriesSlice, q)), p.countedRules()...), nil
	case p.SLI.ErrorRatio != "":
		q, err := p.fill(p.SLI.ErrorRatio, base)
		if err != nil {
			return nil, err
		}
		rules = append(rules, p.record(raw(base), q))
		if p.counted() {
			// Each slice weighs the same.
			rules = append(rules,
				p.record(bad(base), raw(base)+p.filter+" >= -Inf"),
				p.record(total(base), "("+bad(base)+p.filter+" * 0) + 1"))
		}
		return append(rules, p.countedRules()...), nil
	}
	b, err := p.badRate(base)
	if err != nil {
		return nil, err
	}
	t, err := p.fill(p.SLI.Total, base)
	if err != nil {
		return nil, err
	}
	return append(append(rules, p.record(bad(base), b), p.record(total(base), t)), p.countedRules()...), nil
}

// badRate is the rate of bad events.
func (p plan) badRate(w time.Duration) (string, error) {
	s := p.SLI
	for _, q := range []*string{&s.Error, &s.Good, &s.Total} {
		if *q == "" {
			continue
		}
		var err error
		if *q, err = p.fill(*q, w); err != nil {
			return "", err
		}
	}
	return s.bad(), nil
}

// countedRules are what counts for the budget: without what is excluded, and
// with what is missing if that counts as something.
func (p plan) countedRules() []rulefmt.Rule {
	if !p.counted() {
		return nil
	}
	base := p.base()
	if p.slices() {
		expr := seriesSlice + p.filter
		switch p.OnNoData {
		case NoDataGood:
			expr = "(" + expr + " or on () vector(1))"
		case NoDataBad:
			expr = "(" + expr + " or on () vector(0))"
		case NoDataAlert, NoDataIgnore, "":
		}
		return []rulefmt.Rule{p.record(seriesBudgetGood, expr+p.unless(p.every))}
	}
	b, t := bad(base)+p.filter, total(base)+p.filter
	// What is missing weighs as much as what is there on average.
	usual := fmt.Sprintf("avg_over_time(%s[1d])", t)
	switch p.OnNoData {
	case NoDataGood:
		b, t = fmt.Sprintf("(%s or 0 * %s)", b, usual), fmt.Sprintf("(%s or %s)", t, usual)
	case NoDataBad:
		b, t = fmt.Sprintf("(%s or %s)", b, usual), fmt.Sprintf("(%s or %s)", t, usual)
	case NoDataAlert, NoDataIgnore, "":
	}
	return []rulefmt.Rule{p.record(budgetBad(base), b+p.unless(base)), p.record(budgetTotal(base), t+p.unless(base))}
}

// unless takes a slice out whose range w touches an exclusion.
func (p plan) unless(w time.Duration) string {
	if !p.excluded {
		return ""
	}
	return fmt.Sprintf("\nunless on (sloth_id) (max_over_time(%s{sloth_id=%q}[%s]) == 1)", ExclusionSeries, p.ID, text(max(w, 15*time.Second)))
}

// sums is the error ratio from slices: the ratio of two sums.
func (p plan) sums(w time.Duration) string {
	base := p.base()
	b, t, good := bad(base), total(base), seriesSlice
	if p.counted() {
		b, t, good = budgetBad(base), budgetTotal(base), seriesBudgetGood
	}
	switch {
	case p.SLI.Kind == KindCost:
		hours := new(big.Rat).SetFrac64(int64(p.windows.Period), int64(time.Hour))
		return fmt.Sprintf("avg_over_time(%s%s[%s]) * %s / %s", seriesCost, p.filter, text(w), decimal(hours), p.SLI.Budget)
	case p.slices():
		return fmt.Sprintf("1 - avg_over_time(%s%s[%s])", good, p.filter, text(w))
	case p.SLI.ErrorRatio != "" && !p.counted():
		return fmt.Sprintf("avg_over_time(%s%s[%s])", ratio(base), p.filter, text(w))
	}
	return fmt.Sprintf("sum_over_time(%[1]s%[3]s[%[4]s])\n/\n(sum_over_time(%[2]s%[3]s[%[4]s]) > 0)", b, t, p.filter, text(w))
}

// windowRules are the error ratios over all windows but the period's.
func (p plan) windowRules() ([]rulefmt.Rule, error) {
	var rules []rulefmt.Rule
	for _, w := range p.recorded() {
		more, err := p.windowRule(w)
		if err != nil {
			return nil, err
		}
		rules = append(rules, more...)
	}
	more, err := p.increases()
	if err != nil {
		return nil, err
	}
	rules = append(rules, more...)
	if !p.filled() {
		// The last ratio before the data went is what a held alert shows.
		rules = append(rules, p.record("slo:sli_last_error:ratio", fmt.Sprintf(
			"max without (sloth_window) (%[1]s%[2]s)\nor\n(slo:sli_last_error:ratio%[2]s unless on (sloth_id) %[3]s)", ratio(p.base()), p.filter, p.measured())))
	}
	return rules, nil
}

// windowRule is the error ratio over one window. Up to twelve times the
// shortest it is computed from what was scraped; see the package's comment.
func (p plan) windowRule(w time.Duration) ([]rulefmt.Rule, error) {
	base := p.base()
	raws := p.SLI.ErrorRatio != "" && !p.counted()
	switch {
	case p.slices() || p.SLI.Kind == KindCost || p.filled() || w > 12*base && !raws:
		return []rulefmt.Rule{p.recordRatio(w, p.sums(w))}, nil
	case raws && w == base:
		return []rulefmt.Rule{p.recordRatio(w, raw(w)+p.filter+" >= -Inf")}, nil
	case p.events() && w == base && !p.excluded:
		return []rulefmt.Rule{p.recordRatio(w, fmt.Sprintf("%s%s\n/\n(%s%s > 0)", bad(w), p.filter, total(w), p.filter))}, nil
	}
	expr, err := p.direct(w)
	if err != nil {
		return nil, err
	}
	if !p.excluded {
		return []rulefmt.Rule{p.recordRatio(w, expr)}, nil
	}
	// For one window after an exclusion the slices alone tell.
	return []rulefmt.Rule{
		p.record(observed(w), expr),
		p.recordRatio(w, fmt.Sprintf("(%s%s%s)\nor\n(%s)", observed(w), p.filter, p.unless(w), p.sums(w))),
	}, nil
}

// direct is the error ratio straight from the queries.
func (p plan) direct(w time.Duration) (string, error) {
	if p.SLI.ErrorRatio != "" {
		q, err := p.fill(p.SLI.ErrorRatio, w)
		return "(" + q + ") >= -Inf", err
	}
	b, err := p.badRate(w)
	if err != nil {
		return "", err
	}
	t, err := p.fill(p.SLI.Total, w)
	return fmt.Sprintf("(\n%s\n)\n/\n((%s) > 0)", b, t), err
}

// increases are how many bad events each long window holds.
func (p plan) increases() ([]rulefmt.Rule, error) {
	if p.MinBad == 0 || !p.events() {
		return nil, nil
	}
	var rules []rulefmt.Rule
	seen := map[time.Duration]bool{}
	for _, t := range p.tiers {
		if seen[t.Long] {
			continue
		}
		seen[t.Long] = true
		series := bad(p.base())
		if p.counted() {
			series = budgetBad(p.base())
		}
		expr := fmt.Sprintf("sum_over_time(%s%s[%s]) * %s", series, p.filter, text(t.Long), decimal(seconds(p.every)))
		if t.Long <= 12*p.base() && !p.counted() {
			b, err := p.badRate(t.Long)
			if err != nil {
				return nil, err
			}
			expr = fmt.Sprintf("(\n%s\n) * %s", b, decimal(seconds(t.Long)))
		}
		rules = append(rules, p.record(increase(t.Long), expr))
	}
	return rules, nil
}

// periodRules are what covers the whole period.
func (p plan) periodRules() []rulefmt.Rule {
	period := p.windows.Period
	slots := new(big.Rat).SetFrac64(int64(period), int64(p.every))
	since := "slo:data_since:timestamp_seconds"
	return []rulefmt.Rule{
		p.recordRatio(period, p.sums(period)),
		p.record("slo:period_coverage:ratio", fmt.Sprintf("clamp_max(max(count_over_time(%s)) / %s, 1)", p.samples(period), decimal(slots))),
		p.record(since, fmt.Sprintf("min(last_over_time(%s%s[1d]))\nor on ()\n(time() + 0 * count(%s))", since, p.filter, p.measured())),
		p.record("slo:data_age:seconds", "time() - "+since+p.filter),
	}
}

// metaRules are the objective, the budget and how it burns.
func (p plan) metaRules() []rulefmt.Rule {
	objective := new(big.Rat).Sub(big.NewRat(1, 1), p.budget)
	length := big.NewRat(int64(p.windows.Period), int64(day))
	rules := []rulefmt.Rule{
		p.record("slo:objective:ratio", "vector("+decimal(objective)+")"),
		p.record("slo:error_budget:ratio", "vector("+decimal(p.budget)+")"),
		p.record("slo:time_period:days", "vector("+decimal(length)+")"),
	}
	// Nothing can be divided by no budget.
	if p.budget.Sign() > 0 {
		burn := func(w time.Duration) string {
			return fmt.Sprintf("%[1]s%[2]s\n/ on (sloth_id, sloth_slo, sloth_service) group_left ()\nslo:error_budget:ratio%[2]s", ratio(w), p.filter)
		}
		rules = append(rules,
			p.record("slo:current_burn_rate:ratio", burn(p.base())),
			p.record("slo:period_burn_rate:ratio", burn(p.windows.Period)),
			p.record("slo:period_error_budget_remaining:ratio", "1 - slo:period_burn_rate:ratio"+p.filter),
			// Before there is data for a whole period, the ratio is that of a shorter
			// one, of which the same errors are a larger share.
			p.record("slo:period_error_budget_spent:ratio", fmt.Sprintf(
				"slo:period_burn_rate:ratio%[1]s\n* on (sloth_id) group_left ()\nclamp_max(slo:data_age:seconds%[1]s / %[2]s, 1)", p.filter, decimal(seconds(p.windows.Period)))),
		)
	}
	return append(rules, p.record("sloth_slo_info", "vector(1)", map[string]string{
		"sloth_mode":      "watchbill",
		"sloth_objective": p.Objective,
		"sloth_spec":      p.Format,
		"sloth_version":   "watchbill",
	}))
}
