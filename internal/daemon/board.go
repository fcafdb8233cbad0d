package daemon

import (
	"context"
	"net/url"
	"time"

	"watchbill"
	"watchbill/internal/store"
	"watchbill/router"
	"watchbill/router/amapi"
)

// board is what fires, as Alertmanager's API shows it. It reads through the
// store's read connections, so that nothing that comes in waits for it.
type board struct {
	flow    *flow
	version string
	since   time.Time
}

// selected returns what fires and what a query asks for. The self-test is no
// alert of anybody's.
func (b board) selected(ctx context.Context, query url.Values) (amapi.Board, amapi.Query, []amapi.Decided, error) {
	now := time.Now().UTC()
	at := amapi.Board{Router: b.flow.rooms.Load().router, Now: now}
	q, err := amapi.ParseQuery(query)
	if err != nil {
		return at, q, nil, err
	}
	var active []watchbill.Alert
	err = b.flow.store.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.ActiveAlerts()
		if err != nil {
			return err
		}
		for _, row := range rows {
			if row.Source != selfSource {
				active = append(active, row.Alert)
			}
		}
		if at.Open, err = upstream(tx, at.Router, active); err != nil {
			return err
		}
		silences, err := tx.Silences(now)
		if err != nil {
			return err
		}
		at.Silences, err = router.NewSilences(silences)
		return err
	})
	if err != nil {
		return at, q, nil, err
	}
	return at, q, at.Select(active, q), nil
}

// upstream returns the live incidents, by group key, behind which some of the
// alerts may wait.
func upstream(tx *store.Tx, r *router.Router, active []watchbill.Alert) (map[string]watchbill.Incident, error) {
	open, asked := map[string]watchbill.Incident{}, map[string]bool{}
	for _, a := range active {
		for _, key := range r.Upstream(a) {
			if asked[key] {
				continue
			}
			asked[key] = true
			inc, found, err := tx.IncidentByKey(key)
			if err != nil {
				return nil, err
			}
			if found && inc.State.Live() {
				open[key] = inc
			}
		}
	}
	return open, nil
}

// Alerts implements [web.Alertmanager].
func (b board) Alerts(ctx context.Context, query url.Values) (any, error) {
	_, _, all, err := b.selected(ctx, query)
	return amapi.Alerts(all), err
}

// AlertGroups implements [web.Alertmanager].
func (b board) AlertGroups(ctx context.Context, query url.Values) (any, error) {
	at, q, all, err := b.selected(ctx, query)
	return at.Groups(all, q), err
}

// AlertReceivers implements [web.Alertmanager].
func (b board) AlertReceivers(context.Context) (any, error) {
	return amapi.Receivers(b.flow.rooms.Load().router), nil
}

// AlertStatus implements [web.Alertmanager].
func (b board) AlertStatus(context.Context) (any, error) {
	return amapi.Status(b.flow.rooms.Load().router, b.version, b.since)
}
