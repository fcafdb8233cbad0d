package store

import (
	"database/sql"
	"maps"
	"strings"

	"watchbill"
)

// maxHeads bounds how many incidents the writer knows the version of.
const maxHeads = 100_000

// memory is what the writer knows of the file without reading it. Nobody else
// writes, so it learns of every change as it is made, before the commit: what is
// rolled back makes it forget everything, and so does a change by another process
// ([memory.begun]). It may know nothing; it is never wrong.
type memory struct {
	heads    map[string]Version // the newest incident of a group key, if it is not closed
	silences uint64             // changes whenever a silence may have changed; never 0
	file     int64              // SQLite's data_version: changes when somebody else writes
}

func newMemory() *memory { return &memory{heads: map[string]Version{}, silences: 1} }

func (m *memory) forget() {
	clear(m.heads)
	m.silences++
}

// begun is told of each transaction, once it holds the lock.
func (m *memory) begun(c *conn) error {
	was := m.file
	err := c.dataVersion(&m.file)
	if err != nil || m.file != was {
		m.forget()
	}
	return err
}

// incident is told of each incident that is stored. One that is not closed is the
// newest of its key: there is no other beside it.
func (m *memory) incident(inc watchbill.Incident) {
	switch {
	case inc.ID <= 0: // the self-test's, which vanishes without being closed
	case inc.State == watchbill.StateClosed:
		delete(m.heads, inc.Key)
	default:
		if len(m.heads) >= maxHeads {
			clear(m.heads)
		}
		m.heads[inc.Key] = VersionOf(inc)
	}
}

// wrote is told of each statement that may change something.
func (t *Tx) wrote(query string) {
	if len(t.fetched) > 0 && query != upsertAlert && strings.Contains(query, "alert") {
		clear(t.fetched)
	}
	if t.memory != nil && strings.Contains(query, "silence") {
		t.memory.silences++
	}
}

// SilencesVersion returns a number that changes with the silences, so that
// callers can keep what they made of them: while the number is the same,
// [Tx.Silences] has no silence that it had not before. It is 0 where that is not
// known: in a [Store.View].
func (t *Tx) SilencesVersion() uint64 {
	if t.memory == nil {
		return 0
	}
	return t.memory.silences
}

// Fetch reads the alerts with some fingerprints at once, which costs less than
// reading each when [Tx.Alert] is asked for it. What is written meanwhile is
// read anew.
func (t *Tx) Fetch(fps []watchbill.Fingerprint) error {
	list, err := encode(fps)
	if err != nil {
		return err
	}
	found := make(map[watchbill.Fingerprint]*AlertRow, len(fps))
	for _, fp := range fps {
		found[fp] = nil
	}
	err = t.each("read alerts", func(rows *sql.Rows) error {
		var fp watchbill.Fingerprint
		a, err := scanAlert(rows, &fp)
		found[fp] = &a
		return err
	}, selectAlerts, list)
	if err != nil {
		return err
	}
	if t.fetched == nil {
		t.fetched = found
	} else {
		maps.Copy(t.fetched, found)
	}
	return nil
}
