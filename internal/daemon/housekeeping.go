package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/go-co-op/gocron/v2"

	"watchbill"
	"watchbill/internal/config"
	"watchbill/internal/store"
)

// housekeeping starts the jobs that nobody waits for: no page depends on one of
// them. It returns the function that stops them.
func (d *Daemon) housekeeping() (stop func() error, err error) {
	s, err := gocron.NewScheduler(gocron.WithStopTimeout(5 * time.Second))
	if err != nil {
		return nil, fmt.Errorf("set up housekeeping: %w", err)
	}
	jobs := map[string]func(context.Context){"verify the audit chain": d.verifyChains, "count stale runbooks": d.countStale, "delete what is old": d.retain, "look at tokens": d.lookAtTokens, "end sessions": d.sweepSessions}
	for name, job := range jobs {
		_, err := s.NewJob(gocron.DurationJob(6*time.Hour), gocron.NewTask(job),
			gocron.WithName(name), gocron.WithSingletonMode(gocron.LimitModeReschedule), gocron.WithStartAt(gocron.WithStartImmediately()))
		if err != nil {
			return nil, fmt.Errorf("schedule %q: %w", name, err)
		}
	}
	s.Start()
	return s.Shutdown, nil
}

func (d *Daemon) verifyChains(ctx context.Context) {
	broken, err := verifyChains(ctx, d.store, func(id watchbill.IncidentID, err error) {
		d.o.Logger.ErrorContext(ctx, "the event chain of an incident does not verify", "incident", id.String(), "err", err)
	})
	if err != nil {
		d.o.Logger.ErrorContext(ctx, "cannot verify event chains", "err", err)
		return
	}
	d.stats.broken.Set(float64(broken.Broken))
	d.stats.audited.SetToCurrentTime()
}

func (d *Daemon) countStale(context.Context) {
	d.stats.staleBooks.Set(float64(len(d.rooms.Load().runbooks.Stale(time.Now()))))
}

// Audit checks the event chains in the store of a configuration, and calls
// report for each that is broken. The daemon may run meanwhile.
func Audit(ctx context.Context, cfg *config.Config, report func(watchbill.IncidentID, error)) (AuditResult, error) {
	if _, err := os.Stat(cfg.Store); err != nil {
		return AuditResult{}, watchbill.Errorf(watchbill.CodeNotFound, "check --config, and store: in it", "there is no store to verify: %v", err)
	}
	s, err := store.Open(ctx, cfg.Store)
	if err != nil {
		return AuditResult{}, err
	}
	if err := s.Check(ctx); err != nil {
		return AuditResult{}, errors.Join(err, s.Close())
	}
	a, err := verifyChains(ctx, s, report)
	return a, errors.Join(err, s.Close())
}

// AuditResult counts what was verified.
type AuditResult struct {
	Incidents int `json:"incidents"`
	Events    int `json:"events"`
	Broken    int `json:"broken"`
}

// verifyChains checks the event chain of every incident and calls report for
// each that is broken.
func verifyChains(ctx context.Context, s *store.Store, report func(watchbill.IncidentID, error)) (AuditResult, error) {
	var a AuditResult
	err := s.View(ctx, func(tx *store.Tx) error {
		err := tx.Chains(func(id watchbill.IncidentID, head string, events []watchbill.Event) error {
			a.Incidents++
			a.Events += len(events)
			if err := watchbill.VerifyChain(events, head); err != nil {
				a.Broken++
				report(id, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
		return tx.VerifyCheckpoints(func(id watchbill.IncidentID, err error) {
			a.Broken++
			report(id, err)
		})
	})
	return a, err
}
