package targets

import "time"

// Config is the service targets of a configuration.
type Config struct {
	Targets []Target
	// Windows says which burn rates alert. Empty is the default catalogue for
	// the target's window.
	Windows []Windows
	// Retention of the series, to refuse a window that could never be measured.
	Retention time.Duration
}
