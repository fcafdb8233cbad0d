// Package storetest is what every engine of the store must pass: one suite of
// tests, held against plain maps.
//
// # Use
//
// A test of an engine says where its stores live:
//
//	func TestConformance(t *testing.T) { storetest.Run(t, newPlace) }
//
// A [Place] is an empty database that can be opened, and opened again as a crash
// would have left it. The suite knows nothing else of the engine.
//
// # What it checks
//
// Random sequences of everything that the daemon does to incidents, timers,
// alerts, pages and silences are applied to a store and to a model made of maps;
// after each step all that can be read must be the same, across failed
// transactions, clean ends and crashes. A failing sequence is made shorter and
// printed, with the seed that repeats it. Beside it, many writers change the same
// rows at once and nothing may be lost, claimed twice or seen half done.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"watchbill"
	"watchbill/internal/store"
)

// Place is where a store lives.
type Place struct {
	// Open opens the store, and makes it if it is new.
	Open func() (*store.Store, error)
	// Crash returns the place as it is found when the process is killed now. The
	// store may be open, and is not used any more.
	Crash func() Place
}

// Run runs the suite. place makes a new, empty place.
func Run(t *testing.T, place func(t testing.TB) Place) {
	t.Helper()
	t.Run("model", func(t *testing.T) {
		t.Parallel()
		rapid.Check(t, func(rt *rapid.T) { modelTest(rt, place(t)) })
	})
	t.Run("concurrency", func(t *testing.T) { t.Parallel(); concurrency(t, place(t)) })
	t.Run("claims", func(t *testing.T) { t.Parallel(); claims(t, place(t)) })
	t.Run("handovers", func(t *testing.T) {
		t.Parallel()
		s := open(t, place(t))
		defer s.Close()
		handoverTest(t, s)
	})
	t.Run("crash", func(t *testing.T) { t.Parallel(); crash(t, place(t)) })
}

func open(t require.TestingT, p Place) *store.Store {
	s, err := p.Open()
	require.NoError(t, err)
	return s
}

func start() time.Time { return time.Date(2026, 11, 29, 3, 0, 0, 0, time.UTC) }

// concurrency has many writers append to the same few incidents, and readers
// look on: no event may be lost, and no reader may see a chain that does not
// verify.
func concurrency(t *testing.T, p Place) {
	s := open(t, p)
	defer s.Close()
	const incidents, writers, each = 4, 16, 25
	ctx := context.Background()
	for i := range incidents {
		require.NoError(t, s.Update(ctx, func(tx *store.Tx) error { return tx.PutIncident(newIncident(fmt.Sprint("k", i))) }))
	}
	var done atomic.Bool
	var readers, work sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for !done.Load() {
				err := s.View(ctx, func(tx *store.Tx) error {
					return tx.Chains(func(_ watchbill.IncidentID, head string, events []watchbill.Event) error {
						return watchbill.VerifyChain(events, head)
					})
				})
				if err != nil {
					t.Errorf("a reader saw half a transaction: %v", err)
					return
				}
			}
		})
	}
	boom := errors.New("boom")
	for n := range writers {
		work.Go(func() {
			for i := range each {
				err := s.Update(ctx, func(tx *store.Tx) error {
					inc, err := tx.Incident(watchbill.IncidentID(i%incidents + 1))
					if err != nil {
						return err
					}
					if err := tx.PutIncident(&inc, watchbill.Event{At: start(), Kind: watchbill.EventNote, Actor: fmt.Sprint(n), Text: fmt.Sprint(i)}); err != nil {
						return err
					}
					if (n+i)%5 == 0 {
						return boom
					}
					return nil
				})
				if failed := (n+i)%5 == 0; failed != errors.Is(err, boom) || !failed && err != nil {
					t.Errorf("writer %d, %d: %v", n, i, err)
				}
			}
		})
	}
	work.Wait()
	done.Store(true)
	readers.Wait()
	total := 0
	require.NoError(t, s.View(ctx, func(tx *store.Tx) error {
		return tx.Chains(func(_ watchbill.IncidentID, head string, events []watchbill.Event) error {
			total += len(events)
			return watchbill.VerifyChain(events, head)
		})
	}))
	require.Equal(t, writers*each*4/5, total, "events were lost, or kept of a transaction that failed")
}

// claims has many workers claim and finish the same pages: each page is claimed
// by one of them.
func claims(t *testing.T, p Place) {
	s := open(t, p)
	defer s.Close()
	const pages = 200
	ctx := context.Background()
	require.NoError(t, s.Update(ctx, func(tx *store.Tx) error {
		for i := range pages {
			if err := tx.PutPage(newPage(watchbill.PersonID(fmt.Sprint("p", i)), "push", watchbill.Sev2, start())); err != nil {
				return err
			}
		}
		return nil
	}))
	var mu sync.Mutex
	seen := map[int64]int{}
	var work sync.WaitGroup
	for range 8 {
		work.Go(func() {
			for {
				var got []watchbill.Delivery
				err := s.Update(ctx, func(tx *store.Tx) (err error) {
					got, err = tx.ClaimPages(store.Claim{Method: "push", Now: start(), Lease: time.Minute, Limit: 7})
					return err
				})
				if err != nil || len(got) == 0 {
					if err != nil {
						t.Error(err)
					}
					return
				}
				for _, d := range got {
					mu.Lock()
					seen[d.ID]++
					mu.Unlock()
					if err := s.Update(ctx, func(tx *store.Tx) error {
						return tx.FinishAttempt(watchbill.Outcome{Delivery: d, At: start(), Result: watchbill.ResultDelivered})
					}); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	work.Wait()
	require.Len(t, seen, pages)
	for id, n := range seen {
		require.Equal(t, 1, n, "page %d was claimed more than once", id)
	}
}

// crash ends a store without closing it while others wait for their writes:
// whatever was answered is there, whole, and what was not is there whole or not
// at all.
func crash(t *testing.T, p Place) {
	ctx := context.Background()
	answered := map[string]bool{}
	for round := range 5 {
		s := open(t, p)
		var mu sync.Mutex
		var work sync.WaitGroup
		for n := range 8 {
			work.Go(func() {
				for i := range 10 {
					key := fmt.Sprintf("%d/%d/%d", round, n, i)
					err := s.Update(ctx, func(tx *store.Tx) error {
						inc := newIncident(key)
						if err := tx.PutIncident(inc, watchbill.Event{At: start(), Kind: watchbill.EventOpened}); err != nil {
							return err
						}
						return tx.SetTimer(watchbill.Timer{Kind: watchbill.TimerStep, Incident: inc.ID, Due: start()})
					})
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					answered[key] = true
					mu.Unlock()
				}
			})
		}
		work.Wait()
		p = p.Crash()
		again := open(t, p)
		require.NoError(t, again.View(ctx, func(tx *store.Tx) error {
			for key := range answered {
				inc, found, err := tx.IncidentByKey(key)
				require.NoError(t, err)
				require.True(t, found, "%s was answered and is lost", key)
				timers, err := tx.TimersOf(inc.ID)
				require.NoError(t, err)
				require.Len(t, timers, 1, "%s has lost its timer", key)
			}
			return tx.Chains(func(_ watchbill.IncidentID, head string, events []watchbill.Event) error {
				return watchbill.VerifyChain(events, head)
			})
		}))
		require.NoError(t, again.Close())
	}
}

func newIncident(key string) *watchbill.Incident {
	return &watchbill.Incident{Key: key, Generation: 1, State: watchbill.StateOpen, Severity: watchbill.Sev2, Service: "s", Title: "é <&>", OpenedAt: start()}
}

func newPage(to watchbill.PersonID, method string, sev watchbill.Severity, due time.Time) watchbill.Page {
	return watchbill.Page{Incident: 1, Generation: 1, Person: to, Method: method, Due: due, Content: watchbill.PageContent{Severity: sev, Title: "t"}}
}
