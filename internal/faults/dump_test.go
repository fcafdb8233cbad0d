package faults_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite" // the database/sql driver "sqlite"

	"watchbill"
)

// dump is the content of a store, read by SQL of its own: what the checker holds
// against the promises must not come from the code that makes them.
type dump struct {
	alerts    map[watchbill.Fingerprint]alertRow
	incidents []incidentRow
	events    map[watchbill.IncidentID][]watchbill.Event
	timers    []watchbill.Timer
	pages     []pageRow
	refused   map[watchbill.IncidentID]bool // a receiver said no to a page of it
	integrity string                        // what SQLite's own check says
}

type alertRow struct {
	incident watchbill.IncidentID
	ended    bool
	muted    string
}

type incidentRow struct {
	watchbill.Incident
	seq  int64
	head string
}

type pageRow struct {
	watchbill.Page
	id      int64
	State   string
	attempt int
	next    time.Time
	lease   time.Time
}

// read dumps a store that may be in use.
func read(t testing.TB, path string) dump {
	t.Helper()
	d, err := readStore(path)
	require.NoError(t, err)
	return d
}

// readDead dumps what a dead process left. It works on a copy, because opening
// a store repairs it.
func readDead(t testing.TB, path string) dump {
	t.Helper()
	dir, err := disk()
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(path + suffix)
		if os.IsNotExist(err) {
			continue
		}
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "store.db"+suffix), b, 0o600))
	}
	return read(t, filepath.Join(dir, "store.db"))
}

// disk makes a folder for the image of a disk: in memory, if that is possible.
func disk() (string, error) {
	const memory = "/dev/shm"
	if info, err := os.Stat(memory); err == nil && info.IsDir() {
		return os.MkdirTemp(memory, "watchbill")
	}
	return os.MkdirTemp("", "watchbill")
}

func readStore(path string) (d dump, err error) {
	d = dump{
		alerts: map[watchbill.Fingerprint]alertRow{}, events: map[watchbill.IncidentID][]watchbill.Event{},
		refused: map[watchbill.IncidentID]bool{},
	}
	q := url.Values{"_txlock": {"deferred"}, "_pragma": {"busy_timeout(10000)", "query_only(1)"}}
	db, err := sql.Open("sqlite", "file:"+path+"?"+q.Encode())
	if err != nil {
		return d, err
	}
	defer db.Close()
	tx, err := db.BeginTx(context.Background(), nil)
	if err != nil {
		return d, err
	}
	defer tx.Rollback()
	if err := tx.QueryRow(`PRAGMA quick_check`).Scan(&d.integrity); err != nil {
		return d, fmt.Errorf("check integrity: %w", err)
	}
	var tables int
	if err := tx.QueryRow(`SELECT count(*) FROM sqlite_master WHERE name IN ('incident', 'event', 'alert', 'timer', 'page', 'attempt')`).Scan(&tables); err != nil {
		return d, err
	}
	if tables < 6 { // it died before its first migration was committed
		return d, nil
	}
	for _, read := range []func(*dump, *sql.Tx) error{readAlerts, readIncidents, readEvents, readTimers, readPages} {
		if err := read(&d, tx); err != nil {
			return d, err
		}
	}
	return d, nil
}

// rows calls scan for every row of a query.
func rows(tx *sql.Tx, query string, scan func(*sql.Rows) error) error {
	all, err := tx.Query(query)
	if err != nil {
		return err
	}
	defer all.Close()
	for all.Next() {
		if err := scan(all); err != nil {
			return fmt.Errorf("%s: %w", query, err)
		}
	}
	return all.Err()
}

func instant(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

func readAlerts(d *dump, tx *sql.Tx) error {
	return rows(tx, `SELECT fingerprint, incident, ended, muted FROM alert`, func(r *sql.Rows) error {
		var fp watchbill.Fingerprint
		var a alertRow
		err := r.Scan(&fp, &a.incident, &a.ended, &a.muted)
		d.alerts[fp] = a
		return err
	})
}

func readIncidents(d *dump, tx *sql.Tx) error {
	return rows(tx, `SELECT seq, head, body FROM incident ORDER BY id`, func(r *sql.Rows) error {
		var inc incidentRow
		var body []byte
		if err := r.Scan(&inc.seq, &inc.head, &body); err != nil {
			return err
		}
		err := json.Unmarshal(body, &inc.Incident)
		d.incidents = append(d.incidents, inc)
		return err
	})
}

func readEvents(d *dump, tx *sql.Tx) error {
	return rows(tx, `SELECT incident, seq, at, kind, actor, via, text, data, prev, hash FROM event ORDER BY incident, seq`, func(r *sql.Rows) error {
		var e watchbill.Event
		var at int64
		var data string
		if err := r.Scan(&e.Incident, &e.Seq, &at, &e.Kind, &e.Actor, &e.Via, &e.Text, &data, &e.Prev, &e.Hash); err != nil {
			return err
		}
		e.At = instant(at)
		if data != "" {
			e.Data = json.RawMessage(data)
		}
		d.events[e.Incident] = append(d.events[e.Incident], e)
		return nil
	})
}

func readTimers(d *dump, tx *sql.Tx) error {
	return rows(tx, `SELECT kind, incident, generation, step, due_at FROM timer`, func(r *sql.Rows) error {
		var tm watchbill.Timer
		var due int64
		err := r.Scan(&tm.Kind, &tm.Incident, &tm.Generation, &tm.Step, &due)
		tm.Due = instant(due)
		d.timers = append(d.timers, tm)
		return err
	})
}

func readPages(d *dump, tx *sql.Tx) error {
	err := rows(tx, `SELECT id, state, attempt, due_at, lease_until, body FROM page ORDER BY id`, func(r *sql.Rows) error {
		var p pageRow
		var body []byte
		var next, lease int64
		if err := r.Scan(&p.id, &p.State, &p.attempt, &next, &lease, &body); err != nil {
			return err
		}
		p.next, p.lease = instant(next), instant(lease)
		err := json.Unmarshal(body, &p.Page)
		d.pages = append(d.pages, p)
		return err
	})
	if err != nil {
		return err
	}
	return rows(tx, `SELECT DISTINCT p.incident FROM attempt a JOIN page p ON p.id = a.page WHERE a.result = 'refused'`, func(r *sql.Rows) error {
		var id watchbill.IncidentID
		err := r.Scan(&id)
		d.refused[id] = true
		return err
	})
}
