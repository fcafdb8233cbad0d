package daemon

import (
	"sync"

	"watchbill"
	"watchbill/internal/store"
)

// maxKnown bounds how many incidents are kept in memory.
const maxKnown = 20_000

// known keeps incidents as they were last written, so that joining one costs the
// read of its version instead of decoding all of it. What is kept is used only
// when the store has the same version, and the hash in a version covers all that
// happened to the incident: it can be missing, never wrong, also after a write
// that was taken back. So it may be put here before the commit, for the next
// callback of the same transaction.
type known struct {
	mu sync.Mutex
	m  map[store.Version]entry
}

// entry is an incident with the last decision that its events hold whole.
type entry struct {
	watchbill.Incident
	last precedent
}

// precedent is a decision, and the number of the event that holds it; 0: none is
// remembered.
type precedent struct {
	whole watchbill.Decision
	seq   int64
}

func (k *known) get(v store.Version) (entry, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	e, ok := k.m[v]
	return e, ok
}

// put keeps an incident in place of the version that it had before.
func (k *known) put(before store.Version, inc entry) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.m, before)
	if inc.State == watchbill.StateClosed {
		return
	}
	if k.m == nil || len(k.m) >= maxKnown {
		k.m = map[store.Version]entry{}
	}
	k.m[store.VersionOf(inc.Incident)] = inc
}
