package router

import (
	"time"

	amcommoncfg "github.com/prometheus/alertmanager/config/common"
	"github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/alertmanager/timeinterval"

	"watchbill"
)

// Config is what the router decides by.
type Config struct {
	Matrix     watchbill.Matrix
	Services   []watchbill.Service
	Activities []Rule                        // the first that matches names the activity
	Severities map[string]watchbill.Severity // value of the severity label to severity
	Exceptions []Exception                   // the first that covers an alert counts
	GroupBy    []string                      // default service, environment, activity
	// ResolveTimeout ends alerts that were pushed without an end. Default 5 m.
	ResolveTimeout time.Duration

	InhibitRules  []amcommoncfg.InhibitRule
	TimeIntervals map[string][]timeinterval.TimeInterval
	Maintenance   []Maintenance

	Flapping Flapping

	// BroadSilence is how many distinct alerts of 7 days a silence may mute before a
	// second person must agree. Default 10.
	BroadSilence int
	// SilenceReminder is how long before its end the author of a silence is told, if
	// it still mutes something; a quarter of its time if that is shorter. Default 15 m.
	SilenceReminder time.Duration
}

// Maintenance mutes the alerts of what is worked on while it is.
type Maintenance struct {
	Name, Reason string
	// Environments is where the work is done; empty is all of them.
	Environments []string
	// Activities are the classes of alerts that the work brings about; empty is all
	// but security. Alerts of other classes are muted too, unless they are sev1 or
	// sev2.
	Activities []watchbill.ActivityID
	// Concerns reports whether the work is on a service, or on the service target
	// with an id, which is empty for an alert of none.
	Concerns func(service, target string) bool
	// Running reports whether the work goes on at an instant, and until when.
	Running func(now time.Time) (until time.Time, ok bool)
	// Ended returns the work that was over last, if that was after since and not
	// after now. Nil is never.
	Ended func(since, now time.Time) (from, until time.Time, ok bool)
}

// Rule gives the alerts that all of its matchers match an activity. The
// intervals mute them, as on a route of Alertmanager.
type Rule struct {
	Match               labels.Matchers
	Activity            watchbill.ActivityID
	MuteTimeIntervals   []string
	ActiveTimeIntervals []string
	// Line is where the rule stands, "watchbill.yaml:41", for explain.
	Line string
}

// Exception treats the alerts of some services in some environments otherwise. An
// empty list is all of them. Whose they are is part of the matrix itself.
type Exception struct {
	Services     []string
	Environments []string
	Activities   []watchbill.ActivityID
	// MaxSeverity is the highest severity that counts; zero leaves it alone.
	MaxSeverity         watchbill.Severity
	MuteTimeIntervals   []string
	ActiveTimeIntervals []string
	// Line is where it stands, "watchbill.yaml:41", for explain.
	Line string
}
