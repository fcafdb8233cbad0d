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
	dear, cheap = 0.03, 0.01
	// collectLook is how often the share is looked at.
	collectLook = 10 * time.Second
	// markRate is how many bytes in use one processor goes through in a second. The
	// runtime's own account of the time counts what other programs took meanwhile,
	// so that on a busy machine collecting would look dear.
	markRate = 1 << 30
)

// collections is what the runtime tells about collecting.
type collections struct {
	count, inUse uint64 // so far; bytes that the last one found
}

// share is the share of one processor that collecting took in a time since an
// earlier account.
func (c collections) share(earlier collections, in time.Duration) float64 {
	return float64(c.count-earlier.count) * float64(c.inUse) / markRate / in.Seconds()
}

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
	percent, earlier := mostGarbage, collected()
	debug.SetGCPercent(percent)
	tick := time.NewTicker(collectLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := collected()
		if next := garbage(percent, now.share(earlier, collectLook)); next != percent {
			percent = next
			debug.SetGCPercent(percent)
		}
		earlier = now
	}
}

// collected reads the runtime's account.
func collected() collections {
	s := []metrics.Sample{{Name: "/gc/cycles/total:gc-cycles"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	return collections{count: s[0].Value.Uint64(), inUse: s[1].Value.Uint64()}
}
