package watchdog

import (
	"sync"
	"time"
)

// Pulse knows when loops last went round, and tells somebody while all of them
// do. The loops themselves feed it: no goroutine of its own could go on alone.
type Pulse struct {
	every time.Duration
	feed  func()

	mu   sync.Mutex
	last map[string]time.Time
	fed  time.Time
}

// minPulse is the least age at which a loop counts as stopped: idle ones go round
// every ten seconds.
const minPulse = 15 * time.Second

// NewPulse makes a pulse of the loops with these names. While each went round
// within half of every, feed is called, by whichever goes round, and not more
// often than four times in every. Feed may be nil.
func NewPulse(every time.Duration, feed func(), loops ...string) *Pulse {
	p := &Pulse{every: every, feed: feed, last: map[string]time.Time{}}
	for _, l := range loops {
		p.last[l] = time.Time{}
	}
	return p
}

// Beat says that a loop goes round.
func (p *Pulse) Beat(loop string) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last[loop] = now
	if p.feed == nil || now.Sub(p.fed) < p.every/4 {
		return
	}
	for _, at := range p.last {
		if now.Sub(at) > max(p.every/2, minPulse) {
			return
		}
	}
	p.fed = now
	p.feed()
}

// Age returns how long ago a loop last went round; a loop that never did counts
// from since.
func (p *Pulse) Age(loop string, now, since time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.last[loop]
	if at.Before(since) {
		at = since
	}
	return max(now.Sub(at), 0)
}
