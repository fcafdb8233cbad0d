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
	m  map[store.Version]watchbill.Incident
}

func (k *known) get(v store.Version) (watchbill.Incident, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	inc, ok := k.m[v]
	return inc, ok
}

// put keeps an incident in place of the version that it had before.
func (k *known) put(before store.Version, inc watchbill.Incident) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.m, before)
	if inc.State == watchbill.StateClosed {
		return
	}
	if k.m == nil || len(k.m) >= maxKnown {
		k.m = map[store.Version]watchbill.Incident{}
	}
	k.m[store.VersionOf(inc)] = inc
}
