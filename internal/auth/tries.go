package auth

import (
	"sync"
	"time"
)

// How long whoever guesses waits. An account takes few tries; an address may be
// that of a whole office, and takes more. The wait of an account is at most a
// minute, so that a stranger who guesses at it cannot lock its owner out for long.
const (
	accountTries = 5
	addressTries = 30
	longestWait  = time.Minute
	forgetTries  = 15 * time.Minute // after the last one

	maxTries = 10_000 // accounts and addresses that are remembered
)

// tries counts tries to sign in. They are counted before anybody knows how they
// end, so that many at the same time count as many.
type tries struct {
	mu sync.Mutex
	m  map[string]*try
}

type try struct {
	n           int
	last, until time.Time // until: when the next one is taken
}

func newTries() *tries { return &tries{m: map[string]*try{}} }

// begin counts a try under a key, of which some are free, or says how long it is
// until the next one is taken.
func (t *tries) begin(key string, free int, now time.Time) (wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	x := t.m[key]
	if x == nil || now.Sub(x.last) >= forgetTries {
		if x == nil && len(t.m) >= maxTries {
			t.makeRoom(now)
		}
		x = &try{}
		t.m[key] = x
	}
	if now.Before(x.until) {
		return x.until.Sub(now)
	}
	x.n++
	x.last = now
	if over := x.n - free; over >= 0 {
		x.until = now.Add(min(time.Second<<min(over, 10), longestWait))
	}
	return 0
}

// makeRoom forgets what may be forgotten, else the oldest.
func (t *tries) makeRoom(now time.Time) {
	oldest := ""
	for key, x := range t.m {
		if now.Sub(x.last) >= forgetTries {
			delete(t.m, key)
		} else if oldest == "" || x.last.Before(t.m[oldest].last) {
			oldest = key
		}
	}
	if len(t.m) >= maxTries {
		delete(t.m, oldest)
	}
}

// good forgets the tries of an account that was signed in to.
func (t *tries) good(account string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.m, account)
}

// giveBack takes back one try of an address: it was a good one.
func (t *tries) giveBack(address string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if x := t.m[address]; x != nil && x.n > 0 {
		x.n--
		x.until = time.Time{}
	}
}
