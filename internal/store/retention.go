package store

import (
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"time"

	"watchbill"
)

// Checkpoint is what is left of a deleted incident: the head of its chain of
// events, chained in turn to the checkpoint before it.
type Checkpoint struct {
	ID       int64
	At       time.Time // when it was deleted
	Incident watchbill.IncidentID
	Seq      int64  // number of its last event
	Head     string // hash of its last event
	Prev     string // hash of the checkpoint before
	Hash     string
}

// Sum returns the SHA-256, in hexadecimal, of the checkpoint without its own
// hash. Prev is part of it.
func (c Checkpoint) Sum() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d\n%d\n%d\n%d\n%s\n%s\n", c.ID, unix(c.At), c.Incident, c.Seq, c.Head, c.Prev))
	return hex.EncodeToString(sum[:])
}

func (t *Tx) checkpoints(query string, args ...any) ([]Checkpoint, error) {
	var all []Checkpoint
	err := t.each("read checkpoints", func(rows *sql.Rows) error {
		var c Checkpoint
		var at int64
		err := rows.Scan(&c.ID, &at, &c.Incident, &c.Seq, &c.Head, &c.Prev, &c.Hash)
		c.At = fromUnix(at)
		all = append(all, c)
		return err
	}, query, args...)
	return all, err
}

const checkpointColumns = `id, at, incident, seq, head, prev, hash`

// Checkpoints returns what is left of deleted incidents, oldest first.
func (t *Tx) Checkpoints() ([]Checkpoint, error) {
	return t.checkpoints(`SELECT ` + checkpointColumns + ` FROM checkpoint ORDER BY id`)
}

// LastCheckpoint returns the newest checkpoint.
func (t *Tx) LastCheckpoint() (Checkpoint, bool, error) {
	return first(t.checkpoints(`SELECT ` + checkpointColumns + ` FROM checkpoint ORDER BY id DESC LIMIT 1`))
}

// VerifyCheckpoints checks that the checkpoints are one unbroken chain, and that
// every incident that ever had an id is either there or was deleted by
// retention. It calls report for each thing that is wrong.
func (t *Tx) VerifyCheckpoints(report func(watchbill.IncidentID, error)) error {
	all, err := t.Checkpoints()
	if err != nil {
		return err
	}
	prev := Checkpoint{}
	for _, c := range all {
		switch {
		case c.ID != prev.ID+1:
			report(c.Incident, fmt.Errorf("checkpoint %d is missing: found %d in its place", prev.ID+1, c.ID))
		case c.Prev != prev.Hash:
			report(c.Incident, fmt.Errorf("checkpoint %d does not follow the one before it", c.ID))
		case c.Hash != c.Sum():
			report(c.Incident, fmt.Errorf("checkpoint %d was altered after it was written", c.ID))
		}
		prev = c
	}
	return t.missing(report)
}

// missing reports the incidents that are neither there nor in a checkpoint. Ids
// are given without gaps: a transaction that is taken back gives its id back.
func (t *Tx) missing(report func(watchbill.IncidentID, error)) error {
	last := watchbill.IncidentID(0)
	gap := func(next watchbill.IncidentID) {
		for id := last + 1; id < next; id++ {
			report(id, fmt.Errorf("%s is gone, and retention did not delete it", id))
		}
		last = max(last, next)
	}
	err := t.each("list incidents", func(rows *sql.Rows) error {
		var id watchbill.IncidentID
		if err := rows.Scan(&id); err != nil {
			return err
		}
		gap(id)
		return nil
	}, `SELECT id FROM incident WHERE id > 0 UNION SELECT incident FROM checkpoint ORDER BY 1`)
	if err != nil {
		return err
	}
	var newest watchbill.IncidentID
	if _, err := t.row("read the last incident's id", []any{&newest}, `SELECT seq FROM sqlite_sequence WHERE name = 'incident'`); err != nil {
		return err
	}
	gap(newest + 1)
	return nil
}

// Expired returns closed incidents of which nothing happened since before and no
// alert fires and no action item is left, oldest first.
func (t *Tx) Expired(before time.Time, limit int) ([]watchbill.IncidentID, error) {
	var all []watchbill.IncidentID
	err := t.each("list expired incidents", func(rows *sql.Rows) error {
		var id watchbill.IncidentID
		err := rows.Scan(&id)
		all = append(all, id)
		return err
	}, `SELECT id FROM incident WHERE id > 0 AND state = 'closed' AND opened_at < ?
		AND NOT EXISTS (SELECT 1 FROM event WHERE event.incident = incident.id AND event.seq = incident.seq AND event.at >= ?)
		AND NOT EXISTS (SELECT 1 FROM alert WHERE alert.incident = incident.id AND alert.ended = 0)
		AND NOT EXISTS (SELECT 1 FROM timer WHERE timer.incident = incident.id AND timer.kind = 'action')
		ORDER BY id LIMIT ?`, unix(before), unix(before), limit)
	return all, err
}

// DeleteIncident deletes a closed incident with its events, alerts, pages and
// attempts. A checkpoint of its chain stays.
func (t *Tx) DeleteIncident(id watchbill.IncidentID, now time.Time) error {
	inc, err := t.Incident(id)
	if err != nil {
		return err
	}
	if inc.State != watchbill.StateClosed {
		return watchbill.Invalidf("only what is over for good can be deleted", "%s is %s", id, inc.State)
	}
	last, _, err := t.LastCheckpoint()
	if err != nil {
		return err
	}
	c := Checkpoint{ID: last.ID + 1, At: now, Incident: id, Seq: inc.Seq, Head: inc.Head, Prev: last.Hash}
	_, err = t.exec("write checkpoint", `INSERT INTO checkpoint (id, at, incident, seq, head, prev, hash) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		c.ID, unix(c.At), int64(c.Incident), c.Seq, c.Head, c.Prev, c.Sum())
	if err != nil {
		return err
	}
	for _, query := range []string{
		`DELETE FROM attempt WHERE page IN (SELECT id FROM page WHERE incident = ?)`,
		`DELETE FROM receipt WHERE page IN (SELECT id FROM page WHERE incident = ?)`,
		`DELETE FROM message WHERE page IN (SELECT id FROM page WHERE incident = ?)`,
		`DELETE FROM page WHERE incident = ?`,
		`DELETE FROM timer WHERE incident = ?`,
		`DELETE FROM alert WHERE incident = ?`,
		`DELETE FROM event WHERE incident = ?`,
		`DELETE FROM incident WHERE id = ?`,
	} {
		if _, err := t.exec("delete incident", query, int64(id)); err != nil {
			return err
		}
	}
	return nil
}

// DeleteEndedAlerts deletes alerts that ended before an instant without ever
// having had an incident, and returns how many.
func (t *Tx) DeleteEndedAlerts(before time.Time, limit int) (int64, error) {
	return t.exec("delete ended alerts", `DELETE FROM alert WHERE fingerprint IN
		(SELECT fingerprint FROM alert WHERE incident = 0 AND ended = 1 AND ends_at < ? LIMIT ?)`, unix(before), limit)
}

// DeleteEndedSilences deletes silences that ended before an instant, and returns
// how many.
func (t *Tx) DeleteEndedSilences(before time.Time, limit int) (int64, error) {
	return t.exec("delete ended silences", `DELETE FROM silence WHERE id IN (SELECT id FROM silence WHERE ends_at < ? LIMIT ?)`, unix(before), limit)
}

// DeleteNotices deletes pages of no incident that are done with and were due
// before an instant, with their attempts.
func (t *Tx) DeleteNotices(before time.Time) error {
	const old = `SELECT id FROM page WHERE incident = 0 AND state IN ('delivered', 'dropped') AND due_at < ?`
	for _, table := range []string{"attempt", "receipt", "message"} {
		if _, err := t.exec("delete old notices", `DELETE FROM `+table+` WHERE page IN (`+old+`)`, unix(before)); err != nil {
			return err
		}
	}
	_, err := t.exec("delete old notices", `DELETE FROM page WHERE id IN (`+old+`)`, unix(before))
	return err
}
