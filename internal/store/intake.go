package store

import "watchbill"

// KeyedAlert returns the alert that a source's own key speaks of, ended or not.
func (t *Tx) KeyedAlert(source, key string) (AlertRow, bool, error) {
	var fp string
	found, err := t.row("read intake key", []any{&fp}, `SELECT fingerprint FROM intake_key WHERE source = ? AND key = ?`, source, key)
	if err != nil || !found {
		return AlertRow{}, false, err
	}
	return t.Alert(watchbill.Fingerprint(fp))
}

// PutKey has a source's own key speak of an alert from now on.
func (t *Tx) PutKey(source, key string, fp watchbill.Fingerprint) error {
	_, err := t.exec("store intake key", `INSERT INTO intake_key (source, key, fingerprint) VALUES (?, ?, ?)
		ON CONFLICT (source, key) DO UPDATE SET fingerprint = excluded.fingerprint`, source, key, string(fp))
	return err
}

// DeleteDeadKeys deletes keys of alerts that are no longer stored, and returns how
// many.
func (t *Tx) DeleteDeadKeys(limit int) (int64, error) {
	return t.exec("delete intake keys", `DELETE FROM intake_key WHERE fingerprint IN
		(SELECT fingerprint FROM intake_key WHERE NOT EXISTS
		(SELECT 1 FROM alert WHERE alert.fingerprint = intake_key.fingerprint) LIMIT ?)`, limit)
}
