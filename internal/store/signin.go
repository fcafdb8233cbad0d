package store

import (
	"encoding/json"

	"watchbill"
)

// Session returns the stored form of a session, as JSON, by the hash of its cookie.
func (t *Tx) Session(hash string) (body []byte, found bool, err error) {
	found, err = t.row("read session", []any{&body}, `SELECT body FROM session WHERE hash = ?`, hash)
	return body, found, err
}

// InsertSession stores a new session.
func (t *Tx) InsertSession(hash string, person watchbill.PersonID, body []byte) error {
	_, err := t.exec("store session", `INSERT INTO session (hash, person, body) VALUES (?, ?, ?)`, hash, string(person), string(body))
	return err
}

// UpdateSession stores what changed of a session that is still there.
func (t *Tx) UpdateSession(hash string, body []byte) error {
	_, err := t.exec("note the use of a session", `UPDATE session SET body = ? WHERE hash = ?`, string(body), hash)
	return err
}

// Sessions returns the stored forms of a person's sessions, and of everybody's if
// person is empty.
func (t *Tx) Sessions(person watchbill.PersonID) ([]json.RawMessage, error) {
	if person == "" {
		return bodies[json.RawMessage](t, "read sessions", `SELECT body FROM session ORDER BY hash`)
	}
	return bodies[json.RawMessage](t, "read sessions", `SELECT body FROM session WHERE person = ? ORDER BY hash`, string(person))
}

// DeleteSession removes a session, and reports whether it was there.
func (t *Tx) DeleteSession(hash string) (bool, error) {
	n, err := t.exec("end session", `DELETE FROM session WHERE hash = ?`, hash)
	return n > 0, err
}

// DeleteSessions removes all sessions of a person, and returns how many there were.
func (t *Tx) DeleteSessions(person watchbill.PersonID) (int64, error) {
	return t.exec("end sessions", `DELETE FROM session WHERE person = ?`, string(person))
}

// Password returns the stored form of a person's password.
func (t *Tx) Password(person watchbill.PersonID) (body []byte, found bool, err error) {
	found, err = t.row("read password", []any{&body}, `SELECT body FROM password WHERE person = ?`, string(person))
	return body, found, err
}

// PutPassword stores a person's password in the place of the one before.
func (t *Tx) PutPassword(person watchbill.PersonID, body []byte) error {
	_, err := t.exec("store password", `INSERT INTO password (person, body) VALUES (?, ?)
		ON CONFLICT (person) DO UPDATE SET body = excluded.body`, string(person), string(body))
	return err
}

// Invitation returns the stored form of an invitation, by the hash of its code.
func (t *Tx) Invitation(hash string) (body []byte, found bool, err error) {
	found, err = t.row("read invitation", []any{&body}, `SELECT body FROM invitation WHERE hash = ?`, hash)
	return body, found, err
}

// PutInvitation stores a person's invitation in the place of the one before.
func (t *Tx) PutInvitation(person watchbill.PersonID, hash string, body []byte) error {
	_, err := t.exec("store invitation", `INSERT INTO invitation (person, hash, body) VALUES (?, ?, ?)
		ON CONFLICT (person) DO UPDATE SET hash = excluded.hash, body = excluded.body`, string(person), hash, string(body))
	return err
}

// TakeInvitation removes an invitation, and reports whether it was there.
func (t *Tx) TakeInvitation(hash string) (bool, error) {
	n, err := t.exec("use invitation", `DELETE FROM invitation WHERE hash = ?`, hash)
	return n > 0, err
}
