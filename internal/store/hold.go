package store

import (
	"database/sql"
	"time"

	"watchbill"
)

// Held reports whether a restore still holds rows back.
func (s *Store) Held() bool { return s.held.Load() }

// Holding returns the incidents of which a restore holds rows back, oldest
// first; 0 stands for the alerts without an incident.
func (t *Tx) Holding() ([]watchbill.IncidentID, error) {
	var all []watchbill.IncidentID
	err := t.each("list held incidents", func(rows *sql.Rows) error {
		var id watchbill.IncidentID
		err := rows.Scan(&id)
		all = append(all, id)
		return err
	}, `SELECT incident FROM timer WHERE held = 1 UNION SELECT incident FROM alert WHERE held = 1
		UNION SELECT incident FROM page WHERE state = 'held' ORDER BY 1`)
	return all, err
}

// hold holds back every timer, every pending page and the end of every alert.
func (t *Tx) hold() error {
	for _, query := range []string{
		`UPDATE timer SET held = 1`,
		`UPDATE alert SET held = 1 WHERE ended = 0`,
		`UPDATE page SET state = 'held', lease_until = 0 WHERE state = 'pending'`,
	} {
		if _, err := t.exec("hold", query); err != nil {
			return err
		}
	}
	return nil
}

// HeldTimers returns the timers of an incident that a restore holds back.
func (t *Tx) HeldTimers(id watchbill.IncidentID) ([]watchbill.Timer, error) {
	return t.timers(`SELECT `+timerColumns+` FROM timer WHERE held = 1 AND incident = ? ORDER BY due_at, id`, int64(id))
}

// HeldPages returns the pages of an incident that a restore holds back.
func (t *Tx) HeldPages(id watchbill.IncidentID) ([]PageRow, error) {
	return t.pages(`SELECT `+pageColumns+` FROM page WHERE state = 'held' AND incident = ? ORDER BY id`, int64(id))
}

// HeldAlerts returns the alerts of an incident whose end a restore holds back;
// those without an incident for id 0.
func (t *Tx) HeldAlerts(id watchbill.IncidentID) ([]AlertRow, error) {
	return t.alerts(`SELECT `+alertColumns+` FROM alert WHERE held = 1 AND incident = ? ORDER BY fingerprint`, int64(id))
}

// ReleaseHeld lets the timers and pages of an incident go on, and returns how
// many there were. What is overdue is due at once. The incident's alerts count
// as firing until alive at least, so that their sources have the time to say
// whether they do.
func (t *Tx) ReleaseHeld(id watchbill.IncidentID, alive time.Time) (int64, error) {
	t.news.Pages = true
	t.news.dueAt(time.Unix(0, 0))
	alerts, err := t.HeldAlerts(id)
	if err != nil {
		return 0, err
	}
	for _, a := range alerts {
		if a.EndsAt.Before(alive) {
			a.EndsAt = alive
		}
		if a.Due.Before(alive) {
			a.Due = alive
		}
		if err := t.PutAlert(a); err != nil {
			return 0, err
		}
	}
	timers, err := t.exec("release timers", `UPDATE timer SET held = 0 WHERE held = 1 AND incident = ?`, int64(id))
	if err != nil {
		return 0, err
	}
	pages, err := t.exec("release pages", `UPDATE page SET state = 'pending' WHERE state = 'held' AND incident = ?`, int64(id))
	return timers + pages, t.released(err)
}

// DropHeld deletes the timers of an incident and drops its pages, and returns
// how many there were. Its alerts may end.
func (t *Tx) DropHeld(id watchbill.IncidentID) (int64, error) {
	t.news.dueAt(time.Unix(0, 0))
	timers, err := t.exec("drop held timers", `DELETE FROM timer WHERE held = 1 AND incident = ?`, int64(id))
	if err != nil {
		return 0, err
	}
	if _, err := t.exec("let held alerts end", `UPDATE alert SET held = 0 WHERE held = 1 AND incident = ?`, int64(id)); err != nil {
		return 0, err
	}
	pages, err := t.exec("drop held pages", `UPDATE page SET state = 'dropped' WHERE state = 'held' AND incident = ?`, int64(id))
	return timers + pages, t.released(err)
}

// released looks whether anything is held still, so that [Store.Held] is right
// after the commit.
func (t *Tx) released(err error) error {
	if err != nil {
		return err
	}
	held, err := t.anyHeld()
	if err == nil && !held {
		t.OnCommit(func() { t.held.Store(false) })
	}
	return err
}

func (t *Tx) anyHeld() (bool, error) {
	var n int
	_, err := t.row("look for held rows", []any{&n}, `SELECT EXISTS (SELECT 1 FROM timer WHERE held = 1)
		OR EXISTS (SELECT 1 FROM alert WHERE held = 1) OR EXISTS (SELECT 1 FROM page WHERE state = 'held')`)
	return n == 1, err
}

// Held reports whether a restore held rows back that are held still.
func (t *Tx) Held() bool { return t.held.Load() }
