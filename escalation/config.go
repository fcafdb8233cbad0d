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

// Roster is a weekly rotation for a role: People take turns, one week each,
// changing at Handover. A role without a roster rotates over the people who
// hold it, in the order of the configuration.
type Roster struct {
	Role     watchbill.RoleID
	People   []watchbill.PersonID
	Start    time.Time      // any instant of the week of People[0]; its date counts
	Handover Handover       // default Monday 09:00
	Zone     *time.Location // default UTC
	Hours    []Hours        // when sev3 may page; empty is always
	// Line is where the roster stands, "watchbill.yaml:41", for explain; empty
	// when it is derived.
	Line string
}

// Handover is the instant of the week at which the duty changes, in the
// roster's zone.
type Handover struct {
	Weekday time.Weekday
	Hour    int
	Minute  int
}

// Hours is a span of the day on some weekdays, in the roster's zone. To may be
// 24:00, as Minute 1440.
type Hours struct {
	Weekdays []time.Weekday
	From, To int // minutes after midnight
}
