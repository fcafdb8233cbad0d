package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"watchbill"
	"watchbill/incident"
	"watchbill/internal/config"
	"watchbill/internal/store"
	"watchbill/internal/web"
)

// Backup copies the store of a configuration into a new file. The daemon may
// run meanwhile.
func Backup(ctx context.Context, cfg *config.Config, to string, progress func(done, total int64)) (store.Copy, error) {
	return store.Backup(ctx, cfg.Store, to, progress)
}

// Restore puts a backup in place as the store of a configuration, held: see
// [store.Restore]. The daemon must not run.
func Restore(ctx context.Context, cfg *config.Config, backup string, replace bool) (c store.Copy, kept string, err error) {
	unlock, err := alone(cfg)
	if err != nil {
		return store.Copy{}, "", err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	return store.Restore(ctx, backup, cfg.Store, replace)
}

// alone takes the lock that a running daemon has on the folder of its series.
func alone(cfg *config.Config) (unlock func() error, err error) {
	dir := filepath.Join(cfg.DataDir, "series")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create the folder of the series: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the folder of the series: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		err = errors.Join(err, f.Close())
		return nil, watchbill.Errorf(watchbill.CodeConflict, "stop the daemon first", "a daemon runs on %s: %v", cfg.DataDir, err)
	}
	return f.Close, nil // closing it gives the lock back
}

// Held lists what a restore holds back, by incident.
func (f *flow) Held(ctx context.Context) ([]web.HeldView, error) {
	var all []web.HeldView
	err := f.store.View(ctx, func(tx *store.Tx) error {
		ids, err := tx.Holding()
		for _, id := range ids {
			v, err := heldView(tx, id)
			if err != nil {
				return err
			}
			all = append(all, v)
		}
		return err
	})
	return all, err
}

func heldView(tx *store.Tx, id watchbill.IncidentID) (web.HeldView, error) {
	v := web.HeldView{Incident: id, Timers: []web.NextView{}, Pages: []web.PageView{}}
	if id != 0 {
		inc, err := tx.Incident(id)
		if err != nil {
			return v, err
		}
		v.State, v.Severity, v.Title = inc.State, inc.Severity, inc.Title
	}
	timers, err := tx.HeldTimers(id)
	if err != nil {
		return v, err
	}
	for _, tm := range timers {
		v.Timers = append(v.Timers, web.NextView{What: string(tm.Kind), Step: tm.Step, At: tm.Due})
	}
	pages, err := tx.HeldPages(id)
	if err != nil {
		return v, err
	}
	for _, p := range pages {
		v.Pages = append(v.Pages, web.PageView{Key: p.Key(), Page: p.Page, State: p.State, Attempts: p.Attempt})
	}
	alerts, err := tx.HeldAlerts(id)
	v.Alerts = len(alerts)
	return v, err
}

// ReleaseHeld lets incidents go on, all of them when none is named. What was due
// meanwhile is due at once; their alerts count as firing for another resolve
// timeout, in which their sources can say that they do.
func (f *flow) ReleaseHeld(ctx context.Context, who web.Actor, ids []watchbill.IncidentID) ([]web.HeldView, error) {
	return f.decideHeld(ctx, ids, func(w *work, v web.HeldView) error {
		if err := w.audit(who, heldEntry(watchbill.AuditReleased, v)); err != nil {
			return err
		}
		if err := w.release(v.Incident); err != nil || v.Incident == 0 {
			return err
		}
		return w.recordHeld(v, who, "released after a restore")
	})
}

// DropHeld ends incidents: they are resolved in the person's name, and nobody is
// paged for what was held of them.
func (f *flow) DropHeld(ctx context.Context, who web.Actor, ids []watchbill.IncidentID) ([]web.HeldView, error) {
	return f.decideHeld(ctx, ids, func(w *work, v web.HeldView) error {
		if err := w.audit(who, heldEntry(watchbill.AuditDropped, v)); err != nil {
			return err
		}
		if !v.State.Live() { // what is left is its closing, which pages nobody
			return w.release(v.Incident)
		}
		if _, err := w.tx.DropHeld(v.Incident); err != nil {
			return err
		}
		inc, err := w.incident(v.Incident)
		if err != nil {
			return err
		}
		e, err := w.life.Resolve(w.now, inc, incident.Resolution{By: incident.Actor(who), Reason: "dropped after a restore", Firing: v.Alerts})
		if err != nil {
			return err
		}
		return w.apply(e, nil, nil)
	})
}

func heldEntry(kind watchbill.AuditKind, v web.HeldView) watchbill.AuditEntry {
	return watchbill.AuditEntry{Kind: kind, Object: v.Incident.String(), Text: fmt.Sprintf("%d timers, %d pages, %d alerts", len(v.Timers), len(v.Pages), v.Alerts)}
}

// decideHeld calls do for the held incidents that are named, in one transaction,
// and returns what was held of them.
func (f *flow) decideHeld(ctx context.Context, ids []watchbill.IncidentID, do func(*work, web.HeldView) error) ([]web.HeldView, error) {
	var done []web.HeldView
	err := f.update(ctx, func(w *work) error {
		done = nil
		held, err := w.tx.Holding()
		if err != nil {
			return err
		}
		chosen := held
		if len(ids) > 0 {
			chosen = ids
		}
		for _, id := range chosen {
			if !slices.Contains(held, id) {
				return watchbill.Errorf(watchbill.CodeNotFound, "list them with: watchbill hold show", "nothing of %s is held", id)
			}
			v, err := heldView(w.tx, id)
			if err != nil {
				return err
			}
			if err := do(w, v); err != nil {
				return err
			}
			done = append(done, v)
		}
		return nil
	})
	return done, err
}

func (w *work) release(id watchbill.IncidentID) error {
	_, err := w.tx.ReleaseHeld(id, w.now.Add(w.router.ResolveTimeout()))
	return err
}

func (w *work) recordHeld(v web.HeldView, who web.Actor, what string) error {
	inc, err := w.incident(v.Incident)
	if err != nil {
		return err
	}
	e := w.event(watchbill.EventQueued, "%s: %d timers, %d pages", what, len(v.Timers), len(v.Pages))
	e.Actor, e.Via = string(who.Person), who.Via
	return w.save(&inc, e)
}

// stillFires lets an alert go on that fires again, and with it its incident: it
// is no thing of the past that a restore brought back.
func (w *work) stillFires(row store.AlertRow) error {
	if !w.tx.Held() {
		return nil
	}
	if row.Incident == 0 {
		return w.tx.PutAlert(row) // it alone: it is decided again when it is due
	}
	inc, err := w.incident(row.Incident)
	if err != nil {
		return err
	}
	_, err = w.goesOn(inc, row.Name())
	return err
}

// goesOn lets an incident go on of which an alert fires now, if a restore holds
// it, and returns it as it is then.
func (w *work) goesOn(inc watchbill.Incident, alert string) (watchbill.Incident, error) {
	if !w.tx.Held() {
		return inc, nil
	}
	v, err := heldView(w.tx, inc.ID)
	if err != nil || len(v.Timers)+len(v.Pages)+v.Alerts == 0 {
		return inc, err
	}
	if err := w.release(inc.ID); err != nil {
		return inc, err
	}
	if err := w.recordHeld(v, web.Actor{Person: watchbill.ActorSelf}, "goes on after a restore, because "+alert+" fires"); err != nil {
		return inc, err
	}
	return w.incident(inc.ID)
}

// tellHeld says in the log what a restore holds back.
func (d *Daemon) tellHeld(ctx context.Context) error {
	if !d.store.Held() {
		return nil
	}
	held, err := d.flow.Held(ctx)
	if err != nil {
		return err
	}
	d.o.Logger.WarnContext(ctx, "the store was restored: what was due in it is held until somebody decides; see: watchbill hold show", "incidents", len(held))
	return nil
}
