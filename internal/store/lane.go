package store

import (
	"context"
	"runtime"
)

// laneLoad is how many statements are handed over at a time: enough that waking
// the other goroutine costs little beside them.
const laneLoad = 48

// laneDepth is how many of these may wait, so that a callback is never far ahead
// of its statements, and a batch that looks at the clock sees how long they take.
const laneDepth = 4

// lane runs statements of a transaction whose results nobody waits for, the rows
// of alerts and events, beside the callback that decides about the next ones. A
// connection is used by one goroutine at a time, so whoever wants it for anything
// else has to call settle first. What fails stays failed until the transaction is
// taken back.
type lane struct {
	queue   []job
	running int
	jobs    chan []job
	done    chan error
	err     error
}

// job is one statement that was prepared on the lane's connection.
type job struct {
	what string
	stmt statement
	args []any
}

func newLane() *lane {
	l := &lane{}
	if runtime.GOMAXPROCS(0) > 1 { // else there is nothing to gain
		l.jobs, l.done = make(chan []job, laneDepth), make(chan error, laneDepth)
		go l.run()
	}
	return l
}

func (l *lane) close() {
	if l.jobs != nil {
		close(l.jobs)
	}
}

// run runs what is handed over. After a statement that fails those behind it are
// not run.
func (l *lane) run() {
	var failed error
	for load := range l.jobs {
		if load == nil { // the transaction was taken back
			failed = nil
		} else if failed == nil {
			failed = runJobs(load)
		}
		l.done <- failed
	}
}

func runJobs(load []job) error {
	for _, j := range load {
		if _, err := j.stmt.ExecContext(context.Background(), j.args...); err != nil {
			return unavailable(j.what, err)
		}
	}
	return nil
}

// add has a statement run before the next settle returns.
func (l *lane) add(j job) error {
	if l.err != nil {
		return l.err
	}
	l.queue = append(l.queue, j)
	if l.jobs == nil || len(l.queue) < laneLoad {
		return nil
	}
	l.await(laneDepth - 1)
	l.jobs <- l.queue
	l.running++
	l.queue = make([]job, 0, laneLoad)
	return l.err
}

// settle waits until everything added was run, and returns what failed first.
func (l *lane) settle() error {
	l.await(0)
	if l.err == nil && len(l.queue) > 0 {
		l.err = runJobs(l.queue)
	}
	clear(l.queue)
	l.queue = l.queue[:0]
	return l.err
}

// await waits until at most so many loads have not been run.
func (l *lane) await(most int) {
	for ; l.running > most; l.running-- {
		if err := <-l.done; l.err == nil {
			l.err = err
		}
	}
}

// drop forgets what was not run and what failed: the transaction is taken back.
func (l *lane) drop() {
	l.await(0)
	if l.err != nil && l.jobs != nil {
		l.jobs <- nil
		l.running++
		l.await(0)
	}
	clear(l.queue)
	l.queue, l.err = l.queue[:0], nil
}
