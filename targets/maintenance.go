package targets

import (
	"fmt"
	"slices"
	"time"

	"github.com/robfig/cron/v3"
)

// Maintenance is planned work on services or targets. It happens once, from
// Start to End, or again and again, for Duration from each instant of Cron.
type Maintenance struct {
	Name     string
	Category string
	Reason   string
	// Services and Targets are what it concerns: names of services and ids of
	// targets. None of either concerns everything.
	Services, Targets []string
	Start, End        time.Time
	Cron              string
	Duration          time.Duration
	Zone              *time.Location
	// Mute holds alerts back, and Exclude takes the time out of the budget.
	Mute, Exclude bool
}

// ParseCron reads five fields of a crontab: minute, hour, day of month, month
// and day of week.
func ParseCron(spec string) error {
	_, err := cron.ParseStandard(spec)
	if err != nil {
		return fmt.Errorf("not a crontab line: %w", err)
	}
	return nil
}

// Concerns reports whether the work is on a service, and on a target of it
// unless that is empty.
func (m Maintenance) Concerns(service, target string) bool {
	if len(m.Services) == 0 && len(m.Targets) == 0 {
		return true
	}
	return slices.Contains(m.Services, service) || target != "" && slices.Contains(m.Targets, target)
}

// Running reports whether the work goes on at an instant, and until when.
func (m Maintenance) Running(now time.Time) (until time.Time, ok bool) {
	if m.Cron == "" {
		return m.End, !now.Before(m.Start) && now.Before(m.End)
	}
	schedule, err := cron.ParseStandard(m.Cron)
	if err != nil {
		return time.Time{}, false // the configuration was checked
	}
	zone := m.Zone
	if zone == nil {
		zone = time.UTC
	}
	// The latest start that may still last is found from the earliest that may:
	// a schedule knows only what comes next.
	at := schedule.Next(now.In(zone).Add(-m.Duration))
	for range 10_000 {
		if at.IsZero() || at.After(now) {
			break
		}
		if end := at.Add(m.Duration); end.After(now) {
			until, ok = end, true
		}
		at = schedule.Next(at)
	}
	return until, ok
}

// Next returns when the work begins next, after an instant.
func (m Maintenance) Next(after time.Time) (from time.Time, ok bool) {
	if m.Cron == "" {
		return m.Start, m.Start.After(after)
	}
	schedule, err := cron.ParseStandard(m.Cron)
	if err != nil {
		return time.Time{}, false // the configuration was checked
	}
	zone := m.Zone
	if zone == nil {
		zone = time.UTC
	}
	from = schedule.Next(after.In(zone))
	return from, !from.IsZero()
}

// Until returns the end of the work that begins at an instant.
func (m Maintenance) Until(from time.Time) time.Time {
	if m.Cron == "" {
		return m.End
	}
	return from.Add(m.Duration)
}

// Ended returns the work that was over last, if it was over after since and not
// after now.
func (m Maintenance) Ended(since, now time.Time) (from, until time.Time, ok bool) {
	if m.Cron == "" {
		return m.Start, m.End, m.Start.Before(m.End) && m.End.After(since) && !m.End.After(now)
	}
	schedule, err := cron.ParseStandard(m.Cron)
	if err != nil {
		return from, until, false // the configuration was checked
	}
	zone := m.Zone
	if zone == nil {
		zone = time.UTC
	}
	at := schedule.Next(since.In(zone).Add(-m.Duration))
	for range 10_000 {
		end := at.Add(m.Duration)
		if at.IsZero() || end.After(now) {
			break
		}
		from, until, ok = at, end, true
		at = schedule.Next(at)
	}
	return from, until, ok
}

// excludes reports whether maintenance may be taken out of a target's budget.
func (c Config) excludes(t Target) bool {
	return slices.ContainsFunc(c.Maintenance, func(m Maintenance) bool { return m.Exclude && m.Concerns(t.Service, t.ID) })
}

// Point is a sample of a series.
type Point struct {
	Labels map[string]string
	Value  float64
}

// Exclusions are the samples of [ExclusionSeries] at an instant: one for each
// target and each maintenance that may be taken out of its budget.
func (c Config) Exclusions(now time.Time) []Point {
	var out []Point
	for _, t := range c.Targets {
		for _, m := range c.Maintenance {
			if !m.Exclude || !m.Concerns(t.Service, t.ID) {
				continue
			}
			p := Point{Labels: map[string]string{
				"__name__": ExclusionSeries, "sloth_id": t.ID, "sloth_service": t.Service, "maintenance": m.Name, "category": m.Category,
			}}
			if _, ok := m.Running(now); ok {
				p.Value = 1
			}
			out = append(out, p)
		}
	}
	return out
}
