package store

import "watchbill"

// PutCalendar stores a feed under the hash of its secret, and gives it its id.
func (t *Tx) PutCalendar(f *watchbill.CalendarFeed, hash string) error {
	// The sequence of AUTOINCREMENT, which remembers ids that are gone.
	if _, err := t.row("number a calendar", []any{&f.ID}, `SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'calendar'`); err != nil {
		return err
	}
	f.ID++
	body, err := encode(f)
	if err != nil {
		return err
	}
	_, err = t.exec("store a calendar", `INSERT INTO calendar (id, hash, body) VALUES (?, ?, ?)`, f.ID, hash, body)
	return err
}

// Calendars returns all feeds, oldest first.
func (t *Tx) Calendars() ([]watchbill.CalendarFeed, error) {
	return bodies[watchbill.CalendarFeed](t, "list calendars", `SELECT body FROM calendar ORDER BY id`)
}

// Calendar returns the feed whose secret has a hash.
func (t *Tx) Calendar(hash string) (watchbill.CalendarFeed, bool, error) {
	return first(bodies[watchbill.CalendarFeed](t, "read a calendar", `SELECT body FROM calendar WHERE hash = ?`, hash))
}

// DeleteCalendar deletes a feed: its address shows nothing any more.
func (t *Tx) DeleteCalendar(id int64) error {
	_, err := t.exec("delete a calendar", `DELETE FROM calendar WHERE id = ?`, id)
	return err
}
