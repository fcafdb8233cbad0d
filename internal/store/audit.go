package store

import (
	"database/sql"
	"time"

	"watchbill"
)

// AuditLimits say from when on something is wrong.
type AuditLimits struct {
	Overdue time.Duration // a timer that is late by more
	Lease   time.Duration // a lease that ends later than in this time
}

// Doubt is a number of rows that break a rule, with some of them by name.
type Doubt struct {
	Count int
	Some  []string
}

// Audit is what a round of the auditor found in one consistent state.
type Audit struct {
	NoStep  Doubt // open incidents that page, without a next step
	NoAck   Doubt // acknowledged incidents whose acknowledgement never expires
	NoEnd   Doubt // resolved incidents that never close
	Lost    Doubt // firing alerts that neither belong to an incident nor are muted
	Unsent  Doubt // pages done with in the outbox although no attempt ended them
	Stuck   Doubt // pages under a lease that ends too far in the future
	Overdue int   // timers, and looks at alerts, that are overdue
	Outbox  OutboxDepth
}

// OutboxDepth counts the pages that wait.
type OutboxDepth struct {
	Due, Leased, Later int
	Oldest             time.Time // since when the page has been due and free that waits longest
}

// auditQueries are all questions of an audit.
func auditQueries() []string {
	return []string{auditNoStep, auditNoAck, auditNoEnd, auditLost, auditUnsent, auditStuck, auditTimers, auditAlerts, auditOutbox}
}

// someNamed is how many rows of a doubt are named.
const someNamed = 5

// The questions of an audit. Each must be answered by an index: they are asked
// every few seconds, and most of all when there is much of everything. The
// incident of the self-test, below 1, is left out.
const (
	auditNoStep = `SELECT i.id FROM incident i WHERE i.state = 'open' AND i.id > 0 AND i.severity BETWEEN 1 AND 3
		AND NOT EXISTS (SELECT 1 FROM timer t WHERE t.incident = i.id AND t.kind = 'step')`
	auditNoAck = `SELECT i.id FROM incident i WHERE i.state = 'acknowledged' AND i.id > 0
		AND NOT EXISTS (SELECT 1 FROM timer t WHERE t.incident = i.id AND t.kind = 'ack')`
	auditNoEnd = `SELECT i.id FROM incident i WHERE i.state = 'resolved' AND i.id > 0
		AND NOT EXISTS (SELECT 1 FROM timer t WHERE t.incident = i.id AND t.kind IN ('close', 'quiet', 'proof'))`
	auditLost = `SELECT a.fingerprint FROM alert a INDEXED BY alert_due WHERE a.ended = 0 AND a.incident = 0 AND a.muted = ''`
	// A page of an open incident's present generation leaves the outbox only by
	// an attempt that says so. Acknowledging and resolving drop pages too, and a
	// new generation those of the one before it.
	auditUnsent = `SELECT p.key FROM incident i JOIN timer t ON t.incident = i.id AND t.kind = 'step'
		JOIN page p ON p.incident = i.id AND p.generation = t.generation
		WHERE i.state = 'open' AND i.id > 0 AND p.state IN ('delivered', 'dropped')
		AND NOT EXISTS (SELECT 1 FROM attempt a WHERE a.page = p.id AND a.result IN ('delivered', 'dropped', 'refused'))`
	auditStuck  = `SELECT p.key FROM page p INDEXED BY page_pending WHERE p.state = 'pending' AND p.lease_until > ?`
	auditTimers = `SELECT count(*) FROM timer WHERE due_at < ? AND held = 0`
	auditAlerts = `SELECT count(*) FROM alert INDEXED BY alert_due WHERE ended = 0 AND due_at < ? AND held = 0`
	auditOutbox = `SELECT count(*) FILTER (WHERE max(due_at, lease_until) <= ?1), count(*) FILTER (WHERE lease_until > ?1),
		count(*) FILTER (WHERE due_at > ?1 AND lease_until <= ?1), min(max(due_at, lease_until)) FROM page INDEXED BY page_pending WHERE state = 'pending'`
)

// Audit looks for what no correct daemon leaves behind. It reads, and asks no
// question that an index does not answer.
func (t *Tx) Audit(now time.Time, l AuditLimits) (Audit, error) {
	var a Audit
	for _, q := range []struct {
		into  *Doubt
		query string
		name  func(*sql.Rows) (string, error)
		args  []any
	}{
		{&a.NoStep, auditNoStep, scanIncident, nil},
		{&a.NoAck, auditNoAck, scanIncident, nil},
		{&a.NoEnd, auditNoEnd, scanIncident, nil},
		{&a.Lost, auditLost, scanText, nil},
		{&a.Unsent, auditUnsent, scanText, nil},
		{&a.Stuck, auditStuck, scanText, []any{unix(now.Add(l.Lease))}},
	} {
		err := t.each("audit", func(rows *sql.Rows) error {
			q.into.Count++
			if q.into.Count > someNamed {
				return nil
			}
			name, err := q.name(rows)
			q.into.Some = append(q.into.Some, name)
			return err
		}, q.query, q.args...)
		if err != nil {
			return a, err
		}
	}
	for _, query := range []string{auditTimers, auditAlerts} {
		var n int
		if _, err := t.row("audit timers", []any{&n}, query, unix(now.Add(-l.Overdue))); err != nil {
			return a, err
		}
		a.Overdue += n
	}
	var oldest sql.NullInt64
	_, err := t.row("audit outbox", []any{&a.Outbox.Due, &a.Outbox.Leased, &a.Outbox.Later, &oldest}, auditOutbox, unix(now))
	if o := fromUnix(oldest.Int64); !o.IsZero() && !o.After(now) {
		a.Outbox.Oldest = o
	}
	return a, err
}

func scanText(rows *sql.Rows) (s string, err error) {
	err = rows.Scan(&s)
	return s, err
}

func scanIncident(rows *sql.Rows) (string, error) {
	var id watchbill.IncidentID
	err := rows.Scan(&id)
	return id.String(), err
}

// SelfTestID is the id of the self-test's incident. People's are numbered from
// 1, and the self-test takes none of their numbers.
const SelfTestID watchbill.IncidentID = -1

// OpenSelfTest stores the self-test's incident in place of the last one, of
// which nothing is left.
func (t *Tx) OpenSelfTest(inc *watchbill.Incident, events ...watchbill.Event) error {
	if err := t.DropSelfTest(); err != nil {
		return err
	}
	inc.ID = SelfTestID
	for i := range events {
		events[i] = inc.Record(events[i])
	}
	if err := t.putIncident(inc, true); err != nil {
		return err
	}
	return t.insertEvents(events)
}

// DropSelfTest removes everything of the self-test's incident.
func (t *Tx) DropSelfTest() error {
	for _, query := range []string{
		`DELETE FROM attempt WHERE page IN (SELECT id FROM page WHERE incident = ?)`,
		`DELETE FROM page WHERE incident = ?`,
		`DELETE FROM alert WHERE incident = ?`,
		`DELETE FROM timer WHERE incident = ?`,
		`DELETE FROM event WHERE incident = ?`,
		`DELETE FROM incident WHERE id = ?`,
	} {
		if _, err := t.exec("remove self-test", query, int64(SelfTestID)); err != nil {
			return err
		}
	}
	return nil
}

// RefusedPages returns the pages of an incident of which an attempt ended
// refused.
func (t *Tx) RefusedPages(id watchbill.IncidentID) (map[int64]bool, error) {
	refused := map[int64]bool{}
	err := t.each("read refusals", func(rows *sql.Rows) error {
		var page int64
		err := rows.Scan(&page)
		refused[page] = true
		return err
	}, `SELECT p.id FROM page p WHERE p.incident = ? AND EXISTS (SELECT 1 FROM attempt a WHERE a.page = p.id AND a.result = 'refused')`, int64(id))
	return refused, err
}
