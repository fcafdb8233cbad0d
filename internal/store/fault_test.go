package store

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
)

// childEnv makes the test binary a process that writes to the store it names
// until the disk fails.
const childEnv = "WATCHBILL_STORE_CHILD"

func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		os.Exit(child(path, os.Stdout))
	}
	os.Exit(m.Run())
}

// child writes incidents one after the other and says after each that it is on
// disk, as a daemon answers a source.
func child(path string, out io.Writer) int {
	s, err := Open(context.Background(), path)
	if err != nil {
		fmt.Fprintln(out, "CANNOT OPEN", err)
		return 2
	}
	fmt.Fprintln(out, "OPEN")
	for i := 0; ; i++ {
		key := fmt.Sprint("k", i)
		if err := s.Update(context.Background(), put(key)); err != nil {
			select {
			case err := <-s.Failed():
				fmt.Fprintln(out, "FAILED", err)
				return 3
			case <-time.After(5 * time.Second):
				fmt.Fprintln(out, "WENT ON AFTER", err)
				return 4
			}
		}
		fmt.Fprintln(out, "STORED", key)
	}
}

// required skips the test for want of something, unless the environment says
// that it must be there.
func required(t *testing.T, err error, what string) {
	t.Helper()
	if err == nil {
		return
	}
	if os.Getenv("WATCHBILL_REQUIRE_PEERS") != "" {
		require.NoError(t, err, what)
	}
	t.Skipf("%s: %v", what, err)
}

// When an fsync fails, no caller is told that its write is on disk, and the
// store never writes again: what the kernel did with the pages is unknown.
func TestAFailedFsyncIsTheEnd(t *testing.T) {
	t.Parallel()
	strace, err := exec.LookPath("strace")
	required(t, err, "install Debian's package strace")
	stored := 0
	for _, n := range []int{1, 3, 9, 15, 40, 90} {
		path := filepath.Join(t.TempDir(), "w.db")
		traced := path + ".strace"
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		cmd := exec.CommandContext(ctx, strace, "-f", "-qq", "-o", traced, "-e", "trace=fsync,fdatasync",
			"-e", fmt.Sprintf("inject=fsync,fdatasync:error=EIO:when=%d", n), os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+path)
		out, err := cmd.CombinedOutput()
		cancel()
		failed, ok := errors.AsType[*exec.ExitError](err)
		require.True(t, ok, "it must end with an error: %v\n%s", err, tail(out))
		require.Contains(t, []int{2, 3}, failed.ExitCode(), "%s", tail(out))
		calls, err := os.ReadFile(traced)
		require.NoError(t, err)
		require.Contains(t, string(calls), "INJECTED")

		s, err := Open(t.Context(), path)
		require.NoError(t, err, "the next process opens it: the disk works again")
		require.NoError(t, s.Check(t.Context()))
		for line := range strings.SplitSeq(string(out), "\n") {
			if key, ok := strings.CutPrefix(line, "STORED "); ok {
				stored++
				require.NoError(t, s.View(t.Context(), func(tx *Tx) error {
					_, found, err := tx.LastIncident(key)
					require.True(t, found, "%s was answered and is lost, with when=%d", key, n)
					return err
				}))
			}
		}
		require.NoError(t, s.Close())
	}
	require.Positive(t, stored, "no failure came after the first answer: inject later ones")
}

func tail(out []byte) string {
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-5):], []byte("\n")))
}

// smallDisk mounts a file system of eight megabytes.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	required(t, syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"), "mount a small disk, as root")
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, 0)) })
	return dir
}

// bulk stores a kilobyte.
func bulk(key string) func(*Tx) error {
	return func(tx *Tx) error {
		return tx.PutIncident(&watchbill.Incident{Key: key, Title: strings.Repeat("x", 1000), Generation: 1, State: watchbill.StateOpen})
	}
}

func TestADiskThatFillsUp(t *testing.T) {
	dir := smallDisk(t)
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(dir, "w.db")
		s, err := Open(t.Context(), path, Owner(DefaultBallast))
		require.NoError(t, err)
		defer func() { require.NoError(t, s.Close()) }()
		require.EqualValues(t, 1<<20, s.Disk().Ballast, "an eighth of a small disk")
		filler := filepath.Join(dir, "filler")
		free := s.Disk().Free
		require.NoError(t, fill(filler, free-(2<<20)))

		// Alerts are taken in until the disk is full: the write that meets it is
		// stored after all, in the place of the ballast.
		n := 0
		for ; s.Room() == nil; n++ {
			require.Less(t, n, 4000)
			require.NoError(t, s.Update(t.Context(), bulk(fmt.Sprint("k", n))))
		}
		require.Zero(t, s.Disk().Ballast)
		refused, ok := errors.AsType[*watchbill.Error](s.Room())
		require.True(t, ok)
		require.Equal(t, watchbill.CodeUnavailable, refused.Code)
		require.Contains(t, refused.Error(), "is full")

		// What must not wait is stored still.
		for i := range 50 {
			require.NoError(t, s.Update(t.Context(), func(tx *Tx) error {
				return tx.SetTimer(watchbill.Timer{Kind: watchbill.TimerAck, Incident: watchbill.IncidentID(i + 1)})
			}))
		}
		time.Sleep(3 * ballastEvery)
		require.Error(t, s.Room(), "nobody made room")

		// Until nothing is left; then nothing is changed, and nobody is told that it
		// was.
		full := 0
		for ; full < 5; n++ {
			require.Less(t, n, 8000)
			if err := s.Update(t.Context(), bulk(fmt.Sprint("k", n))); err != nil {
				e, ok := errors.AsType[*watchbill.Error](err)
				require.True(t, ok)
				require.Equal(t, watchbill.CodeUnavailable, e.Code)
				require.Contains(t, e.Error(), "the disk of the store is full")
				full++
			}
		}
		require.Equal(t, n-full, count(t, s), "reads go on, and see what was answered")

		// Somebody makes room: it goes on by itself, and keeps a ballast again.
		require.NoError(t, os.Remove(filler))
		require.NoError(t, s.Update(t.Context(), bulk("again")))
		time.Sleep(ballastEvery + time.Second)
		require.NoError(t, s.Room())
		require.EqualValues(t, 1<<20, s.Disk().Ballast)
		require.NoError(t, s.Check(t.Context()))
		require.Equal(t, n-full+1, count(t, s))
	})
}

// Whoever opens the store beside the daemon keeps no ballast of its own.
func TestOnlyTheOwnerKeepsABallast(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "w.db")
	s, err := Open(t.Context(), path, Owner(1<<20))
	require.NoError(t, err)
	require.EqualValues(t, 1<<20, s.Disk().Ballast)
	require.Positive(t, s.Disk().Free)
	require.Positive(t, s.Disk().WAL)
	require.NoError(t, s.Close())
	require.NoError(t, os.Remove(path+"-ballast"))
	s, err = Open(t.Context(), path)
	require.NoError(t, err)
	require.NoFileExists(t, path+"-ballast")
	require.False(t, s.ballast.release())
	require.NoError(t, s.Room(), "one that has none never refuses")
	require.NoError(t, s.Close())
}

// After an unclean end a damaged file is found before anything is served from
// it.
func TestADamagedStoreIsFoundAtTheStart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "w.db")
	s, err := Open(t.Context(), path)
	require.NoError(t, err)
	for i := range 200 {
		require.NoError(t, s.Update(t.Context(), bulk(fmt.Sprint("b", i))))
	}
	require.NoError(t, s.Close())
	clean := filepath.Join(t.TempDir(), "clean.db")
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(clean, whole, 0o600))
	damage(t, clean)
	s, err = Open(t.Context(), clean, Owner(0))
	require.NoError(t, err, "after a clean end it is not read whole")
	require.ErrorContains(t, s.Check(t.Context()), "is damaged")
	require.NoError(t, s.Close())

	crash(t, path)
	damage(t, path)
	for range 2 {
		_, err = Open(t.Context(), path, Owner(0))
		require.ErrorContains(t, err, "the store "+path+" is damaged", "at each start, not only at the first")
		require.ErrorContains(t, err, "watchbill restore --replace")
	}

	require.NoError(t, os.WriteFile(path, bytes.Repeat([]byte("not a database. "), 1000), 0o600))
	require.NoError(t, os.Remove(path+"-wal"))
	_, err = Open(t.Context(), path)
	require.ErrorContains(t, err, "is damaged")
}

// damage overwrites a page in the middle of a file.
func damage(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	info, err := f.Stat()
	require.NoError(t, err)
	_, err = f.WriteAt(bytes.Repeat([]byte{0xa5}, 4096), info.Size()/8192*4096)
	require.NoError(t, errors.Join(err, f.Close()))
}

// crash opens the store at path in another process, which is killed while it
// writes.
func crash(t *testing.T, path string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+path)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	for lines := bufio.NewScanner(out); lines.Scan() && !strings.HasPrefix(lines.Text(), "STORED k20"); {
		continue
	}
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait() // it was killed
	require.FileExists(t, path+"-wal")
}
