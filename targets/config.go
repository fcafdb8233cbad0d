package targets

import "time"

// Config is the service targets of a configuration.
type Config struct {
	// Targets are the service targets, as [Parse] returns them.
	Targets []Target
	// Windows says which burn rates alert. A catalogue replaces the built-in
	// one of its period; built in are 7 d, 28 d and 30 d.
	Windows []Windows
	// DefaultPeriod is the period of targets that state none. Zero is the
	// period of the catalogue if exactly one is configured, else 30 d.
	DefaultPeriod time.Duration
	// Retention of the series, to refuse a period that could never be
	// measured. Zero does not check.
	Retention time.Duration
}
