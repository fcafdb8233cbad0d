package store

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
)

func auditedAt() time.Time { return time.Date(2026, 11, 29, 3, 15, 0, 0, time.UTC) }

func audited(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "w.db"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func audit(t *testing.T, s *Store) (a Audit) {
	t.Helper()
	require.NoError(t, s.View(t.Context(), func(tx *Tx) (err error) {
		a, err = tx.Audit(auditedAt(), AuditLimits{Overdue: 30 * time.Second, Lease: 2 * time.Minute})
		return err
	}))
	return a
}

// healthy fills a store with one of everything that is right.
func healthy(t *testing.T, s *Store) {
	t.Helper()
	now := auditedAt()
	require.NoError(t, s.Update(t.Context(), func(tx *Tx) error {
		for n, state := range []watchbill.State{watchbill.StateOpen, watchbill.StateAcknowledged, watchbill.StateResolved, watchbill.StateClosed, watchbill.StateOpen} {
			inc := &watchbill.Incident{Key: fmt.Sprint("k", n), Generation: 2, State: state, Severity: watchbill.Sev2, OpenedAt: now}
			if n == 4 {
				inc.Severity = watchbill.Sev4 // recorded only: it has no step
			}
			require.NoError(t, tx.PutIncident(inc))
			a := watchbill.Alert{Labels: watchbill.Labels{"n": fmt.Sprint(n)}, EndsAt: now.Add(time.Minute)}
			require.NoError(t, tx.PutAlert(AlertRow{Alert: a, Incident: inc.ID, Due: a.EndsAt}))
			page := watchbill.Page{Incident: inc.ID, Generation: 2, Person: "ana", Method: "push", Due: now.Add(-time.Minute)}
			require.NoError(t, tx.PutPage(page))
			page.Generation = 1 // dropped by the generation after it
			require.NoError(t, tx.PutPage(page))
		}
		require.NoError(t, tx.PutAlert(AlertRow{Alert: watchbill.Alert{Labels: watchbill.Labels{"n": "muted"}, EndsAt: now.Add(time.Hour)}, Muted: "a silence", Due: now.Add(time.Minute)}))
		for id, kind := range map[watchbill.IncidentID]watchbill.TimerKind{1: watchbill.TimerStep, 2: watchbill.TimerAck, 3: watchbill.TimerClose} {
			require.NoError(t, tx.SetTimer(watchbill.Timer{Kind: kind, Incident: id, Generation: 2, Due: now.Add(time.Minute)}))
		}
		for _, id := range []watchbill.IncidentID{2, 3, 4, 5} {
			_, err := tx.DropPages(id)
			require.NoError(t, err)
		}
		_, err := tx.exec("drop", `UPDATE page SET state = 'dropped' WHERE incident = 1 AND generation = 1`)
		require.NoError(t, err)
		claimed, err := tx.ClaimPages(Claim{Now: now.Add(-50 * time.Second), Lease: 30 * time.Second, Limit: 10})
		require.NoError(t, err)
		require.Len(t, claimed, 1)
		return tx.FinishAttempt(watchbill.Outcome{Delivery: claimed[0], At: now, Result: watchbill.ResultDelivered})
	}))
}

// What is right raises no doubt, and each kind of damage raises its own.
func TestAuditFindsEachKindOfDamage(t *testing.T) {
	t.Parallel()
	fresh := audited(t)
	healthy(t, fresh)
	require.Equal(t, Audit{}, audit(t, fresh))

	now := auditedAt().UnixNano()
	doubt := func(names ...string) Doubt { return Doubt{Count: len(names), Some: names} }
	for name, c := range map[string]struct {
		damage string
		want   Audit
	}{
		"step deleted":    {`DELETE FROM timer WHERE kind = 'step'`, Audit{NoStep: doubt("INC-1")}},
		"ack deleted":     {`DELETE FROM timer WHERE kind = 'ack'`, Audit{NoAck: doubt("INC-2")}},
		"close deleted":   {`DELETE FROM timer WHERE kind = 'close'`, Audit{NoEnd: doubt("INC-3")}},
		"attempt deleted": {`DELETE FROM attempt`, Audit{Unsent: doubt("INC-1/2/0/ana/push")}},
		"marked dropped":  {`DELETE FROM attempt; UPDATE page SET state = 'dropped'`, Audit{Unsent: doubt("INC-1/2/0/ana/push")}},
		"failed attempt":  {`UPDATE attempt SET result = 'retry'`, Audit{Unsent: doubt("INC-1/2/0/ana/push")}},
		"lease of 2100": {
			`UPDATE page SET state = 'pending', lease_until = 4102444800000000000 WHERE incident = 1 AND generation = 2`,
			Audit{Stuck: doubt("INC-1/2/0/ana/push"), Outbox: OutboxDepth{Leased: 1}},
		},
		"timer late":    {fmt.Sprintf(`UPDATE timer SET due_at = %d WHERE kind = 'step'`, now-31e9), Audit{Overdue: 1}},
		"timer held":    {fmt.Sprintf(`UPDATE timer SET held = 1, due_at = %d`, now-31e9), Audit{}},
		"timer in time": {fmt.Sprintf(`UPDATE timer SET due_at = %d`, now-29e9), Audit{}},
		"alert late":    {fmt.Sprintf(`UPDATE alert SET due_at = %d WHERE muted <> ''`, now-31e9), Audit{Overdue: 1}},
		"unmuted":       {`UPDATE alert SET muted = ''`, Audit{Lost: doubt(string(watchbill.Labels{"n": "muted"}.Fingerprint()))}},
		"page waits": {
			fmt.Sprintf(`UPDATE page SET state = 'pending', due_at = %d, lease_until = %d WHERE incident = 1 AND generation = 2`, now-90e9, now-70e9),
			Audit{Outbox: OutboxDepth{Due: 1, Oldest: auditedAt().Add(-70 * time.Second)}},
		},
		"page later": {
			fmt.Sprintf(`UPDATE page SET state = 'pending', due_at = %d WHERE incident = 1 AND generation = 2`, now+90e9),
			Audit{Outbox: OutboxDepth{Later: 1}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := audited(t)
			healthy(t, s)
			require.NoError(t, s.Update(t.Context(), func(tx *Tx) error {
				for query := range strings.SplitSeq(c.damage, ";") {
					if _, err := tx.exec("damage", query); err != nil {
						return err
					}
				}
				return nil
			}))
			require.Equal(t, c.want, audit(t, s))
		})
	}
}

func TestAuditNamesSome(t *testing.T) {
	t.Parallel()
	s := audited(t)
	require.NoError(t, s.Update(t.Context(), func(tx *Tx) error {
		for n := range 12 {
			err := tx.PutIncident(&watchbill.Incident{Key: fmt.Sprint(n), State: watchbill.StateOpen, Severity: watchbill.Sev1})
			if err != nil {
				return err
			}
		}
		return nil
	}))
	require.Equal(t, Doubt{Count: 12, Some: []string{"INC-1", "INC-2", "INC-3", "INC-4", "INC-5"}}, audit(t, s).NoStep)
}

// An auditor that has to be switched off because it is slow is none.
func TestAuditUsesIndexes(t *testing.T) {
	t.Parallel()
	s := audited(t)
	scan := regexp.MustCompile(`^SCAN \w+$`)
	for _, query := range auditQueries() {
		steps := 0
		require.NoError(t, s.View(t.Context(), func(tx *Tx) error {
			var args []any
			if strings.Contains(query, "?") {
				args = append(args, int64(0))
			}
			return tx.each("explain", func(rows *sql.Rows) error {
				var id, parent, unused int
				var detail string
				err := rows.Scan(&id, &parent, &unused, &detail)
				steps++
				require.NotRegexp(t, scan, detail, query)
				return err
			}, "EXPLAIN QUERY PLAN "+query, args...)
		}))
		require.NotZero(t, steps)
	}
}

// The self-test's incident takes no number, leaves nothing, and is no doubt.
func TestSelfTestLeavesNothing(t *testing.T) {
	t.Parallel()
	s := audited(t)
	now := auditedAt()
	for n := range 3 {
		inc := &watchbill.Incident{Key: "self", Generation: n + 1, State: watchbill.StateOpen, OpenedAt: now}
		require.NoError(t, s.Update(t.Context(), func(tx *Tx) error {
			require.NoError(t, tx.OpenSelfTest(inc, watchbill.Event{At: now, Kind: watchbill.EventOpened}))
			require.Equal(t, SelfTestID, inc.ID)
			require.NoError(t, tx.PutAlert(AlertRow{Alert: watchbill.Alert{Labels: watchbill.Labels{"self": "1"}}, Incident: inc.ID, Ended: true}))
			require.NoError(t, tx.PutPage(watchbill.Page{Incident: inc.ID, Generation: n + 1, Person: "watchbill", Method: "loop", Due: now}))
			return tx.SetTimer(watchbill.Timer{Kind: watchbill.TimerStep, Incident: inc.ID, Due: now})
		}))
		require.NoError(t, s.Update(t.Context(), func(tx *Tx) error {
			claimed, err := tx.ClaimPages(Claim{Now: now, Lease: time.Second, Limit: 1})
			require.NoError(t, err)
			require.Len(t, claimed, 1)
			return tx.FinishAttempt(watchbill.Outcome{Delivery: claimed[0], At: now, Result: watchbill.ResultDelivered})
		}))
		require.NoError(t, s.View(t.Context(), func(tx *Tx) error {
			events, err := tx.Events(SelfTestID)
			require.NoError(t, err)
			return watchbill.VerifyChain(events, inc.Head)
		}))
		require.Equal(t, Audit{}, audit(t, s))
	}
	require.NoError(t, s.Update(t.Context(), func(tx *Tx) error { return tx.DropSelfTest() }))
	require.NoError(t, s.View(t.Context(), func(tx *Tx) error {
		for _, table := range []string{"incident", "event", "alert", "timer", "page", "attempt"} {
			var n int
			_, err := tx.row("count", []any{&n}, "SELECT count(*) FROM "+table)
			require.NoError(t, err)
			require.Zero(t, n, table)
		}
		return nil
	}))
	inc := &watchbill.Incident{Key: "k", State: watchbill.StateOpen}
	require.NoError(t, s.Update(t.Context(), func(tx *Tx) error { return tx.PutIncident(inc) }))
	require.EqualValues(t, 1, inc.ID)
}
