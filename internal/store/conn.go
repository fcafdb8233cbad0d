package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// conn is one connection with the statements that were prepared on it. Parsing
// a statement costs more than running it, so each is parsed once. A conn is used
// by one goroutine at a time.
type conn struct {
	c     *sql.Conn
	begin string
	stmts map[string]*sql.Stmt
}

// statement is a prepared statement of a conn, which closes it in the end.
type statement interface {
	ExecContext(ctx context.Context, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, args ...any) *sql.Row
}

// connect takes a connection of db for good. begin is how its transactions
// begin.
func connect(ctx context.Context, db *sql.DB, begin string) (*conn, error) {
	c, err := db.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to the store: %w", err)
	}
	return &conn{c: c, begin: begin, stmts: map[string]*sql.Stmt{}}, nil
}

func (c *conn) close() error {
	var errs []error
	for _, s := range c.stmts {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, c.c.Close())...)
}

// stmt returns a prepared statement. There are as many as the text of this
// package has, give or take lists of arguments.
func (c *conn) stmt(query string) (statement, error) {
	if s, ok := c.stmts[query]; ok {
		return s, nil
	}
	s, err := c.c.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, err
	}
	c.stmts[query] = s
	return s, nil
}

// run executes a statement without arguments or result: those that begin and
// end transactions. It has no context: a transaction that was begun is ended.
func (c *conn) run(query string) error {
	s, err := c.stmt(query)
	if err != nil {
		return err
	}
	_, err = s.ExecContext(context.Background())
	return err
}

// rollback ends the transaction, if the database has not ended it already, as
// it does after some errors.
func (c *conn) rollback() { _ = c.run("ROLLBACK") }

// dataVersion reads SQLite's number of the file's state, which changes when
// another connection writes.
func (c *conn) dataVersion(version *int64) error {
	s, err := c.stmt("PRAGMA data_version")
	if err != nil {
		return err
	}
	return s.QueryRowContext(context.Background()).Scan(version)
}

// checkpoint moves pages of the write-ahead log into the file, none in the mode
// NOOP, and returns how many the log has and how many of them were moved.
func (c *conn) checkpoint(mode string) (log, moved int, err error) {
	s, err := c.stmt("PRAGMA wal_checkpoint(" + mode + ")")
	if err != nil {
		return 0, 0, err
	}
	var busy int
	err = s.QueryRowContext(context.Background()).Scan(&busy, &log, &moved)
	return log, moved, err
}
