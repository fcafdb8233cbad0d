package collector

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/timestamp"
	"github.com/prometheus/prometheus/promql"

	"watchbill"
)

// Sample is one value of one series.
type Sample struct {
	Labels watchbill.Labels
	Value  float64
	At     time.Time
}

// Query evaluates an expression at an instant. A scalar gives one sample
// without labels, a range vector all of its samples. Histograms are left out.
func (c *Collector) Query(ctx context.Context, expr string, at time.Time) ([]Sample, error) {
	q, err := c.engine.NewInstantQuery(ctx, c.db, nil, expr, at)
	if err != nil {
		return nil, watchbill.Invalidf("correct the expression", "read the expression: %v", err)
	}
	defer q.Close()
	res := q.Exec(ctx)
	if res.Err != nil {
		return nil, fmt.Errorf("evaluate %s: %w", expr, res.Err)
	}
	var out []Sample
	add := func(l labels.Labels, t int64, v float64) {
		out = append(out, Sample{Labels: l.Map(), Value: v, At: timestamp.Time(t)})
	}
	switch v := res.Value.(type) {
	case promql.Scalar:
		add(labels.EmptyLabels(), v.T, v.V)
	case promql.Vector:
		for _, s := range v {
			if s.H == nil {
				add(s.Metric, s.T, s.F)
			}
		}
	case promql.Matrix:
		for _, s := range v {
			for _, p := range s.Floats {
				add(s.Metric, p.T, p.F)
			}
		}
	default:
		return nil, watchbill.Invalidf("ask for a number or a series", "the expression gives a %s", v.Type())
	}
	return out, nil
}
