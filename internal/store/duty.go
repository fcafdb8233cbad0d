package store

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"watchbill"
)

// PutDutyChange appends a change of the duty to the log and returns it with its id.
func (t *Tx) PutDutyChange(c watchbill.DutyChange) (watchbill.DutyChange, error) {
	var last int64
	var prev string
	if _, err := t.row("read the last change of the duty", []any{&last, &prev}, `SELECT id, hash FROM duty_change ORDER BY id DESC LIMIT 1`); err != nil {
		return c, err
	}
	c.ID = last + 1
	body, err := c.JSON()
	if err != nil {
		return c, err
	}
	_, err = t.exec("write a change of the duty", `INSERT INTO duty_change (id, until_at, ends, body, prev, hash) VALUES (?, ?, ?, ?, ?, ?)`,
		c.ID, unix(c.To), c.Ends, string(body), prev, watchbill.ChainDutyChange(prev, body))
	return c, err
}

// DutyChanges returns the changes of the duty that are not over at an instant and
// that nobody ended, in the order in which they were made.
func (t *Tx) DutyChanges(now time.Time) ([]watchbill.DutyChange, error) {
	return bodies[watchbill.DutyChange](t, "read changes of the duty", `SELECT body FROM duty_change c WHERE until_at > ? AND ends = 0
		AND NOT EXISTS (SELECT 1 FROM duty_change e WHERE e.ends = c.id AND e.ends > 0) ORDER BY id`, unix(now))
}

// DutyLog returns the newest changes of the duty, those that end one among them,
// newest first.
func (t *Tx) DutyLog(limit int) ([]watchbill.DutyChange, error) {
	return bodies[watchbill.DutyChange](t, "read the log of the duty", `SELECT body FROM duty_change ORDER BY id DESC LIMIT ?`, limit)
}

// VerifyDutyLog checks that no change of the duty was altered or taken out, and
// returns how many there are.
func (t *Tx) VerifyDutyLog() (n int, err error) {
	prev := ""
	err = t.each("verify the log of the duty", func(rows *sql.Rows) error {
		var id int64
		var body, before, hash string
		if err := rows.Scan(&id, &body, &before, &hash); err != nil {
			return err
		}
		n++
		var c watchbill.DutyChange
		if err := json.Unmarshal([]byte(body), &c); err != nil {
			return fmt.Errorf("change %d of the duty cannot be read: %w", id, err)
		}
		if before != prev || id != int64(n) || c.ID != id || hash != watchbill.ChainDutyChange(prev, []byte(body)) {
			return fmt.Errorf("change %d of the duty was altered, or one before it was taken out", id)
		}
		prev = hash
		return nil
	}, `SELECT id, body, prev, hash FROM duty_change ORDER BY id`)
	return n, err
}

// DeliveredPages calls of with the person and the time of every page of an incident
// that was delivered between two instants.
func (t *Tx) DeliveredPages(from, to time.Time, of func(watchbill.PersonID, time.Time)) error {
	return t.each("read delivered pages", func(rows *sql.Rows) error {
		var person watchbill.PersonID
		var at int64
		if err := rows.Scan(&person, &at); err != nil {
			return err
		}
		of(person, fromUnix(at))
		return nil
	}, `SELECT p.person, a.at FROM attempt a JOIN page p ON p.id = a.page
		WHERE a.result = 'delivered' AND a.at >= ? AND a.at < ? AND p.incident > 0`, unix(from), unix(to))
}
