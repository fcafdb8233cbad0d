package auth

import (
	"sync"
	"time"
)

// trusted is how long a token that the store knew is used without asking again.
// A source that pushes a thousand requests a second asks once; a revocation
// takes effect within this time.
const trusted = time.Second

// maxRecent bounds how many tokens are remembered.
const maxRecent = 1024

// recent holds the tokens or sessions that were looked up a moment ago, by hash.
// Only those that exist are held, so that nobody can fill it by guessing.
type recent[T any] struct {
	mu sync.Mutex
	m  map[string]lookup[T]
}

type lookup[T any] struct {
	found T
	at    time.Time
}

func (r *recent[T]) get(hash string, now time.Time) (found T, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l, ok := r.m[hash]
	if age := now.Sub(l.at); !ok || age < 0 || age >= trusted {
		return found, false
	}
	return l.found, true
}

func (r *recent[T]) put(hash string, t T, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.m == nil || len(r.m) >= maxRecent {
		r.m = map[string]lookup[T]{}
	}
	r.m[hash] = lookup[T]{t, now}
}

// drop forgets one, so that the next request asks the store.
func (r *recent[T]) drop(hash string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.m, hash)
}

// clear forgets all of them.
func (r *recent[T]) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.m)
}
