package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"watchbill/internal/daemon"
)

// profileLength is how long the use of the processors is looked at.
const profileLength = 30 * time.Second

func (a *app) serve() *cobra.Command {
	level := slog.LevelInfo
	stopTimers := time.Duration(0)
	profiles := ""
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the daemon until it is told to stop",
		Long: "Run the daemon with the configuration that --config names. SIGHUP, or POST /-/reload, reads the\n" +
			"configuration again; a configuration with mistakes changes nothing. SIGTERM and SIGINT stop it;\n" +
			"what was not sent by then is sent after the next start. The log goes to the standard error; pages to\n" +
			"the receiver named terminal go to the standard output.",
		Example: "  watchbill serve --config /etc/watchbill/watchbill.yaml",
		Args:    args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if a.getenv("GOGC") == "" {
				go tuneCollection(c.Context())
			}
			logger := slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: level}))
			d, err := daemon.New(c.Context(), daemon.Options{Load: a.load, Logger: logger, Terminal: a.stdout, Version: buildVersion(), StopTimersAfter: stopTimers})
			if err != nil {
				return err
			}
			if profiles != "" {
				asked := make(chan os.Signal, 1)
				signal.Notify(asked, profileSignal)
				defer signal.Stop(asked)
				go profiler{dir: profiles, length: profileLength, logger: logger}.run(c.Context(), asked)
			}
			return serve(c.Context(), d)
		},
	}
	c.Flags().TextVar(&level, "log-level", level, "the least `LEVEL` that is logged: debug, info, warn or error")
	c.Flags().StringVar(&profiles, "profiles", "", "write Go profiles of heap, goroutines and 30 seconds of CPU into the folder `DIR` on SIGUSR1")
	c.Flags().DurationVar(&stopTimers, "debug-stop-timers-after", 0, "stop the loop that fires timers after a `TIME`, to see the alarm speak")
	_ = c.Flags().MarkHidden("debug-stop-timers-after") // it fails only for a flag that is not there
	return c
}

// serve runs a daemon and reloads it on SIGHUP.
func serve(ctx context.Context, d *daemon.Daemon) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-hup:
				_ = d.Reload(ctx) // it logs and counts its own failure; the old configuration stays
			}
		}
	}()
	return d.Run(ctx)
}

// buildVersion is the module's version as it was built.
func buildVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "unknown"
	}
	return info.Main.Version
}
