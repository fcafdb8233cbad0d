package store

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"watchbill"
)

// PutDecision keeps a decision about an alert that caused no event.
func (t *Tx) PutDecision(d watchbill.Decision) error {
	body, err := encode(d)
	if err != nil {
		return err
	}
	_, err = t.exec("keep decision", `INSERT INTO decision (at, fingerprint, body) VALUES (?, ?, ?)`, unix(d.At), string(d.Alert), body)
	return err
}

// MutedDecisions returns the newest decisions that kept an alert from opening an
// incident, and those about its end, newest first.
func (t *Tx) MutedDecisions(fp watchbill.Fingerprint, limit int) ([]watchbill.Decision, error) {
	return bodies[watchbill.Decision](t, "read decisions",
		`SELECT body FROM decision WHERE fingerprint = ? ORDER BY id DESC LIMIT ?`, string(fp), limit)
}

// DecisionsSince returns all of them from an instant on, oldest first.
func (t *Tx) DecisionsSince(since time.Time) ([]watchbill.Decision, error) {
	return bodies[watchbill.Decision](t, "read decisions", `SELECT body FROM decision WHERE at >= ? ORDER BY id`, unix(since))
}

// DecisionsOf returns the decisions about alerts that an incident's events carry,
// oldest first. With a fingerprint they are those about one alert.
func (t *Tx) DecisionsOf(id watchbill.IncidentID, fp watchbill.Fingerprint) ([]watchbill.Decision, error) {
	events, err := t.Events(id)
	if err != nil {
		return nil, err
	}
	byEvent, err := Decisions(events)
	if err != nil {
		return nil, err
	}
	var all []watchbill.Decision
	for _, e := range events {
		if d, ok := byEvent[e.Seq]; ok && (fp == "" || d.Alert == fp) {
			all = append(all, d)
		}
	}
	return all, nil
}

// Decisions returns the decisions that the events of one incident carry, by the
// number of the event and with its time and incident. Events from before decisions
// were kept carry none.
func Decisions(events []watchbill.Event) (map[int64]watchbill.Decision, error) {
	all := map[int64]watchbill.Decision{}
	for _, e := range events {
		switch e.Kind { //nolint:exhaustive // the others carry something else, or nothing
		case watchbill.EventOpened, watchbill.EventAlertJoined, watchbill.EventReopened, watchbill.EventAlertEnded:
		default:
			continue
		}
		if len(e.Data) == 0 {
			continue
		}
		var d watchbill.Decision
		if err := json.Unmarshal(e.Data, &d); err != nil {
			return nil, fmt.Errorf("read the decision in event %d of %s: %w", e.Seq, e.Incident, err)
		}
		d.At, d.Incident = e.At, e.Incident
		if d.As != 0 {
			whole, ok := all[d.As]
			if !ok {
				return nil, fmt.Errorf("the decision in event %d of %s is that of event %d, which has none", e.Seq, e.Incident, d.As)
			}
			d = d.In(whole)
		}
		all[e.Seq] = d
	}
	return all, nil
}

// AlertsNamed returns alerts whose labels hold all of these, firing ones before
// ended ones and the newest first.
func (t *Tx) AlertsNamed(labels watchbill.Labels, limit int) ([]AlertRow, error) {
	all, err := t.alerts(`SELECT ` + alertColumns + ` FROM alert ORDER BY ended, ends_at DESC, fingerprint`)
	if err != nil {
		return nil, err
	}
	var found []AlertRow
	for _, a := range all {
		if a.Labels.Holds(labels) && len(found) < limit {
			found = append(found, a)
		}
	}
	return found, nil
}

// DeleteDecisions deletes decisions from before an instant, and returns how many.
func (t *Tx) DeleteDecisions(before time.Time, limit int) (int64, error) {
	return t.exec("delete decisions", `DELETE FROM decision WHERE id IN (SELECT id FROM decision WHERE at < ? LIMIT ?)`, unix(before), limit)
}

// IncidentsBetween returns the incidents that opened before until and were not
// over before since, oldest first.
func (t *Tx) IncidentsBetween(since, until time.Time) ([]watchbill.Incident, error) {
	all, err := bodies[watchbill.Incident](t, "list incidents", `SELECT body FROM incident WHERE id > 0 AND opened_at < ? ORDER BY id`, unix(until))
	if err != nil {
		return nil, err
	}
	var kept []watchbill.Incident
	for _, inc := range all {
		if inc.ClosedAt.IsZero() || inc.ClosedAt.After(since) {
			kept = append(kept, inc)
		}
	}
	return kept, nil
}

// Heads calls note with the number of the last event of every incident that is
// not closed.
func (t *Tx) Heads(note func(id watchbill.IncidentID, seq int64)) error {
	return t.each("read heads", func(rows *sql.Rows) error {
		var id watchbill.IncidentID
		var seq int64
		if err := rows.Scan(&id, &seq); err != nil {
			return err
		}
		note(id, seq)
		return nil
	}, `SELECT id, seq FROM incident WHERE state <> 'closed' AND id > 0`)
}

// LastDecision returns the number of the newest row of decisions, 0 if there is
// none. They are numbered without gaps from 1 until retention deletes some.
func (t *Tx) LastDecision() (n int, err error) {
	_, err = t.row("count decisions", []any{&n}, `SELECT coalesce(max(id), 0) FROM decision`)
	return n, err
}

// HasIncident reports whether an incident is there.
func (t *Tx) HasIncident(id watchbill.IncidentID) bool {
	var n int
	found, err := t.row("look for an incident", []any{&n}, `SELECT 1 FROM incident WHERE id = ?`, int64(id))
	return found && err == nil
}
