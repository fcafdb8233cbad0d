package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestGarbageFollowsWhatCollectingCosts(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	small, large := collections{inUse: 20 * mib}, collections{inUse: 1000 * mib}
	for _, c := range []struct {
		heap    collections
		allowed uint64
		share   float64
		less    bool
		want    uint64
	}{
		{small, 60 * mib, 0.005, true, 40 * mib},  // cheap: less memory
		{small, 60 * mib, 0.005, false, 60 * mib}, // but not yet
		{small, 60 * mib, 0.02, true, 60 * mib},   // neither
		{small, 3 * mib, 0.2, false, 96 * mib},    // dear: at once
		{small, 4 * mib, 0, true, 3 * mib},        // 15 %
		{large, 600 * mib, 0.2, true, 500 * mib},  // 50 %
		{large, 96 * mib, 0, false, 150 * mib},
	} {
		require.Equal(t, c.want, c.heap.garbage(c.allowed, c.share, c.less), "%+v", c)
	}
	require.Equal(t, 300, small.percent(96*mib))
	require.Equal(t, 15, large.percent(150*mib))
	// Two collections of 128 MiB in ten seconds.
	share := collections{count: 7, inUse: 128 * mib}.share(collections{count: 5}, 10*time.Second)
	require.InDelta(t, 0.025, share, 1e-9)
}

// TestCollectionIsTuned runs the tuner for minutes in which nothing is collected.
func TestCollectionIsTuned(t *testing.T) { //nolint:paralleltest // it sets GOGC of the process
	before := collected()
	runtime.GC()
	after := collected()
	require.Greater(t, after.count, before.count)
	require.Positive(t, after.inUse)
	old := debug.SetGCPercent(100)
	defer debug.SetGCPercent(old)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go tuneCollection(ctx)
		synctest.Wait()
		require.Equal(t, mostGarbage, debug.SetGCPercent(mostGarbage))
		time.Sleep(3 * time.Minute) // a small daemon is small two minutes after the start
		synctest.Wait()
		require.InDelta(t, leastGarbage, debug.SetGCPercent(100), 1)
	})
}

func TestProfilesAreWrittenWhenAsked(t *testing.T) { //nolint:paralleltest // the process has one CPU profile
	dir := t.TempDir()
	asked, done := make(chan os.Signal), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(done)
		profiler{dir: dir, length: 50 * time.Millisecond, logger: slog.New(slog.DiscardHandler)}.run(ctx, asked)
	}()
	asked <- profileSignal
	require.Eventually(t, func() bool {
		found, err := filepath.Glob(filepath.Join(dir, "*.pprof"))
		require.NoError(t, err)
		for _, f := range found {
			if info, err := os.Stat(f); err != nil || info.Size() == 0 {
				return false
			}
		}
		return len(found) == 3
	}, 5*time.Second, 10*time.Millisecond)
	cancel()
	<-done
	found, err := filepath.Glob(filepath.Join(dir, "*.pprof"))
	require.NoError(t, err)
	for i, kind := range []string{"cpu", "goroutine", "heap"} {
		require.Contains(t, filepath.Base(found[i]), kind+"-")
		info, err := os.Stat(found[i])
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "it may hold secrets")
		head := make([]byte, 2)
		f, err := os.Open(found[i])
		require.NoError(t, err)
		_, err = f.Read(head)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		require.Equal(t, []byte{0x1f, 0x8b}, head, "a profile is compressed with gzip")
	}
}

func TestProfilesThatCannotBeWrittenSayWhy(t *testing.T) {
	t.Parallel()
	p := profiler{dir: filepath.Join(t.TempDir(), "missing")}
	require.ErrorContains(t, p.write(t.Context(), time.Now()), "missing")
}
