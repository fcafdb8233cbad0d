package targets

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"
)

// plan is everything that the rules of one target are made of.
type plan struct {
	Target
	windows Windows
	budget  *big.Rat
	tiers   []tier
	// every is the time between two slices of the base series.
	every time.Duration
	// excluded is set if maintenance may be taken out of the budget.
	excluded bool
	// remote is set if recording may have to wait for another server.
	remote bool
	// id are the labels that every series and alert of the target has, and
	// filter the same as a selector.
	id     map[string]string
	filter string
}

// plan chooses the windows of a target and drops the tiers that cannot fire.
func (g *generator) plan(t Target) (plan, bool) {
	p := plan{Target: t, remote: g.cfg.Remote}
	period := g.cfg.period(t)
	w, ok := g.catalogues[period]
	if !ok {
		g.fail(t.Pos, "add an AlertWindows file with sloPeriod: "+days(period)+"; built in are 7d, 28d and 30d",
			"there are no alert windows for a period of %s", days(period))
		return p, false
	}
	longest := max(period, t.Calendar.longest())
	if need := longest + longest/10; g.cfg.Retention > 0 && g.cfg.Retention < need {
		g.fail(t.Pos, "set retention.series to "+text(need)+" or more, or choose a shorter period",
			"series are kept for %s, too short to measure %s over %s", days(g.cfg.Retention), t.ID, days(longest))
		return p, false
	}
	if !decimals.MatchString(t.Objective) {
		g.fail(t.Pos, "write a number as 99.9", "the objective %q of %s is not a decimal number", t.Objective, t.ID)
		return p, false
	}
	objective, _ := new(big.Rat).SetString(t.Objective)
	p.windows, p.every = w, w.interval()
	if t.SLI.Every > 0 {
		p.every = t.SLI.Every
	}
	p.budget = new(big.Rat).Sub(big.NewRat(1, 1), objective.Quo(objective, big.NewRat(100, 1)))
	p.id = map[string]string{"sloth_id": t.ID, "sloth_service": t.Service, "sloth_slo": t.Name}
	p.filter = fmt.Sprintf("{sloth_id=%q, sloth_service=%q, sloth_slo=%q}", t.ID, t.Service, t.Name)
	p.excluded = g.cfg.excludes(t)
	return p, g.tiers(&p)
}

// tiers chooses the alerts on burn rates.
func (g *generator) tiers(p *plan) bool {
	if p.SLI.Ticket != nil || p.SLI.Page != nil || p.SLI.Kind == KindResponse {
		return true
	}
	all := p.windows.tiers(p.budget)
	if len(p.Alerting.Burns) > 0 {
		all = p.burns()
	}
	wanted := 0
	for _, tier := range all {
		tier.Short = max(tier.Short, p.base())
		if tier.Long <= tier.Short {
			g.fail(p.Pos, "choose shorter slices", "the window %s of %s has no room for slices of %s", text(tier.Long), tier.name, text(p.every))
			return false
		}
		if p.meta(tier.severity).Disable || p.SLI.Kind == KindCost && tier.name != "ticket_fast" {
			continue
		}
		wanted++
		if !tier.canFire() && p.SLI.Kind != KindCost {
			g.warn(p.Pos, "a higher objective or a smaller share of the budget makes it fire",
				"%s: %s can never fire for an objective of %s%%: a burn of %s needs %s errors", p.ID, tier.name, p.Objective, short(tier.factor), percent(tier.threshold))
			continue
		}
		p.tiers = append(p.tiers, tier)
	}
	if wanted > 0 && len(p.tiers) == 0 {
		g.warn(p.Pos, "raise the objective, or write an AlertWindows file with smaller shares", "%s has no alert that can fire", p.ID)
	}
	return true
}

// pages reports whether alerts of a severity of OpenSLO page.
func pages(name string) severity {
	switch strings.ToLower(name) {
	case "page", "critical", "high", "sev1", "sev2":
		return page
	}
	return ticket
}

// burns are the tiers that an alert policy states, fastest first.
func (p plan) burns() []tier {
	var out []tier
	for _, b := range p.Alerting.Burns {
		k, _ := new(big.Rat).SetString(b.Factor)
		share := new(big.Rat).Mul(k, big.NewRat(int64(b.Long), int64(p.windows.Period)))
		out = append(out, tier{
			Window:   Window{Short: b.Short, Long: b.Long, BudgetPercent: share.Mul(share, big.NewRat(100, 1))},
			name:     string(pages(b.Severity)) + "_" + text(b.Long),
			severity: pages(b.Severity),
			factor:   k, threshold: new(big.Rat).Mul(k, p.budget), burn: b,
		})
	}
	slices.SortStableFunc(out, func(a, b tier) int { return int(a.Long - b.Long) })
	for i := range out { // two of one window
		for j := range i {
			if out[j].name == out[i].name {
				out[i].name += "_" + short(out[i].factor)
			}
		}
	}
	return out
}

// base is the shortest window. It holds at least two slices, so that one that
// is recorded a moment late leaves no gap.
func (p plan) base() time.Duration {
	if p.SLI.Every == 0 {
		return p.windows.base()
	}
	return max(p.windows.base(), 2*p.SLI.Every)
}

// recorded are the windows that are recorded, shortest first, without the
// period.
func (p plan) recorded() []time.Duration {
	ds := []time.Duration{p.base()}
	for _, w := range p.windows.all() {
		ds = append(ds, max(w, p.base()))
	}
	for _, t := range p.tiers {
		ds = append(ds, t.Short, t.Long)
	}
	slices.Sort(ds)
	return slices.DeleteFunc(slices.Compact(ds), func(d time.Duration) bool { return d == p.windows.Period })
}

// meta is what the specification gives to the alerts of a severity.
func (p plan) meta(s severity) AlertMeta {
	if s == page {
		return p.Alerting.Page
	}
	return p.Alerting.Ticket
}

// events reports whether the indicator counts events.
func (p plan) events() bool { return p.SLI.Error != "" || p.SLI.Good != "" }

// slices reports whether the indicator is a share of time.
func (p plan) slices() bool { return p.SLI.Slice != "" }

// filled reports whether missing data counts.
func (p plan) filled() bool { return p.OnNoData == NoDataGood || p.OnNoData == NoDataBad }

// counted reports whether what counts for the budget differs from what was
// measured.
func (p plan) counted() bool { return p.filled() || p.excluded }

// measured is the series that is there while the target can be measured.
func (p plan) measured() string {
	switch {
	case p.SLI.Measured != "":
		return p.SLI.Measured + p.filter
	case p.slices() && p.every > time.Minute:
		return fmt.Sprintf("last_over_time(%s%s[%s])", seriesSlice, p.filter, text(2*p.every))
	case p.slices():
		return seriesSlice + p.filter
	case p.SLI.ErrorRatio != "":
		return raw(p.base()) + p.filter
	}
	return total(p.base()) + p.filter
}

// samples is the range of the series of measured.
func (p plan) samples(w time.Duration) string {
	series := total(p.base())
	switch {
	case p.SLI.Measured != "":
		series = p.SLI.Measured
	case p.slices():
		series = seriesSlice
	case p.SLI.ErrorRatio != "":
		series = raw(p.base())
	}
	return fmt.Sprintf("%s%s[%s]", series, p.filter, text(w))
}

// bad is the rate of bad events, zero where there are events but none bad.
func (s SLI) bad() string {
	if s.Good == "" {
		return fmt.Sprintf("(%s)\nor\n0 * (%s)", s.Error, s.Total)
	}
	if s.Strict {
		return fmt.Sprintf("(%s) - (%s)", s.Total, s.Good)
	}
	return fmt.Sprintf("(%[1]s) - ((%[2]s) or 0 * (%[1]s))", s.Total, s.Good)
}

// vars are what the target's queries are filled with.
func (p plan) vars(w time.Duration) vars {
	v := vars{"window": text(w), "target": p.filter}
	if p.SLI.Kind == KindCapacity { // half the samples of the history
		v["half"] = "10"
		if c := p.SLI.history; c > 0 {
			v["half"] = fmt.Sprint(max(2, int64(c/p.every/2)))
		}
	}
	return v
}
