package config

import (
	"time"

	"watchbill/collector"
)

// queries reads the limits of the query API.
func (b *builder) queries() {
	q := b.file.Query
	b.cfg.Collector.Query = collector.QueryConfig{
		Timeout:        b.positive(q.Timeout, "timeout"),
		MaxSamples:     b.count(q.MaxSamples, "max_samples"),
		MaxConcurrency: b.count(q.MaxConcurrency, "max_concurrency"),
	}
	if q.Timeout.v > 2*time.Minute {
		b.problem(q.Timeout.n, "write at most 2m", "a query's timeout is longer than two minutes")
	}
}

// count returns a number that may be left out but not be zero.
func (b *builder) count(n number, what string) int {
	if n.given() && n.v <= 0 {
		b.problem(n.n, "write a number above 0, or remove the key for the default", "%s must be above 0", what)
	}
	return n.v
}
