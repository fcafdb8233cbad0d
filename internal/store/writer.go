package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"

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
	db     *sql.DB
	queue  chan *write
	stop   chan struct{}
	ended  chan struct{}
	failed chan error // holds the error that ended writing for good
	once   sync.Once
	batch  func(n int) // told the size of each batch
	full   func(context.Context) bool
}

func newWriter(db *sql.DB) *writer {
	w := &writer{
		db: db, queue: make(chan *write, maxWaiting), stop: make(chan struct{}),
		ended: make(chan struct{}), failed: make(chan error, 1),
		batch: func(int) {}, full: func(context.Context) bool { return false },
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
func (w *writer) do(ctx context.Context, fn func(*Tx) error) error {
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
	case w.queue <- r:
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
	batch := make([]*write, 0, maxBatch)
	for {
		select {
		case <-w.stop:
			return
		case r := <-w.queue:
			batch = append(batch[:0], r)
		}
	drain:
		for len(batch) < maxBatch {
			select {
			case r := <-w.queue:
				batch = append(batch, r)
			default:
				break drain
			}
		}
		w.batch(len(batch))
		if err := w.commit(batch); err != nil {
			w.failed <- err
			return
		}
	}
}

// commit runs a batch in one transaction and tells each caller how it ended. It
// returns an error when the disk can be trusted no more.
func (w *writer) commit(batch []*write) error {
	errs, err := w.try(batch)
	if isFull(err) && w.full(context.Background()) { // there is room again: once more
		errs, err = w.try(batch)
	}
	for i, r := range batch {
		switch {
		case err != nil && errs[i] == nil:
			r.done <- unavailable("commit", err)
		default:
			r.done <- errs[i]
		}
	}
	if isIOError(err) {
		return fmt.Errorf("the disk of the store fails: %w", err)
	}
	return nil
}

// try runs the callbacks of a batch, each behind its own savepoint so that a
// failing one takes back its own changes only. errs holds what each returned;
// err is set when nothing was committed.
func (w *writer) try(batch []*write) (errs []error, err error) {
	errs = make([]error, len(batch))
	ctx := context.Background() // the batch belongs to no single caller
	tx, err := w.db.BeginTx(ctx, nil)
	if err != nil {
		return errs, err
	}
	defer tx.Rollback() // a no-op after Commit
	t := &Tx{ctx: ctx, tx: tx}
	changed := false
	for i, r := range batch {
		r.pan = nil
		if errs[i] = r.ctx.Err(); errs[i] != nil {
			continue
		}
		if errs[i], err = t.guarded(r); err != nil {
			return errs, err
		}
		changed = changed || errs[i] == nil
	}
	if !changed {
		return errs, nil
	}
	if err := tx.Commit(); err != nil {
		return errs, err
	}
	for _, fn := range t.committed {
		fn()
	}
	return errs, nil
}

// guarded runs one callback behind a savepoint. fatal is set when the
// transaction cannot go on.
func (t *Tx) guarded(r *write) (err, fatal error) {
	if _, err := t.tx.ExecContext(t.ctx, "SAVEPOINT one"); err != nil {
		return nil, err
	}
	hooks := len(t.committed)
	err = r.call(t)
	if isIOError(err) || isFull(err) {
		return nil, err
	}
	if err != nil || r.pan != nil {
		t.committed = t.committed[:hooks]
		if _, fatal := t.tx.ExecContext(t.ctx, "ROLLBACK TO one"); fatal != nil {
			return err, fatal
		}
	}
	_, fatal = t.tx.ExecContext(t.ctx, "RELEASE one")
	return err, fatal
}

func (r *write) call(t *Tx) (err error) {
	defer func() {
		if r.pan = recover(); r.pan != nil {
			err = fmt.Errorf("panic: %v", r.pan)
		}
	}()
	return r.fn(t)
}

// code is SQLite's result code of an error, 0 if it has none.
func code(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code()
	}
	return 0
}

func isFull(err error) bool { return code(err)&0xff == sqlite3.SQLITE_FULL }

// isIOError reports whether the disk failed. What the kernel did with the pages
// of a failed fsync is unknown, so nothing may be written after it.
func isIOError(err error) bool { return code(err)&0xff == sqlite3.SQLITE_IOERR }
