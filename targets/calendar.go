package targets

import (
	"context"
	"fmt"
	"math/big"
	"time"
)

// longest is the longest that a period of the calendar can be.
func (c Calendar) longest() time.Duration {
	switch c.Unit {
	case Week:
		return 7*day + time.Hour
	case Month:
		return 31*day + time.Hour
	case Quarter:
		return 92*day + time.Hour
	}
	return 0
}

// Period is the period of the calendar around an instant, and its name: 2026-11,
// 2026-W48 or 2026-Q4. Weeks begin on Monday.
func (c Calendar) Period(now time.Time) (start, end time.Time, name string) {
	zone := c.Zone
	if zone == nil {
		zone = time.UTC
	}
	now = now.In(zone)
	y, m, d := now.Date()
	switch c.Unit {
	case Week:
		monday := d - (int(now.Weekday())+6)%7
		year, week := now.ISOWeek()
		return time.Date(y, m, monday, 0, 0, 0, 0, zone), time.Date(y, m, monday+7, 0, 0, 0, 0, zone), fmt.Sprintf("%d-W%02d", year, week)
	case Quarter:
		q := (int(m) - 1) / 3
		first := time.Month(3*q + 1)
		return time.Date(y, first, 1, 0, 0, 0, 0, zone), time.Date(y, first+3, 1, 0, 0, 0, 0, zone), fmt.Sprintf("%d-Q%d", y, q+1)
	case Month:
	}
	return time.Date(y, m, 1, 0, 0, 0, 0, zone), time.Date(y, m+1, 1, 0, 0, 0, 0, zone), now.Format("2006-01")
}

// Query evaluates an instant query over the recorded series.
type Query func(ctx context.Context, expr string, at time.Time) ([]Point, error)

// CalendarBudgets are the samples of [CalendarSeries] at an instant. With basis
// "actual" the budget is a share of the events so far, with "projected" of those
// that the period will have if it goes on as it did; time and money are known
// for the whole period, so that both are shares of that. Rules cannot compute
// either, as the range from the start of the period changes with every instant.
func (c Config) CalendarBudgets(ctx context.Context, now time.Time, query Query) ([]Point, error) {
	var out []Point
	for _, p := range c.plansOf(func(t Target) bool { return t.Calendar.Unit != "" }) {
		if p.budget.Sign() == 0 {
			continue
		}
		points, err := p.calendar(ctx, now, query)
		if err != nil {
			return nil, fmt.Errorf("calendar budget of %s: %w", p.ID, err)
		}
		out = append(out, points...)
	}
	return out, nil
}

// calendarSums are queries for what was bad and for all there was since the
// start of the period, in events or in slices.
func (p plan) calendarSums(since time.Duration) (bad, total string) {
	window := fmt.Sprintf("[%ds]", max(int64(since/time.Second), 1))
	base, good := p.base(), seriesSlice
	b, t := p.badSeries(base), p.totalSeries(base)
	if p.counted() {
		good = seriesBudgetGood
	}
	switch {
	case p.SLI.Kind == KindCost:
		return "sum_over_time(" + seriesCost + p.filter + window + ")", "count_over_time(" + seriesCost + p.filter + window + ")"
	case p.slices():
		n := "count_over_time(" + good + p.filter + window + ")"
		return n + " - sum_over_time(" + good + p.filter + window + ")", n
	case p.SLI.ErrorRatio != "" && !p.counted():
		return "sum_over_time(" + ratio(base) + p.filter + window + ")", "count_over_time(" + ratio(base) + p.filter + window + ")"
	}
	return "sum_over_time(" + b + p.filter + window + ")", "sum_over_time(" + t + p.filter + window + ")"
}

func (p plan) badSeries(w time.Duration) string {
	if p.counted() {
		return budgetBad(w)
	}
	return bad(w)
}

func (p plan) totalSeries(w time.Duration) string {
	if p.counted() {
		return budgetTotal(w)
	}
	return total(w)
}

// calendar are the samples of one target.
func (p plan) calendar(ctx context.Context, now time.Time, query Query) ([]Point, error) {
	start, end, name := p.Calendar.Period(now)
	elapsed := now.Sub(start)
	badQuery, totalQuery := p.calendarSums(elapsed)
	wrong, ok, err := sum(ctx, badQuery, now, query)
	if err != nil || !ok {
		return nil, err
	}
	all, ok, err := sum(ctx, totalQuery, now, query)
	if err != nil || !ok || all <= 0 {
		return nil, err
	}
	actual, projected := all, all*float64(end.Sub(start))/float64(max(elapsed, p.every))
	budget, _ := p.budget.Float64()
	if p.slices() || p.SLI.ErrorRatio != "" {
		actual, projected = float64(elapsed)/float64(p.every), float64(end.Sub(start))/float64(p.every)
	}
	if p.SLI.Kind == KindCost {
		money, _ := new(big.Rat).SetString(p.SLI.Budget)
		budget, _ = money.Float64()
		wrong *= p.every.Hours()
		actual, projected = float64(elapsed)/float64(end.Sub(start)), 1
	}
	point := func(basis string, of float64) Point {
		return Point{
			Labels: merge(p.Labels, p.id, map[string]string{"__name__": CalendarSeries, "period": name, "basis": basis}),
			Value:  1 - wrong/(budget*of),
		}
	}
	return []Point{point("actual", actual), point("projected", projected)}, nil
}

// sum evaluates a query and adds up what it gives.
func sum(ctx context.Context, expr string, at time.Time, query Query) (v float64, ok bool, err error) {
	points, err := query(ctx, expr, at)
	for _, p := range points {
		v += p.Value
	}
	return v, len(points) > 0, err
}
