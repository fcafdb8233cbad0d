package store

import (
	"database/sql"
	"hash/maphash"
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
	alerts   *filter            // has every alert that is there, and some that are not; nil: not read
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
		m.alerts = nil // what was rolled back stays in it: it may have too much, never too little
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

// absent reports whether it is certain that there is no alert with a fingerprint.
func (t *Tx) absent(fp watchbill.Fingerprint) bool {
	return t.memory != nil && t.memory.alerts != nil && !t.memory.alerts.has(fp)
}

// Fetch reads the alerts with some fingerprints at once, which costs less than
// reading each when [Tx.Alert] is asked for it. What is written meanwhile is
// read anew.
func (t *Tx) Fetch(fps []watchbill.Fingerprint) error {
	if t.memory != nil && t.memory.alerts == nil {
		if err := t.readFingerprints(); err != nil {
			return err
		}
	}
	var there []watchbill.Fingerprint
	for _, fp := range fps {
		if !t.absent(fp) {
			there = append(there, fp)
		}
	}
	if len(there) < 2 {
		return nil
	}
	if t.fetched == nil {
		t.fetched = map[watchbill.Fingerprint]*AlertRow{}
	}
	for _, fp := range there {
		t.fetched[fp] = nil
	}
	list, err := encode(there)
	if err != nil {
		return err
	}
	return t.each("read alerts", func(rows *sql.Rows) error {
		var fp watchbill.Fingerprint
		a, err := scanAlert(rows, &fp)
		t.fetched[fp] = &a
		return err
	}, selectAlerts, list)
}

func (t *Tx) readFingerprints() error {
	alerts := newFilter()
	err := t.each("read fingerprints", func(rows *sql.Rows) error {
		var fp watchbill.Fingerprint
		err := rows.Scan(&fp)
		alerts.add(fp)
		return err
	}, selectFingerprints)
	if err == nil {
		t.memory.alerts = alerts
	}
	return err
}

// filter is a Bloom filter of fingerprints: a set that may say yes to what was
// never added, and never no to what was (B. H. Bloom, 1970). With a million in it
// one in forty is a mistake.
type filter struct {
	seed maphash.Seed
	bits [1 << 17]uint64 // 1 MiB
}

func newFilter() *filter { return &filter{seed: maphash.MakeSeed()} }

// filterProbes is how many bits each fingerprint sets.
const filterProbes = 4

// probe calls visit with the places of a fingerprint until it returns false. They
// are taken from the two halves of its hash (Kirsch and Mitzenmacher, 2006).
func (f *filter) probe(fp watchbill.Fingerprint, visit func(word *uint64, bit uint64) bool) {
	h := maphash.String(f.seed, string(fp))
	step := h>>32 | 1
	for range filterProbes {
		if !visit(&f.bits[h>>6%uint64(len(f.bits))], 1<<(h&63)) {
			return
		}
		h += step
	}
}

func (f *filter) add(fp watchbill.Fingerprint) {
	f.probe(fp, func(word *uint64, bit uint64) bool { *word |= bit; return true })
}

func (f *filter) has(fp watchbill.Fingerprint) bool {
	all := true
	f.probe(fp, func(word *uint64, bit uint64) bool { all = *word&bit != 0; return all })
	return all
}
