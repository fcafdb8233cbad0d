package store

import (
	"database/sql"
	"encoding/json"
	"time"

	"watchbill"
)

// MuteSpan is a time in which something muted an alert. Until is zero while it
// still does.
type MuteSpan struct {
	From   time.Time `json:"from"`
	Until  time.Time `json:"until,omitzero"`
	Reason string    `json:"reason"`
}

// alertBody is the stored form of an alert.
type alertBody struct {
	watchbill.Alert
	Mutes []MuteSpan `json:"mutes,omitempty"`
}

// Occurrence is one time that an alert fired and ended.
type Occurrence struct {
	ID       int64
	Incident watchbill.IncidentID // 0: none
	watchbill.Alert
	Mutes []MuteSpan
}

// Paged is who was paged, by which method, when first.
type Paged struct {
	Person watchbill.PersonID `json:"person"`
	Method string             `json:"method"`
	At     time.Time          `json:"at"`
}

// PutOccurrence records that an alert ended at now.
func (t *Tx) PutOccurrence(a AlertRow, now time.Time) error {
	body, err := a.body()
	if err != nil {
		return err
	}
	return t.later("record the end of an alert", insertOccurrence,
		unix(now), unix(a.StartsAt), string(a.Fingerprint()), int64(a.Incident), body)
}

// OccurrenceQuery bounds a list of occurrences. Zero fields bound nothing, but
// Limit does.
type OccurrenceQuery struct {
	Before   int64 // id
	From, To time.Time
	Incident watchbill.IncidentID
	Limit    int
}

// Occurrences returns occurrences, those that ended last first, which fired at
// some time between From and To.
func (t *Tx) Occurrences(q OccurrenceQuery) ([]Occurrence, error) {
	before, to := q.Before, unix(q.To)
	if before == 0 {
		before = 1<<63 - 1
	}
	if to == 0 {
		to = 1<<63 - 1
	}
	query := `SELECT id, incident, body FROM alert_history WHERE id < ? AND at >= ? AND starts_at <= ? ORDER BY id DESC LIMIT ?`
	args := []any{before, unix(q.From), to, q.Limit}
	if q.Incident != 0 {
		query = `SELECT id, incident, body FROM alert_history WHERE id < ? AND at >= ? AND starts_at <= ? AND incident = ? ORDER BY id DESC LIMIT ?`
		args = []any{before, unix(q.From), to, int64(q.Incident), q.Limit}
	}
	var all []Occurrence
	err := t.each("read the history of alerts", func(rows *sql.Rows) error {
		var o Occurrence
		var text []byte
		if err := rows.Scan(&o.ID, &o.Incident, &text); err != nil {
			return err
		}
		var body alertBody
		if err := json.Unmarshal(text, &body); err != nil {
			return err
		}
		o.Alert, o.Mutes = body.Alert, body.Mutes
		all = append(all, o)
		return nil
	}, query, args...)
	return all, err
}

// PagedBetween returns who was paged for an incident between two instants, in
// the order of time.
func (t *Tx) PagedBetween(id watchbill.IncidentID, from, to time.Time) ([]Paged, error) {
	var all []Paged
	err := t.each("read who was paged", func(rows *sql.Rows) error {
		var p Paged
		var at int64
		err := rows.Scan(&p.Person, &p.Method, &at)
		p.At = fromUnix(at)
		all = append(all, p)
		return err
	}, `SELECT page.person, page.method, min(attempt.at) FROM page JOIN attempt ON attempt.page = page.id
		WHERE page.incident = ? AND attempt.result = 'delivered' AND attempt.at >= ? AND attempt.at <= ?
		GROUP BY page.person, page.method ORDER BY 3, 1, 2`, int64(id), unix(from), unix(to))
	return all, err
}

// DeleteOccurrences deletes what ended before an instant, and returns how much.
func (t *Tx) DeleteOccurrences(before time.Time, limit int) (int64, error) {
	return t.exec("delete old history", `DELETE FROM alert_history WHERE id IN (SELECT id FROM alert_history WHERE at < ? ORDER BY at LIMIT ?)`, unix(before), limit)
}
