package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/pressly/goose/v3"
	"github.com/rogpeppe/go-internal/lockedfile"

	"watchbill"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrated brings the file to this package's schema. It holds the lock while it
// does: two processes that open a new store at once would otherwise both create
// it.
func (s *Store) migrated(ctx context.Context, check bool) error {
	unlock, err := lockedfile.MutexAt(s.path + "-lock").Lock()
	if err != nil {
		return cannotOpen(s.path, err)
	}
	defer unlock()
	if check && uncleanEnd(s.path) {
		if err := checkFile(ctx, s.path); err != nil {
			return err
		}
	}
	if err := s.w.PingContext(ctx); err != nil {
		return cannotOpen(s.path, err)
	}
	if err := migrate(ctx, s.w); err != nil {
		if isCorrupt(err) {
			return errCorrupt(s.path, err.Error())
		}
		return err
	}
	return nil
}

func cannotOpen(path string, err error) error {
	if isCorrupt(err) {
		return errCorrupt(path, err.Error())
	}
	return watchbill.Errorf(watchbill.CodeUnavailable, "check that the folder exists and is writable by this user",
		"cannot open the store %s: %v", path, err)
}

// checkBelow is the size from which a file is not checked before it is served
// from: reading it all would take longer than people may wait for a page.
const checkBelow = 256 << 20

// uncleanEnd reports whether a process ended without closing the store, by the
// log that it left behind, and whether the file is small enough to be checked.
func uncleanEnd(path string) bool {
	wal, err := os.Stat(path + "-wal")
	if err != nil || wal.Size() == 0 {
		return false
	}
	file, err := os.Stat(path)
	return err == nil && file.Size() < checkBelow
}

// checkFile checks a file that nobody serves from. It changes nothing, not even
// the log that tells of the unclean end: the next process must find it too.
func checkFile(ctx context.Context, path string) (err error) {
	db, err := sql.Open("sqlite", dsn(path, "query_only(1)")+"&mode=ro")
	if err != nil {
		return cannotOpen(path, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return quickCheck(ctx, db, path)
}

// Check reads the whole file and reports whether it is sound.
func (s *Store) Check(ctx context.Context) error { return quickCheck(ctx, s.r, s.path) }

func quickCheck(ctx context.Context, db *sql.DB, path string) error {
	rows, err := db.QueryContext(ctx, "PRAGMA quick_check(5)")
	if err != nil {
		return cannotOpen(path, err)
	}
	defer rows.Close()
	var found []string
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return fmt.Errorf("check the store: %w", err)
		}
		found = append(found, line)
	}
	if err := rows.Err(); err != nil {
		return cannotOpen(path, err)
	}
	if len(found) == 1 && found[0] == "ok" {
		return nil
	}
	return errCorrupt(path, strings.Join(found, "; "))
}

func errCorrupt(path, what string) error {
	return watchbill.Errorf(watchbill.CodeInternal,
		"keep the file, then put the last backup in place with: watchbill restore --replace FILE",
		"the store %s is damaged: %s", path, what)
}

func migrator(db *sql.DB) (*goose.Provider, error) {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, dir)
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	return p, nil
}

func migrate(ctx context.Context, db *sql.DB) error {
	p, err := migrator(db)
	if err != nil {
		return err
	}
	have, target, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read the store's version: %w", err)
	}
	if have > target {
		return errNewer(have, target)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate the store: %w", err)
	}
	return nil
}

func errNewer(have, target int64) error {
	return watchbill.Errorf(watchbill.CodeUnavailable, "run the newer watchbill, or restore the backup taken before the upgrade",
		"the store has schema version %d, this watchbill knows %d", have, target)
}
