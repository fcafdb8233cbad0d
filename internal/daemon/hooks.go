package daemon

import (
	"context"
	"slices"
	"time"

	"watchbill"
	"watchbill/intake"
	"watchbill/internal/store"
)

// hook takes the body of a webhook in, by the same way as any alert. It returns
// nil once what it changed is on disk, and the key of its first alert.
func (d *Daemon) hook(ctx context.Context, source string, body []byte) (string, error) {
	hooks := d.rooms.Load().hooks
	i := slices.IndexFunc(hooks, func(s intake.Source) bool { return s.Name == source })
	if i < 0 {
		return "", watchbill.Errorf(watchbill.CodeDenied, "add it under sources: with the name of its token", "%q is not one of the sources that push alerts", source)
	}
	events, err := intake.Decode(hooks[i], body, time.Now().UTC())
	if err != nil || len(events) == 0 {
		return "", err
	}
	alerts, err := d.flow.addressed(ctx, source, events)
	if err != nil || len(alerts) == 0 {
		return events[0].Dedup, err
	}
	return events[0].Dedup, d.flow.Receive(ctx, source, alerts)
}

// addressed returns the alerts that events speak of. One with a key speaks of
// what fires under that key, whose labels it may not know; without any, an end is
// dropped. Only people acknowledge: a machine's acknowledgement changes nothing.
func (f *flow) addressed(ctx context.Context, source string, events []intake.Event) ([]watchbill.Alert, error) {
	var active []store.AlertRow
	if slices.ContainsFunc(events, func(e intake.Event) bool { return e.Dedup != "" }) {
		err := f.store.View(ctx, func(tx *store.Tx) (err error) {
			active, err = tx.ActiveAlerts()
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	var alerts []watchbill.Alert
	for _, e := range events {
		found := false
		for _, row := range active {
			if e.Dedup == "" || row.Labels[intake.LabelSource] != source || row.Labels[intake.LabelDedup] != e.Dedup {
				continue
			}
			found = true
			a := e.Alert
			a.Labels = row.Labels
			if e.Action == intake.Resolve {
				a.Annotations, a.StartsAt = row.Annotations, row.StartsAt
				a.EndsAt = time.Now().UTC()
			}
			if e.Action != intake.Acknowledge {
				alerts = append(alerts, a)
			}
		}
		if !found && (e.Action == intake.Trigger || e.Action == intake.Resolve && e.Dedup == "") {
			alerts = append(alerts, e.Alert)
		}
	}
	return alerts, nil
}
