package collector

import (
	"context"
	"errors"
	"fmt"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/timestamp"
)

// Append writes samples of series that nothing scrapes, all of them or none. The
// label __name__ is the metric. Samples of a series must come in the order of
// their times.
func (c *Collector) Append(ctx context.Context, samples []Sample) error {
	app := c.db.Appender(ctx)
	for _, s := range samples {
		l := labels.FromMap(s.Labels)
		if _, err := app.Append(0, l, timestamp.FromTime(s.At), s.Value); err != nil {
			return errors.Join(fmt.Errorf("append %s: %w", l, err), app.Rollback())
		}
	}
	if err := app.Commit(); err != nil {
		return fmt.Errorf("append %d samples: %w", len(samples), err)
	}
	return nil
}
