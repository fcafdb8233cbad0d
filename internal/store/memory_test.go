package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
)

func named(i int) AlertRow {
	return AlertRow{Alert: watchbill.Alert{Labels: watchbill.Labels{"alertname": fmt.Sprint("A", i)}}, Incident: 1}
}

func fingerprints(n int) (all []watchbill.Fingerprint) {
	for i := range n {
		all = append(all, named(i).Fingerprint())
	}
	return all
}

// there counts the alerts of the first n that a transaction finds, having asked
// for all of them at once.
func there(t *testing.T, tx *Tx, n int) (found int) {
	t.Helper()
	require.NoError(t, tx.Fetch(fingerprints(n)))
	for i := range n {
		a, ok, err := tx.Alert(named(i).Fingerprint())
		require.NoError(t, err)
		if ok {
			found++
			require.Equal(t, named(i).Labels, a.Labels)
		}
	}
	return found
}

// Far more rows than one load of the lane are there for the next callback of the
// same transaction, and none of those of a callback that fails.
func TestABatchReadsTheAlertsThatItWrote(t *testing.T) {
	for _, fails := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s, batches, release := queued(t)
			var wg sync.WaitGroup
			queue := func(fn func(*Tx) error) {
				wg.Go(func() { _ = s.Update(context.Background(), fn) })
				synctest.Wait()
			}
			write := func(tx *Tx, from, to int) {
				for i := from; i < to; i++ {
					require.NoError(t, tx.PutAlert(named(i)))
				}
			}
			const many = 10 * laneLoad
			queue(func(tx *Tx) error {
				require.Zero(t, there(t, tx, 2*many))
				write(tx, 0, many)
				require.Equal(t, many, there(t, tx, 2*many))
				return nil
			})
			queue(func(tx *Tx) error {
				require.Equal(t, many, there(t, tx, 2*many))
				write(tx, many, 2*many)
				if fails {
					require.Equal(t, 2*many, there(t, tx, 2*many))
					return errors.New("taken back")
				}
				return nil
			})
			want := 2 * many
			if fails {
				want = many
			}
			queue(func(tx *Tx) error {
				require.Equal(t, want, there(t, tx, 2*many))
				of, err := tx.AlertsOf(1)
				require.NoError(t, err)
				require.Len(t, of, want)
				return nil
			})
			release()
			wg.Wait()
			require.Equal(t, []int{1, 3}, *batches)
			require.NoError(t, s.View(t.Context(), func(tx *Tx) error { require.Equal(t, want, there(t, tx, 2*many)); return nil }))
			require.NoError(t, s.Close())
		})
	}
}

// What was read at once is read anew when a statement changes it.
func TestFetchedAlertsAreNeverOld(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "w.db"))
	require.NoError(t, err)
	defer s.Close()
	now := time.Date(2026, 11, 29, 3, 0, 0, 0, time.UTC)
	muted, plain := named(0), named(1)
	muted.Muted, muted.Due = "a silence", now.Add(time.Hour)
	require.NoError(t, s.Update(t.Context(), func(tx *Tx) error {
		return errors.Join(tx.PutAlert(muted), tx.PutAlert(plain))
	}))
	require.NoError(t, s.Update(t.Context(), func(tx *Tx) error {
		require.Equal(t, 2, there(t, tx, 3))
		require.NoError(t, tx.HastenMuted(now))
		a, _, err := tx.Alert(muted.Fingerprint())
		require.NoError(t, err)
		require.Equal(t, now, a.Due)
		plain.Muted = "changed"
		require.NoError(t, tx.PutAlert(plain))
		a, _, err = tx.Alert(plain.Fingerprint())
		require.NoError(t, err)
		require.Equal(t, "changed", a.Muted)
		return nil
	}))
}

// A statement that fails in the lane fails its own caller, however far that had
// gone on, and nobody else.
func TestALateErrorMeetsItsOwnCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, batches, release := queued(t)
		var wg sync.WaitGroup
		errs := make([]error, 3)
		for i := range errs {
			wg.Go(func() {
				errs[i] = s.Update(context.Background(), func(tx *Tx) error {
					inc := watchbill.Incident{Key: fmt.Sprint("k", i), Generation: 1, State: watchbill.StateOpen}
					if err := tx.PutIncident(&inc); err != nil {
						return err
					}
					for n := range 5 * laneLoad {
						if i == 1 && n == laneLoad/2 {
							inc.Seq = 1 // it is there already
						}
						if err := tx.AppendEvents(&inc, watchbill.Event{Kind: watchbill.EventNote}); err != nil {
							return err
						}
					}
					return tx.PutIncident(&inc)
				})
			})
			synctest.Wait()
		}
		release()
		wg.Wait()
		require.NoError(t, errs[0])
		require.ErrorContains(t, errs[1], "the store cannot append event: ")
		require.NoError(t, errs[2])
		require.Equal(t, []int{1, 3}, *batches)
		require.Equal(t, 2, count(t, s))
		require.NoError(t, s.Update(t.Context(), put("later")), "the error is gone with its transaction")
		require.NoError(t, s.View(t.Context(), func(tx *Tx) error {
			return tx.Chains(func(id watchbill.IncidentID, head string, events []watchbill.Event) error {
				return watchbill.VerifyChain(events, head)
			})
		}))
		require.NoError(t, s.Close())
	})
}

// A callback that panics while statements run beside it leaves nothing behind.
func TestAPanicWaitsForTheLane(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "w.db"))
	require.NoError(t, err)
	defer s.Close()
	require.NoError(t, s.Update(t.Context(), func(tx *Tx) error { return tx.PutAlert(named(10_000)) })) // prepares it
	require.PanicsWithValue(t, "bug", func() {
		_ = s.Update(t.Context(), func(tx *Tx) error {
			for i := range 3*laneLoad + 1 {
				require.NoError(t, tx.PutAlert(named(i)))
			}
			panic("bug")
		})
	})
	require.NoError(t, s.Update(t.Context(), func(tx *Tx) error { require.Zero(t, there(t, tx, 100)); return nil }))
}

// What another process writes is not overlooked, whatever was known before.
func TestAnotherProcessMayWrite(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "w.db")
	ours, err := Open(t.Context(), path)
	require.NoError(t, err)
	defer ours.Close()
	other, err := Open(t.Context(), path)
	require.NoError(t, err)
	defer other.Close()
	var silences []uint64
	looks := func() (n int, last Version) {
		require.NoError(t, ours.Update(t.Context(), func(tx *Tx) (err error) {
			n = there(t, tx, 10)
			silences = append(silences, tx.SilencesVersion())
			last, _, err = tx.LastVersion("k")
			return err
		}))
		return n, last
	}
	n, last := looks()
	require.Zero(t, n)
	require.Zero(t, last)
	require.NoError(t, ours.Update(t.Context(), put("k")))
	_, first := looks()
	require.NotZero(t, first)
	require.Equal(t, silences[0], silences[1], "no silence changed")
	require.NoError(t, other.Update(t.Context(), func(tx *Tx) error {
		require.NoError(t, tx.PutAlert(named(3)))
		require.NoError(t, tx.PutSilence(watchbill.Silence{ID: "x"}))
		return end("k")(tx)
	}))
	require.NoError(t, other.Update(t.Context(), put("k")))
	n, last = looks()
	require.Equal(t, 1, n)
	require.Greater(t, last.ID, first.ID)
	require.NotEqual(t, silences[1], silences[2])
	require.NoError(t, ours.Update(t.Context(), func(tx *Tx) error { return tx.PutSilence(watchbill.Silence{ID: "y"}) }))
	looks()
	require.NotEqual(t, silences[2], silences[3])
	require.NoError(t, ours.View(t.Context(), func(tx *Tx) error { require.Zero(t, tx.SilencesVersion()); return nil }))
}

// A silence that was seen in a transaction and taken back is seen no more.
func TestSilencesTakenBackAreAnotherVersion(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "w.db"))
	require.NoError(t, err)
	defer s.Close()
	var seen []uint64
	look := func(tx *Tx) error { seen = append(seen, tx.SilencesVersion()); return nil }
	require.NoError(t, s.Update(t.Context(), look))
	require.Error(t, s.Update(t.Context(), func(tx *Tx) error {
		require.NoError(t, tx.PutSilence(watchbill.Silence{ID: "x"}))
		return errors.Join(look(tx), errors.New("taken back"))
	}))
	require.NoError(t, s.Update(t.Context(), look))
	require.Len(t, slices.Compact(slices.Sorted(slices.Values(seen))), 3)
}

// An encoded alert is stored as it was, and one that was changed since as it is.
func TestEncodedAlerts(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "w.db"))
	require.NoError(t, err)
	defer s.Close()
	at := time.Date(2026, 11, 29, 3, 0, 0, 0, time.UTC)
	a := watchbill.Alert{Labels: watchbill.Labels{"alertname": "A"}, Annotations: watchbill.Labels{"summary": "s"}, StartsAt: at, EndsAt: at, UpdatedAt: at, Source: "x"}
	for name, change := range map[string]func(*AlertRow){
		"nothing": func(*AlertRow) {}, "end": func(r *AlertRow) { r.EndsAt = at.Add(time.Hour) }, "start": func(r *AlertRow) { r.StartsAt = at.Add(-time.Hour) },
		"update": func(r *AlertRow) { r.UpdatedAt = at.Add(time.Hour) }, "source": func(r *AlertRow) { r.Source = "y" }, "link": func(r *AlertRow) { r.GeneratorURL = "u" },
		"annotations": func(r *AlertRow) { r.Annotations = watchbill.Labels{"summary": "t"} }, "labels": func(r *AlertRow) { r.Labels = watchbill.Labels{"alertname": "B"} },
		"all": func(r *AlertRow) { r.Alert = watchbill.Alert{Labels: watchbill.Labels{"alertname": "C"}} },
	} {
		e, err := Encode(a, a.Fingerprint())
		require.NoError(t, err)
		row := e.Row()
		change(&row)
		require.Equal(t, row.Labels.Fingerprint(), row.Fingerprint(), name)
		require.NoError(t, s.Update(t.Context(), func(tx *Tx) error { return tx.PutAlert(row) }))
		require.NoError(t, s.View(t.Context(), func(tx *Tx) error {
			got, found, err := tx.Alert(row.Labels.Fingerprint())
			require.NoError(t, err)
			require.True(t, found, name)
			require.Equal(t, row.Alert, got.Alert, name)
			return nil
		}))
	}
}

// The filter never forgets, and a million alerts leave it useful.
func TestFilter(t *testing.T) {
	t.Parallel()
	f := newFilter()
	fp := func(i int) watchbill.Fingerprint { return watchbill.Fingerprint(fmt.Sprintf("%016x", i)) }
	const n = 1_000_000
	for i := range n {
		f.add(fp(i))
	}
	mistakes := 0
	for i := range n / 10 {
		require.True(t, f.has(fp(i*10)))
		if f.has(fp(n + i)) {
			mistakes++
		}
	}
	require.Less(t, mistakes, n/10/30)
}
