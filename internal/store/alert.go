package store

import (
	"database/sql"
	"encoding/json"
	"reflect"
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

	encoded *Encoded // see there
}

// Encoded is an alert in the form in which it is stored. Making it costs more than
// half of what storing it does, so it can be made before the transaction.
type Encoded struct {
	alert       watchbill.Alert
	fingerprint watchbill.Fingerprint
	body        string
}

// Encode returns the stored form of an alert with this fingerprint, which nobody
// may change afterwards.
func Encode(a watchbill.Alert, fp watchbill.Fingerprint) (*Encoded, error) {
	body, err := a.JSON()
	return &Encoded{a, fp, body}, err
}

// Row returns a row of the alert.
func (e *Encoded) Row() AlertRow { return AlertRow{Alert: e.alert, encoded: e} }

// Fingerprint is the identity of the alert.
func (a AlertRow) Fingerprint() watchbill.Fingerprint {
	if a.encoded != nil && same(a.encoded.alert.Labels, a.Labels) {
		return a.encoded.fingerprint
	}
	return a.Alert.Fingerprint()
}

// body returns the stored form of the alert: the one made before if the alert is
// still the same.
func (a AlertRow) body() (string, error) {
	if len(a.Mutes) > 0 {
		return encode(alertBody{a.Alert, a.Mutes})
	}
	if a.encoded != nil {
		was := a.encoded.alert
		if same(was.Labels, a.Labels) && same(was.Annotations, a.Annotations) && was.StartsAt.Equal(a.StartsAt) && was.EndsAt.Equal(a.EndsAt) &&
			was.UpdatedAt.Equal(a.UpdatedAt) && was.GeneratorURL == a.GeneratorURL && was.Source == a.Source && was.Flap.IsZero() && a.Flap.IsZero() {
			return a.encoded.body, nil
		}
	}
	return a.JSON()
}

// same reports whether two sets are one and the same map.
func same(a, b watchbill.Labels) bool {
	return reflect.ValueOf(a).UnsafePointer() == reflect.ValueOf(b).UnsafePointer()
}

const alertColumns = `incident, ended, due_at, muted, body`

func scanAlert(rows *sql.Rows, before ...any) (AlertRow, error) {
	var a AlertRow
	var ended int
	var due int64
	var body []byte
	if err := rows.Scan(append(before, &a.Incident, &ended, &due, &a.Muted, &body)...); err != nil {
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
	if t.absent(fp) {
		return AlertRow{}, false, nil
	}
	if a, ok := t.fetched[fp]; ok {
		if a == nil {
			return AlertRow{}, false, nil
		}
		return *a, true, nil
	}
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

// AlertsSince returns the alerts that fire, and those that ended after an instant.
func (t *Tx) AlertsSince(at time.Time) ([]AlertRow, error) {
	return t.alerts(`SELECT `+alertColumns+` FROM alert WHERE ended = 0 OR ends_at > ?`, unix(at))
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
	body, err := a.body()
	if err != nil {
		return err
	}
	fp := a.Fingerprint()
	delete(t.fetched, fp)
	ended := 0
	if a.Ended {
		ended = 1
	}
	if t.memory != nil && t.memory.alerts != nil {
		t.memory.alerts.add(fp)
	}
	return t.later("store alert", upsertAlert,
		string(fp), int64(a.Incident), unix(a.EndsAt), ended, unix(a.Due), a.Muted, body)
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

// TokenByID returns the stored form of a token.
func (t *Tx) TokenByID(id string) (body []byte, found bool, err error) {
	found, err = t.row("read token", []any{&body}, `SELECT body FROM token WHERE id = ?`, id)
	return body, found, err
}

// Tokens returns the stored forms of all tokens.
func (t *Tx) Tokens() ([]json.RawMessage, error) {
	return bodies[json.RawMessage](t, "read tokens", `SELECT body FROM token ORDER BY id`)
}

// PutToken inserts the JSON form of a token or stores it anew.
func (t *Tx) PutToken(id, hash string, body []byte) error {
	_, err := t.exec("store token", `INSERT INTO token (id, hash, body) VALUES (?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET hash = excluded.hash, body = excluded.body`, id, hash, string(body))
	return err
}
