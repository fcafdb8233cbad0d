package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"watchbill"
)

// maxBatch is how many callbacks share a transaction at most: enough that the
// fsync is shared, few enough that the first of them does not wait for long.
const maxBatch = 512

// maxWaiting is how many callers may wait for the writer. Beyond it a caller is
// told so at once, rather than made to wait for longer than it would.
const maxWaiting = 4096

// A batch takes no more bulk once it has worked for bulkTime, or for bulkShare
// times what the last commit took on a slow disk: whoever sends a page or
// acknowledges one waits behind one such batch at most.
const (
	bulkTime  = 40 * time.Millisecond
	bulkShare = 4
)

// write is one callback that waits for its transaction.
type write struct {
	ctx  context.Context
	fn   func(*Tx) error
	done chan error
	pan  any // what the callback panicked with
}

// writer runs callbacks on the one connection that writes. All that wait share
// the next transaction, and its one fsync: group commit. It never lingers for
// more to come.
type writer struct {
	conn   *conn
	held   *atomic.Bool // see Store.Held
	queue  chan *write
	bulk   chan *write // gives way to the queue
	stop   chan struct{}
	ended  chan struct{}
	failed chan error // holds the error that ended writing for good
	once   sync.Once
	batch  func(n int)   // told the size of each batch
	synced time.Duration // what the last commit took
	full   func() bool   // makes room on a full disk, if it can
	memory *memory
	lane   *lane
}

func newWriter(c *conn, held *atomic.Bool, full func() bool) *writer {
	w := &writer{
		conn: c, held: held, queue: make(chan *write, maxWaiting), bulk: make(chan *write, maxWaiting), stop: make(chan struct{}),
		ended: make(chan struct{}), failed: make(chan error, 1),
		batch: func(int) {}, full: full, memory: newMemory(), lane: newLane(),
	}
	go w.run()
	return w
}

func (w *writer) close() {
	w.once.Do(func() { close(w.stop) })
	<-w.ended
}

// do queues a callback and waits until its transaction is on disk or was rolled
// back. A caller whose context ends before its turn is not run; one that is
// being run is waited for, so that the answer is always the truth.
func (w *writer) do(ctx context.Context, queue chan<- *write, fn func(*Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r := &write{ctx: ctx, fn: fn, done: make(chan error, 1)}
	select {
	case <-w.stop:
		return errClosed()
	default:
	}
	select {
	case queue <- r:
	default:
		return watchbill.Errorf(watchbill.CodeUnavailable, "wait a moment and try again", "the store is busy: %d writes are waiting", maxWaiting)
	}
	select {
	case err := <-r.done:
		if r.pan != nil {
			panic(r.pan) // the caller's bug is the caller's to meet
		}
		return err
	case <-w.ended:
		select {
		case err := <-r.done:
			return err
		default:
			return errClosed()
		}
	}
}

func errClosed() error {
	return watchbill.Errorf(watchbill.CodeUnavailable, "nothing was changed; try again once it runs", "the store is closed")
}

func (w *writer) run() {
	defer close(w.ended)
	defer w.lane.close()
	batch := make([]*write, 0, maxBatch)
	var late []*write // bulk that the last batch had no time for
	for {
		batch = batch[:0]
		if len(late) == 0 {
			select {
			case <-w.stop:
				return
			case r := <-w.queue:
				batch = append(batch, r)
			case r := <-w.bulk:
				late = append(late, r)
			}
		}
		batch = drain(batch, w.queue)
		urgent := len(batch)
		batch = append(batch, late...)
		batch = drain(batch, w.bulk)
		n, err := w.commit(batch, urgent)
		late = append(late[:0], batch[n:]...)
		if err == nil {
			err = w.checkpoint()
		}
		if err != nil {
			w.failed <- fmt.Errorf("the disk of the store fails: %w", err)
			return
		}
	}
}

// drain adds what waits in a queue to a batch, up to its size.
func drain(batch []*write, queue <-chan *write) []*write {
	for len(batch) < maxBatch {
		select {
		case r := <-queue:
			batch = append(batch, r)
		default:
			return batch
		}
	}
	return batch
}

// commit runs a batch in one transaction, of which the first ones are urgent,
// and tells each caller how it ended. It returns how many had their turn, and an
// error when the disk can be trusted no more.
func (w *writer) commit(batch []*write, urgent int) (int, error) {
	errs, err := w.try(batch, urgent)
	if isFull(err) && w.full() { // there is room again: once more
		errs, err = w.try(batch, urgent)
	}
	w.batch(len(errs))
	for i, r := range batch[:len(errs)] {
		switch {
		case err == nil || errs[i] != nil:
			r.done <- errs[i]
		case isFull(err):
			r.done <- errFull(err)
		default:
			r.done <- unavailable("commit", err)
		}
	}
	if isIOError(err) {
		return len(errs), err
	}
	return len(errs), nil
}

// try runs the callbacks of a batch until the time for bulk is over. errs holds
// what each returned that was run; err is set when nothing was committed.
//
// It runs them in one go, and if any of them fails once more with each of them
// behind a savepoint: failures are rare, and SQLite copies every page that is
// changed behind a savepoint.
func (w *writer) try(batch []*write, urgent int) (errs []error, err error) {
	if len(batch) > 1 {
		errs, failed, err := w.together(batch, urgent)
		if err != nil || !failed {
			return errs, err
		}
	}
	errs = make([]error, len(batch))
	t, err := w.begin()
	if err != nil {
		return errs, err
	}
	changed, clock := false, w.clock()
	for i, r := range batch {
		if i > urgent && clock.over() { // one has its turn in any case
			errs = errs[:i]
			break
		}
		if errs[i], err = t.one(r, len(batch) > 1); err != nil {
			w.rollback()
			return errs, err
		}
		changed = changed || errs[i] == nil
	}
	if !changed {
		w.rollback()
		return errs, nil
	}
	return errs, w.end(t)
}

// together runs the callbacks of a batch as if they were one. If any of them
// fails, nothing was changed and nobody may be told yet.
func (w *writer) together(batch []*write, urgent int) (errs []error, failed bool, err error) {
	errs = make([]error, len(batch))
	t, err := w.begin()
	if err != nil {
		return errs, false, err
	}
	changed, clock := false, w.clock()
	for i, r := range batch {
		if i > urgent && clock.over() {
			errs = errs[:i]
			break
		}
		r.pan = nil
		if errs[i] = r.ctx.Err(); errs[i] != nil {
			continue
		}
		t.news = News{}
		err := r.call(t)
		if err != nil {
			w.rollback()
			if isIOError(err) || isFull(err) {
				return errs, false, err
			}
			return nil, true, nil
		}
		changed = true
	}
	if !changed {
		w.rollback()
		return errs, false, nil
	}
	if err := t.flush(); err != nil {
		w.rollback()
		if isIOError(err) || isFull(err) {
			return errs, false, err
		}
		return nil, true, nil
	}
	return errs, false, w.end(t)
}

// begin begins a transaction. It belongs to no single caller.
func (w *writer) begin() (*Tx, error) {
	if err := w.conn.run(w.conn.begin); err != nil {
		return nil, err
	}
	if err := w.memory.begun(w.conn); err != nil {
		w.rollback()
		return nil, err
	}
	return &Tx{ctx: context.Background(), conn: w.conn, held: w.held, memory: w.memory, lane: w.lane}, nil
}

// rollback ends a transaction without its changes.
func (w *writer) rollback() {
	w.lane.drop()
	w.memory.forget()
	w.conn.rollback()
}

// end commits a transaction, and tells who keeps copies of what it wrote.
func (w *writer) end(t *Tx) error {
	committing := time.Now()
	if err := w.conn.run("COMMIT"); err != nil {
		w.rollback()
		return err
	}
	w.synced = time.Since(committing)
	for _, fn := range t.committed {
		fn()
	}
	return nil
}

// clock says when a batch has worked for long enough to take no more bulk.
type clock struct {
	begun time.Time
	limit time.Duration
}

func (w *writer) clock() clock { return clock{time.Now(), max(bulkTime, bulkShare*w.synced)} }

func (c clock) over() bool { return time.Since(c.begun) > c.limit }

// one runs one callback; in company behind a savepoint, so that a failing one
// takes back its own changes only. fatal is set when the transaction cannot go
// on.
func (t *Tx) one(r *write, company bool) (err, fatal error) {
	r.pan = nil // it may have been run before
	if err := r.ctx.Err(); err != nil {
		return err, nil
	}
	if company {
		if fatal := t.conn.run("SAVEPOINT one"); fatal != nil {
			return nil, fatal
		}
	}
	hooks := len(t.committed)
	t.news = News{}
	if err = r.call(t); err == nil {
		err = t.flush()
	}
	if isIOError(err) || isFull(err) {
		return nil, err
	}
	if !company {
		return err, nil // a single one that failed is rolled back whole
	}
	if err != nil {
		t.committed, t.unwritten, t.fetched = t.committed[:hooks], unwritten{}, nil
		t.lane.drop()
		t.memory.forget()
		if fatal := t.conn.run("ROLLBACK TO one"); fatal != nil {
			return err, fatal
		}
	}
	return err, t.conn.run("RELEASE one")
}

func (r *write) call(t *Tx) (err error) {
	defer func() {
		if r.pan = recover(); r.pan != nil {
			err = fmt.Errorf("panic: %v", r.pan)
		}
	}()
	return r.fn(t)
}

// checkpointAt is how many pages the write-ahead log may hold before they are
// moved into the file: 16 MB.
const checkpointAt = 4096

// checkpoint moves the write-ahead log into the file when it has grown. It runs
// when the callers have their answers, so that none of them waits for it, and
// not by itself inside a commit, where SQLite would keep a failing disk to
// itself. A reader in the middle of something makes it do less, a full disk
// nothing: the log holds everything until the next one.
func (w *writer) checkpoint() error {
	log, moved, err := w.conn.checkpoint("NOOP")
	if err == nil && log-moved >= checkpointAt {
		_, _, err = w.conn.checkpoint("PASSIVE")
	}
	if isIOError(err) {
		return err
	}
	return nil
}

// code is SQLite's result code of an error, 0 if it has none.
func code(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code()
	}
	return 0
}

// isFull reports whether the disk has no room. The file of shared memory beside
// the store says so in its own way.
func isFull(err error) bool {
	c := code(err)
	return c&0xff == sqlite3.SQLITE_FULL || c == sqlite3.SQLITE_IOERR_SHMSIZE
}

// isIOError reports whether the disk failed. What the kernel did with the pages
// of a failed fsync is unknown, so nothing may be written after it.
func isIOError(err error) bool { return code(err)&0xff == sqlite3.SQLITE_IOERR && !isFull(err) }

// isCorrupt reports whether the file is not what SQLite wrote.
func isCorrupt(err error) bool {
	c := code(err) & 0xff
	return c == sqlite3.SQLITE_CORRUPT || c == sqlite3.SQLITE_NOTADB
}
