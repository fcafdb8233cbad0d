// Package targets turns service targets into Prometheus rules: recording rules
// that measure how fast an error budget burns, and alerts on several windows
// and several burn rates.
//
// # Input
//
// [Parse] reads files of two kinds, several documents to a file: Sloth's
// "version: prometheus/v1" specifications, and Sloth's "kind: AlertWindows"
// catalogues. A key that is not known is a mistake, a query without {{.window}}
// is a mistake, and every query must be valid PromQL once its window is filled
// in. SLI plugins run foreign Go code and are refused by name.
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
// [Rules] gives one rule file per target, with the group names, series and
// labels that Sloth gives, so that dashboards made for Sloth work:
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
