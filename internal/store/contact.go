package store

import (
	"database/sql"
	"encoding/json"

	"watchbill"
)

// PutContact stores a person's own way to be reached, and gives a new one its id.
func (t *Tx) PutContact(c *watchbill.OwnContact) error {
	if c.ID == 0 {
		_, err := t.row("number contact", []any{&c.ID}, `INSERT INTO contact (person, body) VALUES (?, '{}') RETURNING id`, string(c.Person))
		if err != nil {
			return err
		}
	}
	body, err := encode(c)
	if err != nil {
		return err
	}
	_, err = t.exec("store contact", `UPDATE contact SET body = ? WHERE id = ?`, body, c.ID)
	return err
}

// DeleteContact removes one.
func (t *Tx) DeleteContact(id int64) error {
	_, err := t.exec("delete contact", `DELETE FROM contact WHERE id = ?`, id)
	return err
}

// Contacts returns everybody's, in the order in which they were added.
func (t *Tx) Contacts() ([]watchbill.OwnContact, error) {
	var all []watchbill.OwnContact
	err := t.each("read contacts", func(rows *sql.Rows) error {
		var body []byte
		if err := rows.Scan(&body); err != nil {
			return err
		}
		var c watchbill.OwnContact
		if err := json.Unmarshal(body, &c); err != nil {
			return err
		}
		all = append(all, c)
		return nil
	}, `SELECT body FROM contact ORDER BY id`)
	return all, err
}

// LogContact records what was done to a person's contacts.
func (t *Tx) LogContact(person watchbill.PersonID, c watchbill.ContactChange) error {
	_, err := t.exec("log contact", `INSERT INTO contact_log (at, person, via, what) VALUES (?, ?, ?, ?)`, unix(c.At), string(person), c.Via, c.What)
	return err
}

// ContactLog returns what was done to a person's contacts, the newest first.
func (t *Tx) ContactLog(person watchbill.PersonID, limit int) ([]watchbill.ContactChange, error) {
	var all []watchbill.ContactChange
	err := t.each("read contact log", func(rows *sql.Rows) error {
		var c watchbill.ContactChange
		var at int64
		err := rows.Scan(&at, &c.Via, &c.What)
		c.At = fromUnix(at)
		all = append(all, c)
		return err
	}, `SELECT at, via, what FROM contact_log WHERE person = ? ORDER BY id DESC LIMIT ?`, string(person), limit)
	return all, err
}
