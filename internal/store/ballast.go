package store

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"watchbill"
)

// DefaultBallast is how much room the daemon keeps back for a full disk: hours
// of acknowledgements, timers and results of pages.
const DefaultBallast = 32 << 20

// ballastEvery is how often it is looked whether a ballast that was given up
// fits again.
const ballastEvery = 10 * time.Second

// ballast is a file of nothing but room, beside the store. It is removed when
// the disk is full, and written again once twice its size is free.
type ballast struct {
	path string
	want int64 // 0: none is kept
	low  atomic.Bool
	mu   sync.Mutex // held while the file is written or removed
	once sync.Once
	quit chan struct{}
	done sync.WaitGroup
}

func newBallast(path string, want int64) *ballast {
	if _, total, err := room(filepath.Dir(path)); err == nil {
		want = min(want, total/8) // a small disk has its own measure
	}
	return &ballast{path: path, want: want, quit: make(chan struct{})}
}

func (b *ballast) start() {
	if b.want == 0 {
		return
	}
	b.restore()
	b.done.Go(func() {
		tick := time.NewTicker(ballastEvery)
		defer tick.Stop()
		for {
			select {
			case <-b.quit:
				return
			case <-tick.C:
				b.restore()
			}
		}
	})
}

// stop ends the watch over the ballast.
func (b *ballast) stop() {
	b.once.Do(func() { close(b.quit) })
	b.done.Wait()
}

// release gives the ballast up and reports whether there was one.
func (b *ballast) release() bool {
	b.low.Store(b.want > 0)
	b.mu.Lock()
	defer b.mu.Unlock()
	return os.Remove(b.path) == nil
}

// restore writes the ballast if it is not there and there is room for it.
func (b *ballast) restore() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.size() < b.want {
		free, _, err := room(filepath.Dir(b.path))
		if err != nil || free < 2*b.want || fill(b.path, b.want) != nil {
			return
		}
	}
	b.low.Store(false)
}

func (b *ballast) size() int64 {
	info, err := os.Stat(b.path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// fill makes a file of so many bytes that takes its room on the disk. Where the
// file system cannot give room away unwritten it is noise: a file of zeros need
// not take any. A file that could not be made whole is removed.
func fill(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("make the ballast: %w", err)
	}
	err = allocate(f, size)
	if err != nil && !errors.Is(err, syscall.ENOSPC) {
		var seed [32]byte
		w := bufio.NewWriterSize(f, 1<<20)
		_, err = io.CopyN(w, rand.NewChaCha8(seed), size)
		err = errors.Join(err, w.Flush(), f.Sync())
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(fmt.Errorf("write the ballast: %w", err), os.Remove(path))
	}
	return nil
}

// room returns the bytes that this user may still write to the disk of a
// folder, and those that the disk has in all.
func room(dir string) (free, total int64, err error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return 0, 0, fmt.Errorf("ask how full the disk is: %w", err)
	}
	return times(fs.Bavail, fs.Bsize), times(fs.Blocks, fs.Bsize), nil
}

// times multiplies numbers whose types differ from system to system.
func times[A, B int64 | uint64 | int32 | uint32](blocks A, size B) int64 {
	return int64(blocks) * int64(size)
}

// Room returns nil while there is room for what can wait, such as new alerts
// whose source tries again. It returns an error once the disk was found full,
// until there is room again.
func (s *Store) Room() error {
	if !s.ballast.low.Load() {
		return nil
	}
	return watchbill.Errorf(watchbill.CodeUnavailable,
		"free "+megabytes(2*s.ballast.want)+" there; alerts are taken in again within ten seconds of it",
		"the disk of the store, %s, is full: only acts and pages are still stored", filepath.Dir(s.path))
}

func megabytes(n int64) string { return fmt.Sprintf("%d MB", (n+1<<20-1)>>20) }

func errFull(err error) error {
	return &watchbill.Error{
		Code: watchbill.CodeUnavailable, Err: err,
		Message: "the disk of the store is full: nothing was changed", Hint: "free room on it, then try again",
	}
}

// Disk is how much room the store has and takes, in bytes.
type Disk struct {
	Free    int64 // what may still be written to its disk; -1 when that cannot be told
	Store   int64 // the file itself
	WAL     int64 // its write-ahead log
	Ballast int64 // what is kept back; 0 once it was given up
}

// Disk returns how much room the store has and takes at this moment.
func (s *Store) Disk() Disk {
	d := Disk{Free: -1, Ballast: s.ballast.size()}
	if free, _, err := room(filepath.Dir(s.path)); err == nil {
		d.Free = free
	}
	if info, err := os.Stat(s.path); err == nil {
		d.Store = info.Size()
	}
	if info, err := os.Stat(s.path + "-wal"); err == nil {
		d.WAL = info.Size()
	}
	return d
}
