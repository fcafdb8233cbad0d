package storetest

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"watchbill"
	"watchbill/internal/store"
)

var methods = []string{"push", "mail", "gone"}

// putPages queues a few pages, most of them due already.
func (r *run) putPages(t *rapid.T) {
	for range rapid.IntRange(1, 4).Draw(t, "pages") {
		p := newPage(rapid.SampledFrom([]watchbill.PersonID{"ana", "ben", "eve"}).Draw(t, "to"), rapid.SampledFrom(methods).Draw(t, "method"),
			watchbill.Severity(rapid.IntRange(1, 4).Draw(t, "severity")), r.now.Add(r.span(t)-90*time.Second))
		p.Incident = watchbill.IncidentID(rapid.IntRange(1, 2).Draw(t, "incident"))
		p.Step = rapid.IntRange(0, 2).Draw(t, "step")
		r.update(func(tx *store.Tx) error { return tx.PutPage(p) })
		if !slices.ContainsFunc(r.m.pages, func(x store.PageRow) bool { return x.Key() == p.Key() }) { // the same page is never queued twice
			r.m.pages = append(r.m.pages, store.PageRow{Page: p, State: "pending", NextDue: p.Due})
		}
	}
}

// page returns the model's row of a page, by its key.
func (r *run) page(key string) *store.PageRow {
	i := slices.IndexFunc(r.m.pages, func(x store.PageRow) bool { return x.Key() == key })
	require.GreaterOrEqual(r.t, i, 0, key)
	return &r.m.pages[i]
}

func selected(p store.PageRow, c store.Claim) bool {
	if c.Method != "" {
		return p.Method == c.Method
	}
	return !slices.Contains(c.Known, p.Method)
}

func (r *run) drawClaim(t *rapid.T) store.Claim {
	c := store.Claim{Now: r.now, Lease: r.span(t) + time.Second, Limit: rapid.IntRange(1, 4).Draw(t, "limit")}
	if rapid.Bool().Draw(t, "of a method") {
		c.Method = rapid.SampledFrom(methods).Draw(t, "method")
	} else {
		c.Known = methods[:rapid.IntRange(0, 2).Draw(t, "known")]
	}
	return c
}

func (r *run) claim(t *rapid.T) {
	c := r.drawClaim(t)
	var want []*store.PageRow
	for i := range r.m.pages {
		p := &r.m.pages[i]
		if p.State == "pending" && selected(*p, c) && !p.NextDue.After(r.now) && !p.LeaseUntil.After(r.now) {
			want = append(want, p)
		}
	}
	slices.SortStableFunc(want, func(a, b *store.PageRow) int {
		return cmp.Or(cmp.Compare(a.Content.Severity, b.Content.Severity), a.NextDue.Compare(b.NextDue))
	})
	want = want[:min(len(want), c.Limit)]
	var got []watchbill.Delivery
	r.update(func(tx *store.Tx) (err error) { got, err = tx.ClaimPages(c); return err })
	require.Len(t, got, len(want))
	for i, p := range want {
		p.Attempt++
		p.LeaseUntil = r.now.Add(c.Lease)
		require.Equal(t, p.Page, got[i].Page, "the most severe first, then the oldest")
		require.Equal(t, p.Attempt, got[i].Attempt)
	}
	r.held = append(r.held, got...)
}

// finish ends an attempt, perhaps one whose lease was lost long ago.
func (r *run) finish(t *rapid.T) {
	if len(r.held) == 0 {
		t.Skip("nothing is claimed")
	}
	i := rapid.IntRange(0, len(r.held)-1).Draw(t, "which")
	d := r.held[i]
	r.held = slices.Delete(r.held, i, i+1)
	o := watchbill.Outcome{Delivery: d, At: r.now, Detail: "what it said", Result: rapid.SampledFrom([]watchbill.Result{
		watchbill.ResultDelivered, watchbill.ResultRetry, watchbill.ResultRefused, watchbill.ResultDropped,
	}).Draw(t, "result")}
	if o.Result == watchbill.ResultRetry || o.Result == watchbill.ResultRefused {
		o.Retry = r.now.Add(r.span(t))
	}
	r.update(func(tx *store.Tx) error { return tx.FinishAttempt(o) })
	r.m.attempts[attemptKey{d.ID, d.Attempt}] = store.Attempt{Page: d.ID, Attempt: d.Attempt, At: o.At, Result: o.Result, Detail: o.Detail}
	p := r.page(d.Page.Key())
	switch {
	case o.Result == watchbill.ResultDelivered:
		if p.State != "delivered" {
			p.State, p.LeaseUntil = "delivered", time.Time{}
		}
	case p.State == "pending" && p.Attempt == d.Attempt:
		p.LeaseUntil, p.NextDue = time.Time{}, o.Retry
		if o.Retry.IsZero() {
			p.State = "dropped"
		}
	}
}

func (r *run) dropPages(t *rapid.T) {
	id := watchbill.IncidentID(rapid.IntRange(1, 2).Draw(t, "incident"))
	want := int64(0)
	for i := range r.m.pages {
		if p := &r.m.pages[i]; p.Incident == id && p.State == "pending" {
			p.State = "dropped"
			want++
		}
	}
	r.update(func(tx *store.Tx) error {
		n, err := tx.DropPages(id)
		require.Equal(t, want, n)
		return err
	})
}

func (r *run) hastenPage(t *rapid.T) {
	if len(r.m.pages) == 0 {
		t.Skip("no page yet")
	}
	p := &r.m.pages[rapid.IntRange(0, len(r.m.pages)-1).Draw(t, "which")]
	later := p.State == "pending" && p.NextDue.After(r.now)
	r.update(func(tx *store.Tx) error {
		hastened, err := tx.HastenPage(p.Key(), r.now)
		require.Equal(t, later, hastened)
		return err
	})
	if later {
		p.NextDue = r.now
	}
}

func (r *run) releaseLeases(t *rapid.T) {
	want := int64(0)
	for i := range r.m.pages {
		if p := &r.m.pages[i]; p.State == "pending" && !p.LeaseUntil.IsZero() {
			p.LeaseUntil = time.Time{}
			want++
		}
	}
	r.update(func(tx *store.Tx) error {
		n, err := tx.ReleaseLeases()
		require.Equal(t, want, n)
		return err
	})
}

func (r *run) comparePages(t *rapid.T, tx *store.Tx) {
	var got []store.PageRow
	attempts := map[attemptKey]store.Attempt{}
	for id := range watchbill.IncidentID(3) {
		rows, err := tx.PagesOf(id)
		require.NoError(t, err)
		got = append(got, rows...)
		made, err := tx.AttemptsOf(id)
		require.NoError(t, err)
		for _, a := range made {
			attempts[attemptKey{a.Page, a.Attempt}] = a
		}
	}
	require.Len(t, got, len(r.m.pages))
	for _, row := range got {
		want := *r.page(row.Key())
		want.ID = row.ID
		require.Equal(t, want, row)
	}
	require.True(t, maps.Equal(r.m.attempts, attempts), "%v is not %v", r.m.attempts, attempts)
	for _, c := range []store.Claim{{Method: "push"}, {Known: []string{"push"}}, {}} {
		var first time.Time
		for _, p := range r.m.pages {
			at := p.NextDue
			if p.LeaseUntil.After(at) {
				at = p.LeaseUntil
			}
			if p.State == "pending" && selected(p, c) && (first.IsZero() || at.Before(first)) {
				first = at
			}
		}
		next, err := tx.NextPage(c)
		require.NoError(t, err)
		require.Equal(t, first, next)
	}
}
