// Package watchbill holds the words that every room of the daemon shares:
// alerts, the responsibility matrix, people, incidents, timers, pages, and the
// pure permission table. It imports the standard library only and does no I/O.
//
// # How a signal becomes a page
//
// A signal (a scraped series, a rule, a push) yields an [Alert]. The router
// gives the alert an [Activity], a row of the [Matrix]; the roles marked in
// that row are responsible. Alerts of one group key share one [Incident]. The
// incident carries a frozen [Path]; each of its steps names roles, and who is
// on duty for them is resolved when the step fires. A [Page] is one
// notification to one [Person] by one method; a [Timer] says what happens next
// if nobody acts. Everything that happened is an [Event], hash-chained per
// incident.
//
// # Time
//
// Times are values. Every decision takes the instant at which it is made as an
// argument; nothing in this package reads the clock.
package watchbill

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// PersonID names a person, as written under people: in the configuration.
type PersonID string

// RoleID names a role, a column of the matrix.
type RoleID string

// ActivityID names an activity, a row of the matrix.
type ActivityID string

// IncidentID is the number in INC-142. Zero is no incident.
type IncidentID int64

// String returns the id as people say it: "INC-142".
func (id IncidentID) String() string { return "INC-" + strconv.FormatInt(int64(id), 10) }

// ParseIncidentID reads "INC-142", "inc-142" or "142".
func ParseIncidentID(s string) (IncidentID, error) {
	digits := s
	if len(s) > 4 && strings.EqualFold(s[:4], "INC-") {
		digits = s[4:]
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n <= 0 || digits[0] == '+' {
		return 0, Invalidf("write an incident as INC-142 or 142", "%q is not an incident id", s)
	}
	return IncidentID(n), nil
}

// Severity says how hard an incident may interrupt people. The zero value is
// no severity.
type Severity int

// The four severities. Sev1 and Sev2 page at any hour, Sev3 within the
// roster's hours, Sev4 is recorded only.
const (
	Sev1 Severity = iota + 1
	Sev2
	Sev3
	Sev4
)

// String returns "sev1" to "sev4", and "sev?" for anything else.
func (s Severity) String() string {
	if s < Sev1 || s > Sev4 {
		return "sev?"
	}
	return "sev" + strconv.Itoa(int(s))
}

// HigherThan reports whether s is more urgent than t. No severity is less
// urgent than any.
func (s Severity) HigherThan(t Severity) bool { return s != 0 && (t == 0 || s < t) }

// ParseSeverity reads "sev1" to "sev4".
func ParseSeverity(text string) (Severity, error) {
	for s := Sev1; s <= Sev4; s++ {
		if strings.EqualFold(text, s.String()) {
			return s, nil
		}
	}
	return 0, Invalidf("use sev1, sev2, sev3 or sev4", "%q is not a severity", text)
}

// MarshalText writes "sev2".
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads "sev2"; "sev?" and "" read as no severity.
func (s *Severity) UnmarshalText(text []byte) error {
	if len(text) == 0 || string(text) == "sev?" {
		*s = 0
		return nil
	}
	v, err := ParseSeverity(string(text))
	if err != nil {
		return err
	}
	*s = v
	return nil
}

// Service is a thing that runs and can be unwell.
type Service struct {
	Name         string
	Tier         int
	Owner        RoleID   // the role paged at the second step of states and first-line
	DependsOn    []string // names of other services
	Environments []string // the first one is assumed when an alert names none
}

// Code is what programs act on in an [Error].
type Code string

// The codes of an [Error]. Anything without a code is CodeInternal.
const (
	CodeInvalid         Code = "invalid"
	CodeUnauthenticated Code = "unauthenticated"
	CodeDenied          Code = "denied"
	CodeNotFound        Code = "not_found"
	CodeConflict        Code = "conflict"
	CodeTooLarge        Code = "too_large"
	CodeTooMany         Code = "too_many"
	CodeUnavailable     Code = "unavailable"
	CodeInternal        Code = "internal"
)

// Error is a failure with two audiences: Code for programs, Message and Hint
// for the person who met it. Hint is the next step.
type Error struct {
	Code    Code
	Message string
	Hint    string
	Err     error

	RetryAfter time.Duration // when it may be tried again, for CodeTooMany
}

// Error returns the message and, if there is one, the hint after a semicolon.
func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Message
	}
	return e.Message + "; " + e.Hint
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an [Error] of a code and a hint.
func Errorf(code Code, hint, format string, args ...any) error {
	return &Error{Code: code, Hint: hint, Message: fmt.Sprintf(format, args...)}
}

// Invalidf makes an [Error] of [CodeInvalid].
func Invalidf(hint, format string, args ...any) error {
	return Errorf(CodeInvalid, hint, format, args...)
}

// The years whose instants are taken. Stored times are nanoseconds since 1970 in
// 64 bits: one beyond the year 2262 would come back as one in the past.
const firstYear, lastYear = 1970, 2200

// CheckTime refuses an instant that cannot be stored. The zero time stands for
// one that was left out. field names it in the error.
func CheckTime(field string, t time.Time) error {
	if year := t.UTC().Year(); !t.IsZero() && (year < firstYear || year > lastYear) {
		return Invalidf("correct it", "%s: is not within the years %d to %d", field, firstYear, lastYear)
	}
	return nil
}
