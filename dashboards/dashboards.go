// Package dashboards holds what people and rules look at to see how watchbill
// itself is doing.
//
// # The rules
//
// alerts/watchbill.yaml holds alert rules in Prometheus' format for watchbill's
// own metrics. The daemon loads them by default and evaluates them on its own
// metrics, which it keeps as the job "watchbill"; self_monitoring: false switches
// both off. A Prometheus elsewhere can use the same file on what it scrapes from
// /metrics; that is worth having, since a daemon that is dead evaluates nothing.
//
// Their alerts have the label service="watchbill" and page like any others. What
// keeps pages from leaving is told by the alarm and the dead man's switch too; see
// package watchdog.
//
// Tests hold each expression to the metrics that a running daemon has.
package dashboards

import _ "embed"

// RulesName is the name of the file with the rules.
const RulesName = "dashboards/alerts/watchbill.yaml"

//go:embed alerts/watchbill.yaml
var rules string

// Rules returns the alert rules for watchbill's own metrics, in Prometheus'
// format.
func Rules() []byte { return []byte(rules) }
