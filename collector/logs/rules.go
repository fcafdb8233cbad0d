package logs

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// RulesName is the name of the rule file that [Rules] makes.
const RulesName = "(built in) alerts of log queries"

const (
	// failures is how many rounds in a row must fail, and missing for how many
	// there must be none.
	failures = 3
	missing  = 5
)

type rule struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	For         string            `json:"for,omitempty"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

type ruleGroup struct {
	Name     string `json:"name"`
	Interval string `json:"interval"`
	Rules    []rule `json:"rules"`
}

// Rules returns the alert rules of the queries as a rule file, in JSON, which is
// YAML too: LogQueryFails when three rounds in a row gave no result, and
// LogQueryMissing when there was no round. An empty result is a result. The
// alerts carry the labels of the query.
func Rules(sources []Source) ([]byte, error) {
	groups := []ruleGroup{}
	for _, s := range sources {
		for i, q := range s.Queries {
			groups = append(groups, ruleGroup{
				Name: fmt.Sprintf("logs %s %d", s.Name, i), Interval: promDuration(max(q.Interval/5, time.Second)), Rules: q.rules(s.Name),
			})
		}
	}
	b, err := json.Marshal(map[string]any{"groups": groups})
	if err != nil {
		return nil, fmt.Errorf("write the rules of log queries: %w", err)
	}
	return b, nil
}

func (q Query) rules(source string) []rule {
	l := q.own(source)
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(l)) {
		parts = append(parts, name+"="+strconv.Quote(l[name]))
	}
	up := UpMetric + "{" + strings.Join(parts, ",") + "}"
	window, long := promDuration(failures*q.Interval), promDuration(missing*q.Interval)
	record, from := escape(q.Record), escape(source)
	return []rule{
		{
			Alert:  "LogQueryFails",
			Expr:   fmt.Sprintf("max_over_time(%[1]s[%[2]s]) == 0 and count_over_time(%[1]s[%[2]s]) >= %[3]d", up, window, failures),
			Labels: map[string]string{"severity": q.Severity},
			Annotations: map[string]string{
				"summary": fmt.Sprintf("The log query %s of %s fails", record, from),
				"impact":  "what it counts in the logs could happen and nobody would be told",
				"value":   fmt.Sprintf("no result in %d rounds", failures), "target": "one every " + promDuration(q.Interval), "window": window,
				"first_action": "Read in watchbill's log what the server answers, and ask the query in Grafana.",
			},
		},
		{
			Alert: "LogQueryMissing", Expr: "absent_over_time(" + up + "[" + long + "])", For: promDuration(2 * q.Interval),
			Labels: map[string]string{"severity": q.Severity},
			Annotations: map[string]string{
				"summary": fmt.Sprintf("The log query %s of %s is not asked any more", record, from),
				"impact":  "what it counts in the logs could happen and nobody would be told",
				"value":   "no round in " + long, "target": "one every " + promDuration(q.Interval),
				"first_action": "Read watchbill's log, and look at watchbill_log_queries_total.",
			},
		},
	}
}

// escape keeps a text from being read as a template.
func escape(s string) string { return strings.ReplaceAll(s, "{{", "{ {") }
