package store

import (
	"time"

	"watchbill"
)

// PutHandover stores that a pack was accepted, and gives it its id.
func (t *Tx) PutHandover(h *watchbill.Handover) error {
	var last int64
	if _, err := t.row("number a handover", []any{&last}, `SELECT coalesce(max(id), 0) FROM handover`); err != nil {
		return err
	}
	h.ID = last + 1
	body, err := encode(h)
	if err != nil {
		return err
	}
	_, err = t.exec("store a handover", `INSERT INTO handover (id, at, role, body) VALUES (?, ?, ?, ?)`, h.ID, unix(h.At), h.Role, body)
	return err
}

// Handovers returns the newest acceptances of a role, or of all with an empty one,
// newest first.
func (t *Tx) Handovers(role watchbill.RoleID, limit int) ([]watchbill.Handover, error) {
	if role == "" {
		return bodies[watchbill.Handover](t, "list handovers", `SELECT body FROM handover ORDER BY id DESC LIMIT ?`, limit)
	}
	return bodies[watchbill.Handover](t, "list handovers", `SELECT body FROM handover WHERE role = ? ORDER BY id DESC LIMIT ?`, role, limit)
}

// DeleteHandovers deletes acceptances from before an instant, but for the newest.
func (t *Tx) DeleteHandovers(before time.Time, limit int) (int64, error) {
	return t.exec("delete handovers", `DELETE FROM handover WHERE id IN (SELECT id FROM handover WHERE at < ? AND id < (SELECT max(id) FROM handover) LIMIT ?)`, unix(before), limit)
}
