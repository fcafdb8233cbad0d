package faults_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
)

// fullDisk fills the disk of the store. New alerts are refused, so that their
// source tries again; what people do is still stored; and once there is room the
// same process takes alerts in again.
func fullDisk(t *testing.T) {
	dir := t.TempDir()
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=192m")
	require.NoError(t, err, "this scenario mounts a tmpfs: run it as root, or in: unshare -rm make faults")
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	r := newRig(t, dir, slowPath)
	r.serve()
	for n := range 20 {
		require.NoError(t, r.post(alert("before-"+strconv.Itoa(n), "1")))
	}
	r.settle(10 * time.Second)
	junk := filepath.Join(dir, "junk")
	fill(t, junk)
	refused := 0
	for n := range 2000 {
		err := r.post(alert("full-"+strconv.Itoa(n), "1"))
		if err == nil {
			continue
		}
		e, ok := errors.AsType[*watchbill.Error](err)
		require.True(t, ok, "%v", err)
		require.Equal(t, watchbill.CodeUnavailable, e.Code, "a full disk is a 503: %v", err)
		if refused++; refused == 1 {
			t.Logf("the disk is full after %d more alerts: %v", n, err)
		}
		if refused == 10 {
			break
		}
	}
	require.Equal(t, 10, refused, "alerts must be refused while the disk is full")
	open := r.open()
	require.NotEmpty(t, open, "reads go on")
	for _, inc := range open[:10] {
		require.NoError(t, r.ack(inc.ID), "an acknowledgement is stored in the room that was kept back")
	}
	require.NoError(t, os.Remove(junk))
	require.Eventually(t, func() bool { return r.post(alert("after", "1")) == nil }, 30*time.Second, 200*time.Millisecond, "there is room again, and nobody restarted")
	require.False(t, r.proc.ended())
	e := r.evidence(r.settle(20*time.Second), true)
	must(t, e, bounds{})
	t.Log(e.summary())
}

// fill writes a file until the disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	for block := make([]byte, 1<<20); len(block) >= 512; {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			block = block[:len(block)/2]
		} else {
			require.NoError(t, err)
		}
	}
}

// failingDisk makes one write or sync of the store fail with an I/O error. The
// daemon does not answer 2xx for what it may not have stored, ends with an error
// rather than writing on, and the next one starts on what is really there.
func failingDisk(t *testing.T) {
	strace := tool(t, "strace")
	r := newRig(t, t.TempDir(), slowPath)
	ended := 0
	for point := range size(1, 8, 40) {
		calls := "fsync,fdatasync"
		if point%3 == 2 {
			calls = "pwrite64"
		}
		p := r.start(strace, "-f", "-qq", "-o", "/dev/null", "-P", r.db(), "-P", r.db()+"-wal",
			"-e", "trace="+calls, "-e", fmt.Sprintf("inject=%s:error=EIO:when=%d", calls, 8+5*point))
		var failed error
		if r.ready(p) {
			for n := range 500 {
				if failed = r.post(alert(fmt.Sprintf("service-%d-%d", point, n), "1")); failed != nil {
					break
				}
			}
			select {
			case <-p.done:
			case <-time.After(15 * time.Second):
			}
		}
		if p.ended() {
			ended++
			require.Error(t, p.err, "it must end with a status that says so")
			require.Contains(t, p.logs.String(), "disk")
		} else {
			require.NoError(t, failed, "the write failed, and the daemon went on")
		}
		r.crash()
		must(t, r.evidence(readDead(t, r.db()), false), bounds{ambiguous: true})
	}
	require.Positive(t, ended, "at least one write must have failed")
	r.serve()
	e := r.evidence(r.settle(time.Minute), true)
	must(t, e, bounds{duplicates: inHand * ended})
	t.Logf("%d processes ended by an error of the disk; %s", ended, e.summary())
}
