package targets

import (
	"fmt"
	"math/big"
	"time"
)

// Outlook says what a target will alert on.
type Outlook struct {
	ID        string          `json:"id"`
	Kind      string          `json:"kind"`
	Objective string          `json:"objective,omitempty"` // percent
	Budget    string          `json:"budget,omitempty"`    // of money, in place of an objective
	Period    string          `json:"period"`
	Alerts    []OutlookAlert  `json:"alerts"`
	Outage    *OutlookInstant `json:"outage,omitempty"`    // the first page of a total outage
	TenTimes  *OutlookInstant `json:"ten_times,omitempty"` // the first alert of a burn of 10
	Pos       Pos             `json:"-"`
}

// OutlookAlert is one alert. Outage and TenTimes are how long after the
// beginning of a total outage, and of a burn of ten times the budget, it fires
// if all was well before and traffic is even; zero if it does not.
type OutlookAlert struct {
	Name     string        `json:"name"`
	Tier     string        `json:"tier"`
	Severity string        `json:"severity"`
	When     string        `json:"when"`
	Outage   time.Duration `json:"outage_ns,omitempty"`
	TenTimes time.Duration `json:"ten_times_ns,omitempty"`
}

// OutlookInstant is when something is first alerted on, and by which tier.
type OutlookInstant struct {
	Tier     string        `json:"tier"`
	Severity string        `json:"severity"`
	After    time.Duration `json:"after_ns"`
}

// Outlooks says what each target that has rules will alert on, in the order of
// the targets. The times follow from the numbers that stand in the rules: from
// clean, an error ratio e passes the threshold k*B over the long window L after
// L*k*B/e, and over the short one before that; what "for" asks comes on top.
// Scraping and evaluating add up to one interval each, slices up to one slice.
func Outlooks(cfg Config) []Outlook {
	g := newGenerator(cfg)
	plans := g.plans()
	out := make([]Outlook, len(plans))
	for i, p := range plans {
		out[i] = p.outlook()
	}
	return out
}

func (p plan) outlook() Outlook {
	o := Outlook{ID: p.ID, Kind: p.kind(), Objective: p.Objective, Period: p.periodText(), Pos: p.Pos}
	if p.SLI.Kind == KindCost {
		o.Objective, o.Budget = "", p.SLI.Budget
	}
	rules := p.alertRules()
	severity := map[string]string{}
	for _, r := range rules {
		severity[r.Labels["st_tier"]] = r.Labels["severity"]
	}
	for _, t := range p.tiers {
		a := OutlookAlert{
			Name: p.Alerting.Name, Tier: t.name, Severity: severity[t.name], Outage: p.fires(t, big.NewRat(1, 1)), TenTimes: p.fires(t, p.tenTimes()),
			When: fmt.Sprintf("burn above %s over %s and %s, an error ratio of %s", short(t.factor), text(t.Short), text(t.Long), percent(t.threshold)),
		}
		if p.SLI.Kind == KindCost { // there is no outage of money
			a.When = fmt.Sprintf("spending above %s times the budgeted rate over %s and %s", short(t.factor), text(t.Short), text(t.Long))
			a.Outage, a.TenTimes = 0, p.overspends(t)
		}
		o.Alerts = append(o.Alerts, a)
	}
	for _, r := range rules {
		tier := r.Labels["st_tier"]
		a := OutlookAlert{Name: r.Alert, Tier: tier, Severity: r.Labels["severity"]}
		switch {
		case tier == "no_data":
			a.When = "nothing is measured for " + text(time.Duration(r.For))
		case tier == "out_of_range":
			a.When = "the indicator is no share"
		case r.Labels["st_budget_below"] != "":
			below, _ := new(big.Rat).SetString(r.Labels["st_budget_below"])
			a.When = fmt.Sprintf("no more than %s of the budget is left", percent(below))
			if p.SLI.Kind != KindCost && p.Calendar.Unit == "" {
				a.Outage, a.TenTimes = p.spends(below, big.NewRat(1, 1)), p.spends(below, p.tenTimes())
			}
		case tier == string(page) || tier == string(ticket):
			a.When = p.stateText(tier)
		default:
			continue // a burn rate, above
		}
		o.Alerts = append(o.Alerts, a)
	}
	for _, a := range o.Alerts {
		o.Outage = sooner(o.Outage, a, a.Outage)
		o.TenTimes = sooner(o.TenTimes, a, a.TenTimes)
	}
	return o
}

// stateText is what a condition says of itself.
func (p plan) stateText(tier string) string {
	c := p.SLI.Ticket
	if tier == string(page) {
		c = p.SLI.Page
	}
	return c.Summary + "; wanted: " + c.Limit
}

func sooner(first *OutlookInstant, a OutlookAlert, after time.Duration) *OutlookInstant {
	if after == 0 || first != nil && first.After <= after {
		return first
	}
	return &OutlookInstant{Tier: a.Tier, Severity: a.Severity, After: after}
}

// tenTimes is the error ratio of a burn of ten: all of it if that is more than
// all.
func (p plan) tenTimes() *big.Rat {
	e := new(big.Rat).Mul(p.budget, big.NewRat(10, 1))
	if p.SLI.Kind != KindCost && e.Cmp(big.NewRat(1, 1)) > 0 {
		return big.NewRat(1, 1)
	}
	return e
}

// fires is how long after an error ratio e began the tier fires; zero if it does
// not.
func (p plan) fires(t tier, e *big.Rat) time.Duration {
	if e.Cmp(t.threshold) <= 0 {
		return 0
	}
	after := new(big.Rat).Quo(t.threshold, e)
	return max(of(t.Long, after), time.Second) + t.burn.For
}

// overspends is how long after spending went from the budgeted rate to ten times
// that the average over the long window is above the factor.
func (p plan) overspends(t tier) time.Duration {
	one := big.NewRat(1, 1)
	return of(t.Long, new(big.Rat).Quo(new(big.Rat).Sub(t.factor, one), big.NewRat(9, 1)))
}

// spends is how long an error ratio takes to spend a full budget down to a share
// of it, with a whole period of data before; zero if it never does.
func (p plan) spends(below, e *big.Rat) time.Duration {
	share := new(big.Rat).Sub(big.NewRat(1, 1), below)
	share.Mul(share, p.budget)
	if e.Sign() == 0 || share.Cmp(e) > 0 {
		return 0
	}
	return max(of(p.windows.Period, share.Quo(share, e)), time.Second)
}

// of is a share of a duration, to the millisecond.
func of(d time.Duration, share *big.Rat) time.Duration {
	f, _ := new(big.Rat).Mul(share, big.NewRat(int64(d), 1)).Float64()
	return time.Duration(f).Round(time.Millisecond)
}

// Join makes one rule file of several, as promtool and Prometheus read it.
func Join(files []File) []byte {
	const head = "groups:\n"
	out := []byte(head)
	for _, f := range files {
		out = append(out, f.Content[len(head):]...)
	}
	return out
}
