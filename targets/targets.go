// Package targets turns service targets into Prometheus rules: recording rules
// that measure how fast an error budget burns, and alerts on several windows
// and several burn rates.
//
// # Input
//
// [Parse] reads files of several documents: our own "kind: Target", OpenSLO v1,
// Sloth's "version: prometheus/v1" specifications, and Sloth's "kind:
// AlertWindows" catalogues. But for OpenSLO, a key that is not known is a mistake
// and so is a query without {{.window}}. Every query must be valid PromQL once its
// window is filled in. SLI plugins run foreign Go code and are refused by name.
//
// # The arithmetic
//
// T is the objective as a share, B = 1-T the budget, W the period, L and S the
// long and the short window of a tier, p the share of the budget that is spent
// when the tier fires. Then the burn factor is k = p*W/L, and the tier fires
// when the error ratio is above k*B over both S and L. Left alone, the budget
// is gone W/k after it was full. A tier with k*B >= 1 can never fire: it is left
// out and reported. All of it is computed with rational numbers from the
// decimals as they were written, so that 99.9 gives 0.001 and nothing near it.
//
// # Output
//
// [Rules] gives one rule file per target, with the series and labels that Sloth
// gives, so that dashboards made for Sloth work:
//
//	slo:sli_error:ratio_rate<w>        the error ratio over each window
//	slo:objective:ratio, slo:error_budget:ratio, slo:time_period:days
//	slo:current_burn_rate:ratio, slo:period_burn_rate:ratio
//	slo:period_error_budget_remaining:ratio, sloth_slo_info
//
// and besides the absolute rates that the ratio is made of, over the shortest
// window: slo:sli_bad:rate<w> and slo:sli_total:rate<w>.
//
// The error ratio is guarded: errors that never happened count as zero, and no
// traffic gives no sample rather than NaN, which would poison every sum over
// time. The period's ratio is the ratio of two sums. An average of ratios would
// let one bad request in a quiet minute weigh as much as a busy hour.
//
// Windows up to twelve times the shortest are computed from the raw series: a
// rate of the shortest window smears each event over that window, which would
// cost the fast page two minutes (176 s instead of 52 s for a full outage at
// 99.9 %). Longer windows are sums over the recorded rates: there the smear is
// small beside the window, and a three-day range over raw series costs more
// than everything else the daemon does.
//
// # Alerts
//
// An alert that reads what was recorded is evaluated in the same group, right
// after it; only those that read what was scraped are a group of their own,
// without an interval, so that they can be evaluated more often.
//
// Each tier is an alert of its own, all with the alertname of the target:
//
//	st_tier=page_fast    severity=page
//	st_tier=page_slow    severity=page
//	st_tier=ticket_fast  severity=ticket
//	st_tier=ticket_slow  severity=ticket
//
// st and sloth_id carry the target's id, service its service; labels that the
// specification gives are added and may replace severity and service. $value is
// the error ratio over the tier's short window. The annotations title, summary,
// impact, value, target, window and st_exhausts_in are written for a reader who
// has just been woken; those of the specification replace them.
//
// # No data
//
// A target that cannot be measured is not a target that is met. When the total
// of the SLI has no series, <alertname>NoData fires, with st_tier=no_data, after
// the shortest window but no less than a minute. A service without traffic still
// exports its counters and stays silent; a service that is gone does not. As
// that is what a total failure looks like from outside, the alert pages if the
// target's page alerts are enabled, else it is a ticket.
//
// # Asking
//
// [Outlooks] says before anything runs what each target will alert on, with the
// numbers that stand in its rules. [Config.Statuses] reads what the rules
// recorded. [Gate] decides over that, incidents and maintenance whether a service
// may be released. [Config.Exclusions] and [Config.CalendarBudgets] are samples
// that the caller has to append regularly, as no rule can know them.
package targets

import (
	"math/big"
	"time"
)

// Target is a service target: which share of a service's events or of its time
// may go wrong, and how that is measured.
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
	Period time.Duration
	// Calendar is the calendar period of the error budget. Burn rates are
	// measured over Period all the same.
	Calendar Calendar
	Labels   map[string]string
	SLI      SLI
	Alerting Alerting
	// MinBad is how many bad events a long window must hold before its tier
	// fires. Zero is any.
	MinBad int
	// OnNoData says what missing data means. Empty is [NoDataAlert].
	OnNoData OnNoData
	// Policy is what happens as the budget is spent.
	Policy []PolicyStep
	// Format is what the target was written in, as the label sloth_spec has it.
	Format string
	Pos    Pos
}

// Kind is what an indicator measures.
type Kind string

// The kinds of indicator. Events and latencies are shares of events; the others
// are shares of time, except costs, which are shares of a sum of money.
const (
	KindEvents      Kind = "events"
	KindRaw         Kind = "raw"
	KindLatency     Kind = "latency"
	KindResponse    Kind = "response"
	KindBoolean     Kind = "boolean"
	KindSlices      Kind = "slices"
	KindCertificate Kind = "certificate"
	KindCapacity    Kind = "capacity"
	KindCost        Kind = "cost"
)

// SLI says how a target is measured. One of three forms is filled in:
//
//   - Error or Good, and Total: rates of events, with {{.window}} for the range.
//     Strict holds that Good without series means that nothing was measured,
//     rather than that nothing was good.
//   - ErrorRatio: a share of bad events, with {{.window}} for the range.
//   - Slice: the share of the present moment that is good, 0 to 1, or of the
//     slice of length Every that {{.window}} stands for.
//
// Inputs are recorded before Slice is evaluated; Slice and the conditions read
// them with {{.target}} for the target's own labels. Measured is the input whose
// presence means that there is data.
type SLI struct {
	Kind        Kind
	Error, Good string
	Total       string
	Strict      bool
	ErrorRatio  string
	Slice       string
	Every       time.Duration
	Inputs      []Input
	Measured    string
	// Ticket and Page alert on a state in place of a burn rate.
	Ticket, Page *Condition
	// Budget is what may be spent in a period, of what the first input spends in
	// an hour.
	Budget string

	history time.Duration // of a forecast
}

// Input is a series that is recorded for a target from what was scraped.
type Input struct{ Name, Query string }

// Condition is an alert on a state. Expr reads recorded series only. The texts
// are templates of Prometheus.
type Condition struct {
	Expr                          string
	For                           time.Duration
	Summary, Impact, Value, Limit string
}

// OnNoData says what it means that nothing can be measured.
type OnNoData string

// With alert, missing data is an alert of its own, and an alert that fires when
// the data goes is held until it returns. With ignore it is held and nothing
// else happens. With good and bad the missing time counts as such.
const (
	NoDataAlert  OnNoData = "alert"
	NoDataIgnore OnNoData = "ignore"
	NoDataGood   OnNoData = "good"
	NoDataBad    OnNoData = "bad"
)

// PolicyStep is one step of an error budget policy: an alert once no more than
// Below of the budget is left, and, if Freeze is set, a closed release gate.
type PolicyStep struct {
	// Below is a share of the budget, a decimal number.
	Below    string
	Severity string
	Notify   string
	Freeze   bool
}

// Calendar is a period of the calendar. The zero value is none.
type Calendar struct {
	Unit Unit
	// Zone is where days begin. Nil is UTC.
	Zone *time.Location
}

// Unit is the length of a calendar period.
type Unit string

// The calendar periods.
const (
	Week    Unit = "week"
	Month   Unit = "month"
	Quarter Unit = "quarter"
)

// Alerting names the alerts of a target.
type Alerting struct {
	// Name is the alertname of all of them.
	Name        string
	Labels      map[string]string
	Annotations map[string]string
	Page        AlertMeta
	Ticket      AlertMeta
	// Burns are alerts on burn rates in place of those of the catalogue.
	Burns []Burn
}

// Burn is an alert on one burn rate, as an alert policy of OpenSLO states it.
type Burn struct {
	Name     string
	Severity string // its label; page, critical, high and sev1, sev2 page
	// Factor is the burn rate, a decimal number.
	Factor      string
	Short, Long time.Duration
	For         time.Duration
	Labels      map[string]string
	Annotations map[string]string
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
