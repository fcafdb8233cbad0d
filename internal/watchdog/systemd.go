package watchdog

import (
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// SystemdReady tells systemd that the daemon serves. Without systemd it does
// nothing, as do the others.
func SystemdReady() error { return systemd(daemon.SdNotifyReady) }

// SystemdStopping tells systemd that the daemon ends.
func SystemdStopping() error { return systemd(daemon.SdNotifyStopping) }

// SystemdAlive tells systemd's watchdog that the daemon works.
func SystemdAlive() error { return systemd(daemon.SdNotifyWatchdog) }

// SystemdInterval is WatchdogSec of the unit: how long systemd waits for a word
// before it restarts the daemon. Zero: it does not.
func SystemdInterval() (time.Duration, error) { return daemon.SdWatchdogEnabled(false) }

func systemd(state string) error {
	_, err := daemon.SdNotify(false, state)
	return err
}
