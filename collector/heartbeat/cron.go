package heartbeat

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Cron is a schedule in a time zone: five fields of a crontab, or @hourly,
// @daily, @weekly, @monthly or @yearly.
type Cron struct {
	spec  string
	zone  *time.Location
	sched cron.Schedule
	// everyHour is set when the minute or the hour begins with *: such jobs go by
	// the time that passes, all others by what the clock on the wall shows.
	everyHour bool
}

// ParseCron reads a schedule.
func ParseCron(spec string, zone *time.Location) (*Cron, error) {
	if strings.Contains(spec, "TZ=") {
		return nil, errors.New("the time zone has a key of its own, tz")
	}
	if strings.HasPrefix(spec, "@every") {
		return nil, errors.New("@every has no times of day; write period instead")
	}
	sched, err := cron.ParseStandard(spec)
	if err != nil {
		return nil, err
	}
	c := &Cron{spec: spec, zone: zone, sched: sched}
	fields := strings.Fields(spec)
	c.everyHour = fields[0] == "@hourly" || len(fields) == 5 && (strings.HasPrefix(fields[0], "*") || strings.HasPrefix(fields[1], "*"))
	// In any five years there is a 29 February.
	if c.Next(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return nil, fmt.Errorf("%s never comes", spec)
	}
	return c, nil
}

// String returns the schedule as it was written, with its zone.
func (c *Cron) String() string { return c.spec + " " + c.zone.String() }

// Next returns the first instant after t at which the schedule runs, as Debian's
// cron does it when the clocks change (man 8 cron): a time of day that comes twice
// counts once, the first time, and one that is skipped counts as if the clock had
// not been put forward. Jobs of every hour or minute go on through both.
func (c *Cron) Next(t time.Time) time.Time {
	if c.everyHour {
		return c.sched.Next(t.In(c.zone))
	}
	// The schedule is asked in a zone without changes, whose clock shows what the
	// clock on the wall does.
	t = t.In(c.zone)
	wall := time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
	for range 10 { // a run that came already is skipped; two in a row cannot both have
		wall = c.sched.Next(wall)
		if wall.IsZero() {
			return time.Time{}
		}
		if at := c.instant(wall); at.After(t) {
			return at
		}
	}
	return time.Time{}
}

// instant is when the clock on the wall shows a time.
func (c *Cron) instant(wall time.Time) time.Time {
	// The offsets a day before and a day after: if they differ, a change is near,
	// and the one before it is right for the first of two times, and for one that
	// is skipped.
	for _, near := range []time.Duration{-24 * time.Hour, 24 * time.Hour} {
		_, offset := wall.Add(near).In(c.zone).Zone()
		at := wall.Add(-time.Duration(offset) * time.Second).In(c.zone)
		if shows(at, wall) {
			return at
		}
	}
	_, offset := wall.Add(-24 * time.Hour).In(c.zone).Zone()
	return wall.Add(-time.Duration(offset) * time.Second).In(c.zone)
}

func shows(at, wall time.Time) bool {
	return at.Day() == wall.Day() && at.Hour() == wall.Hour() && at.Minute() == wall.Minute()
}
