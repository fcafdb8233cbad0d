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
// # Operating
//
// The file may be copied while the daemon runs only together with its -wal
// file. Do not open it with an SQLite older than 3.51.3: two writers could
// corrupt it while checkpointing.
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the database/sql driver "sqlite"

	"watchbill"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Store is an open database. It is safe for concurrent use.
type Store struct {
	w      *sql.DB // one connection
	r      *sql.DB // read-only connections
	writer *writer
}

// Open opens or creates the SQLite file at path, brings its schema up to date
// and checks that it is as durable as promised.
func Open(ctx context.Context, path string) (*Store, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("create the store's folder: %w", err)
	}
	w, err := sql.Open("sqlite", dsn(path, "immediate", "busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)"))
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	w.SetMaxOpenConns(1)
	s := &Store{w: w}
	if err := s.prepare(ctx, path); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// dsn names the file to the driver. lock is how its transactions begin:
// immediate for the writer, deferred for readers.
func dsn(path, lock string, pragmas ...string) string {
	q := url.Values{"_txlock": {lock}, "_pragma": pragmas}
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: q.Encode()}).String()
}

func (s *Store) prepare(ctx context.Context, path string) error {
	if err := s.w.PingContext(ctx); err != nil {
		return watchbill.Errorf(watchbill.CodeUnavailable, "check that the folder exists and is writable by this user",
			"cannot open the store %s: %v", path, err)
	}
	if err := migrate(ctx, s.w); err != nil {
		return err
	}
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1"} {
		var got string
		if err := s.w.QueryRowContext(ctx, "PRAGMA "+pragma).Scan(&got); err != nil {
			return fmt.Errorf("read pragma %s: %w", pragma, err)
		}
		if got != want {
			return watchbill.Errorf(watchbill.CodeUnavailable, "put the store on a local disk; network file systems cannot hold it",
				"the store %s runs with %s=%s, not %s: it would not keep what it promises", path, pragma, got, want)
		}
	}
	r, err := sql.Open("sqlite", dsn(path, "deferred", "busy_timeout(5000)", "query_only(1)"))
	if err != nil {
		return fmt.Errorf("open store for reading: %w", err)
	}
	r.SetMaxOpenConns(4)
	s.r = r
	s.writer = newWriter(s.w)
	return nil
}

func migrate(ctx context.Context, db *sql.DB) error {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, dir)
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	have, target, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read the store's version: %w", err)
	}
	if have > target {
		return watchbill.Errorf(watchbill.CodeUnavailable, "run the newer watchbill, or restore the backup taken before the upgrade",
			"the store has schema version %d, this watchbill knows %d", have, target)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate the store: %w", err)
	}
	return nil
}

// Failed receives the error that ended writing for good: the disk failed, and
// what it holds of the last writes is unknown. The process must end; the next
// one reads what is really there.
func (s *Store) Failed() <-chan error { return s.writer.failed }

// Close closes the database. Nothing may be using it.
func (s *Store) Close() error {
	if s.writer != nil {
		s.writer.close()
	}
	var errs []error
	for _, db := range []*sql.DB{s.r, s.w} {
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
func (s *Store) Update(ctx context.Context, fn func(*Tx) error) error { return s.writer.do(ctx, fn) }

// View runs fn in a transaction that reads one consistent state.
func (s *Store) View(ctx context.Context, fn func(*Tx) error) error {
	tx, err := s.r.BeginTx(ctx, nil)
	if err != nil {
		return unavailable("begin", err)
	}
	defer tx.Rollback() // it only read
	return fn(&Tx{ctx: ctx, tx: tx})
}

func unavailable(doing string, err error) error {
	return &watchbill.Error{
		Code: watchbill.CodeUnavailable, Err: err,
		Message: fmt.Sprintf("the store cannot %s: %v", doing, err), Hint: "nothing was changed; try again",
	}
}
