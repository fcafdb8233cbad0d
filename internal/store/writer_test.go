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
