package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"watchbill"
)

// Tx is a transaction. Its methods may be called only inside the callback that
// was given it.
type Tx struct {
	// The context bounds the whole transaction, so it is kept with it rather
	// than passed to each of its thirty methods. It is looked at between
	// statements; none is interrupted.
	ctx       context.Context
	conn      *conn
	committed []func()
	held      *atomic.Bool // the store's
	news      News         // of the callback that runs
	memory    *memory      // the writer's; nil in a transaction that only reads
	lane      *lane        // likewise

	fetched map[watchbill.Fingerprint]*AlertRow // as they are now; nil: not there. See [Tx.Fetch]

	// unwritten are rows of incidents that changed and are written later: a storm
	// changes the same ones again and again. See [Tx.flush].
	unwritten unwritten
}

// News is what a callback wrote that somebody waits for.
type News struct {
	Pages bool      // the outbox has pages to look at
	Due   time.Time // the earliest time at which a timer or an alert is due; zero: none was written
}

func (n *News) dueAt(at time.Time) {
	if n.Due.IsZero() || at.Before(n.Due) {
		n.Due = at
	}
}

// News returns what this callback has written so far.
func (t *Tx) News() News { return t.news }

// OnCommit has fn called once this callback's changes are on disk, before any
// caller is told so. The calls come in the order of the transactions, one at a
// time: what keeps a copy of the store in memory is kept true by them. fn must be
// quick and must not use the transaction.
func (t *Tx) OnCommit(fn func()) { t.committed = append(t.committed, fn) }

// unix is the stored form of a time: nanoseconds, and 0 for the zero time.
func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func fromUnix(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

// Statements that meet no row of an incident, or look at those that are not
// written yet by themselves. Before any other one these are written.
const (
	selectIncident     = `SELECT body FROM incident WHERE id = ?`
	selectLastVersion  = `SELECT id, head FROM incident WHERE key = ? ORDER BY id DESC LIMIT 1`
	insertEvent        = `INSERT INTO event (incident, seq, at, kind, actor, via, text, data, prev, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	selectAlert        = `SELECT ` + alertColumns + ` FROM alert WHERE fingerprint = ?`
	selectAlerts       = `SELECT fingerprint, ` + alertColumns + ` FROM alert WHERE fingerprint IN (SELECT value FROM json_each(?))`
	selectFingerprints = `SELECT fingerprint FROM alert`
	selectAlertsOf     = `SELECT ` + alertColumns + ` FROM alert WHERE incident = ? ORDER BY fingerprint`
	selectActive       = `SELECT ` + alertColumns + ` FROM alert WHERE ended = 0 ORDER BY fingerprint`
	upsertAlert        = `INSERT INTO alert (fingerprint, incident, ends_at, ended, due_at, muted, body) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (fingerprint) DO UPDATE SET incident = excluded.incident, ends_at = excluded.ends_at,
		ended = excluded.ended, due_at = excluded.due_at, muted = excluded.muted, body = excluded.body, held = 0`
	selectSilences = `SELECT body FROM silence WHERE ends_at > ? ORDER BY ends_at, id`
)

// stmt returns a prepared statement, unless the transaction's context ended.
func (t *Tx) stmt(query string) (statement, error) {
	if err := t.ctx.Err(); err != nil {
		return nil, err
	}
	if len(t.unwritten.order) > 0 {
		switch query {
		case selectIncident, selectLastVersion, insertEvent, selectAlert, selectAlerts, selectFingerprints, selectAlertsOf, selectActive, upsertAlert, selectSilences:
		default:
			if err := t.flush(); err != nil {
				return nil, err
			}
		}
	}
	if t.lane != nil {
		if err := t.lane.settle(); err != nil {
			return nil, err
		}
	}
	return t.conn.stmt(query)
}

// later has a statement run in the lane, where nobody waits for its result. An
// error is that of one before it; its own comes with the next statement, or with
// the end of the transaction.
func (t *Tx) later(what, query string, args ...any) error {
	if t.lane == nil || t.conn.stmts[query] == nil { // preparing it needs the connection
		_, err := t.exec(what, query, args...)
		return err
	}
	t.wrote(query)
	return t.lane.add(job{what, t.conn.stmts[query], args})
}

// flush writes the rows of incidents that changed, and waits for what is in the
// lane.
func (t *Tx) flush() error {
	rows := t.unwritten.order
	t.unwritten = unwritten{} // before the statements of their own
	bodies := make([]string, len(rows))
	for i, inc := range rows {
		var err error
		if bodies[i], err = encode(inc); err != nil {
			return err
		}
	}
	for i, inc := range rows {
		if err := t.updateIncident(inc, bodies[i]); err != nil {
			return err
		}
	}
	if t.lane == nil {
		return nil
	}
	return t.lane.settle()
}

// unwritten are rows of incidents that the transaction has changed and not
// written, in the order in which they changed first.
type unwritten struct {
	order []*watchbill.Incident
	byID  map[watchbill.IncidentID]*watchbill.Incident
}

func (u *unwritten) put(inc watchbill.Incident) {
	row := u.byID[inc.ID]
	if row == nil {
		if u.byID == nil {
			u.byID = map[watchbill.IncidentID]*watchbill.Incident{}
		}
		row = &watchbill.Incident{}
		u.order = append(u.order, row)
		u.byID[inc.ID] = row
	}
	*row = inc
}

func (t *Tx) exec(what, query string, args ...any) (int64, error) {
	s, err := t.stmt(query)
	if err != nil {
		return 0, unavailable(what, err)
	}
	res, err := s.ExecContext(context.Background(), args...)
	if err != nil {
		return 0, unavailable(what, err)
	}
	t.wrote(query)
	n, err := res.RowsAffected()
	if err != nil {
		return 0, unavailable(what, err)
	}
	return n, nil
}

// row scans one row; found is false when there is none.
func (t *Tx) row(what string, dest []any, query string, args ...any) (found bool, err error) {
	s, err := t.stmt(query)
	if err != nil {
		return false, unavailable(what, err)
	}
	err = s.QueryRowContext(context.Background(), args...).Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, unavailable(what, err)
	}
	return true, nil
}

// each calls scan for every row.
func (t *Tx) each(what string, scan func(*sql.Rows) error, query string, args ...any) error {
	s, err := t.stmt(query)
	if err != nil {
		return unavailable(what, err)
	}
	rows, err := s.QueryContext(context.Background(), args...)
	if err != nil {
		return unavailable(what, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	if err := rows.Err(); err != nil {
		return unavailable(what, err)
	}
	return nil
}

func encode(v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("encode %T: %w", v, err)
	}
	return string(b), nil
}

// bodies reads a one-column result of JSON bodies.
func bodies[T any](t *Tx, what, query string, args ...any) ([]T, error) {
	var all []T
	err := t.each(what, func(rows *sql.Rows) error {
		var body []byte
		if err := rows.Scan(&body); err != nil {
			return err
		}
		var v T
		if err := json.Unmarshal(body, &v); err != nil {
			return err
		}
		all = append(all, v)
		return nil
	}, query, args...)
	return all, err
}

func first[T any](all []T, err error) (v T, found bool, _ error) {
	if err != nil || len(all) == 0 {
		return v, false, err
	}
	return all[0], true, nil
}

// Incident returns an incident by id.
func (t *Tx) Incident(id watchbill.IncidentID) (watchbill.Incident, error) {
	if inc, ok := t.unwritten.byID[id]; ok {
		return *inc, nil
	}
	inc, found, err := first(bodies[watchbill.Incident](t, "read incident", selectIncident, id))
	if err == nil && !found {
		err = watchbill.Errorf(watchbill.CodeNotFound, "list them with: watchbill incident list", "there is no incident %s", id)
	}
	return inc, err
}

// IncidentByKey returns the incident of a group key that is not closed.
func (t *Tx) IncidentByKey(key string) (watchbill.Incident, bool, error) {
	return first(bodies[watchbill.Incident](t, "read incident by key",
		`SELECT body FROM incident WHERE key = ? AND state <> 'closed'`, key))
}

// LastIncident returns the newest incident of a group key, closed or not.
func (t *Tx) LastIncident(key string) (watchbill.Incident, bool, error) {
	return first(bodies[watchbill.Incident](t, "read last incident",
		`SELECT body FROM incident WHERE key = ? ORDER BY id DESC LIMIT 1`, key))
}

// Version names one state of an incident: its last event's hash covers all that
// happened to it.
type Version struct {
	ID   watchbill.IncidentID
	Head string
}

// VersionOf returns the version of an incident.
func VersionOf(inc watchbill.Incident) Version { return Version{inc.ID, inc.Head} }

// LastVersion returns the version of the newest incident of a group key, closed
// or not, without reading the rest of it.
func (t *Tx) LastVersion(key string) (v Version, found bool, err error) {
	if t.memory != nil {
		if v, ok := t.memory.heads[key]; ok {
			return v, true, nil
		}
	}
	found, err = t.row("read the last version", []any{&v.ID, &v.Head}, selectLastVersion, key)
	if inc, ok := t.unwritten.byID[v.ID]; ok {
		v = VersionOf(*inc)
	}
	return v, found, err
}

// Incidents returns the incidents of a state, newest first; every state for
// "", and those that are not closed for "live".
func (t *Tx) Incidents(state string, limit int) ([]watchbill.Incident, error) {
	return bodies[watchbill.Incident](t, "list incidents",
		`SELECT body FROM incident WHERE id > 0 AND (? = '' OR state = ? OR (? = 'live' AND state <> 'closed')) ORDER BY id DESC LIMIT ?`,
		state, state, state, limit)
}

// CountIncidents returns the number of incidents that are not closed, by state
// and severity.
func (t *Tx) CountIncidents(count func(state watchbill.State, sev watchbill.Severity, n int)) error {
	return t.each("count incidents", func(rows *sql.Rows) error {
		var state string
		var sev, n int
		if err := rows.Scan(&state, &sev, &n); err != nil {
			return err
		}
		count(watchbill.State(state), watchbill.Severity(sev), n)
		return nil
	}, `SELECT state, severity, count(*) FROM incident WHERE id > 0 AND state <> 'closed' GROUP BY state, severity`)
}

// PutIncident inserts an incident that has no id yet and gives it one, or
// stores it anew, with the events that happened to it chained in order.
func (t *Tx) PutIncident(inc *watchbill.Incident, events ...watchbill.Event) error {
	fresh := inc.ID == 0
	if fresh {
		// The id is part of the body and of each event's hash, so it is needed
		// before the row is. Only this transaction can write, so it is free.
		if _, err := t.row("read the last incident's id", []any{&inc.ID}, `SELECT seq FROM sqlite_sequence WHERE name = 'incident'`); err != nil {
			return err
		}
		inc.ID++
	}
	for i := range events {
		events[i] = inc.Record(events[i])
	}
	if err := t.putIncident(inc, fresh); err != nil {
		return err
	}
	if t.memory != nil {
		t.memory.incident(*inc)
	}
	return t.insertEvents(events)
}

// AppendEvents chains events to an incident and stores them, without storing
// the incident: the caller does, with PutIncident, before the transaction ends.
func (t *Tx) AppendEvents(inc *watchbill.Incident, events ...watchbill.Event) error {
	for i := range events {
		events[i] = inc.Record(events[i])
	}
	return t.insertEvents(events)
}

func (t *Tx) insertEvents(events []watchbill.Event) error {
	for _, e := range events {
		err := t.later("append event", insertEvent,
			int64(e.Incident), e.Seq, unix(e.At), string(e.Kind), e.Actor, e.Via, e.Text, string(e.Data), e.Prev, e.Hash)
		if err != nil {
			return err
		}
	}
	return nil
}

// putIncident inserts a new incident. The row of another one is kept for later.
func (t *Tx) putIncident(inc *watchbill.Incident, fresh bool) error {
	if !fresh {
		t.unwritten.put(*inc)
		return nil
	}
	body, err := encode(inc)
	if err != nil {
		return err
	}
	_, err = t.exec("insert incident",
		`INSERT INTO incident (id, key, state, severity, service, opened_at, seq, head, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		int64(inc.ID), inc.Key, string(inc.State), int64(inc.Severity), inc.Service, unix(inc.OpenedAt), inc.Seq, inc.Head, body)
	return err
}

// updateIncident writes the row of an incident. Two indexes have its state, and
// SQLite writes them whenever the statement names it, so that it is named only
// if it changed.
func (t *Tx) updateIncident(inc *watchbill.Incident, body string) error {
	n, err := t.exec("update incident", `UPDATE incident SET severity = ?, seq = ?, head = ?, body = ? WHERE id = ? AND state = ?`,
		int64(inc.Severity), inc.Seq, inc.Head, body, int64(inc.ID), string(inc.State))
	if err != nil || n == 1 {
		return err
	}
	n, err = t.exec("update incident and state", `UPDATE incident SET state = ?, severity = ?, seq = ?, head = ?, body = ? WHERE id = ?`,
		string(inc.State), int64(inc.Severity), inc.Seq, inc.Head, body, int64(inc.ID))
	if err == nil && n != 1 {
		err = fmt.Errorf("update incident: there is no row of %s", inc.ID)
	}
	return err
}

// Events returns the timeline of an incident, oldest first.
func (t *Tx) Events(id watchbill.IncidentID) ([]watchbill.Event, error) {
	var all []watchbill.Event
	err := t.each("read events", func(rows *sql.Rows) error {
		var e watchbill.Event
		var at int64
		var data string
		if err := rows.Scan(&e.Incident, &e.Seq, &at, &e.Kind, &e.Actor, &e.Via, &e.Text, &data, &e.Prev, &e.Hash); err != nil {
			return err
		}
		e.At = fromUnix(at)
		if data != "" {
			e.Data = json.RawMessage(data)
		}
		all = append(all, e)
		return nil
	}, `SELECT incident, seq, at, kind, actor, via, text, data, prev, hash FROM event WHERE incident = ? ORDER BY seq`, id)
	return all, err
}

// Chains calls check with every incident's id, its stored chain head and its
// events, oldest incident first. The self-test's is left out.
func (t *Tx) Chains(check func(id watchbill.IncidentID, head string, events []watchbill.Event) error) error {
	type chain struct {
		id   watchbill.IncidentID
		head string
	}
	var chains []chain
	err := t.each("list chains", func(rows *sql.Rows) error {
		var c chain
		if err := rows.Scan(&c.id, &c.head); err != nil {
			return err
		}
		chains = append(chains, c)
		return nil
	}, `SELECT id, head FROM incident WHERE id > 0 ORDER BY id`)
	if err != nil {
		return err
	}
	for _, c := range chains {
		events, err := t.Events(c.id)
		if err != nil {
			return err
		}
		if err := check(c.id, c.head, events); err != nil {
			return err
		}
	}
	return nil
}
