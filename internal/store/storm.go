package store

import (
	"database/sql"
	"time"

	"watchbill"
)

// ClaimRest leases, for one person by one method, the pages that are due beside
// those that a claim gave already, the most severe ones of sev1 left out. It
// counts the attempt as ClaimPages does.
func (t *Tx) ClaimRest(c Claim, person watchbill.PersonID) ([]watchbill.Delivery, error) {
	rows, err := t.pages(`SELECT `+pageColumns+` FROM page INDEXED BY page_pending WHERE state = 'pending' AND method = ? AND severity <> 1
		AND due_at <= ? AND lease_until <= ? AND person = ? AND incident >= 0 ORDER BY severity, due_at, id LIMIT ?`,
		c.Method, unix(c.Now), unix(c.Now), string(person), c.Limit)
	if err != nil {
		return nil, err
	}
	out := make([]watchbill.Delivery, len(rows))
	for i, p := range rows {
		out[i] = watchbill.Delivery{ID: p.ID, Attempt: p.Attempt + 1, Page: p.Page}
		if _, err := t.exec("claim page", `UPDATE page SET attempt = ?, lease_until = ? WHERE id = ?`, p.Attempt+1, unix(c.Now.Add(c.Lease)), p.ID); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// PutOff gives a claimed page back as if it had not been claimed, due at an
// instant.
func (t *Tx) PutOff(d watchbill.Delivery, until time.Time) error {
	_, err := t.exec("put page off", `UPDATE page SET attempt = ?, lease_until = 0, due_at = ? WHERE id = ? AND attempt = ? AND state = 'pending'`,
		d.Attempt-1, unix(until), d.ID, d.Attempt)
	return err
}

// PutOffRest makes all pages that are due for a person by a method, but those of
// sev1, due at an instant, and returns how many.
func (t *Tx) PutOffRest(c Claim, person watchbill.PersonID, until time.Time) (int64, error) {
	return t.exec("put pages off", `UPDATE page SET due_at = ? WHERE state = 'pending' AND method = ? AND severity <> 1
		AND due_at <= ? AND lease_until <= ? AND person = ? AND incident >= 0`, unix(until), c.Method, unix(c.Now), unix(c.Now), string(person))
}

// DeliveredSince calls each with the person and the instant of pages that were
// delivered after an instant. It looks at the last pages only: it is for the
// start, when nothing is remembered.
func (t *Tx) DeliveredSince(since time.Time, each func(watchbill.PersonID, time.Time)) error {
	const last = 20_000
	return t.each("read what was delivered lately", func(rows *sql.Rows) error {
		var person watchbill.PersonID
		var at int64
		err := rows.Scan(&person, &at)
		each(person, fromUnix(at))
		return err
	}, `SELECT p.person, a.at FROM page p JOIN attempt a ON a.page = p.id
		WHERE p.id > (SELECT coalesce(max(id), 0) FROM page) - ? AND a.result = 'delivered' AND a.at > ? ORDER BY a.at`, last, unix(since))
}
