package faults_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/config"
	"watchbill/internal/notify"
	"watchbill/internal/store"
)

// sender is the outbox of one of several processes that share a store.
type sender struct{ *store.Store }

func (s sender) Claim(ctx context.Context, c notify.Claim) (claimed []watchbill.Delivery, err error) {
	err = s.Update(ctx, func(tx *store.Tx) error {
		claimed, err = tx.ClaimPages(store.Claim{Method: c.Method, Known: c.Except, Now: c.Now, Lease: c.Lease, Limit: c.Limit})
		return err
	})
	return claimed, err
}

func (s sender) NextDue(ctx context.Context, q notify.Queue) (next time.Time, err error) {
	err = s.View(ctx, func(tx *store.Tx) error {
		next, err = tx.NextPage(store.Claim{Method: q.Method, Known: q.Except})
		return err
	})
	return next, err
}

func (s sender) Needed(ctx context.Context, d watchbill.Delivery) (needed bool, why string, err error) {
	err = s.View(ctx, func(tx *store.Tx) error {
		row, _, err := tx.Page(d.ID)
		needed, why = row.State == "pending" && row.Attempt == d.Attempt, row.State
		return err
	})
	return needed, why, err
}

func (s sender) Finish(ctx context.Context, o watchbill.Outcome) error {
	return s.Update(ctx, func(tx *store.Tx) error { return tx.FinishAttempt(o) })
}

// twoSenders lets two page workers work off one store, as happens when a second
// process takes over from one that only seemed dead, and lets the planner decide
// each page twice. The lease and the unique key are all that stands between
// people and double pages.
func twoSenders(t *testing.T) {
	n := size(40, 200, 200)
	dir := t.TempDir()
	r := &rig{t: t, dir: dir, addr: "127.0.0.1:1", sim: &pagesim{delay: 5 * time.Millisecond}}
	srv := httptest.NewServer(r.sim)
	defer srv.Close()
	r.push = srv.URL
	r.configure(slowPath)
	cfg, err := config.Load(r.file(), nil)
	require.NoError(t, err)
	s, err := store.Open(t.Context(), filepath.Join(dir, "watchbill.db"))
	require.NoError(t, err)
	now := time.Now().UTC()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	for range 2 {
		notifier, err := notify.New(cfg.Notify, notify.Options{})
		require.NoError(t, err)
		w := notify.NewWorker(notify.WorkerOptions{Outbox: sender{s}, Notifier: notifier})
		go func() { ended <- w.Run(ctx) }()
		go func() {
			tick := time.NewTicker(2 * time.Millisecond)
			defer tick.Stop()
			for ctx.Err() == nil {
				<-tick.C
				w.Wake()
			}
		}()
	}
	for i := range n {
		inc := watchbill.Incident{
			Key: fmt.Sprint("key-", i), Generation: 1, State: watchbill.StateOpen, Severity: watchbill.Sev2,
			Service: "db", Title: "broken", OpenedAt: now,
		}
		for twice := range 2 {
			require.NoError(t, s.Update(ctx, func(tx *store.Tx) error {
				if twice == 0 {
					if err := tx.PutIncident(&inc, watchbill.Event{At: now, Kind: watchbill.EventOpened, Actor: watchbill.ActorSelf}); err != nil {
						return err
					}
				}
				tm := watchbill.Timer{Kind: watchbill.TimerStep, Incident: inc.ID, Generation: 1, Step: 1, Due: now.Add(time.Hour)}
				if err := tx.SetTimer(tm); err != nil {
					return err
				}
				return tx.PutPage(watchbill.Page{
					Incident: inc.ID, Generation: 1, Person: "ana", Method: "ana", Due: time.Now().UTC(),
					Content: watchbill.PageContent{Severity: watchbill.Sev2, Service: "db", Title: "broken", Incident: inc.ID, To: "ana"},
				})
			}))
		}
	}
	require.Eventually(t, func() bool {
		for _, p := range read(t, r.db()).pages {
			if p.State != "delivered" {
				return false
			}
		}
		return true
	}, 30*time.Second, 100*time.Millisecond)
	cancel()
	require.NoError(t, <-ended)
	require.NoError(t, <-ended)
	e := r.evidence(read(t, r.db()), true)
	require.NoError(t, s.Close())
	must(t, e, bounds{})
	t.Log(e.summary())
}
