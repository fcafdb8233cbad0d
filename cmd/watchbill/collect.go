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
// doubles it for nothing. With thousands of rules, or in a storm of alerts,
// collecting is dearer than the memory is.
const (
	// mostGarbage and leastGarbage bound what is waited for, in percent of what is
	// in use, but for busyGarbage.
	mostGarbage, leastGarbage = 50, 15
	// busyGarbage, in bytes, may gather in any case while collecting is dear: a
	// small heap fills dozens of times a second in a storm.
	busyGarbage = 96 << 20
	// dear and cheap are shares of one processor that collecting takes: above the
	// one, more garbage is waited for at once, below the other a third less.
	dear, cheap = 0.03, 0.01
	// collectLook is how often the share is looked at.
	collectLook = time.Second
	// collectOver is how many looks the share is taken over, and how many pass
	// before less garbage is waited for.
	collectOver = 10
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

// most is how much garbage is waited for while collecting is dear, in bytes.
func (c collections) most() uint64 { return max(c.inUse*mostGarbage/100, busyGarbage) }

// garbage is how many bytes of garbage are waited for next, after some under
// which collecting took a share of one processor; less says that it is time to
// wait for less.
func (c collections) garbage(allowed uint64, share float64, less bool) uint64 {
	switch {
	case share > dear:
		allowed = c.most()
	case share < cheap && less:
		allowed -= allowed / 3
	}
	return min(max(allowed, c.inUse*leastGarbage/100), c.most())
}

// percent is the GOGC under which so many bytes of garbage gather. It is bounded,
// as a heap may grow a lot until the next look.
func (c collections) percent(allowed uint64) int {
	return int(min(allowed*100/max(c.inUse, 1), 300))
}

// tuneCollection sets GOGC until ctx ends.
func tuneCollection(ctx context.Context) {
	looks := []collections{collected()} // the last ones, the oldest first
	allowed := looks[0].inUse * mostGarbage / 100
	percent := mostGarbage
	debug.SetGCPercent(percent)
	tick := time.NewTicker(collectLook)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := collected()
		share := now.share(looks[0], time.Duration(len(looks))*collectLook)
		allowed = now.garbage(allowed, share, n%collectOver == 0)
		if next := now.percent(allowed); next != percent {
			percent = next
			debug.SetGCPercent(percent)
		}
		if looks = append(looks, now); len(looks) > collectOver {
			looks = looks[1:]
		}
	}
}

// collected reads the runtime's account.
func collected() collections {
	s := []metrics.Sample{{Name: "/gc/cycles/total:gc-cycles"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	return collections{count: s[0].Value.Uint64(), inUse: s[1].Value.Uint64()}
}
