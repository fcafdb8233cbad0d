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
	// Remote has the alerts evaluated apart from what they read: on a server that
	// does not answer, recording takes long, and no alert may wait for it.
	Remote bool
	// Maintenance is when something is worked on.
	Maintenance []Maintenance
}

// NeededRetention is how long series must be kept so that the longest period
// can be measured: that period and a tenth, or zero without targets.
func (c Config) NeededRetention() time.Duration {
	var longest time.Duration
	for _, t := range c.Targets {
		longest = max(longest, c.period(t), t.Calendar.longest())
	}
	return longest + longest/10
}

// period is the rolling period of a target.
func (c Config) period(t Target) time.Duration {
	switch {
	case t.Period > 0:
		return t.Period
	case c.DefaultPeriod > 0:
		return c.DefaultPeriod
	case len(c.Windows) == 1:
		return c.Windows[0].Period
	}
	return 30 * day
}
