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

// recent holds the tokens that were looked up a moment ago, by hash. Only tokens
// that exist are held, so that nobody can fill it by guessing.
type recent struct {
	mu sync.Mutex
	m  map[string]lookup
}

type lookup struct {
	token Token
	at    time.Time
}

func (r *recent) get(hash string, now time.Time) (Token, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l, ok := r.m[hash]
	if age := now.Sub(l.at); !ok || age < 0 || age >= trusted {
		return Token{}, false
	}
	return l.token, true
}

func (r *recent) put(hash string, t Token, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.m == nil || len(r.m) >= maxRecent {
		r.m = map[string]lookup{}
	}
	r.m[hash] = lookup{t, now}
}

// drop forgets a token, so that the next request asks the store.
func (r *recent) drop(hash string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.m, hash)
}
