package collector

import (
	"context"
	"runtime"
)

// turns bound how many rule groups are evaluated here at once. Each group has a
// goroutine of its own, and with thousands of them as many could write at once:
// every query then takes note of every open write, every write holds buffers for
// hundreds of samples, and all of them wait in line for the one lock of the open
// writes. A group that waits for its turn is still evaluated for the moment at
// which it was due.
type turns chan struct{}

// newTurns returns several turns for each processor, so that a few long
// evaluations hold up nobody.
func newTurns() turns { return make(turns, max(16, 4*runtime.GOMAXPROCS(0))) }

// take waits for a turn and reports whether there is one; ctx may end before.
func (t turns) take(ctx context.Context) bool {
	select {
	case t <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// done gives the turn back.
func (t turns) done() { <-t }
