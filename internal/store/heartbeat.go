package store

import "database/sql"

// HeartbeatRow is what is stored of a heartbeat.
type HeartbeatRow struct {
	Name     string
	Body     []byte // JSON
	Evidence []byte // what its last ping carried; [Tx.HeartbeatRows] does not read it
}

// HeartbeatRows returns every heartbeat without its evidence, by name.
func (t *Tx) HeartbeatRows() ([]HeartbeatRow, error) {
	var all []HeartbeatRow
	err := t.each("list heartbeats", func(rows *sql.Rows) error {
		var h HeartbeatRow
		err := rows.Scan(&h.Name, &h.Body)
		all = append(all, h)
		return err
	}, `SELECT name, body FROM expected_heartbeat ORDER BY name`)
	return all, err
}

// HeartbeatRow returns a heartbeat by its name.
func (t *Tx) HeartbeatRow(name string) (h HeartbeatRow, found bool, err error) {
	found, err = t.row("read heartbeat", []any{&h.Name, &h.Body, &h.Evidence}, `SELECT name, body, evidence FROM expected_heartbeat WHERE name = ?`, name)
	return h, found, err
}

// PutHeartbeat stores a heartbeat. Nil evidence leaves what is stored of it.
func (t *Tx) PutHeartbeat(h HeartbeatRow) error {
	if h.Evidence == nil {
		_, err := t.exec("write heartbeat", `INSERT INTO expected_heartbeat (name, body) VALUES (?, ?)
			ON CONFLICT (name) DO UPDATE SET body = excluded.body`, h.Name, string(h.Body))
		return err
	}
	_, err := t.exec("write heartbeat", `INSERT INTO expected_heartbeat (name, body, evidence) VALUES (?, ?, ?)
		ON CONFLICT (name) DO UPDATE SET body = excluded.body, evidence = excluded.evidence`, h.Name, string(h.Body), h.Evidence)
	return err
}

// DeleteHeartbeat forgets a heartbeat.
func (t *Tx) DeleteHeartbeat(name string) error {
	_, err := t.exec("delete heartbeat", `DELETE FROM expected_heartbeat WHERE name = ?`, name)
	return err
}
