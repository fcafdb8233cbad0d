package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/pprof"
	"time"
)

// profiler writes profiles of the process into a folder when it is asked to. A
// signal asks: whoever may send one can read the memory anyway, and nothing
// listens on the network.
type profiler struct {
	dir    string
	length time.Duration // of the CPU profile
	logger *slog.Logger
}

// run writes profiles for each signal until ctx ends.
func (p profiler) run(ctx context.Context, asked <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-asked:
		}
		if err := p.write(ctx, time.Now()); err != nil {
			p.logger.Error("cannot write profiles", "err", err)
			continue
		}
		p.logger.Info("wrote profiles", "dir", p.dir)
	}
}

// write writes what is on the heap and what the goroutines do at once, and the
// use of the processors over the next time, or until ctx ends.
func (p profiler) write(ctx context.Context, now time.Time) error {
	stamp := now.UTC().Format("20060102T150405")
	file := func(kind string, fill func(*os.File) error) error {
		f, err := os.OpenFile(filepath.Join(p.dir, kind+"-"+stamp+".pprof"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return fmt.Errorf("write a profile of %s: %w", kind, err)
		}
		return errors.Join(fill(f), f.Close())
	}
	for _, kind := range []string{"heap", "goroutine"} {
		err := file(kind, func(f *os.File) error { return pprof.Lookup(kind).WriteTo(f, 0) })
		if err != nil {
			return err
		}
	}
	return file("cpu", func(f *os.File) error {
		if err := pprof.StartCPUProfile(f); err != nil {
			return fmt.Errorf("write a profile of cpu: %w", err)
		}
		defer pprof.StopCPUProfile()
		timer := time.NewTimer(p.length)
		defer timer.Stop()
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		return nil
	})
}
