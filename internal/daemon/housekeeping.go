package daemon

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/go-co-op/gocron/v2"

	"watchbill/runbooks"
)

// housekeeping starts the jobs that nobody waits for: no page depends on one of
// them. It returns the function that stops them.
func (d *Daemon) housekeeping() (stop func() error, err error) {
	s, err := gocron.NewScheduler(gocron.WithStopTimeout(5 * time.Second))
	if err != nil {
		return nil, fmt.Errorf("set up housekeeping: %w", err)
	}
	for name, job := range map[string]struct {
		every time.Duration
		run   func(context.Context)
	}{
		"verify the record": {6 * time.Hour, d.verifyChains}, "count stale runbooks": {6 * time.Hour, d.countStale},
		"delete what is old": {6 * time.Hour, d.retain}, "seal the record": {time.Hour, d.seal}, "look for gaps in the rosters": {6 * time.Hour, d.proveCoverage},
		"look at tokens": {6 * time.Hour, d.lookAtTokens}, "end sessions": {time.Hour, d.sweepSessions},
	} {
		_, err := s.NewJob(gocron.DurationJob(job.every), gocron.NewTask(job.run),
			gocron.WithName(name), gocron.WithSingletonMode(gocron.LimitModeReschedule), gocron.WithStartAt(gocron.WithStartImmediately()))
		if err != nil {
			return nil, fmt.Errorf("schedule %q: %w", name, err)
		}
	}
	s.Start()
	return s.Shutdown, nil
}

func (d *Daemon) verifyChains(ctx context.Context) {
	broken, err := verifyRecord(ctx, d.store, AuditCheck{Report: func(where string, err error) {
		d.o.Logger.ErrorContext(ctx, "the record of what happened does not verify", "of", where, "err", err)
	}})
	if err != nil {
		d.o.Logger.ErrorContext(ctx, "cannot verify event chains", "err", err)
		return
	}
	d.stats.broken.Set(float64(broken.Broken))
	d.stats.audited.SetToCurrentTime()
}

func (d *Daemon) countStale(context.Context) {
	r := d.rooms.Load()
	d.stats.staleBooks.Set(float64(len(r.runbooks.Stale(time.Now()))))
	found := map[string]int{runbooks.ByURL: 0, runbooks.ByLabels: 0, runbooks.ByActivity: 0, "nothing": 0}
	for _, c := range r.cover {
		found[cmp.Or(c.FoundBy, "nothing")]++
	}
	for by, n := range found {
		d.stats.bookCover.WithLabelValues(by).Set(float64(n))
	}
}
