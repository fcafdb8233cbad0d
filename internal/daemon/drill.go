package daemon

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"watchbill"
	"watchbill/incident"
	"watchbill/internal/store"
	"watchbill/internal/web"
)

// Bounds of a drill: how long it may last, and how many are listed.
const (
	drillTime    = 30 * time.Minute
	maxDrillTime = 4 * time.Hour
)

// Drill opens a marked incident on a real path: that of a role, or of a service.
func (f *flow) Drill(ctx context.Context, who web.Actor, r web.DrillRequest) (web.DrillView, error) {
	var id watchbill.IncidentID
	key := store.DrillKey + uuid.NewString()
	err := f.update(ctx, func(w *work) error {
		o, err := w.drill(r)
		if err != nil {
			return err
		}
		o.Key, o.Drill.By, o.Drill.Until = key, string(who.Person), w.now.Add(cmp.Or(r.For.Duration(), drillTime))
		if err := w.apply(w.life.Drill(w.now, o), nil, nil); err != nil {
			return err
		}
		inc, _, err := w.newest(key)
		id = inc.ID
		return err
	})
	if err != nil {
		return web.DrillView{}, err
	}
	return f.ShowDrill(ctx, id)
}

// drill checks a request, and finds its path.
func (w *work) drill(r web.DrillRequest) (incident.DrillOrder, error) {
	o := incident.DrillOrder{Note: r.Note, Severity: cmp.Or(r.Severity, watchbill.Sev2)}
	switch {
	case r.Severity == watchbill.Sev4:
		return o, watchbill.Invalidf("use sev1, sev2 or sev3", "severity: sev4 pages nobody")
	case r.For.Duration() < 0 || r.For.Duration() > maxDrillTime:
		return o, watchbill.Invalidf("write a time such as 30m", "for: a drill lasts at most %s", maxDrillTime)
	case (r.Role == "") == (r.Service == ""):
		return o, watchbill.Invalidf("write one of the two", "role: a drill is of a role or of a service")
	case r.Role != "":
		o.Drill.Of, o.Service = "role "+string(r.Role), string(r.Role)
		o.Path = w.planner.PathTo(r.Role, "drill")
		return o, w.aRole("role", r.Role)
	}
	i := slices.IndexFunc(w.services, func(s watchbill.Service) bool { return s.Name == r.Service })
	if i < 0 {
		return o, watchbill.Invalidf("write a name that stands under services: in the configuration", "service: there is no service %q", r.Service)
	}
	o.Drill.Of, o.Service = "service "+r.Service, r.Service
	if envs := w.services[i].Environments; len(envs) > 0 {
		o.Place = envs[0]
	}
	o.Path = w.planner.PathFor(watchbill.ActivityFirstLine, watchbill.Place{Service: o.Service, Environment: o.Place})
	return o, nil
}

// ListDrills returns the drills, newest first.
func (f *flow) ListDrills(ctx context.Context, limit int) ([]web.DrillView, error) {
	var all []web.DrillView
	err := f.store.View(ctx, func(tx *store.Tx) error {
		drills, err := tx.Drills(limit)
		if err != nil {
			return err
		}
		all = make([]web.DrillView, len(drills))
		for i, inc := range drills {
			if all[i], err = drillView(tx, inc); err != nil {
				return err
			}
		}
		return nil
	})
	return all, err
}

// ShowDrill returns one drill with whom it paged.
func (f *flow) ShowDrill(ctx context.Context, id watchbill.IncidentID) (v web.DrillView, err error) {
	err = f.store.View(ctx, func(tx *store.Tx) error {
		inc, err := tx.Incident(id)
		if err != nil {
			return err
		}
		if inc.Drill == nil {
			return watchbill.Errorf(watchbill.CodeNotFound, "list them with: watchbill drill list", "%s is no drill", id)
		}
		v, err = drillView(tx, inc)
		return err
	})
	return v, err
}

// drillView is what came of a drill: who answered, how fast, and how each page
// went.
func drillView(tx *store.Tx, inc watchbill.Incident) (web.DrillView, error) {
	d := inc.Drill
	v := web.DrillView{
		ID: inc.ID, Of: d.Of, By: d.By, Severity: inc.Severity, Began: inc.OpenedAt, Until: d.Until, Result: web.DrillRuns,
		AnsweredBy: d.AnsweredBy, AnsweredVia: d.AnsweredVia,
	}
	switch {
	case d.AnsweredBy != "":
		v.Result, v.After = web.DrillAnswered, inc.ClosedAt.Sub(inc.OpenedAt).Seconds()
	case inc.State == watchbill.StateClosed:
		v.Result = web.DrillUnanswered
	}
	pages, err := tx.PagesOf(inc.ID)
	if err != nil {
		return v, err
	}
	attempts, err := tx.AttemptsOf(inc.ID)
	if err != nil {
		return v, err
	}
	for _, p := range pages {
		x := web.DrillPage{Person: p.Person, Role: p.Role, Step: p.Step, Method: p.Method, Due: p.Due, State: p.State}
		for _, a := range attempts {
			if a.Page == p.ID {
				x.Detail = a.Detail
				if a.Result == watchbill.ResultDelivered {
					x.Sent = a.At
				}
			}
		}
		v.Pages = append(v.Pages, x)
	}
	return v, nil
}
