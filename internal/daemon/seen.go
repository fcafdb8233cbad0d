package daemon

import (
	"hash/maphash"
	"sync"
	"time"

	"watchbill"
	"watchbill/internal/store"
)

// seen is what the flow knows of firing alerts without asking the store, so that
// a re-send which changes nothing costs neither a transaction nor a read. It is
// written only after a commit, in commit order ([store.Tx.OnCommit]): what it
// says is on disk. What it does not know, the store is asked for.
type seen struct {
	seed maphash.Seed
	mu   sync.RWMutex
	m    map[watchbill.Fingerprint]sighting
}

// sighting is what a re-send is compared with.
type sighting struct {
	ends    time.Time
	content uint64 // hash of the annotations and the generator's link
}

func newSeen() *seen {
	return &seen{seed: maphash.MakeSeed(), m: map[watchbill.Fingerprint]sighting{}}
}

func (s *seen) sighting(a watchbill.Alert) sighting {
	// A sum, since the order of a map is not fixed and sorting it would cost more
	// than all the rest.
	h := maphash.String(s.seed, a.GeneratorURL)
	for name, value := range a.Annotations {
		h += maphash.String(s.seed, name)*31 ^ maphash.String(s.seed, value)
	}
	return sighting{ends: a.EndsAt, content: h}
}

// note has an alert remembered, or forgotten when it ended, once the
// transaction is on disk.
func (s *seen) note(tx *store.Tx, row store.AlertRow) {
	fp, sight, ended := row.Fingerprint(), s.sighting(row.Alert), row.Ended
	tx.OnCommit(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if ended {
			delete(s.m, fp)
		} else {
			s.m[fp] = sight
		}
	})
}

// news returns the alerts of a request that may change something.
func (s *seen) news(alerts []watchbill.Alert, now time.Time, resolveTimeout time.Duration) []arrival {
	var news []arrival
	s.mu.RLock()
	defer s.mu.RUnlock()
	for i, a := range alerts {
		if a.EndsAt.IsZero() {
			a.EndsAt = now.Add(resolveTimeout)
		}
		fp := a.Fingerprint()
		old, known := s.m[fp]
		if known && !a.Resolved(now) && old.covers(s.sighting(a), now) {
			continue
		}
		news = append(news, arrival{alert: alerts[i], fp: fp, known: known})
	}
	return news
}

// covers reports whether a re-send changes nothing about an alert that was seen
// before. A later end counts as a change only once half of the span that it
// grants has gone by, so that a source which re-sends every minute with four
// minutes to go costs one write in two; an earlier one never takes back what was
// granted.
func (s sighting) covers(again sighting, now time.Time) bool {
	later := again.ends.Sub(s.ends)
	return s.content == again.content && s.ends.After(now) && later < again.ends.Sub(now)/2
}
