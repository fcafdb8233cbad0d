package daemon

import (
	"context"
	"fmt"
	"time"

	"watchbill"
	"watchbill/internal/store"
)

// keepEnded is how long alerts without an incident, the decisions about them, and
// silences are kept after their end.
const keepEnded = 30 * 24 * time.Hour

// retainBatch is how many incidents one transaction of housekeeping deletes: few
// enough that nobody who waits for the disk notices.
const retainBatch = 20

// retain deletes what is older than the configuration keeps, a little at a time.
func (d *Daemon) retain(ctx context.Context) {
	deleted, err := d.flow.retain(ctx, d.rooms.Load().keepIncidents)
	if err != nil {
		d.o.Logger.ErrorContext(ctx, "cannot delete what is older than retention.incidents; trying again in six hours", "err", err)
	}
	if deleted > 0 {
		d.o.Logger.InfoContext(ctx, "deleted closed incidents older than retention.incidents; their chains' heads stay", "incidents", deleted)
	}
}

func (f *flow) retain(ctx context.Context, keep time.Duration) (deleted int, err error) {
	now := time.Now().UTC()
	for {
		n, err := f.retainSome(ctx, now, now.Add(-keep))
		if err != nil {
			return deleted, fmt.Errorf("delete old incidents: %w", err)
		}
		deleted += n
		if n < retainBatch {
			break
		}
	}
	for {
		var alerts, silences, decisions, history, keys, handovers int64
		err := f.store.Update(ctx, func(tx *store.Tx) (err error) {
			if alerts, err = tx.DeleteEndedAlerts(now.Add(-keepEnded), 10*retainBatch); err != nil {
				return err
			}
			if decisions, err = tx.DeleteDecisions(now.Add(-keepEnded), 10*retainBatch); err != nil {
				return err
			}
			if silences, err = tx.DeleteEndedSilences(now.Add(-keepEnded), 10*retainBatch); err != nil {
				return err
			}
			if history, err = tx.DeleteOccurrences(now.Add(-keep), 10*retainBatch); err != nil {
				return err
			}
			if keys, err = tx.DeleteDeadKeys(10 * retainBatch); err != nil {
				return err
			}
			if handovers, err = tx.DeleteHandovers(now.Add(-keep), 10*retainBatch); err != nil {
				return err
			}
			return tx.DeleteNotices(now.Add(-keepEnded))
		})
		if err != nil {
			return deleted, fmt.Errorf("delete what ended long ago: %w", err)
		}
		if max(alerts, silences, decisions, history, keys, handovers) < 10*retainBatch {
			return deleted, nil
		}
	}
}

func (f *flow) retainSome(ctx context.Context, now, before time.Time) (int, error) {
	var ids []watchbill.IncidentID
	err := f.store.View(ctx, func(tx *store.Tx) (err error) { // an idle round must not write
		ids, err = tx.Expired(before, retainBatch)
		return err
	})
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	err = f.store.Update(ctx, func(tx *store.Tx) error {
		for _, id := range ids {
			if err := tx.DeleteIncident(id, now); err != nil {
				return err
			}
		}
		return nil
	})
	return len(ids), err
}
