package store

import (
	"database/sql"
	"encoding/json"

	"watchbill"
)

// PutReceipt records what became known about a page. Only the first of a kind is
// kept; it reports whether this is the first.
func (t *Tx) PutReceipt(r watchbill.Receipt) (bool, error) {
	n, err := t.exec("record receipt", `INSERT INTO receipt (page, kind, at, detail) VALUES (?, ?, ?, ?) ON CONFLICT (page, kind) DO NOTHING`,
		r.Page, string(r.Kind), unix(r.At), r.Detail)
	return n == 1, err
}

// ReceiptsOf returns what is known about the pages of an incident.
func (t *Tx) ReceiptsOf(id watchbill.IncidentID) ([]watchbill.Receipt, error) {
	var all []watchbill.Receipt
	err := t.each("read receipts", func(rows *sql.Rows) error {
		var r watchbill.Receipt
		var at int64
		err := rows.Scan(&r.Page, &r.Kind, &at, &r.Detail)
		r.At = fromUnix(at)
		all = append(all, r)
		return err
	}, `SELECT r.page, r.kind, r.at, r.detail FROM receipt r JOIN page p ON p.id = r.page WHERE p.incident = ? ORDER BY r.at, r.page, r.kind`, int64(id))
	return all, err
}

// PutMessage remembers a message that can be edited.
func (t *Tx) PutMessage(m watchbill.SentMessage) error {
	body, err := encode(m)
	if err != nil {
		return err
	}
	_, err = t.exec("record message", `INSERT INTO message (page, body) VALUES (?, ?) ON CONFLICT (page, body) DO NOTHING`, m.Page, body)
	return err
}

// MessagesOf returns the messages of an incident that can be edited.
func (t *Tx) MessagesOf(id watchbill.IncidentID) ([]watchbill.SentMessage, error) {
	var all []watchbill.SentMessage
	err := t.each("read messages", func(rows *sql.Rows) error {
		var m watchbill.SentMessage
		var body []byte
		if err := rows.Scan(&body); err != nil {
			return err
		}
		if err := json.Unmarshal(body, &m); err != nil {
			return err
		}
		all = append(all, m)
		return nil
	}, `SELECT m.body FROM message m JOIN page p ON p.id = m.page WHERE p.incident = ? ORDER BY m.page, m.body`, int64(id))
	return all, err
}

// PageByKey returns the page with a key.
func (t *Tx) PageByKey(key string) (PageRow, bool, error) {
	return first(t.pages(`SELECT `+pageColumns+` FROM page WHERE key = ?`, key))
}

// LastPageTo returns the newest page of an incident to a person by a method.
func (t *Tx) LastPageTo(id watchbill.IncidentID, person watchbill.PersonID, method string) (PageRow, bool, error) {
	return first(t.pages(`SELECT `+pageColumns+` FROM page WHERE person = ? AND method = ? AND incident = ? ORDER BY id DESC LIMIT 1`, string(person), method, int64(id)))
}

// LivePagedTo returns the incidents that still need somebody and paged a person,
// newest first.
func (t *Tx) LivePagedTo(person watchbill.PersonID) ([]watchbill.IncidentID, error) {
	var all []watchbill.IncidentID
	err := t.each("read live incidents", func(rows *sql.Rows) error {
		var id watchbill.IncidentID
		err := rows.Scan(&id)
		all = append(all, id)
		return err
	}, `SELECT id FROM incident WHERE id > 0 AND state IN ('open', 'acknowledged')
		AND EXISTS (SELECT 1 FROM page WHERE page.incident = incident.id AND page.person = ?) ORDER BY id DESC`, string(person))
	return all, err
}

// NewerEdit reports whether a message that a page edits is edited once more after it.
func (t *Tx) NewerEdit(p watchbill.Page) (bool, error) {
	var n int
	_, err := t.row("read edits", []any{&n}, `SELECT count(*) FROM page WHERE person = ? AND method = ? AND incident = 0 AND generation = ? AND step > ?`,
		string(p.Person), p.Method, p.Generation, p.Step)
	return n > 0, err
}
