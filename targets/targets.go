// Package targets is described here soon.
package targets

import (
	"math/big"
	"time"
)

// Target is a service target: which share of a service's events may go wrong,
// and how they are counted.
type Target struct {
	// ID is Sloth's identity of the target: service, hyphen, name.
	ID          string
	Service     string
	Name        string
	Description string
	// Objective is the share of good events in percent, the decimal number as
	// it was written.
	Objective string
	// Period is the rolling period of the error budget. Zero is
	// [Config.DefaultPeriod].
	Period   time.Duration
	Labels   map[string]string
	SLI      SLI
	Alerting Alerting
	Pos      Pos
}

// SLI says how events are counted: Error and Total, or ErrorRatio. Each is a
// PromQL expression with {{.window}} in place of the range.
type SLI struct {
	Error      string
	Total      string
	ErrorRatio string
}

// Alerting names the alerts of a target.
type Alerting struct {
	// Name is the alertname of all of them.
	Name        string
	Labels      map[string]string
	Annotations map[string]string
	Page        AlertMeta
	Ticket      AlertMeta
}

// AlertMeta is what the alerts of one severity have besides.
type AlertMeta struct {
	Disable     bool
	Labels      map[string]string
	Annotations map[string]string
}

// Windows is a catalogue of burn-rate windows for one period.
type Windows struct {
	Name       string
	Period     time.Duration
	PageFast   Window
	PageSlow   Window
	TicketFast Window
	TicketSlow Window
	Pos        Pos
}

// Window is one tier of a catalogue: the alert fires when the given share of
// the error budget was spent within Long and Short confirms that it still is.
type Window struct {
	BudgetPercent *big.Rat
	Short         time.Duration
	Long          time.Duration
}

// Pos is a place in a file. Line and Col count from 1.
type Pos struct {
	File string
	Line int
	Col  int
}

// Problem is something wrong with a file. Advice is the next step. A Warning
// does not keep the file from being used.
type Problem struct {
	Pos
	Message string
	Advice  string
	Warning bool
}

// File is one generated rule file in Prometheus' format.
type File struct {
	Name    string
	Content []byte
}

// Parse is to come.
func Parse(name string, content []byte) ([]Target, []Windows, []Problem) { return nil, nil, nil }

// Rules is to come.
func Rules(cfg Config) ([]File, []Problem) { return nil, nil }
