package targets

import (
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
)

const day = 24 * time.Hour

// minWindow is the shortest window: rate needs two samples, and nothing is
// scraped more often than every second.
const minWindow = 2 * time.Second

// severity is the kind of an alert, Sloth's word for it.
type severity string

const (
	page   severity = "page"
	ticket severity = "ticket"
)

// tier is one alert of a target: a window of the catalogue with what follows
// from the objective.
type tier struct {
	Window
	name     string
	severity severity
	// factor is k and threshold is k*B.
	factor, threshold *big.Rat
	// burn is set for a tier that an alert policy states.
	burn Burn
}

// builtin are the catalogues that need no file. The shares of 28 d and 30 d are
// those of the SRE workbook; those of 7 d spend more of the smaller budget so
// that the factors stay near.
func builtin() []Windows {
	catalogue := func(days int64, percent ...string) Windows {
		window := func(i int, short, long time.Duration) Window {
			p, _ := new(big.Rat).SetString(percent[i])
			return Window{BudgetPercent: p, Short: short, Long: long}
		}
		return Windows{
			Name:       fmt.Sprintf("built-in %dd", days),
			Period:     time.Duration(days) * day,
			PageFast:   window(0, 5*time.Minute, time.Hour),
			PageSlow:   window(1, 30*time.Minute, 6*time.Hour),
			TicketFast: window(2, 2*time.Hour, day),
			TicketSlow: window(3, 6*time.Hour, 3*day),
		}
	}
	return []Windows{
		catalogue(30, "2", "5", "10", "10"),
		catalogue(28, "2", "5", "10", "10"),
		catalogue(7, "8", "12.5", "20", "42"),
	}
}

// tiers are the four tiers in the order in which they fire, for a budget.
func (w Windows) tiers(budget *big.Rat) []tier {
	all := []tier{
		{Window: w.PageFast, name: "page_fast", severity: page},
		{Window: w.PageSlow, name: "page_slow", severity: page},
		{Window: w.TicketFast, name: "ticket_fast", severity: ticket},
		{Window: w.TicketSlow, name: "ticket_slow", severity: ticket},
	}
	for i := range all {
		all[i].factor = all[i].rate(w.Period)
		all[i].threshold = new(big.Rat).Mul(all[i].factor, budget)
	}
	return all
}

// rate is the factor k = p*W/L.
func (w Window) rate(period time.Duration) *big.Rat {
	k := new(big.Rat).Mul(w.BudgetPercent, big.NewRat(int64(period), int64(w.Long)))
	return k.Quo(k, big.NewRat(100, 1))
}

// canFire reports whether the tier's threshold is an error ratio that can be
// exceeded.
func (t tier) canFire() bool { return t.threshold.Cmp(big.NewRat(1, 1)) < 0 }

// exhausts is the time in which the whole budget burns at the tier's factor.
func (t tier) exhausts(period time.Duration) time.Duration {
	left := new(big.Rat).Quo(big.NewRat(int64(period), 1), t.factor)
	f, _ := left.Float64()
	d := time.Duration(f)
	switch {
	case d >= time.Hour:
		return d.Round(time.Minute)
	case d >= time.Minute:
		return d.Round(time.Second)
	}
	return d.Round(time.Millisecond)
}

// all are the windows that must be recorded, shortest first, without the
// period.
func (w Windows) all() []time.Duration {
	var ds []time.Duration
	for _, t := range []Window{w.PageFast, w.PageSlow, w.TicketFast, w.TicketSlow} {
		ds = append(ds, t.Short, t.Long)
	}
	slices.Sort(ds)
	return slices.Compact(ds)
}

// base is the shortest window.
func (w Windows) base() time.Duration { return w.all()[0] }

// interval is how often the windows are recorded: five times within the
// shortest, at least once a second and at least twice a minute.
func (w Windows) interval() time.Duration {
	return min(max(w.base()/5, time.Second), 30*time.Second).Truncate(time.Millisecond)
}

// flaw is what is wrong with a catalogue; field is the path of the key to
// blame.
type flaw struct{ field, message, advice string }

// check returns what is wrong with the catalogue.
func (w Windows) check() []flaw {
	var flaws []flaw
	add := func(field, advice, format string, args ...any) {
		flaws = append(flaws, flaw{field: field, message: fmt.Sprintf(format, args...), advice: advice})
	}
	if w.Period < time.Minute {
		add("sloPeriod", "write the period as 30d, or 1h for a demonstration", "the period %s is shorter than a minute", text(w.Period))
	}
	for _, t := range []struct {
		path string
		Window
	}{
		{"page.quick", w.PageFast},
		{"page.slow", w.PageSlow},
		{"ticket.quick", w.TicketFast},
		{"ticket.slow", w.TicketSlow},
	} {
		if t.BudgetPercent == nil || t.BudgetPercent.Sign() <= 0 || t.BudgetPercent.Cmp(big.NewRat(100, 1)) > 0 {
			add(t.path+".errorBudgetPercent", "write a number above 0 and up to 100", "the share of the error budget is not a percentage")
		}
		if t.Short < minWindow {
			add(t.path+".shortWindow", "a rate needs at least two samples: write "+text(minWindow)+" or more", "the short window %s is too short", text(t.Short))
		}
		if t.Long <= t.Short {
			add(t.path+".longWindow", "a twelfth of the long window is a good short one", "the long window %s is not longer than the short one %s", text(t.Long), text(t.Short))
		}
		if t.Long > w.Period {
			add(t.path+".longWindow", "choose a window within the period", "the window %s is longer than the period %s", text(t.Long), text(w.Period))
		}
	}
	return flaws
}

// text writes a duration as Prometheus does: 1h30m, 3d, 4w.
func text(d time.Duration) string { return model.Duration(d).String() }

// days writes a period in days where it is whole days, as people say it: 7d
// rather than 1w.
func days(d time.Duration) string {
	if d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	return text(d)
}

// decimal writes a number with the fewest digits that give the same float.
func decimal(r *big.Rat) string {
	f, _ := r.Float64()
	return strconv.FormatFloat(f, 'f', -1, 64)
}

// short writes a number for people, with four digits.
func short(r *big.Rat) string {
	f, _ := r.Float64()
	return strconv.FormatFloat(f, 'g', 4, 64)
}

// percent writes a share in percent for people.
func percent(r *big.Rat) string {
	return short(new(big.Rat).Mul(r, big.NewRat(100, 1))) + "%"
}
