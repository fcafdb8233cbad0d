package collector

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"

	"watchbill/collector/probe"
)

// Vanishing has alerts made about signals that are not there any more.
type Vanishing struct {
	// Alerts switches them on.
	Alerts bool
	// Services are names of services: the targets of a job that has the name of a
	// service are of that service unless a label says otherwise.
	Services []string
}

// BuiltIn begins the names of rule files that watchbill brings.
const BuiltIn = "(built in) "

const vanishRules = BuiltIn + "alerts of vanished signals"

const (
	// upSeen is how many of the last scrapes count, and upNeeded how many of them
	// must succeed.
	upSeen   = 5
	upNeeded = 3
	// memory is how long a signal that is gone is remembered; an alert about it
	// lasts until it is back.
	memory = "1h"
	// presence is what is recorded of the signals that are there.
	presence = "watchbill:signal:present"
	// settled is from when on a signal of a job that is gone was not taken out by
	// a change of the configuration.
	settled = "watchbill_scrape_job_settled_timestamp_seconds"
	// presenceEvery is how often all that is looked at.
	presenceEvery = 15 * time.Second
	// group are the labels that name whose signal it is.
	group = "job, service, environment"
)

type jsonRule struct {
	Record      string            `json:"record,omitempty"`
	Alert       string            `json:"alert,omitempty"`
	Expr        string            `json:"expr"`
	For         string            `json:"for,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type jsonGroup struct {
	Name     string     `json:"name"`
	Interval string     `json:"interval"`
	Rules    []jsonRule `json:"rules"`
}

// vanishFile makes the rules about signals that vanish: targets that are down,
// services of which no target is found any more, and series that alert rules
// read and that are gone. It is JSON, which is YAML too.
func vanishFile(v Vanishing, jobs []*config.ScrapeConfig, files []RuleFile) (RuleFile, error) {
	jobs = slices.DeleteFunc(slices.Clone(jobs), probed)
	var names []string
	for _, j := range jobs {
		if slices.Contains(v.Services, j.JobName) {
			names = append(names, regexp.QuoteMeta(j.JobName))
		}
	}
	of := owned(names)
	var groups []jsonGroup
	wait := time.Minute
	var found []string
	for _, j := range jobs {
		every := time.Duration(j.ScrapeInterval)
		if discovered(j) {
			found = append(found, regexp.QuoteMeta(j.JobName))
			wait = max(wait, 3*every+time.Minute)
		}
		groups = append(groups, jsonGroup{
			Name: "job " + j.JobName, Interval: model.Duration(min(max(every/5, time.Second), presenceEvery)).String(), Rules: downRules(j.JobName, every, of),
		})
	}
	if rules := goneRules(found, watched(files), of, wait); len(jobs) > 0 && len(rules) > 0 {
		groups = append(groups, jsonGroup{Name: "presence", Interval: model.Duration(presenceEvery).String(), Rules: rules})
	}
	content, err := json.Marshal(map[string]any{"groups": groups})
	if err != nil {
		return RuleFile{}, fmt.Errorf("write the rules of vanished signals: %w", err)
	}
	return RuleFile{Name: vanishRules, Content: content}, nil
}

// probed reports whether a job is one of probes, which have alerts of their own.
func probed(j *config.ScrapeConfig) bool {
	for _, d := range j.ServiceDiscoveryConfigs {
		static, ok := d.(discovery.StaticConfig)
		if !ok {
			continue
		}
		for _, g := range static {
			for _, t := range g.Targets {
				if strings.HasPrefix(string(t[model.AddressLabel]), probe.Host) {
					return true
				}
			}
		}
	}
	return false
}

// discovered reports whether targets of a job can come and go by themselves.
func discovered(j *config.ScrapeConfig) bool {
	return slices.ContainsFunc(j.ServiceDiscoveryConfigs, func(d discovery.Config) bool {
		_, static := d.(discovery.StaticConfig)
		return !static
	})
}

// owned returns what gives series of jobs that have the name of a service the
// label service, where they have none.
func owned(jobs []string) func(expr string) string {
	if len(jobs) == 0 {
		return func(expr string) string { return expr }
	}
	return func(expr string) string {
		return fmt.Sprintf(`label_replace(label_join(%s, "of", ";", "service", "job"), "service", "$1", "of", %s)`,
			expr, strconv.Quote(";("+strings.Join(jobs, "|")+")"))
	}
}

// downRules are the alerts about the targets of a job that are down. A service
// is down when its best target fails most of its scrapes; when only some do, that
// is less urgent. A target that was taken out is no target that is down.
func downRules(job string, every time.Duration, of func(string) string) []jsonRule {
	up := "up{job=" + strconv.Quote(job) + "}"
	window := model.Duration(upSeen * every).String()
	// Series with the labels of the target, each between 0 and 1.
	share := of(fmt.Sprintf("((avg_over_time(%[1]s[%[2]s]) and count_over_time(%[1]s[%[2]s]) >= %[3]d) and %[1]s)", up, window, upNeeded))
	limit := strconv.FormatFloat(float64(upNeeded)/upSeen, 'g', -1, 64)
	down := fmt.Sprintf("max by (%s) (%s) < %s", group, share, limit)
	one := fmt.Sprintf("(max without (of) (%s) < %s) unless on (%s) (%s)", share, limit, group, down)
	target := fmt.Sprintf("%d of the last %d scrapes", upNeeded, upSeen)
	name := strings.ReplaceAll(job, "{{", "{ {")
	return []jsonRule{
		{
			Alert: "ServiceDown", Expr: down, Labels: map[string]string{"severity": "page"},
			Annotations: map[string]string{
				"summary": "{{ with $labels.service }}{{ . }}{{ else }}The job " + name + "{{ end }} is down: none of its targets answers",
				"impact":  "whoever uses it is likely to fail, and nothing is measured any more",
				"value":   "{{ $value | humanizePercentage }} of the scrapes succeeded", "target": "at least " + target, "window": window,
				"first_action": "Look whether the service runs; GET /api/v1/targets says in lastError why the job " + name + " cannot be scraped.",
			},
		},
		{
			Alert: "TargetDown", Expr: one, Labels: map[string]string{"severity": "warning"},
			Annotations: map[string]string{
				"summary": "{{ $labels.instance }} of the job " + name + " is down; others of it answer",
				"impact":  "less capacity, and nothing is measured there",
				"value":   "{{ $value | humanizePercentage }} of the scrapes succeeded", "target": "at least " + target, "window": window,
				"first_action": "Look whether it runs; GET /api/v1/targets says in lastError why it cannot be scraped.",
			},
		},
	}
}

// watched are the names of the series that alert rules of the user read.
func watched(files []RuleFile) []string {
	names := map[string]bool{}
	recorded := map[string]bool{}
	for _, f := range files {
		groups, _ := parseRules(f)
		if !f.Watch || groups == nil {
			continue
		}
		for _, g := range groups.Groups {
			for _, r := range g.Rules {
				recorded[r.Record] = true
				if r.Alert != "" {
					maps.Copy(names, read(r))
				}
			}
		}
	}
	maps.DeleteFunc(names, func(n string, _ bool) bool {
		return recorded[n] || n == "up" || strings.HasPrefix(n, "ALERTS") || strings.HasPrefix(n, "watchbill")
	})
	return slices.Sorted(maps.Keys(names))
}

// read are the names of the series that a rule reads, but for those that it
// reads to see whether they are there.
func read(r rulefmt.Rule) map[string]bool {
	out := map[string]bool{}
	expr, err := promParser().ParseExpr(r.Expr)
	if err != nil {
		return out
	}
	parser.Inspect(expr, func(n parser.Node, path []parser.Node) error {
		v, ok := n.(*parser.VectorSelector)
		if !ok || v.Name == "" {
			return nil
		}
		for _, above := range path {
			if c, ok := above.(*parser.Call); ok && strings.HasPrefix(c.Func.Name, "absent") {
				return nil
			}
		}
		out[v.Name] = true
		return nil
	})
	return out
}

// goneRules record what is there, and alert on what was there and is not: jobs
// whose targets are discovered, and series. wait is how long it must be gone.
func goneRules(jobs, series []string, of func(string) string, wait time.Duration) []jsonRule {
	var rules []jsonRule
	record := func(metric, selector string) {
		rules = append(rules, jsonRule{
			Record: presence, Labels: map[string]string{"metric": metric},
			Expr: fmt.Sprintf("group by (%s) (%s)", group, of(fmt.Sprintf("group by (%s) (%s)", group, selector))),
		})
	}
	if len(jobs) > 0 {
		record("up", "up{job=~"+strconv.Quote(strings.Join(jobs, "|"))+"}")
	}
	for _, name := range series {
		record(name, "{__name__="+strconv.Quote(name)+"}")
	}
	if len(jobs) > 0 {
		rules = append(rules, jsonRule{
			Alert: "ServiceVanished", Expr: gone("ServiceVanished", `metric="up"`), For: model.Duration(wait).String(), Labels: map[string]string{"severity": "page"},
			Annotations: map[string]string{
				"summary": "{{ with $labels.service }}{{ . }}{{ else }}The job {{ $labels.job }}{{ end }} is gone: discovery finds none of its targets any more",
				"impact":  "nothing is measured; it may not run at all",
				"target":  "at least one target in the job {{ $labels.job }}",
				"first_action": "Look whether the service runs, and what the discovery of the job {{ $labels.job }} lists. " +
					"If it was taken away on purpose, take it out of the configuration, or silence this.",
			},
		})
	}
	if len(series) > 0 {
		answers := fmt.Sprintf("(max by (%s) (%s) == 1)", group, of("up"))
		rules = append(rules, jsonRule{
			Alert: "SeriesVanished", Expr: "(" + gone("SeriesVanished", `metric!="up"`) + ")\nand on (" + group + ") " + answers,
			For: model.Duration(max(15*time.Minute, wait)).String(), Labels: map[string]string{"severity": "warning"},
			Annotations: map[string]string{
				"summary":      "{{ $labels.metric }} of {{ with $labels.service }}{{ . }}{{ else }}the job {{ $labels.job }}{{ end }} is gone, and alert rules read it",
				"impact":       "the alerts that read it cannot fire",
				"first_action": "Look whether the metric was renamed or its part of the service does not run; then correct the rule or the service.",
			},
		})
	}
	return rules
}

// gone is what was there within the memory and is not now, and was not taken
// out by a change of the configuration. What fires stays, however long.
func gone(alert, matcher string) string {
	since := "max by (job) (" + settled + ")"
	return fmt.Sprintf(`(
  max by (metric, %[1]s) (max_over_time(timestamp(%[2]s{%[3]s})[%[4]s:1m])) > on (job) group_left () %[5]s
  or
  max by (metric, %[1]s) (ALERTS{alertname="%[6]s", alertstate="firing"}) and on (job) (time() > %[5]s)
)
unless %[2]s{%[3]s}`, group, presence, matcher, memory, since, alert)
}
