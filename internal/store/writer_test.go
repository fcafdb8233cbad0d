package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
)

// queued opens a store whose writer is held inside a first callback until
// release is called, so that what is queued meanwhile makes one batch.
func queued(t *testing.T) (s *Store, batches *[]int, release func()) {
	t.Helper()
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "w.db"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	var sizes []int
	s.writer.batch = func(n int) { sizes = append(sizes, n) }
	gate, held := make(chan struct{}), make(chan struct{})
	go func() {
		_ = s.Update(context.Background(), func(*Tx) error { close(held); <-gate; return nil })
	}()
	<-held
	return s, &sizes, sync.OnceFunc(func() { close(gate) })
}

func put(key string) func(*Tx) error {
	return func(tx *Tx) error {
		return tx.PutIncident(&watchbill.Incident{Key: key, Generation: 1, State: watchbill.StateOpen}, watchbill.Event{Kind: watchbill.EventOpened})
	}
}

func count(t *testing.T, s *Store) int {
	t.Helper()
	var all []watchbill.Incident
	require.NoError(t, s.View(t.Context(), func(tx *Tx) (err error) { all, err = tx.Incidents("", 10_000); return err }))
	return len(all)
}

// All that wait share one transaction; one that fails, and one that panics, take
// back their own changes and nobody else's.
func TestGroupCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, batches, release := queued(t)
		boom := errors.New("boom")
		var wg sync.WaitGroup
		errs := make([]error, 100)
		panicked := any(nil)
		for i := range errs {
			wg.Go(func() {
				switch i {
				case 13:
					errs[i] = s.Update(context.Background(), func(tx *Tx) error {
						require.NoError(t, put("poison")(tx))
						return boom
					})
				case 14:
					defer func() { panicked = recover() }()
					_ = s.Update(context.Background(), func(tx *Tx) error {
						require.NoError(t, put("bug")(tx))
						panic("bug")
					})
				default:
					errs[i] = s.Update(context.Background(), put(fmt.Sprint("k", i)))
				}
			})
		}
		synctest.Wait() // all of them are queued
		release()
		wg.Wait()
		for i, err := range errs {
			if i == 13 {
				require.ErrorIs(t, err, boom)
			} else {
				require.NoError(t, err)
			}
		}
		require.Equal(t, "bug", panicked)
		require.Equal(t, []int{1, 100}, *batches)
		require.Equal(t, 98, count(t, s))
		require.NoError(t, s.Close())
	})
}

// Hooks run in the order of the writes, and only those of writes that happened.
func TestOnCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, release := queued(t)
		var ran []int
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				_ = s.Update(context.Background(), func(tx *Tx) error {
					tx.OnCommit(func() { ran = append(ran, i) })
					if i%3 == 0 {
						return errors.New("taken back")
					}
					return nil
				})
			})
			synctest.Wait() // queued in this order
		}
		release()
		wg.Wait()
		require.Equal(t, []int{1, 2, 4, 5, 7, 8}, ran)
		require.NoError(t, s.Close())
	})
}

func TestACallerThatGaveUpIsNotRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, release := queued(t)
		ctx, cancel := context.WithCancel(context.Background())
		got := make(chan error)
		go func() { got <- s.Update(ctx, put("k")) }()
		synctest.Wait()
		cancel()
		release()
		require.ErrorIs(t, <-got, context.Canceled)
		require.Zero(t, count(t, s))
		require.ErrorIs(t, s.Update(ctx, put("k")), context.Canceled)
		require.NoError(t, s.Close())
	})
}

func TestAFullQueueSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, release := queued(t)
		var wg sync.WaitGroup
		for range maxWaiting {
			wg.Go(func() { _ = s.Update(context.Background(), func(*Tx) error { return nil }) })
		}
		synctest.Wait()
		err := s.Update(context.Background(), put("k"))
		require.ErrorContains(t, err, "the store is busy")
		e, ok := errors.AsType[*watchbill.Error](err)
		require.True(t, ok)
		require.Equal(t, watchbill.CodeUnavailable, e.Code)
		release()
		wg.Wait()
		require.NoError(t, s.Update(context.Background(), put("k")), "it recovers")
		require.NoError(t, s.Close())
	})
}

func TestAClosedStoreSaysSo(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "w.db"))
	require.NoError(t, err)
	require.NoError(t, s.Close())
	done := make(chan error, 1)
	go func() { done <- s.Update(context.Background(), put("k")) }()
	select {
	case err := <-done:
		require.ErrorContains(t, err, "the store is closed")
	case <-time.After(10 * time.Second):
		t.Fatal("an update of a closed store hangs")
	}
}

// What comes in masses gives way: of a hundred alerts that take a while each, only
// a few share the transaction of whoever acknowledges a page meanwhile, and none
// of them is forgotten.
func TestBulkGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, batches, release := queued(t)
		var mu sync.Mutex
		var order []string
		var wg sync.WaitGroup
		write := func(name string, update func(context.Context, func(*Tx) error) error, takes time.Duration) {
			wg.Go(func() {
				require.NoError(t, update(context.Background(), func(tx *Tx) error {
					time.Sleep(takes)
					return put(name)(tx)
				}))
				mu.Lock()
				defer mu.Unlock()
				order = append(order, name)
			})
			synctest.Wait()
		}
		for i := range 100 {
			write(fmt.Sprint("bulk ", i), s.UpdateBulk, 10*time.Millisecond)
		}
		write("urgent", s.Update, time.Second)
		release()
		wg.Wait()
		require.Contains(t, order[:2], "urgent", "a single one of the mass went with it")
		require.Len(t, order, 101)
		require.Equal(t, 101, count(t, s))
		for _, n := range *batches {
			require.LessOrEqual(t, n, 6, "no transaction takes much longer than it may")
		}
		require.NoError(t, s.Close())
	})
}

// What a callback changed is what the next one of its transaction reads, by
// whichever way, whether or not another one between them fails.
func TestABatchReadsWhatItChanged(t *testing.T) {
	for _, fails := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s, batches, release := queued(t)
			var wg sync.WaitGroup
			queue := func(fn func(*Tx) error) {
				wg.Go(func() { _ = s.Update(context.Background(), fn) })
				synctest.Wait() // queued in this order
			}
			change := func(tx *Tx, text string) error {
				inc, found, err := tx.IncidentByKey("k")
				require.NoError(t, err)
				require.True(t, found)
				inc.Title = text
				return tx.PutIncident(&inc, watchbill.Event{Kind: watchbill.EventNote, Text: text})
			}
			reads := func(tx *Tx, text string, seq int64) {
				all, err := tx.Incidents("live", 10)
				require.NoError(t, err)
				require.Len(t, all, 1)
				one, err := tx.Incident(all[0].ID)
				require.NoError(t, err)
				last, found, err := tx.LastIncident("k")
				require.NoError(t, err)
				require.True(t, found)
				for _, inc := range []watchbill.Incident{all[0], one, last} {
					require.Equal(t, text, inc.Title)
					require.Equal(t, seq, inc.Seq)
				}
				v, _, err := tx.LastVersion("k")
				require.NoError(t, err)
				require.Equal(t, VersionOf(one), v)
			}
			queue(put("k"))
			queue(func(tx *Tx) error { return change(tx, "first") })
			queue(func(tx *Tx) error {
				v, _, err := tx.LastVersion("k") // before the row is written
				require.NoError(t, err)
				inc, err := tx.Incident(v.ID)
				require.NoError(t, err)
				require.Equal(t, VersionOf(inc), v)
				require.Equal(t, "first", inc.Title)
				return change(tx, "second")
			})
			queue(func(tx *Tx) error {
				if fails {
					require.NoError(t, change(tx, "taken back"))
					return errors.New("taken back")
				}
				return nil
			})
			queue(func(tx *Tx) error { reads(tx, "second", 3); return change(tx, "third") })
			queue(end("k"))
			queue(func(tx *Tx) error {
				last, found, err := tx.LastIncident("k")
				require.NoError(t, err)
				require.True(t, found)
				v, _, err := tx.LastVersion("k")
				require.NoError(t, err)
				require.Equal(t, VersionOf(last), v)
				require.Equal(t, watchbill.StateClosed, last.State)
				return put("k")(tx) // there may be a new one now
			})
			release()
			wg.Wait()
			require.Equal(t, []int{1, 7}, *batches)
			require.Equal(t, 2, count(t, s))
			require.NoError(t, s.View(t.Context(), func(tx *Tx) error {
				return tx.Chains(func(id watchbill.IncidentID, head string, events []watchbill.Event) error {
					require.Equal(t, events[len(events)-1].Hash, head)
					return nil
				})
			}))
			require.NoError(t, s.Close())
		})
	}
}

func end(key string) func(*Tx) error {
	return func(tx *Tx) error {
		inc, _, err := tx.IncidentByKey(key)
		if err != nil {
			return err
		}
		inc.State = watchbill.StateClosed
		return tx.PutIncident(&inc, watchbill.Event{Kind: watchbill.EventClosed, Text: "closed"})
	}
}
