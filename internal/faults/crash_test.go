package faults_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The system calls by which the store reaches the disk. strace counts them per
// thread, so a number names no particular write: the points are spread over all
// of them rather than exhaustive.
var writes = []string{"pwrite64", "fsync,fdatasync", "pwrite64,fsync,fdatasync,ftruncate", "pwrite64", "ftruncate,fsync,fdatasync"}

// The daemon is killed at a write while alerts and acknowledgements flow, and
// starts again on what it left, over and over. After each death every alert that
// was answered 2xx has its incident, every due page left or is due, and the
// record verifies; in the end every page has arrived.
func crashMatrix(t *testing.T) {
	strace := tool(t, "strace")
	points, control := size(3, 60, 600), os.Getenv(controlEnv) != ""
	if control { // what is broken shows at the first death that finds alerts or timers under way
		points = 12
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	r := newRig(t, t.TempDir(), "escalation: {second: 1s, manager: 2s, everyone: 3s, repeat: 10s}")
	traffic := &traffic{rig: r}
	died := 0
	for point := range points {
		calls := writes[point%len(writes)]
		n := 1 + random.IntN(size(40, 240, 240)) // a life of a second to four: enough pages that a share of them means something
		if point%4 == 0 && !control {
			n = 1 + random.IntN(12) // while it starts, with the very first migration among them
		}
		p := r.start(strace, "-f", "-qq", "-o", "/dev/null", "-e", "trace="+calls, "-e", fmt.Sprintf("inject=%s:signal=SIGKILL:when=%d", calls, n))
		if r.ready(p) {
			traffic.until(p.done, 4*time.Second)
		}
		if p.ended() {
			died++
		}
		r.crash()
		must(t, r.evidence(readDead(t, r.db()), false), bounds{ambiguous: true})
	}
	require.Greater(t, died, points/3, "enough of the points must be reached, else this proves nothing")
	r.serve()
	require.NoError(t, r.post(alert("service-after-all", "1")), "it goes on")
	unanswered := 0 // a few go on for ever, but leave moments at which nothing is due
	for _, inc := range r.open() {
		if inc.ID%12 == 0 && unanswered < 30 {
			unanswered++
			continue
		}
		require.NoError(t, r.ack(inc.ID))
	}
	r.settle(2 * time.Minute)
	r.crash() // the last one, so that the store and the receiver's log are of one moment
	e := r.evidence(readDead(t, r.db()), true)
	require.NotEmpty(t, e.accepted)
	// Only what was in hand at a death may come twice. A few deaths are too few for
	// a share to mean anything.
	must(t, e, bounds{duplicates: size(inHand*points, 0, 0), share: .01})
	t.Logf("%d points, %d reached a write and died there: %s", points, died, e.summary())
}

// traffic is what a platform and its people send.
type traffic struct {
	rig *rig
	n   int // services named so far
}

// until sends until done is closed, and for a time at most.
func (tr *traffic) until(done <-chan struct{}, atMost time.Duration) {
	limit := time.NewTimer(atMost)
	defer limit.Stop()
	stop := make(chan struct{})
	var senders sync.WaitGroup
	var mu sync.Mutex
	next := func() int {
		mu.Lock()
		defer mu.Unlock()
		tr.n++
		return tr.n
	}
	for range 6 {
		senders.Go(func() {
			for !closed(stop) {
				n := next()
				service := "service-" + strconv.Itoa(n)
				if n%10 >= 6 { // the others join what is open
					service = "joined-" + strconv.Itoa(n%10)
				}
				_ = tr.rig.post(alert(service, strconv.Itoa(n)), alert(service, strconv.Itoa(n)+"b")) // what was answered is in the ledger
				if n%5 == 0 {
					_ = tr.rig.post(alert(service, strconv.Itoa(n))) // again, as sources do
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	senders.Go(func() {
		for !closed(stop) {
			all, err := tr.rig.client.Incidents(tr.rig.t.Context(), "open", 20)
			if err != nil {
				time.Sleep(5 * time.Millisecond)
				continue
			}
			for _, inc := range all {
				if inc.ID%6 != 0 { // the others are never answered, and escalate
					_ = tr.rig.ack(inc.ID) // what was answered is in the ledger
				}
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
	select {
	case <-done:
	case <-limit.C:
	}
	close(stop)
	senders.Wait()
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
