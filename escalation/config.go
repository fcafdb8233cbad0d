package escalation

import (
	"time"

	"watchbill"
)

// Config is who is on duty and how an incident climbs.
type Config struct {
	Matrix   watchbill.Matrix
	People   []watchbill.Person
	Services []watchbill.Service
	Rosters  []Roster
	Timing   Timing
	Paths    []ConfiguredPath // the first that is for an incident is its path
}

// Timing holds the delays of the path that is derived from the matrix. Zero
// fields take the defaults 5 m, 10 m, 15 m and 15 m.
type Timing struct {
	Second   time.Duration // until the other responsible roles are paged
	Manager  time.Duration // until the manager is paged
	Everyone time.Duration // until everyone in these roles is paged
	Repeat   time.Duration // between repeats of the last step
}

// Roster says who is on duty for a role, at a location or everywhere. It has
// layers or, for the simple case, is a weekly rotation itself: People take turns,
// one week each, changing at Handover. A role without a roster rotates over the
// people who hold it, in the order of the configuration.
type Roster struct {
	Role     watchbill.RoleID
	Location string // of several rosters for a role
	People   []watchbill.PersonID
	Start    time.Time      // any instant of the week of People[0]; its date counts
	Handover Handover       // default Monday 09:00
	Zone     *time.Location // default UTC
	Hours    []Hours        // when sev3 may page; empty is always
	// Staffed is when somebody must be on duty, in the roster's zone; empty is always.
	// What lies outside is no gap.
	Staffed []Hours
	Layers  []Layer
	// Line is where the roster stands, "watchbill.yaml:41", for explain; empty
	// when it is derived.
	Line string
}

// Layer is a rotation within a roster. Of the layers with the same seat the first
// one that is on at an instant, and has somebody who is not away, counts.
type Layer struct {
	Name     string
	Seat     Seat
	People   []watchbill.PersonID
	Start    time.Time     // its date is a day of the turn of People[0]
	Every    time.Duration // length of a turn on the wall clock; default a week
	Handover Handover      // the weekday counts only for whole weeks
	Zone     *time.Location
	On       []Hours // when it is on; empty is always

	Holidays   []Holiday
	OnHolidays OnHolidays
	Line       string
}

// Seat is what somebody of a layer is on duty as.
type Seat int

// The seats. A shadow reads along.
const (
	Primary Seat = iota
	Secondary
	Shadow
)

// Holiday is a day of a calendar. Only its date counts.
type Holiday struct {
	Date time.Time
	Name string
}

// OnHolidays says what a layer does on its holidays.
type OnHolidays int

// What a layer does on holidays: it is on as on other days, it is off, or it is on
// only then.
const (
	HolidaysOn OnHolidays = iota
	HolidaysOff
	HolidaysOnly
)

// Handover is the instant of the week at which the duty changes, in the
// roster's zone.
type Handover struct {
	Weekday time.Weekday
	Hour    int
	Minute  int
}

// Hours is a span of the day on some weekdays, in the roster's zone. To may be
// 24:00, as Minute 1440, and beyond it on the next day.
type Hours struct {
	Weekdays []time.Weekday
	From, To int // minutes after midnight
}
