package daemon

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"watchbill"
	"watchbill/internal/store"
	"watchbill/router"
)

// ended is maintenance that is over.
type ended struct {
	router.Maintenance
	from, until time.Time
}

// digests remembers which maintenance was reported on, so that it is not looked at
// again. What was sent is a row of the outbox whose key is the work's own: after a
// restart nothing is sent twice.
type digests struct {
	mu   sync.Mutex
	done map[string]time.Time // end of the last that was reported on, by name
}

// due returns the maintenance that was over within the last hour and is not
// reported on, and when the next one is over.
func (d *digests) due(all []router.Maintenance, now time.Time) (over []ended, next time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, m := range all {
		if m.Ended == nil {
			continue
		}
		if until, ok := m.Running(now); ok && (next.IsZero() || until.Before(next)) {
			next = until
		}
		if from, until, ok := m.Ended(now.Add(-stale), now); ok && !d.done[m.Name].Equal(until) {
			over = append(over, ended{m, from, until})
		}
	}
	return over, next
}

func (d *digests) reported(m ended) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.done == nil {
		d.done = map[string]time.Time{}
	}
	d.done[m.Name] = m.until
}

// heldBack is what maintenance held back.
type heldBack struct {
	ended, firing []string // by name and labels
	duties        []watchbill.Duty
}

// heldBack looks at the alerts that fired while the work went on. It is pure.
func (r *rooms) heldBack(m ended, alerts []watchbill.Alert, now time.Time) heldBack {
	var h heldBack
	for _, a := range alerts {
		if !a.StartsAt.Before(m.until) || !a.EndsAt.After(m.from) {
			continue
		}
		v := r.router.Decide(router.Input{Alert: a, Now: now})
		if !m.Covers(a, v) {
			continue
		}
		text := a.Name() + " " + a.Labels.String()
		if a.Resolved(now) {
			h.ended = append(h.ended, text)
		} else {
			h.firing = append(h.firing, text)
		}
		path := r.planner.PathAt(v.Activity, watchbill.Place{Service: v.Service, Environment: v.Environment})
		for _, d := range r.planner.Targets(path.Steps[0], now) {
			if !slices.ContainsFunc(h.duties, func(x watchbill.Duty) bool { return x.Person == d.Person }) {
				h.duties = append(h.duties, d)
			}
		}
	}
	return h
}

// maxDigest is how many alerts a digest names.
const maxDigest = 5

// digest tells those who would have been paged what the work held back. The end of
// an alert that is on disk ended; what fires pages by itself.
func (f *flow) digest(ctx context.Context, m ended) error {
	var rows []store.AlertRow
	err := f.store.View(ctx, func(tx *store.Tx) (err error) {
		rows, err = tx.AlertsSince(m.from)
		return err
	})
	if err != nil {
		return err
	}
	var alerts []watchbill.Alert
	for _, row := range rows {
		if row.Source != selfSource {
			alerts = append(alerts, row.Alert)
		}
	}
	h := f.rooms.Load().heldBack(m, alerts, time.Now())
	if len(h.duties) == 0 {
		f.digests.reported(m)
		return nil
	}
	lines := slices.Concat(h.firing, h.ended)
	lines = lines[:min(maxDigest, len(lines))]
	err = f.update(ctx, func(w *work) error {
		for _, d := range h.duties {
			err := w.tell(notice{
				to: d.Person, at: m.until, about: "maintenance " + m.Name,
				title:  fmt.Sprintf("Maintenance %s is over: %d alerts were held back, %d still fire", m.Name, len(h.firing)+len(h.ended), len(h.firing)),
				impact: strings.Join(lines, "\n"),
				action: "Look at those that still fire: they page now",
				why:    fmt.Sprintf("you would have been paged as %s: %s", d.Role, d.Reason),
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		f.digests.reported(m)
	}
	return err
}
