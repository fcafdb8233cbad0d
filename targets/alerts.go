package targets

import (
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
)

// alertRules are the alerts of a target.
func (p plan) alertRules() []rulefmt.Rule {
	return slices.Concat(p.tierAlerts(), p.stateAlerts(), p.recordedAlerts())
}

// tierAlerts are the alerts on burn rates.
func (p plan) tierAlerts() []rulefmt.Rule {
	var rules []rulefmt.Rule
	for _, t := range p.tiers {
		labels := merge(p.alertLabels(t.name, t.severity), t.burn.Labels)
		if t.burn.Severity != "" {
			labels["severity"] = t.burn.Severity
		}
		rules = append(rules, rulefmt.Rule{
			Alert:       p.Alerting.Name,
			Expr:        p.held(p.burning(t), labels),
			For:         model.Duration(t.burn.For),
			Labels:      labels,
			Annotations: merge(p.annotate(t.severity, p.tierTexts(t)), t.burn.Annotations),
		})
	}
	return rules
}

// recordedAlerts are the other alerts that read what was recorded.
func (p plan) recordedAlerts() []rulefmt.Rule {
	return slices.Concat(p.noData(), p.outOfRange(), p.policyAlerts())
}

// burning is the condition of a tier.
func (p plan) burning(t tier) string {
	side := func(w time.Duration) string {
		return fmt.Sprintf("max without (sloth_window) (%s%s > %s)", ratio(w), p.filter, decimal(t.threshold))
	}
	expr := side(t.Short) + "\nand\n" + side(t.Long)
	if p.MinBad > 0 && p.events() {
		// A rate is extrapolated: half an event less is still the same count.
		least := new(big.Rat).Sub(big.NewRat(int64(p.MinBad), 1), big.NewRat(1, 2))
		expr += fmt.Sprintf("\nand\n(%s%s >= %s)", increase(t.Long), p.filter, decimal(least))
	}
	return expr
}

// held keeps an alert that fires as it was from the moment the data goes until
// it returns: that nothing is measured does not say that all is well.
func (p plan) held(expr string, labels map[string]string) string {
	if p.filled() {
		return expr
	}
	ours := append(slices.Collect(maps.Keys(labels)), "alertname", "alertstate")
	ours = slices.DeleteFunc(ours, func(l string) bool { return p.id[l] != "" })
	slices.Sort(ours)
	return fmt.Sprintf("(\n%s\n)\nor\n(\nslo:sli_last_error:ratio%s\nand ignoring (%s)\nALERTS{alertname=%q, alertstate=\"firing\", st=%q, st_tier=%q}\nunless on (sloth_id)\n%s\n)",
		expr, p.filter, strings.Join(ours, ", "), p.Alerting.Name, p.ID, labels["st_tier"], p.measured())
}

// alertLabels are the labels of an alert. Those of the specification may
// replace severity and service, none of the others.
func (p plan) alertLabels(name string, s severity) map[string]string {
	return merge(
		map[string]string{"severity": string(s), "service": p.Service},
		p.Labels, p.Alerting.Labels, p.meta(s).Labels,
		p.id, map[string]string{"sloth_severity": string(s), "st": p.ID, "st_tier": name},
	)
}

// annotate lets the annotations of the specification replace ours.
func (p plan) annotate(s severity, ours map[string]string) map[string]string {
	if p.Description != "" {
		ours["description"] = escape(p.Description)
	}
	return merge(ours, p.Alerting.Annotations, p.meta(s).Annotations)
}

// words are what a kind is called in the texts of its alerts.
func (p plan) words() (summary, value string) {
	switch p.SLI.Kind {
	case KindLatency:
		return "too many slow requests", "of requests took too long"
	case KindBoolean, KindSlices:
		return "is down or fails too often", "of the time was bad"
	case KindCost:
		return "spends too fast", "of the budget would be spent in a period at the rate"
	case KindEvents:
		return "too many failed requests", "of requests failed"
	case KindRaw, KindResponse, KindCertificate, KindCapacity:
	}
	if p.events() {
		return "too many failed requests", "of requests failed"
	}
	return "fails too often", "failed"
}

// tierTexts are the annotations of a tier.
func (p plan) tierTexts(t tier) map[string]string {
	period, windows := days(p.windows.Period), text(t.Short)+"/"+text(t.Long)
	impact := "the objective is 100%: every failure breaks it"
	if p.budget.Sign() > 0 {
		impact = fmt.Sprintf("at least %s%% of the %s error budget burns every %s; at this rate it is gone in %s",
			short(t.BudgetPercent), period, text(t.Long), text(t.exhausts(p.windows.Period)))
	}
	summary, value := p.words()
	limit := fmt.Sprintf("%s%% good over %s; at most %s may fail over %s, burn %s", p.Objective, period, percent(t.threshold), windows, short(t.factor))
	if p.SLI.Kind == KindCost {
		limit = fmt.Sprintf("%s over %s; burn %s over %s", p.SLI.Budget, period, short(t.factor), windows)
	}
	out := map[string]string{
		"title":   fmt.Sprintf("(%s) {{$labels.sloth_service}} {{$labels.sloth_slo}} SLO error budget burn rate is too fast.", t.severity),
		"summary": fmt.Sprintf("%s: %s (%s)", p.Service, summary, p.Name),
		"impact":  impact,
		"value":   "{{ $value | humanizePercentage }} " + value + " over " + text(t.Short),
		"target":  limit,
		"window":  windows,
	}
	if p.budget.Sign() > 0 {
		out["st_exhausts_in"] = text(t.exhausts(p.windows.Period))
	}
	return out
}

// stateAlerts are the alerts of kinds that alert on a state.
func (p plan) stateAlerts() []rulefmt.Rule {
	var rules []rulefmt.Rule
	for _, c := range []struct {
		*Condition
		severity
	}{{p.SLI.Page, page}, {p.SLI.Ticket, ticket}} {
		if c.Condition == nil || p.meta(c.severity).Disable {
			continue
		}
		expr, err := render(c.Expr, p.vars(p.every))
		if err != nil {
			continue // it was made here, and is tested
		}
		rules = append(rules, rulefmt.Rule{
			Alert: p.Alerting.Name, Expr: expr, For: model.Duration(c.For),
			Labels: p.alertLabels(string(c.severity), c.severity),
			Annotations: p.annotate(c.severity, map[string]string{
				"title":   fmt.Sprintf("(%s) {{$labels.sloth_service}} {{$labels.sloth_slo}}: %s.", c.severity, c.Summary),
				"summary": fmt.Sprintf("%s: %s (%s)", p.Service, c.Summary, p.Name),
				"impact":  c.Impact, "value": c.Value, "target": c.Limit,
			}),
		})
	}
	return rules
}

// least is the severity of alerts about the target itself: not about failures
// that anybody sees.
func (p plan) least(first severity) (severity, bool) {
	other := ticket
	if first == ticket {
		other = page
	}
	switch {
	case !p.meta(first).Disable:
		return first, true
	case !p.meta(other).Disable:
		return other, true
	}
	return "", false
}

// noData is the alert for a target that cannot be measured.
func (p plan) noData() []rulefmt.Rule {
	s, ok := p.least(page)
	if !ok || p.OnNoData != "" && p.OnNoData != NoDataAlert {
		return nil
	}
	if p.SLI.Ticket != nil || p.SLI.Kind == KindCost || p.SLI.Kind == KindResponse {
		if s, ok = p.least(ticket); !ok { // nobody waits for these
			return nil
		}
	}
	base := p.base()
	wait := max(base, time.Minute)
	return []rulefmt.Rule{{
		Alert:  p.Alerting.Name + "NoData",
		Expr:   "absent(" + p.measured() + ")",
		For:    model.Duration(wait),
		Labels: p.alertLabels("no_data", s),
		// The user's texts speak of failures, so ours win here.
		Annotations: merge(p.annotate(s, map[string]string{}), map[string]string{
			"title":   fmt.Sprintf("(%s) {{$labels.sloth_service}} {{$labels.sloth_slo}} SLO has no data.", s),
			"summary": fmt.Sprintf("%s: no data, nobody can tell whether it works (%s)", p.Service, p.Name),
			"impact":  "the service may be down: a failure of any size would not be seen",
			"value":   fmt.Sprintf("no samples over %s, for %s", text(base), text(wait)),
			"target":  fmt.Sprintf("%s%% good over %s, and measured", p.Objective, days(p.windows.Period)),
			"window":  text(base),
		}),
	}}
}

// outOfRange is the alert for a share that is none: more bad events than events,
// or fewer than none.
func (p plan) outOfRange() []rulefmt.Rule {
	switch p.SLI.Kind {
	case KindEvents, KindRaw, KindBoolean, KindLatency:
	case KindSlices, KindCertificate, KindCapacity, KindCost, KindResponse:
		return nil
	}
	s, ok := p.least(ticket)
	if !ok {
		return nil
	}
	series := ratio(p.base()) + p.filter
	return []rulefmt.Rule{{
		Alert:  p.Alerting.Name + "OutOfRange",
		Expr:   fmt.Sprintf("max without (sloth_window) (%[1]s > 1.000001 or %[1]s < -0.000001)", series),
		For:    model.Duration(max(p.base(), time.Minute)),
		Labels: p.alertLabels("out_of_range", s),
		Annotations: merge(p.annotate(s, map[string]string{}), map[string]string{
			"title":   fmt.Sprintf("(%s) {{$labels.sloth_service}} {{$labels.sloth_slo}} SLI is out of range.", s),
			"summary": fmt.Sprintf("%s: the indicator is wrong, it is not a share of events (%s)", p.Service, p.Name),
			"impact":  "the target measures nothing that can be trusted until its queries are corrected",
			"value":   "{{ $value }} of 1 failed over " + text(p.base()),
			"target":  "between 0 and 1",
			"window":  text(p.base()),
		}),
	}}
}

// remaining is the share of the budget that is left, of the calendar period if
// the target has one.
func (p plan) remaining() string {
	if p.Calendar.Unit != "" {
		return fmt.Sprintf("max without (period, basis) (%s{sloth_id=%q, basis=\"projected\"})", CalendarSeries, p.ID)
	}
	return "1 - slo:period_error_budget_spent:ratio" + p.filter
}

// policyAlerts are the steps of the error budget policy.
func (p plan) policyAlerts() []rulefmt.Rule {
	if p.budget.Sign() == 0 {
		return nil
	}
	var rules []rulefmt.Rule
	for _, step := range p.Policy {
		below, _ := new(big.Rat).SetString(step.Below)
		s := pages(step.Severity)
		labels := merge(p.alertLabels("budget_"+step.Below, s), map[string]string{"severity": step.Severity, "st_budget_below": step.Below})
		if step.Notify != "" {
			labels["notify_target"] = step.Notify
		}
		summary := fmt.Sprintf("no more than %s of the error budget is left", percent(below))
		if below.Sign() == 0 {
			summary = "the error budget is used up"
		}
		impact := "the objective is missed once nothing is left"
		if step.Freeze {
			impact = "releases of the service are refused until there is budget again"
		}
		rules = append(rules, rulefmt.Rule{
			Alert: p.Alerting.Name + "Budget", Expr: fmt.Sprintf("(%s) <= %s", p.remaining(), decimal(below)), Labels: labels,
			Annotations: merge(p.annotate(s, map[string]string{}), map[string]string{
				"title":   fmt.Sprintf("(%s) {{$labels.sloth_service}} {{$labels.sloth_slo}} SLO: %s.", s, summary),
				"summary": fmt.Sprintf("%s: %s (%s)", p.Service, summary, p.Name),
				"impact":  impact,
				"value":   "{{ $value | humanizePercentage }} of the budget is left",
				"target":  fmt.Sprintf("%s%% good over %s", p.Objective, p.periodText()),
			}),
		})
	}
	return rules
}

// periodText is the period of the budget for people.
func (p plan) periodText() string {
	if p.Calendar.Unit != "" {
		return "a calendar " + string(p.Calendar.Unit)
	}
	return days(p.windows.Period)
}

// escape keeps Prometheus from reading a text as a template.
func escape(s string) string {
	return strings.ReplaceAll(s, "{{", `{{"{{"}}`)
}
