package targets

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

// Rules returns a rule file for each target. A target with a mistake has no
// file; a target with a warning has one.
func Rules(cfg Config) ([]File, []Problem) {
	g := &generator{cfg: cfg, catalogues: map[time.Duration]Windows{}}
	for _, w := range builtin() {
		g.catalogues[w.Period] = w
	}
	g.addCatalogues()
	var files []File
	seen := map[string]Pos{}
	for _, t := range cfg.Targets {
		if first, ok := seen[t.ID]; ok {
			g.fail(t.Pos, "rename the service or the target", "the target id %q is already that of %s:%d", t.ID, first.File, first.Line)
			continue
		}
		seen[t.ID] = t.Pos
		if f, ok := g.file(t); ok {
			files = append(files, f)
		}
	}
	return files, g.problems
}

// generator makes the rule files and collects what is wrong.
type generator struct {
	cfg        Config
	catalogues map[time.Duration]Windows
	problems   []Problem
}

func (g *generator) fail(at Pos, advice, format string, args ...any) {
	g.problems = append(g.problems, Problem{Pos: at, Message: fmt.Sprintf(format, args...), Advice: advice})
}

func (g *generator) warn(at Pos, advice, format string, args ...any) {
	g.problems = append(g.problems, Problem{Pos: at, Message: fmt.Sprintf(format, args...), Advice: advice, Warning: true})
}

// addCatalogues lets the configured catalogues replace the built-in ones.
func (g *generator) addCatalogues() {
	own := map[time.Duration]Windows{}
	for _, w := range g.cfg.Windows {
		if flaws := w.check(); len(flaws) > 0 {
			g.fail(w.Pos, flaws[0].advice, "%s: %s", flaws[0].field, flaws[0].message)
			continue
		}
		if first, ok := own[w.Period]; ok {
			g.fail(w.Pos, "keep one catalogue for each sloPeriod", "the period %s already has the catalogue %s", days(w.Period), first.Name)
			continue
		}
		own[w.Period], g.catalogues[w.Period] = w, w
	}
}

// plan is everything that the rules of one target are made of.
type plan struct {
	Target
	windows Windows
	budget  *big.Rat
	tiers   []tier
	// id are the labels that every series and alert of the target has, and
	// filter the same as a selector.
	id     map[string]string
	filter string
}

// file makes the rule file of a target.
func (g *generator) file(t Target) (File, bool) {
	p, ok := g.plan(t)
	if !ok {
		return File{}, false
	}
	sli, err := p.sliRules()
	if err != nil {
		g.fail(t.Pos, "try the queries in Prometheus", "%v", err)
		return File{}, false
	}
	every := model.Duration(p.windows.interval())
	groups := []rulefmt.RuleGroup{
		{Name: "sloth-slo-sli-recordings-" + p.ID, Interval: every, Rules: sli},
		{Name: "sloth-slo-meta-recordings-" + p.ID, Interval: every, Rules: p.metaRules()},
	}
	if alerts := p.alertRules(); len(alerts) > 0 {
		groups = append(groups, rulefmt.RuleGroup{Name: "sloth-slo-alerts-" + p.ID, Rules: alerts})
	}
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(rulefmt.RuleGroups{Groups: groups}); err != nil {
		g.fail(t.Pos, "remove unusual characters from the target", "cannot write the rules of %s: %v", t.ID, err)
		return File{}, false
	}
	_, errs := rulefmt.Parse(b.Bytes(), false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	for _, err := range errs {
		g.fail(t.Pos, "check the templates in its labels and annotations", "the rules of %s are not valid: %v", t.ID, err)
	}
	return File{Name: "targets/" + p.ID, Content: b.Bytes()}, len(errs) == 0
}

// plan chooses the windows of a target and drops the tiers that cannot fire.
func (g *generator) plan(t Target) (plan, bool) {
	p := plan{Target: t}
	period := g.cfg.period(t)
	w, ok := g.catalogues[period]
	if !ok {
		g.fail(t.Pos, "add an AlertWindows file with sloPeriod: "+days(period)+"; built in are 7d, 28d and 30d",
			"there are no alert windows for a period of %s", days(period))
		return p, false
	}
	if need := period + period/10; g.cfg.Retention > 0 && g.cfg.Retention < need {
		g.fail(t.Pos, "set retention.series to "+text(need)+" or more, or choose a shorter period",
			"series are kept for %s, too short to measure %s over %s", days(g.cfg.Retention), t.ID, days(period))
		return p, false
	}
	if !decimals.MatchString(t.Objective) {
		g.fail(t.Pos, "write a number as 99.9", "the objective %q of %s is not a decimal number", t.Objective, t.ID)
		return p, false
	}
	objective, _ := new(big.Rat).SetString(t.Objective)
	p.windows = w
	p.budget = new(big.Rat).Sub(big.NewRat(1, 1), objective.Quo(objective, big.NewRat(100, 1)))
	p.id = map[string]string{"sloth_id": t.ID, "sloth_service": t.Service, "sloth_slo": t.Name}
	p.filter = fmt.Sprintf("{sloth_id=%q, sloth_service=%q, sloth_slo=%q}", t.ID, t.Service, t.Name)
	wanted := 0
	for _, tier := range w.tiers(p.budget) {
		if p.meta(tier.severity).Disable {
			continue
		}
		wanted++
		if !tier.canFire() {
			g.warn(t.Pos, "a higher objective or a smaller share of the budget makes it fire",
				"%s: %s can never fire for an objective of %s%%: a burn of %s needs %s errors", t.ID, tier.name, t.Objective, short(tier.factor), percent(tier.threshold))
			continue
		}
		p.tiers = append(p.tiers, tier)
	}
	if wanted > 0 && len(p.tiers) == 0 {
		g.warn(t.Pos, "raise the objective, or write an AlertWindows file with smaller shares", "%s has no alert that can fire", t.ID)
	}
	return p, true
}

// meta is what the specification gives to the alerts of a severity.
func (p plan) meta(s severity) AlertMeta {
	if s == page {
		return p.Alerting.Page
	}
	return p.Alerting.Ticket
}

// Names of series, with a window at their end.
func bad(w time.Duration) string   { return "slo:sli_bad:rate" + text(w) }
func total(w time.Duration) string { return "slo:sli_total:rate" + text(w) }
func raw(w time.Duration) string   { return "slo:sli_raw:ratio_rate" + text(w) }
func ratio(w time.Duration) string { return "slo:sli_error:ratio_rate" + text(w) }

// record is a recording rule with the labels of the target.
func (p plan) record(name, expr string, more ...map[string]string) rulefmt.Rule {
	return rulefmt.Rule{Record: name, Expr: expr, Labels: merge(append([]map[string]string{p.Labels, p.id}, more...)...)}
}

// sliRules are the error ratios over all windows and the period.
func (p plan) sliRules() ([]rulefmt.Rule, error) {
	base := p.windows.base()
	rules, err := p.baseRules(base)
	if err != nil {
		return nil, err
	}
	for _, w := range append(p.windows.all()[1:], p.windows.Period) {
		var expr string
		switch {
		case p.SLI.ErrorRatio != "" && w == p.windows.Period:
			expr = fmt.Sprintf("avg_over_time(%s%s[%s])", ratio(base), p.filter, text(w))
		case p.SLI.ErrorRatio != "":
			if expr, err = fill(p.SLI.ErrorRatio, w); err == nil {
				expr = "(" + expr + ") >= -Inf"
			}
		case w > 12*base:
			expr = fmt.Sprintf("sum_over_time(%[1]s%[3]s[%[4]s])\n/\n(sum_over_time(%[2]s%[3]s[%[4]s]) > 0)", bad(base), total(base), p.filter, text(w))
		default:
			expr, err = p.guarded(w)
		}
		if err != nil {
			return nil, err
		}
		// A long window as long as the period has the period's series.
		if n := len(rules); n > 0 && rules[n-1].Record == ratio(w) {
			continue
		}
		rules = append(rules, p.record(ratio(w), expr, map[string]string{"sloth_window": text(w)}))
	}
	return rules, nil
}

// baseRules are the rates of bad and of all events over the shortest window,
// and their ratio.
func (p plan) baseRules(w time.Duration) ([]rulefmt.Rule, error) {
	window := map[string]string{"sloth_window": text(w)}
	if p.SLI.ErrorRatio != "" {
		q, err := fill(p.SLI.ErrorRatio, w)
		if err != nil {
			return nil, err
		}
		return []rulefmt.Rule{
			p.record(raw(w), q),
			p.record(ratio(w), raw(w)+p.filter+" >= -Inf", window),
		}, nil
	}
	b, err := p.badRate(w)
	if err != nil {
		return nil, err
	}
	t, err := fill(p.SLI.Total, w)
	if err != nil {
		return nil, err
	}
	return []rulefmt.Rule{
		p.record(bad(w), b),
		p.record(total(w), t),
		p.record(ratio(w), fmt.Sprintf("%s%s\n/\n(%s%s > 0)", bad(w), p.filter, total(w), p.filter), window),
	}, nil
}

// badRate is the rate of bad events, zero where there are events but none bad.
func (p plan) badRate(w time.Duration) (string, error) {
	b, err := fill(p.SLI.Error, w)
	if err != nil {
		return "", err
	}
	t, err := fill(p.SLI.Total, w)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("(%s)\nor\n0 * (%s)", b, t), nil
}

// guarded is the error ratio straight from the queries.
func (p plan) guarded(w time.Duration) (string, error) {
	b, err := p.badRate(w)
	if err != nil {
		return "", err
	}
	t, err := fill(p.SLI.Total, w)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("(\n%s\n)\n/\n((%s) > 0)", b, t), nil
}

// fill puts a window into a query and normalises it.
func fill(query string, w time.Duration) (string, error) {
	q, err := render(query, text(w))
	if err != nil {
		return "", err
	}
	return expression(q)
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
			p.record("slo:current_burn_rate:ratio", burn(p.windows.base())),
			p.record("slo:period_burn_rate:ratio", burn(p.windows.Period)),
			p.record("slo:period_error_budget_remaining:ratio", "1 - slo:period_burn_rate:ratio"+p.filter),
		)
	}
	return append(rules, p.record("sloth_slo_info", "vector(1)", map[string]string{
		"sloth_mode":      "watchbill",
		"sloth_objective": p.Objective,
		"sloth_spec":      slothVersion,
		"sloth_version":   "watchbill",
	}))
}

// alertRules are the alerts of the tiers and the alert for missing data.
func (p plan) alertRules() []rulefmt.Rule {
	var rules []rulefmt.Rule
	for _, t := range p.tiers {
		side := func(w time.Duration) string {
			return fmt.Sprintf("max without (sloth_window) (%s%s > %s)", ratio(w), p.filter, decimal(t.threshold))
		}
		rules = append(rules, rulefmt.Rule{
			Alert:       p.Alerting.Name,
			Expr:        side(t.Short) + "\nand\n" + side(t.Long),
			Labels:      p.alertLabels(t.name, t.severity),
			Annotations: p.annotate(t.severity, p.tierTexts(t)),
		})
	}
	return append(rules, p.noData()...)
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

// tierTexts are the annotations of a tier.
func (p plan) tierTexts(t tier) map[string]string {
	period, windows := days(p.windows.Period), text(t.Short)+"/"+text(t.Long)
	impact := "the objective is 100%: every failure breaks it"
	if p.budget.Sign() > 0 {
		impact = fmt.Sprintf("at least %s%% of the %s error budget burns every %s; at this rate it is gone in %s",
			short(t.BudgetPercent), period, text(t.Long), text(t.exhausts(p.windows.Period)))
	}
	summary, value := "too many failed requests", "of requests failed"
	if p.SLI.ErrorRatio != "" {
		summary, value = "fails too often", "failed"
	}
	out := map[string]string{
		"title":   fmt.Sprintf("(%s) {{$labels.sloth_service}} {{$labels.sloth_slo}} SLO error budget burn rate is too fast.", t.severity),
		"summary": fmt.Sprintf("%s: %s (%s)", p.Service, summary, p.Name),
		"impact":  impact,
		"value":   "{{ $value | humanizePercentage }} " + value + " over " + text(t.Short),
		"target": fmt.Sprintf("%s%% good over %s; at most %s may fail over %s, burn %s",
			p.Objective, period, percent(t.threshold), windows, short(t.factor)),
		"window": windows,
	}
	if p.budget.Sign() > 0 {
		out["st_exhausts_in"] = text(t.exhausts(p.windows.Period))
	}
	return out
}

// noData is the alert for a target that cannot be measured.
func (p plan) noData() []rulefmt.Rule {
	if p.Alerting.Page.Disable && p.Alerting.Ticket.Disable {
		return nil
	}
	s := page
	if p.Alerting.Page.Disable {
		s = ticket
	}
	base := p.windows.base()
	series := total(base)
	if p.SLI.ErrorRatio != "" {
		series = raw(base)
	}
	wait := max(base, time.Minute)
	return []rulefmt.Rule{{
		Alert:  p.Alerting.Name + "NoData",
		Expr:   "absent(" + series + p.filter + ")",
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

// escape keeps Prometheus from reading a text as a template.
func escape(s string) string {
	return strings.ReplaceAll(s, "{{", `{{"{{"}}`)
}
