package store

import (
	"cmp"
	"database/sql"
	"encoding/json"
	"slices"
	"time"

	"watchbill"
)

// SetTimer writes a timer. An incident has at most one timer of a kind: an
// earlier one is replaced.
func (t *Tx) SetTimer(tm watchbill.Timer) error {
	t.news.dueAt(tm.Due)
	_, err := t.exec("set timer", `INSERT INTO timer (kind, incident, generation, step, due_at) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (incident, kind) DO UPDATE SET generation = excluded.generation, step = excluded.step, due_at = excluded.due_at, held = 0`,
		string(tm.Kind), int64(tm.Incident), int64(tm.Generation), int64(tm.Step), unix(tm.Due))
	return err
}

// CancelTimers removes an incident's timers of some kinds.
func (t *Tx) CancelTimers(id watchbill.IncidentID, kinds ...watchbill.TimerKind) error {
	for _, k := range kinds {
		if _, err := t.exec("cancel timer", `DELETE FROM timer WHERE kind = ? AND incident = ?`, k, id); err != nil {
			return err
		}
	}
	return nil
}

func scanTimer(rows *sql.Rows) (tm watchbill.Timer, err error) {
	var due int64
	err = rows.Scan(&tm.ID, &tm.Kind, &tm.Incident, &tm.Generation, &tm.Step, &due)
	tm.Due = fromUnix(due)
	return tm, err
}

func (t *Tx) timers(query string, args ...any) ([]watchbill.Timer, error) {
	var all []watchbill.Timer
	err := t.each("read timers", func(rows *sql.Rows) error {
		tm, err := scanTimer(rows)
		all = append(all, tm)
		return err
	}, query, args...)
	return all, err
}

const timerColumns = `id, kind, incident, generation, step, due_at`

// DueTimers returns the timers that are due at now, in the order of their due
// times.
func (t *Tx) DueTimers(now time.Time, limit int) ([]watchbill.Timer, error) {
	return t.timers(`SELECT `+timerColumns+` FROM timer WHERE held = 0 AND due_at <= ? ORDER BY due_at, id LIMIT ?`, unix(now), limit)
}

// TimersOf returns the timers of an incident.
func (t *Tx) TimersOf(id watchbill.IncidentID) ([]watchbill.Timer, error) {
	return t.timers(`SELECT `+timerColumns+` FROM timer WHERE incident = ? ORDER BY due_at, id`, id)
}

// NextTimer returns when the next timer is due, and the zero time when there
// is none.
func (t *Tx) NextTimer() (time.Time, error) {
	var due sql.NullInt64
	_, err := t.row("read next timer", []any{&due}, `SELECT min(due_at) FROM timer WHERE held = 0`)
	return fromUnix(due.Int64), err
}

// TakeTimer removes a timer that is still as it was read, and reports whether
// it was. The caller acts on it in the same transaction.
func (t *Tx) TakeTimer(tm watchbill.Timer) (bool, error) {
	n, err := t.exec("take timer", `DELETE FROM timer WHERE id = ? AND due_at = ? AND generation = ? AND step = ? AND held = 0`,
		tm.ID, unix(tm.Due), tm.Generation, tm.Step)
	return n == 1, err
}

// PutPage adds a page to the outbox. A page whose key is there already is left
// as it is: the same page is never queued twice.
func (t *Tx) PutPage(p watchbill.Page) error {
	t.news.Pages = true
	body, err := encode(p)
	if err != nil {
		return err
	}
	_, err = t.exec("queue page", `INSERT INTO page (key, incident, generation, step, person, method, severity, due_at, state, attempt, lease_until, body)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'pending', 0, 0, ?) ON CONFLICT (key) DO NOTHING`,
		p.Key(), p.Incident, p.Generation, p.Step, p.Person, p.Method, int(p.Content.Severity), unix(p.Due), body)
	return err
}

// DropPages takes an incident's pending pages out of the outbox. One that is
// being sent at this moment may still arrive.
func (t *Tx) DropPages(id watchbill.IncidentID) (int64, error) {
	return t.exec("drop pages", `UPDATE page SET state = 'dropped' WHERE incident = ? AND state IN ('pending', 'held')`, id)
}

// DropStepPages takes the pending pages of an incident's path out of the outbox.
// Those to people who were called beside it stay.
func (t *Tx) DropStepPages(id watchbill.IncidentID) (int64, error) {
	return t.exec("drop pages of the path", `UPDATE page SET state = 'dropped' WHERE incident = ? AND state IN ('pending', 'held') AND step >= 0`, id)
}

// PageRow is a page with its state in the outbox.
type PageRow struct {
	watchbill.Page
	ID         int64
	State      string // pending, delivered, dropped, or held by a restore
	Attempt    int    // number of the last attempt
	LeaseUntil time.Time
	NextDue    time.Time // when the next attempt is due
}

const pageColumns = `id, state, attempt, lease_until, due_at, body`

func (t *Tx) pages(query string, args ...any) ([]PageRow, error) {
	var all []PageRow
	err := t.each("read pages", func(rows *sql.Rows) error {
		var p PageRow
		var body []byte
		var lease, due int64
		if err := rows.Scan(&p.ID, &p.State, &p.Attempt, &lease, &due, &body); err != nil {
			return err
		}
		p.LeaseUntil, p.NextDue = fromUnix(lease), fromUnix(due)
		all = append(all, p)
		return json.Unmarshal(body, &all[len(all)-1].Page)
	}, query, args...)
	return all, err
}

// Told returns whom the pages of a generation of an incident are for, in the
// order in which they were decided.
func (t *Tx) Told(id watchbill.IncidentID, generation int) ([]watchbill.PersonID, error) {
	var told []watchbill.PersonID
	err := t.each("read who was told", func(rows *sql.Rows) error {
		var p watchbill.PersonID
		err := rows.Scan(&p)
		told = append(told, p)
		return err
	}, `SELECT person FROM page WHERE incident = ? AND generation = ? ORDER BY id`, id, generation)
	return told, err
}

// PagesOf returns the pages of an incident, in the order in which they were
// decided.
func (t *Tx) PagesOf(id watchbill.IncidentID) ([]PageRow, error) {
	return t.pages(`SELECT `+pageColumns+` FROM page WHERE incident = ? ORDER BY id`, id)
}

// Page returns a page of the outbox.
func (t *Tx) Page(id int64) (PageRow, bool, error) {
	return first(t.pages(`SELECT `+pageColumns+` FROM page WHERE id = ?`, id))
}

// Claim selects pages to send: those of Method, or, when Method is empty, those
// of methods not in Known.
type Claim struct {
	Method string
	Known  []string
	Now    time.Time
	Lease  time.Duration
	Limit  int
}

// urgency is the order of severities; a page without one goes last.
func urgency() []watchbill.Severity {
	return []watchbill.Severity{watchbill.Sev1, watchbill.Sev2, watchbill.Sev3, watchbill.Sev4, 0}
}

// methods are the receivers of a claim for which pages wait.
func (t *Tx) methods(c Claim) ([]string, error) {
	if c.Method != "" {
		return []string{c.Method}, nil
	}
	var unknown []string
	for last := ""; ; {
		var next sql.NullString
		_, err := t.row("read receivers", []any{&next}, `SELECT min(method) FROM page INDEXED BY page_pending WHERE state = 'pending' AND method > ?`, last)
		if err != nil || !next.Valid {
			return unknown, err
		}
		if last = next.String; !slices.Contains(c.Known, last) {
			unknown = append(unknown, last)
		}
	}
}

// ClaimPages leases due pages to the caller and counts the attempt, before it
// is made: whoever claims the page after a crash has a higher number. The most
// severe come first, then the oldest.
func (t *Tx) ClaimPages(c Claim) ([]watchbill.Delivery, error) {
	methods, err := t.methods(c)
	if err != nil {
		return nil, err
	}
	var rows []PageRow
	for _, severity := range urgency() {
		var these []PageRow
		for _, method := range methods {
			some, err := t.pages(`SELECT `+pageColumns+` FROM page INDEXED BY page_pending WHERE state = 'pending' AND method = ? AND severity = ?
				AND due_at <= ? AND lease_until <= ? ORDER BY due_at, id LIMIT ?`, method, int(severity), unix(c.Now), unix(c.Now), c.Limit-len(rows))
			if err != nil {
				return nil, err
			}
			these = append(these, some...)
		}
		slices.SortFunc(these, func(a, b PageRow) int { return cmp.Or(a.NextDue.Compare(b.NextDue), cmp.Compare(a.ID, b.ID)) })
		rows = append(rows, these[:min(len(these), c.Limit-len(rows))]...)
	}
	out := make([]watchbill.Delivery, len(rows))
	for i, p := range rows {
		out[i] = watchbill.Delivery{ID: p.ID, Attempt: p.Attempt + 1, Page: p.Page}
		_, err := t.exec("claim page", `UPDATE page SET attempt = ?, lease_until = ? WHERE id = ?`,
			p.Attempt+1, unix(c.Now.Add(c.Lease)), p.ID)
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// ReleaseLeases makes every pending page free to be claimed. It is for the start
// of the one process that sends from this store: whoever held a lease is dead.
func (t *Tx) ReleaseLeases() (int64, error) {
	t.news.Pages = true
	return t.exec("release leases", `UPDATE page SET lease_until = 0 WHERE state = 'pending' AND lease_until <> 0`)
}

// NextPage returns when the next page of a claim's selection can be claimed,
// and the zero time when none is pending.
func (t *Tx) NextPage(c Claim) (time.Time, error) {
	methods, err := t.methods(c)
	var next time.Time
	sooner := func(due int64, found bool) {
		if at := fromUnix(due); found && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	for _, method := range methods {
		for _, severity := range urgency() {
			var due int64
			found, err := t.row("read next page", []any{&due}, `SELECT due_at FROM page INDEXED BY page_pending
				WHERE state = 'pending' AND method = ? AND severity = ? AND lease_until = 0 ORDER BY due_at LIMIT 1`, method, int(severity))
			if err != nil {
				return next, err
			}
			sooner(due, found)
		}
		var due sql.NullInt64
		if _, err := t.row("read next leased page", []any{&due}, `SELECT min(max(lease_until, due_at)) FROM page INDEXED BY page_leased
			WHERE state = 'pending' AND method = ? AND lease_until <> 0`, method); err != nil {
			return next, err
		}
		sooner(due.Int64, due.Valid)
	}
	return next, err
}

// FinishAttempt records the result of an attempt and releases the lease. A page
// to be retried stays pending, due at retry; any other result ends it as state.
// A result that comes after the lease was lost is recorded, and ends the page
// only if it was delivered.
func (t *Tx) FinishAttempt(o watchbill.Outcome) error {
	_, err := t.exec("record attempt", `INSERT INTO attempt (page, attempt, at, result, detail) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (page, attempt) DO UPDATE SET at = excluded.at, result = excluded.result, detail = excluded.detail`,
		o.Delivery.ID, o.Delivery.Attempt, unix(o.At), o.Result, o.Detail)
	if err != nil {
		return err
	}
	if o.Result == watchbill.ResultDelivered {
		_, err = t.exec("finish page", `UPDATE page SET state = 'delivered', lease_until = 0 WHERE id = ? AND state <> 'delivered'`, o.Delivery.ID)
		return err
	}
	state := "pending"
	if o.Retry.IsZero() {
		state = "dropped"
	}
	_, err = t.exec("release page", `UPDATE page SET state = ?, due_at = ?, lease_until = 0 WHERE id = ? AND attempt = ? AND state = 'pending'`,
		state, max(unix(o.Retry), 0), o.Delivery.ID, o.Delivery.Attempt)
	return err
}

// RefusedBefore reports whether an attempt before this one ended refused.
func (t *Tx) RefusedBefore(d watchbill.Delivery) (bool, error) {
	var n int
	_, err := t.row("read refusals", []any{&n}, `SELECT count(*) FROM attempt WHERE page = ? AND attempt < ? AND result = ?`,
		d.ID, d.Attempt, watchbill.ResultRefused)
	return n > 0, err
}

// HastenPage makes the pending page with a key due at now, if it is due later.
// It reports whether there was one.
func (t *Tx) HastenPage(key string, now time.Time) (bool, error) {
	t.news.Pages = true
	n, err := t.exec("hasten page", `UPDATE page SET due_at = ? WHERE key = ? AND state = 'pending' AND due_at > ?`, unix(now), key, unix(now))
	return n == 1, err
}

// Attempt is one attempt to deliver a page.
type Attempt struct {
	Page    int64
	Attempt int
	At      time.Time
	Result  watchbill.Result
	Detail  string
}

// AttemptsOf returns the attempts of an incident's pages, oldest first.
func (t *Tx) AttemptsOf(id watchbill.IncidentID) ([]Attempt, error) {
	var all []Attempt
	err := t.each("read attempts", func(rows *sql.Rows) error {
		var a Attempt
		var at int64
		if err := rows.Scan(&a.Page, &a.Attempt, &at, &a.Result, &a.Detail); err != nil {
			return err
		}
		a.At = fromUnix(at)
		all = append(all, a)
		return nil
	}, `SELECT a.page, a.attempt, a.at, a.result, a.detail FROM attempt a JOIN page p ON p.id = a.page WHERE p.incident = ? ORDER BY a.at, a.page, a.attempt`, id)
	return all, err
}

// Heartbeat writes the instant to a row of its own, to prove that writing
// works.
func (t *Tx) Heartbeat(now time.Time) error {
	_, err := t.exec("write heartbeat", `INSERT INTO heartbeat (id, at) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET at = excluded.at`, unix(now))
	return err
}
