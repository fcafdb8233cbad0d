package router

import (
	"cmp"
	"time"

	"watchbill"
)

// Flapping says when an alert flaps and what that changes. Zero fields take their
// defaults: 3 times within 1 h, 10 m.
type Flapping struct {
	Count      int           // an alert that ended so often
	Window     time.Duration // within this time flaps
	ClearDelay time.Duration // its end then counts once it stayed away for this time
}

func (f Flapping) withDefaults() Flapping {
	return Flapping{cmp.Or(f.Count, 3), cmp.Or(f.Window, time.Hour), cmp.Or(f.ClearDelay, 10*time.Minute)}
}

// Flapping are the bounds in force.
func (r *Router) Flapping() Flapping { return r.cfg.Flapping }

// CountEnd returns what is known of an alert's flapping once it ended at now.
func (r *Router) CountEnd(f watchbill.Flap, now time.Time) watchbill.Flap {
	ends := append(r.recent(f, now), now)
	if n := len(ends) - r.cfg.Flapping.Count; n > 0 { // more than enough is not kept
		ends = ends[n:]
	}
	return watchbill.Flap{Ends: ends, Clearing: f.Clearing}
}

// Flaps reports whether an alert flaps at now.
func (r *Router) Flaps(f watchbill.Flap, now time.Time) bool {
	return len(r.recent(f, now)) >= r.cfg.Flapping.Count
}

func (r *Router) recent(f watchbill.Flap, now time.Time) []time.Time {
	var ends []time.Time
	for _, at := range f.Ends {
		if now.Sub(at) < r.cfg.Flapping.Window {
			ends = append(ends, at)
		}
	}
	return ends
}
