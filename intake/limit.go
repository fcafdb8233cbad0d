package intake

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limiter holds sources to their alerts a minute. It is safe for concurrent use.
type Limiter struct {
	mu      sync.Mutex
	sources map[string]*rate.Limiter
}

// Take lets n alerts of a source pass at now, or returns after which time to try
// again. A source may send at once what it may send in a minute; a request of more
// alerts than that takes all of it, since it could never pass otherwise.
func (l *Limiter) Take(s Source, n int, now time.Time) (wait time.Duration) {
	if s.PerMinute <= 0 {
		return 0
	}
	n = min(max(n, 1), s.PerMinute)
	r := l.of(s, now).ReserveN(now, n)
	if wait = r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
	}
	return wait
}

func (l *Limiter) of(s Source, now time.Time) *rate.Limiter {
	perSecond := rate.Limit(float64(s.PerMinute) / 60)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sources == nil {
		l.sources = map[string]*rate.Limiter{}
	}
	lim := l.sources[s.Name]
	if lim == nil {
		lim = rate.NewLimiter(perSecond, s.PerMinute)
		l.sources[s.Name] = lim
	}
	if lim.Burst() != s.PerMinute { // another configuration
		lim.SetLimitAt(now, perSecond)
		lim.SetBurstAt(now, s.PerMinute)
	}
	return lim
}
