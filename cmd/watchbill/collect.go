package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Where the environment has no GOGC, the daemon looks for the least memory that
// it can have cheaply: most of it is series that live long, so that a small heap
// is collected in no time, and waiting for as much garbage again, Go's default,
// doubles it for nothing. With thousands of rules collecting is dearer than the
// memory is.
const (
	// mostGarbage and leastGarbage bound GOGC, in percent of what is in use.
	mostGarbage, leastGarbage = 50, 15
	// dear and cheap are shares of one processor that collecting takes: above the
	// one, more garbage is waited for at once, below the other a little less.
	dear, cheap = 0.05, 0.02
	// collectLook is how often the share is looked at.
	collectLook = 10 * time.Second
)

// garbage is the next GOGC after the one under which collecting took a share of
// one processor.
func garbage(percent int, share float64) int {
	switch {
	case share > dear:
		return mostGarbage
	case share < cheap:
		return max(percent-percent/5, leastGarbage)
	}
	return percent
}

// tuneCollection sets GOGC until ctx ends.
func tuneCollection(ctx context.Context) {
	percent, spent := mostGarbage, collecting()
	debug.SetGCPercent(percent)
	tick := time.NewTicker(collectLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := collecting()
		next := garbage(percent, (now-spent)/collectLook.Seconds())
		if spent = now; next != percent {
			percent = next
			debug.SetGCPercent(percent)
		}
	}
}

// collecting is how many seconds of processor time collecting took so far, as of
// the end of the last collection, without what nobody else had a use for.
func collecting() float64 {
	s := []metrics.Sample{{Name: "/cpu/classes/gc/total:cpu-seconds"}, {Name: "/cpu/classes/gc/mark/idle:cpu-seconds"}}
	metrics.Read(s)
	return s[0].Value.Float64() - s[1].Value.Float64()
}
