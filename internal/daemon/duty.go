package daemon

import (
	"context"
	"fmt"
	"slices"
	"time"

	"watchbill"
	"watchbill/escalation"
	"watchbill/internal/config"
	"watchbill/internal/store"
	"watchbill/internal/web"
)

// Oncall answers who is on duty, and what is missing.
type Oncall struct {
	rooms func() *rooms
	woken func(ctx context.Context, from, to time.Time, of func(watchbill.PersonID, time.Time)) error // calls of for each page; nil: unknown
}

// Rosters answers from a configuration alone: nobody has changed the duty.
func Rosters(cfg *config.Config) (Oncall, error) {
	p, err := escalation.New(cfg.Escalation)
	if err != nil {
		return Oncall{}, err
	}
	r := &rooms{planner: p, matrix: cfg.Matrix, coverage: cfg.Coverage, people: map[watchbill.PersonID]watchbill.Person{}}
	for _, person := range cfg.People {
		r.people[person.ID] = person
	}
	return Oncall{rooms: func() *rooms { return r }}, nil
}

// OnDuty returns who is on duty for a role, or for all of them, at an instant, and
// from when to when.
func (o Oncall) OnDuty(_ context.Context, role watchbill.RoleID, at time.Time) ([]watchbill.Shift, error) {
	r := o.rooms()
	if err := r.knows(role); err != nil {
		return nil, err
	}
	var all []watchbill.Shift
	for _, x := range r.matrix.Roles {
		if role == "" || role == x.ID {
			all = append(all, r.planner.ShiftAt(x.ID, at))
		}
	}
	return all, nil
}

// Shifts returns who is on duty for a role from one instant to another.
func (o Oncall) Shifts(_ context.Context, role watchbill.RoleID, from, to time.Time) ([]watchbill.Shift, error) {
	r := o.rooms()
	if err := r.knows(role); err != nil {
		return nil, err
	}
	if !to.After(from) || to.Sub(from) > 400*24*time.Hour {
		return nil, watchbill.Invalidf("ask for up to 400 days", "there is no such time from %s to %s", from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339))
	}
	var all []watchbill.Shift
	for _, x := range r.matrix.Roles {
		if role == "" || role == x.ID {
			all = append(all, r.planner.Shifts(x.ID, from, to)...)
		}
	}
	return all, nil
}

// Coverage returns every gap of some days.
func (o Oncall) Coverage(_ context.Context, from time.Time, days int) ([]watchbill.Gap, error) {
	if days < 1 || days > 366 {
		return nil, watchbill.Invalidf("ask for 1 to 366", "there is no proof for %d days", days)
	}
	return o.rooms().gaps(from, days), nil
}

// DutyLoad returns what some days ask of each person.
func (o Oncall) DutyLoad(ctx context.Context, from time.Time, days int) ([]watchbill.DutyLoad, error) {
	if days < 1 || days > 366 {
		return nil, watchbill.Invalidf("ask for 1 to 366", "%d days cannot be added up", days)
	}
	r, to := o.rooms(), from.AddDate(0, 0, days)
	all := r.planner.Load(from, to)
	if o.woken == nil {
		return all, nil
	}
	err := o.woken(ctx, from, to, func(id watchbill.PersonID, at time.Time) {
		if i := slices.IndexFunc(all, func(l watchbill.DutyLoad) bool { return l.Person == id }); i >= 0 {
			all[i].Pages++
			if escalation.AtNight(at, r.people[id].Zone()) {
				all[i].Woken++
			}
		}
	})
	return all, err
}

func (r *rooms) knows(role watchbill.RoleID) error {
	if role == "" || r.matrix.HasRole(role) {
		return nil
	}
	return watchbill.Errorf(watchbill.CodeNotFound, "name one of "+roleNames(r.matrix), "there is no role %q", role)
}

func roleNames(m watchbill.Matrix) string {
	var all []watchbill.RoleID
	for _, x := range m.Roles {
		all = append(all, x.ID)
	}
	return watchbill.JoinRoles(all, "none")
}

// gaps returns what is missing in some days.
func (r *rooms) gaps(from time.Time, days int) []watchbill.Gap {
	from = from.Truncate(time.Minute)
	return r.planner.Coverage(escalation.Question{From: from, To: from.AddDate(0, 0, days), Reachable: r.reachable, Needs: r.coverage.Needs})
}

// reachable reports whether a page can get to a person, by what they added
// themselves too.
func (r *rooms) reachable(p watchbill.Person) bool { return config.Reachable(r.people[p.ID]) }

// uncovered is the error of a configuration that has gaps and must not.
func (r *rooms) uncovered() error {
	if r.coverage.OnGap != "refuse" {
		return nil
	}
	return refused(r.gaps(time.Now(), r.coverage.Days), r.coverage.Days)
}

// refused is the error of gaps in the next days, if there are any.
func refused(gaps []watchbill.Gap, days int) error {
	if len(gaps) == 0 {
		return nil
	}
	return watchbill.Invalidf("see all with: watchbill coverage", "%d gaps in the next %d days, the first: %s", len(gaps), days, gaps[0])
}

// duty changes who is on duty while the daemon runs.
type duty struct{ d *Daemon }

// pastChanges is how long a change is still known after it is over.
const pastChanges = 8 * 24 * time.Hour

// changed puts stored changes of the duty in force under a configuration.
func (d *Daemon) changed(ctx context.Context, r *rooms) (*rooms, error) {
	var all []watchbill.DutyChange
	err := d.store.View(ctx, func(tx *store.Tx) (err error) {
		all, err = tx.DutyChanges(time.Now().Add(-pastChanges))
		return err
	})
	if err != nil {
		return nil, err
	}
	under := *r
	under.planner = r.planner.With(all)
	return &under, nil
}

// proveCoverage looks for gaps, if the configuration wants that.
func (d *Daemon) proveCoverage(ctx context.Context) {
	r := d.rooms.Load()
	if r.coverage.OnGap == "" {
		d.stats.gaps.Set(0)
		d.stats.firstGap.Set(0)
		return
	}
	gaps := r.gaps(time.Now(), r.coverage.Days)
	d.stats.gaps.Set(float64(len(gaps)))
	d.stats.firstGap.Set(0)
	if len(gaps) > 0 {
		d.stats.firstGap.Set(float64(gaps[0].From.Unix()))
		d.o.Logger.WarnContext(ctx, "the rosters have gaps; see all with: watchbill coverage", "gaps", len(gaps), "days", r.coverage.Days, "first", gaps[0].String())
	}
}

// DutyChanges returns the changes that count now or will.
func (x duty) DutyChanges(ctx context.Context) (all []watchbill.DutyChange, err error) {
	err = x.d.store.View(ctx, func(tx *store.Tx) error {
		all, err = tx.DutyChanges(time.Now())
		return err
	})
	return all, err
}

// ChangeDuty stores a change, in force when it returns. A swap is two.
func (x duty) ChangeDuty(ctx context.Context, who web.Actor, q web.DutyRequest) ([]watchbill.DutyChange, error) {
	x.d.reload.Lock()
	defer x.d.reload.Unlock()
	r, now := x.d.rooms.Load(), time.Now().UTC()
	q.Author, q.Via, q.MadeAt, q.Ends, q.Swap, q.ID = who.Person, who.Via, now, 0, 0, 0
	q.From, q.To = q.From.UTC().Truncate(time.Second), q.To.UTC().Truncate(time.Second)
	asked := []watchbill.DutyChange{q.DutyChange}
	if q.Kind == watchbill.DutySwap {
		var err error
		if asked, err = r.swapped(q, now); err != nil {
			return nil, err
		}
	}
	return x.put(ctx, who, asked)
}

// make stores changes, all of them or none.
func (x duty) make(ctx context.Context, who web.Actor, asked []watchbill.DutyChange) ([]watchbill.DutyChange, error) {
	if len(asked) == 0 {
		return nil, nil
	}
	x.d.reload.Lock()
	defer x.d.reload.Unlock()
	now := time.Now().UTC()
	for i := range asked {
		asked[i].Author, asked[i].Via, asked[i].MadeAt = who.Person, who.Via, now
	}
	return x.put(ctx, who, asked)
}

// put stores changes that have their author. Whoever calls it holds reload.
func (x duty) put(ctx context.Context, who web.Actor, asked []watchbill.DutyChange) ([]watchbill.DutyChange, error) {
	r, now := x.d.rooms.Load(), time.Now().UTC()
	for _, c := range asked {
		if err := r.mayChange(c, now); err != nil {
			return nil, err
		}
	}
	var made []watchbill.DutyChange
	err := x.d.flow.update(ctx, func(w *work) error {
		made = nil
		for _, c := range asked {
			if len(made) > 0 && c.Kind == watchbill.DutySwap {
				c.Swap = made[0].ID
			}
			c, err := w.tx.PutDutyChange(c)
			if err != nil {
				return err
			}
			made = append(made, c)
			if err := w.audit(who, auditOfDuty(c)); err != nil {
				return err
			}
			if err := w.tellOf(c); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return made, x.d.dutyChanged(ctx)
}

// EndDutyChange ends a change now; the other half of a swap with it.
func (x duty) EndDutyChange(ctx context.Context, who web.Actor, id int64, reason string) error {
	x.d.reload.Lock()
	defer x.d.reload.Unlock()
	r, now := x.d.rooms.Load(), time.Now().UTC()
	all, err := x.DutyChanges(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(c watchbill.DutyChange) bool { return c.ID == id })
	if i < 0 {
		return watchbill.Errorf(watchbill.CodeNotFound, "list them with: watchbill oncall changes", "there is no change %d that is not over", id)
	}
	c := all[i]
	if reason == "" {
		return watchbill.Invalidf("say why, in a few words", "to end a change of the duty needs a reason")
	}
	c.Author = who.Person
	if err := r.mayChange(c, now); err != nil {
		return err
	}
	err = x.d.flow.update(ctx, func(w *work) error {
		for _, other := range all {
			if other.ID != c.ID && (other.Kind != watchbill.DutySwap || other.Swap != c.ID && c.Swap != other.ID) {
				continue
			}
			end := watchbill.DutyChange{Kind: other.Kind, Ends: other.ID, Author: who.Person, Via: who.Via, Reason: reason, MadeAt: now, From: now, To: other.To}
			end, err := w.tx.PutDutyChange(end)
			if err != nil {
				return err
			}
			if err := w.audit(who, auditOfDuty(end)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return x.d.dutyChanged(ctx)
}

// dutyChanged puts what is stored in force, and looks for gaps: they keep no
// daemon from starting, which would then page nobody at all.
func (d *Daemon) dutyChanged(ctx context.Context) error {
	d.flow.installing.Lock()
	r, err := d.changed(ctx, d.rooms.Load())
	if err == nil {
		d.rooms.Store(r)
	}
	d.flow.installing.Unlock()
	if err == nil {
		d.proveCoverage(ctx)
	}
	return err
}

// swapped are the two covers of a swap: of the shift at one instant and the one at
// another.
func (r *rooms) swapped(q web.DutyRequest, now time.Time) ([]watchbill.DutyChange, error) {
	if q.Role == "" || !r.matrix.HasRole(q.Role) {
		return nil, watchbill.Invalidf("name one of "+roleNames(r.matrix), "a swap is of two shifts of a role, and %q is none", q.Role)
	}
	if q.First.Before(now) || q.Second.Before(now) {
		return nil, watchbill.Invalidf("give two instants in the future: first and second", "a swap is of two shifts that are to come")
	}
	a, b := r.planner.ShiftAt(q.Role, q.First), r.planner.ShiftAt(q.Role, q.Second)
	x, y := a.Watch.Primary.Person, b.Watch.Primary.Person
	if x == y || a.Watch.Vacant || b.Watch.Vacant {
		return nil, watchbill.Invalidf("see whose shifts they are with: watchbill oncall show "+string(q.Role), "%s has both shifts, or nobody has one", x)
	}
	one, two := q.DutyChange, q.DutyChange
	one.Person, one.Instead, one.From, one.To = y, x, a.From, a.To
	two.Person, two.Instead, two.From, two.To = x, y, b.From, b.To
	if one.From.Before(now) {
		one.From = now.Truncate(time.Second)
	}
	if two.From.Before(now) {
		two.From = now.Truncate(time.Second)
	}
	return []watchbill.DutyChange{one, two}, nil
}

// mayChange reports whether a change is sound, and its author may make it: the
// manager may any, others those of a role that they hold or of themselves.
func (r *rooms) mayChange(c watchbill.DutyChange, now time.Time) error {
	if err := c.Validate(now); err != nil {
		return err
	}
	if c.Role != "" && !r.matrix.HasRole(c.Role) {
		return watchbill.Invalidf("name one of "+roleNames(r.matrix), "role: there is no role %q", c.Role)
	}
	for _, id := range []watchbill.PersonID{c.Person, c.Instead} {
		if _, known := r.people[id]; id != "" && !known {
			return watchbill.Invalidf("name somebody of people: in the configuration", "there is no person %q", id)
		}
	}
	if c.Kind == watchbill.DutyOverride && !r.people[c.Person].Holds(c.Role) {
		return watchbill.Invalidf(fmt.Sprintf("name somebody who holds %s, or add it to their roles", c.Role), "person: %s does not hold %s", c.Person, c.Role)
	}
	if l := r.planner.Away(c.Person, c.From); c.Person != "" && l != nil {
		return watchbill.Errorf(watchbill.CodeConflict, "name somebody else, or end the leave", "%s is away until %s: %s", c.Person, l.To.UTC().Format(time.RFC3339), l.Reason)
	}
	author := r.people[c.Author]
	if author.Holds(r.matrix.Manager) || c.Author == c.Person || c.Author == c.Instead || c.Role != "" && author.Holds(c.Role) {
		return nil
	}
	return watchbill.Errorf(watchbill.CodeDenied, "ask one of them, or the manager", "%s holds %s and is neither of the two: it is not theirs to change", c.Author, watchbill.JoinRoles(author.Roles, "no role"))
}

// auditOfDuty is an entry about a change of the duty, or its end. The reason is a
// detail, which can be erased there.
func auditOfDuty(c watchbill.DutyChange) watchbill.AuditEntry {
	e := watchbill.AuditEntry{Kind: watchbill.AuditDuty, Object: fmt.Sprintf("oncall change %d", c.ID), Detail: c.Reason}
	if c.Ends != 0 {
		e.Text = fmt.Sprintf("ends change %d, a %s", c.Ends, c.Kind)
		return e
	}
	e.Text = fmt.Sprintf("%s from %s to %s", c.Kind, c.From.UTC().Format(time.RFC3339), c.To.UTC().Format(time.RFC3339))
	return e
}

// tellOf tells those whom a change concerns, but for its author.
func (w *work) tellOf(c watchbill.DutyChange) error {
	for _, id := range []watchbill.PersonID{c.Person, c.Instead} {
		if id == "" || id == c.Author {
			continue
		}
		zone := w.people[id].Zone()
		err := w.tell(notice{
			to: id, about: fmt.Sprintf("duty %d", c.ID), title: "The duty changes: " + c.String(),
			impact: fmt.Sprintf("from %s to %s", c.From.In(zone).Format("Mon 2 Jan 15:04 MST"), c.To.In(zone).Format("Mon 2 Jan 15:04 MST")),
			action: fmt.Sprintf("If it is not right, end it: watchbill oncall end %d", c.ID), why: "it is about you",
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// pagesBetween calls of for every page that was delivered between two instants.
func (f *flow) pagesBetween(ctx context.Context, from, to time.Time, of func(watchbill.PersonID, time.Time)) error {
	return f.store.View(ctx, func(tx *store.Tx) error { return tx.DeliveredPages(from, to, of) })
}
