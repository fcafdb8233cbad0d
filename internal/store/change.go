package store

import (
	"database/sql"
	"errors"
	"fmt"
	"time"

	"watchbill"
)

// Change returns a change by id.
func (t *Tx) Change(id watchbill.ChangeID) (watchbill.Change, error) {
	c, found, err := first(bodies[watchbill.Change](t, "read change", `SELECT body FROM change_record WHERE id = ?`, int64(id)))
	if err == nil && !found {
		err = watchbill.Errorf(watchbill.CodeNotFound, "list them with: watchbill change list", "there is no change %s", id)
	}
	return c, err
}

// ChangeByKey returns the change that a request with a key made.
func (t *Tx) ChangeByKey(key string) (watchbill.Change, bool, error) {
	return first(bodies[watchbill.Change](t, "read change by key", `SELECT body FROM change_record WHERE request_key = ?`, key))
}

// ChangeQuery selects changes. Empty fields select all.
type ChangeQuery struct {
	State       watchbill.ChangeState // or "live"
	Service     string
	Environment string
	Incident    watchbill.IncidentID
	Since       time.Time // of which something happened since
	Limit       int
}

// Changes returns changes, newest first.
func (t *Tx) Changes(q ChangeQuery) ([]watchbill.Change, error) {
	return bodies[watchbill.Change](t, "list changes", `SELECT body FROM change_record
		WHERE (?1 = '' OR state = ?1 OR (?1 = 'live' AND state IN ('requested', 'approved', 'performing')))
		AND (?2 = '' OR service = ?2) AND (?3 = '' OR environment = ?3) AND (?4 = 0 OR incident = ?4) AND updated_at >= ?5 ORDER BY id DESC LIMIT ?6`,
		string(q.State), q.Service, q.Environment, int64(q.Incident), unix(q.Since), q.Limit)
}

// PutChange inserts a change that has no id yet and gives it one, or stores it
// anew, with the events that happened to it chained in order. due is when time does
// something to it next; zero is never.
func (t *Tx) PutChange(c *watchbill.Change, due time.Time, events ...watchbill.Event) error {
	fresh := c.ID == 0
	if fresh {
		if _, err := t.row("read the last change's id", []any{&c.ID}, `SELECT coalesce(max(id), 0) FROM change_record`); err != nil {
			return err
		}
		c.ID++
	}
	for i := range events {
		events[i] = c.Record(events[i])
	}
	body, err := encode(c)
	if err != nil {
		return err
	}
	key := sql.NullString{String: c.Key, Valid: c.Key != ""}
	if !due.IsZero() {
		t.news.dueAt(due)
	}
	if fresh {
		_, err = t.exec("insert change", `INSERT INTO change_record (id, request_key, state, service, environment, incident, updated_at, due_at, seq, head, body)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			int64(c.ID), key, string(c.State), c.Content.Service, c.Content.Environment, int64(c.Incident), unix(c.UpdatedAt), unix(due), c.Seq, c.Head, body)
	} else {
		_, err = t.exec("update change", `UPDATE change_record SET state = ?, service = ?, environment = ?, updated_at = ?, due_at = ?, seq = ?, head = ?, body = ? WHERE id = ?`,
			string(c.State), c.Content.Service, c.Content.Environment, unix(c.UpdatedAt), unix(due), c.Seq, c.Head, body, int64(c.ID))
	}
	if err != nil {
		return err
	}
	for _, e := range events {
		if body, err = encode(e); err != nil {
			return err
		}
		if _, err = t.exec("append to a change", `INSERT INTO change_event (record, seq, at, body) VALUES (?, ?, ?, ?)`, int64(c.ID), e.Seq, unix(e.At), body); err != nil {
			return err
		}
	}
	return nil
}

// ChangeEvents returns what happened to a change, oldest first.
func (t *Tx) ChangeEvents(id watchbill.ChangeID) ([]watchbill.Event, error) {
	return bodies[watchbill.Event](t, "read what happened to a change", `SELECT body FROM change_event WHERE record = ? ORDER BY seq`, int64(id))
}

// DueChanges returns the changes to which time does something at now.
func (t *Tx) DueChanges(now time.Time, limit int) ([]watchbill.Change, error) {
	return bodies[watchbill.Change](t, "read due changes", `SELECT body FROM change_record WHERE due_at > 0 AND due_at <= ? ORDER BY due_at LIMIT ?`, unix(now), limit)
}

// NextChange returns when time does something to a change next, and zero if never.
func (t *Tx) NextChange() (time.Time, error) {
	var due sql.NullInt64
	_, err := t.row("read next due change", []any{&due}, `SELECT min(due_at) FROM change_record WHERE due_at > 0`)
	return fromUnix(due.Int64), err
}

// VerifyChanges checks the chain of every change, that what stands in its columns
// is what its chain ends with, and that none is missing. It calls report for each
// that is wrong, and returns how many events there are.
func (t *Tx) VerifyChanges(report func(watchbill.ChangeID, error)) (events int, err error) {
	type row struct {
		id   watchbill.ChangeID
		head string
	}
	var all []row
	err = t.each("list changes", func(rows *sql.Rows) error {
		var r row
		err := rows.Scan(&r.id, &r.head)
		all = append(all, r)
		return err
	}, `SELECT id, head FROM change_record ORDER BY id`)
	if err != nil {
		return 0, err
	}
	last := watchbill.ChangeID(0)
	for _, r := range all {
		for id := last + 1; id < r.id; id++ {
			report(id, fmt.Errorf("%s is gone", id))
		}
		last = r.id
		c, err := t.Change(r.id)
		if err != nil {
			return events, err
		}
		chain, err := t.ChangeEvents(r.id)
		if err != nil {
			return events, err
		}
		events += len(chain)
		err = watchbill.VerifyChain(chain, r.head)
		if err == nil && (c.Head != r.head || c.ID != r.id || c.Content.Sum() != c.Hash) {
			err = errors.New("its content is not what its hash says, or its row was altered")
		}
		if err != nil {
			report(r.id, err)
		}
	}
	return events, nil
}

// ChangePolicy returns the rules of changes that are in force, as JSON.
func (t *Tx) ChangePolicy() (body []byte, found bool, err error) {
	found, err = t.row("read the rules of changes", []any{&body}, `SELECT body FROM change_policy WHERE id = 1`)
	return body, found, err
}

// PutChangePolicy keeps the rules of changes that are in force.
func (t *Tx) PutChangePolicy(body []byte) error {
	_, err := t.exec("keep the rules of changes", `INSERT INTO change_policy (id, body) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET body = excluded.body`, string(body))
	return err
}
