package store

import (
	"database/sql"
	"encoding/json"
	"time"

	"watchbill"
)

// AlertRow is an alert with what the daemon knows about it.
type AlertRow struct {
	watchbill.Alert
	Incident watchbill.IncidentID // 0: none
	Ended    bool                 // its end was acted on
	Due      time.Time            // when it is looked at again
	Muted    string               // why it opened no incident
	Mutes    []MuteSpan           // what muted it since it began
}

const alertColumns = `incident, ended, due_at, muted, body`

func scanAlert(rows interface{ Scan(...any) error }) (AlertRow, error) {
	var a AlertRow
	var ended int
	var due int64
	var body []byte
	if err := rows.Scan(&a.Incident, &ended, &due, &a.Muted, &body); err != nil {
		return a, err
	}
	a.Ended, a.Due = ended != 0, fromUnix(due)
	var stored alertBody
	err := json.Unmarshal(body, &stored)
	a.Alert, a.Mutes = stored.Alert, stored.Mutes
	return a, err
}

func (t *Tx) alerts(query string, args ...any) ([]AlertRow, error) {
	var all []AlertRow
	err := t.each("read alerts", func(rows *sql.Rows) error {
		a, err := scanAlert(rows)
		all = append(all, a)
		return err
	}, query, args...)
	return all, err
}

// Alert returns an alert by fingerprint.
func (t *Tx) Alert(fp watchbill.Fingerprint) (AlertRow, bool, error) {
	return first(t.alerts(selectAlert, fp))
}

// AlertsOf returns the alerts of an incident, ended ones too.
func (t *Tx) AlertsOf(id watchbill.IncidentID) ([]AlertRow, error) {
	return t.alerts(selectAlertsOf, id)
}

// ActiveAlerts returns all alerts whose end was not acted on.
func (t *Tx) ActiveAlerts() ([]AlertRow, error) {
	return t.alerts(selectActive)
}

// DueAlerts returns the alerts to look at again at now, in the order of their
// due times.
func (t *Tx) DueAlerts(now time.Time, limit int) ([]AlertRow, error) {
	return t.alerts(`SELECT `+alertColumns+` FROM alert WHERE ended = 0 AND held = 0 AND due_at <= ? ORDER BY due_at LIMIT ?`, unix(now), limit)
}

// NextAlert returns when the next alert is to be looked at, and the zero time
// when none is active.
func (t *Tx) NextAlert() (time.Time, error) {
	var due sql.NullInt64
	_, err := t.row("read next alert", []any{&due}, `SELECT min(due_at) FROM alert WHERE ended = 0 AND held = 0`)
	return fromUnix(due.Int64), err
}

// HastenMuted makes every muted alert due at once, to be decided again.
func (t *Tx) HastenMuted(now time.Time) error {
	t.news.dueAt(now)
	_, err := t.exec("hasten muted alerts", `UPDATE alert SET due_at = ? WHERE ended = 0 AND held = 0 AND muted <> '' AND due_at > ?`, unix(now), unix(now))
	return err
}

// PutAlert inserts an alert or stores it anew.
func (t *Tx) PutAlert(a AlertRow) error {
	if !a.Ended {
		t.news.dueAt(a.Due)
	}
	body, err := encode(alertBody{a.Alert, a.Mutes})
	if err != nil {
		return err
	}
	ended := 0
	if a.Ended {
		ended = 1
	}
	_, err = t.exec("store alert", upsertAlert,
		string(a.Fingerprint()), int64(a.Incident), unix(a.EndsAt), ended, unix(a.Due), a.Muted, body)
	return err
}

// Silences returns the silences that end after since.
func (t *Tx) Silences(since time.Time) ([]watchbill.Silence, error) {
	return bodies[watchbill.Silence](t, "read silences", selectSilences, unix(since))
}

// Silence returns a silence by id.
func (t *Tx) Silence(id string) (watchbill.Silence, error) {
	s, found, err := first(bodies[watchbill.Silence](t, "read silence", `SELECT body FROM silence WHERE id = ?`, id))
	if err == nil && !found {
		err = watchbill.Errorf(watchbill.CodeNotFound, "list them with: GET /api/v2/silences", "there is no silence %s", id)
	}
	return s, err
}

// PutSilence inserts a silence or stores it anew.
func (t *Tx) PutSilence(s watchbill.Silence) error {
	body, err := encode(s)
	if err != nil {
		return err
	}
	_, err = t.exec("store silence", `INSERT INTO silence (id, ends_at, body) VALUES (?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET ends_at = excluded.ends_at, body = excluded.body`, s.ID, unix(s.EndsAt), body)
	return err
}

// Token returns the stored form of a token, as JSON, by the hash of its
// secret.
func (t *Tx) Token(hash string) (body []byte, found bool, err error) {
	found, err = t.row("read token", []any{&body}, `SELECT body FROM token WHERE hash = ?`, hash)
	return body, found, err
}

// PutToken inserts the JSON form of a token or stores it anew.
func (t *Tx) PutToken(id, hash string, body []byte) error {
	_, err := t.exec("store token", `INSERT INTO token (id, hash, body) VALUES (?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET hash = excluded.hash, body = excluded.body`, id, hash, string(body))
	return err
}
