package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/pressly/goose/v3"

	"watchbill"
)

// Copy is what a backup holds.
type Copy struct {
	Bytes     int64 `json:"bytes"`
	Schema    int64 `json:"schema"`
	Incidents int   `json:"incidents"`
	Events    int   `json:"events"`
}

// Backup copies the store at path into a new file, as it was at one instant,
// while others read and write it. The copy has the name to only once it is
// whole, sound and on disk, and every chain of events in it verifies. progress,
// which may be nil, is told now and then how much was copied.
func Backup(ctx context.Context, path, to string, progress func(done, total int64)) (Copy, error) {
	if _, err := os.Stat(path); err != nil {
		return Copy{}, watchbill.Errorf(watchbill.CodeNotFound, "check --config, and store: in it", "there is no store to copy: %v", err)
	}
	if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
		return Copy{}, exists(to)
	}
	part, err := os.MkdirTemp(filepath.Dir(to), ".watchbill-backup-*")
	if err != nil {
		return Copy{}, watchbill.Errorf(watchbill.CodeInvalid, "name a file in a folder that you may write to", "cannot write the backup: %v", err)
	}
	defer os.RemoveAll(part) // what is left is an unfinished copy, or nothing
	file := filepath.Join(part, "copy.db")
	if err := vacuumInto(ctx, path, file, progress); err != nil {
		return Copy{}, err
	}
	c, err := Verify(ctx, file)
	if err != nil {
		return Copy{}, err
	}
	if err := errors.Join(os.Chmod(file, 0o600), syncPath(file)); err != nil {
		return Copy{}, fmt.Errorf("finish the backup: %w", err)
	}
	if err := os.Link(file, to); err != nil { // fails, unlike a rename, if the name is taken
		if errors.Is(err, fs.ErrExist) {
			return Copy{}, exists(to)
		}
		return Copy{}, fmt.Errorf("name the backup: %w", err)
	}
	return c, syncPath(filepath.Dir(to))
}

func exists(path string) error {
	return watchbill.Errorf(watchbill.CodeConflict, "name a file that does not exist; a backup never overwrites one", "%s exists", path)
}

// vacuumInto writes the copy. The reading transaction that SQLite holds
// meanwhile makes it one instant's.
func vacuumInto(ctx context.Context, path, file string, progress func(done, total int64)) error {
	db, err := sql.Open("sqlite", dsn(path, "busy_timeout(5000)")+"&mode=ro")
	if err != nil {
		return cannotOpen(path, err)
	}
	defer db.Close()
	done := make(chan error, 1)
	go func() {
		_, err := db.ExecContext(ctx, "VACUUM INTO ?", file)
		done <- err
	}()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			if isFull(err) {
				return watchbill.Errorf(watchbill.CodeUnavailable, "choose a disk with more room", "the disk of the backup is full: %v", err)
			}
			if err != nil {
				return fmt.Errorf("copy the store: %w", err)
			}
			return nil
		case <-tick.C:
			copied, err := os.Stat(file)
			whole, err2 := os.Stat(path)
			if progress != nil && errors.Join(err, err2) == nil {
				progress(copied.Size(), whole.Size())
			}
		}
	}
}

// Verify checks a backup: that the file is sound, that this program knows its
// schema, and that every chain of events in it verifies. It changes nothing.
func Verify(ctx context.Context, file string) (Copy, error) {
	info, err := os.Stat(file)
	if err != nil {
		return Copy{}, watchbill.Errorf(watchbill.CodeNotFound, "name a file that watchbill backup wrote", "there is no backup: %v", err)
	}
	if wal, err := os.Stat(file + "-wal"); err == nil && wal.Size() > 0 {
		return Copy{}, watchbill.Errorf(watchbill.CodeInvalid, "copy it with: watchbill backup FILE", "%s is a store in use, not a backup: it has a log beside it", file)
	}
	c := Copy{Bytes: info.Size()}
	db, err := sql.Open("sqlite", dsn(file, "query_only(1)")+"&mode=ro&immutable=1")
	if err != nil {
		return c, cannotOpen(file, err)
	}
	defer db.Close()
	if err := quickCheck(ctx, db, file); err != nil {
		return c, watchbill.Errorf(watchbill.CodeInvalid, "use an older backup", "cannot use the backup: %v", err)
	}
	if err := db.QueryRowContext(ctx, `SELECT max(version_id) FROM goose_db_version`).Scan(&c.Schema); err != nil {
		return c, watchbill.Errorf(watchbill.CodeInvalid, "name a file that watchbill backup wrote", "%s is no store of watchbill: %v", file, err)
	}
	if newest := newestSchema(); c.Schema > newest {
		return c, errNewer(c.Schema, newest)
	}
	r, err := connect(ctx, db, "BEGIN")
	if err != nil {
		return c, err
	}
	err = c.verify(&Tx{ctx: ctx, conn: r})
	return c, errors.Join(err, r.close())
}

// verify counts what there is and checks the record of it.
func (c *Copy) verify(tx *Tx) error {
	var broken error
	report := func(of fmt.Stringer, err error) {
		if broken == nil {
			broken = watchbill.Errorf(watchbill.CodeInvalid, "find out with `watchbill audit verify`, and use an older backup", "the record of %s does not verify: %v", of, err)
		}
	}
	err := tx.Chains(func(id watchbill.IncidentID, head string, events []watchbill.Event) error {
		c.Incidents++
		c.Events += len(events)
		if err := watchbill.VerifyChain(events, head); err != nil {
			report(id, err)
		}
		return nil
	})
	if err == nil && c.Schema >= 2 { // the first schema knew no retention
		err = tx.VerifyCheckpoints(func(id watchbill.IncidentID, err error) { report(id, err) })
	}
	if err == nil && c.Schema >= 12 { // nor changes those before this one
		var n int
		n, err = tx.VerifyChanges(func(id watchbill.ChangeID, err error) { report(id, err) })
		c.Events += n
	}
	return errors.Join(err, broken)
}

func newestSchema() int64 {
	all, err := migrations.ReadDir("migrations") // in the order of their numbers
	if err != nil || len(all) == 0 {             // it is embedded
		return 0
	}
	newest, err := goose.NumericComponent(all[len(all)-1].Name())
	if err != nil {
		return 0
	}
	return newest
}

// Restore puts a backup in place as the store at path, with everything in it
// held: whatever was due, pending or firing when the backup was made is acted on
// only when somebody says so, since people may have dealt with it. A store that
// is there already is refused or, with replace, kept under another name, which
// is returned. Nothing may have the store open.
func Restore(ctx context.Context, backup, path string, replace bool) (c Copy, kept string, err error) {
	if c, err = Verify(ctx, backup); err != nil {
		return c, "", err
	}
	_, err = os.Lstat(path)
	there := !errors.Is(err, fs.ErrNotExist)
	if there && !replace {
		return c, "", watchbill.Errorf(watchbill.CodeConflict, "add --replace to put the backup in its place; it is kept under another name",
			"there is a store at %s already", path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return c, "", fmt.Errorf("create the store's folder: %w", err)
	}
	part, err := os.MkdirTemp(filepath.Dir(path), ".watchbill-restore-*")
	if err != nil {
		return c, "", fmt.Errorf("prepare the store: %w", err)
	}
	defer os.RemoveAll(part) // what is left is an unfinished store, or nothing
	file := filepath.Join(part, "store.db")
	if err := copyFile(backup, file); err != nil {
		return c, "", err
	}
	if err := holdAll(ctx, file); err != nil {
		return c, "", err
	}
	if there {
		if kept, err = setAside(path); err != nil {
			return c, "", err
		}
	}
	if err := os.Rename(file, path); err != nil {
		return c, kept, fmt.Errorf("put the store in place: %w", err)
	}
	return c, kept, syncPath(filepath.Dir(path))
}

// holdAll brings a copy to the newest schema and holds what is in it.
func holdAll(ctx context.Context, file string) error {
	s, err := Open(ctx, file)
	if err != nil {
		return err
	}
	err = s.Update(ctx, func(tx *Tx) error { return errors.Join(tx.DropSelfTest(), tx.hold()) })
	if err = errors.Join(err, s.Close()); err != nil { // closing empties the log into the file
		return err
	}
	return syncPath(file)
}

// setAside gives a store, with the log beside it, another name.
func setAside(path string) (string, error) {
	kept := path + ".replaced-" + time.Now().UTC().Format("20060102T150405Z")
	if _, err := os.Lstat(kept); err == nil {
		return "", exists(kept)
	}
	for _, end := range []string{"-wal", "-shm", ""} {
		if err := os.Rename(path+end, kept+end); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("keep the store that is there: %w", err)
		}
	}
	return kept, nil
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("read the backup: %w", err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("copy the backup: %w", err)
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("copy the backup: %w", err)
	}
	return nil
}

// syncPath has a file, or the names in a folder, on disk.
func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	return nil
}
