// Package store keeps what must survive: incidents and their events, alerts,
// timers, the outbox of pages, silences and tokens, in one SQLite file.
//
// # Promise
//
// [Store.Update] returns nil only after the transaction is on disk: the file
// runs in WAL mode with synchronous=FULL, and both are asserted when it is
// opened. What is answered after Update is therefore there after a crash.
//
// # Shape
//
// All changes go through one writer connection, in transactions that begin as
// writers (BEGIN IMMEDIATE), so that two of them never deadlock or fail with a
// busy error half way. Callers that wait at the same time share a transaction
// and its one fsync. Reads use their own read-only connections and never wait
// for a writer. A callback given to Update may be run again after a failure:
// it must compute from what it reads in the transaction and touch nothing else.
//
// Times are passed in as Go values; no statement asks the database for the
// time.
//
// # When the disk is full
//
// The daemon keeps a ballast beside the store ([Owner]): a file of nothing but
// room. When SQLite finds the disk full, the ballast is removed and the batch
// runs again. From then on [Store.Room] refuses what can be refused, new alerts,
// whose sources try again, so that what is left goes to acknowledgements, timers
// and the results of pages. Once somebody has made room the ballast is written
// again and everything is taken in. When even the ballast is used up, Update
// answers that the store is unavailable and changes nothing; reads go on.
//
// # When the disk fails
//
// After a failed write or fsync nobody knows what the disk holds, so the store
// writes no more and says so on [Store.Failed]. The process must end; the next
// one reads what is really there.
//
// # Opening
//
// Migrations run under a lock (the file with -lock at its end), so that two
// processes may open a new store at once. A file whose schema is newer than
// this package is refused. After an unclean end the daemon checks the whole file
// (PRAGMA quick_check) before it serves from it, as long as the file is smaller
// than 256 MB: a few seconds at most. Larger ones are checked by [Store.Check],
// which `watchbill audit verify` calls, since people wait for pages meanwhile.
//
// # Operating
//
// Copy the store with `watchbill backup`. Its file alone, copied while the
// daemon runs, is not a backup: the newest changes are in the -wal file beside
// it. Do not open it with an SQLite older than 3.51.3: two writers could corrupt
// it while checkpointing.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"

	_ "modernc.org/sqlite" // the database/sql driver "sqlite"

	"watchbill"
)

// readers is how many reads run at a time; more of them wait.
const readers = 4

// Store is an open database. It is safe for concurrent use.
type Store struct {
	path    string
	w       *sql.DB // one connection
	r       *sql.DB // read-only connections
	writer  *writer
	readers chan *conn // those that nobody uses
	held    atomic.Bool
	ballast *ballast
}

// Option changes how a store is opened.
type Option func(*options)

type options struct {
	owner   bool
	ballast int64
}

// Owner opens the store as the one process that serves from it: with a ballast
// of so many bytes, or fewer on a small disk, and after a check of the file when
// the process before did not end cleanly.
func Owner(ballast int64) Option {
	return func(o *options) { o.owner, o.ballast = true, ballast }
}

// Open opens or creates the SQLite file at path, brings its schema up to date
// and checks that it is as durable as promised.
func Open(ctx context.Context, path string, opts ...Option) (*Store, error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("create the store's folder: %w", err)
	}
	w, err := sql.Open("sqlite", dsn(path, "busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)", "wal_autocheckpoint(0)", "cache_size(-32768)", "temp_store(MEMORY)"))
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	w.SetMaxOpenConns(1)
	s := &Store{path: path, w: w, ballast: newBallast(path+"-ballast", o.ballast)}
	if err := s.prepare(ctx, o); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// dsn names the file to the driver.
func dsn(path string, pragmas ...string) string {
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: url.Values{"_pragma": pragmas}.Encode()}).String()
}

func (s *Store) prepare(ctx context.Context, o options) error {
	if err := s.migrated(ctx, o.owner); err != nil {
		return err
	}
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1"} {
		var got string
		if err := s.w.QueryRowContext(ctx, "PRAGMA "+pragma).Scan(&got); err != nil {
			return fmt.Errorf("read pragma %s: %w", pragma, err)
		}
		if got != want {
			return watchbill.Errorf(watchbill.CodeUnavailable, "put the store on a local disk; network file systems cannot hold it",
				"the store %s runs with %s=%s, not %s: it would not keep what it promises", s.path, pragma, got, want)
		}
	}
	if err := s.openReaders(ctx); err != nil {
		return err
	}
	c, err := connect(ctx, s.w, "BEGIN IMMEDIATE")
	if err != nil {
		return err
	}
	s.ballast.start()
	s.writer = newWriter(c, &s.held, s.ballast.release)
	return s.View(ctx, func(tx *Tx) error {
		held, err := tx.anyHeld()
		s.held.Store(held)
		return err
	})
}

func (s *Store) openReaders(ctx context.Context) error {
	r, err := sql.Open("sqlite", dsn(s.path, "busy_timeout(5000)", "query_only(1)"))
	if err != nil {
		return fmt.Errorf("open store for reading: %w", err)
	}
	s.r = r
	s.readers = make(chan *conn, readers)
	for range readers {
		c, err := connect(ctx, r, "BEGIN")
		if err != nil {
			return err
		}
		s.readers <- c
	}
	return nil
}

// Failed receives the error that ended writing for good: the disk failed, and
// what it holds of the last writes is unknown. The process must end; the next
// one reads what is really there.
func (s *Store) Failed() <-chan error { return s.writer.failed }

// Close closes the database. Nothing may be using it.
func (s *Store) Close() error {
	s.ballast.stop()
	var errs []error
	if s.writer != nil {
		s.writer.close()
		errs = append(errs, s.writer.conn.close())
	}
	for range len(s.readers) {
		errs = append(errs, (<-s.readers).close())
	}
	for _, db := range []*sql.DB{s.r, s.w} { // the one that can write comes last: it empties the log
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

// Update runs fn in a transaction that may write, and returns nil once its
// changes are on disk. An error of fn takes its changes back and is returned as
// it is. Callbacks that wait at the same time share one transaction and its one
// fsync, each behind a savepoint of its own. Nested use deadlocks.
func (s *Store) Update(ctx context.Context, fn func(*Tx) error) error {
	return s.writer.do(ctx, s.writer.queue, fn)
}

// UpdateBulk is Update for what comes in masses, such as the alerts of a storm:
// it gives way to what other callers write, and a transaction takes only so much
// of it that they do not wait for long.
func (s *Store) UpdateBulk(ctx context.Context, fn func(*Tx) error) error {
	return s.writer.do(ctx, s.writer.bulk, fn)
}

// Committed has fn told of each transaction: how many callbacks shared it. It is
// called by the writer and must be quick. Call it before the first write.
func (s *Store) Committed(fn func(callbacks int)) { s.writer.batch = fn }

// View runs fn in a transaction that reads one consistent state.
func (s *Store) View(ctx context.Context, fn func(*Tx) error) error {
	var c *conn
	select {
	case c = <-s.readers:
	case <-s.ballast.quit:
		return errClosed()
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { s.readers <- c }()
	if err := c.run(c.begin); err != nil {
		return unavailable("begin", err)
	}
	defer c.rollback() // it only read
	return fn(&Tx{ctx: ctx, conn: c, held: &s.held})
}

func unavailable(doing string, err error) error {
	if e, ok := errors.AsType[*watchbill.Error](err); ok { // of a statement before
		return e
	}
	return &watchbill.Error{
		Code: watchbill.CodeUnavailable, Err: err,
		Message: fmt.Sprintf("the store cannot %s: %v", doing, err), Hint: "nothing was changed; try again",
	}
}
