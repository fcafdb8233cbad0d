package config

import (
	"bytes"
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	config_util "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"watchbill/collector"
	"watchbill/collector/logs"
	"watchbill/targets"
)

const httpAdvice = "see https://prometheus.io/docs/prometheus/latest/configuration/configuration/#http_config"

// The defaults of a log query, and the bounds of its interval.
const (
	logInterval = time.Minute
	logTimeout  = 30 * time.Second
	logSeverity = "page"
	minLog      = 5 * time.Second
	maxLog      = 4 * time.Minute // longer, and a series would look gone between two rounds
)

// limitsSection bounds what scrapes may bring.
type limitsSection struct {
	SeriesPerJob number `yaml:"series_per_job"`
}

// vanishingSection is about signals that are not there any more.
type vanishingSection struct {
	Alerts toggle `yaml:"alerts"`
}

// logsEntry is one Loki server.
type logsEntry struct {
	where
	Name    text       `yaml:"name"`
	URL     text       `yaml:"url"`
	Tenant  text       `yaml:"tenant"`
	HTTP    raw        `yaml:"http_config"`
	Alerts  toggle     `yaml:"alerts"`
	Queries []logQuery `yaml:"queries"`
}

type logQuery struct {
	where
	Record   text        `yaml:"record"`
	Expr     text        `yaml:"expr"`
	Interval duration    `yaml:"interval"`
	Offset   duration    `yaml:"offset"`
	Timeout  duration    `yaml:"timeout"`
	Severity text        `yaml:"severity"`
	Labels   table[text] `yaml:"labels"`
}

// engineSection is an existing Prometheus server.
type engineSection struct {
	where
	URL            text     `yaml:"url"`
	Tenant         text     `yaml:"tenant"`
	Timeout        duration `yaml:"timeout"`
	HTTP           raw      `yaml:"http_config"`
	LocalRuleFiles []text   `yaml:"local_rule_files"`
}

// pulled reads what says which signals are fetched and how much of them, before
// the rules are.
func (b *builder) pulled() {
	c := &b.cfg.Collector
	c.Limits.SeriesPerJob = b.count(b.file.Limits.SeriesPerJob, "series_per_job")
	c.Vanishing = collector.Vanishing{Alerts: b.file.Vanishing.Alerts.or(true), Services: b.services}
	b.logs()
	b.engine()
}

// httpConfig reads a section in the format of Prometheus' http_config.
func (b *builder) httpConfig(n *yaml.Node) config_util.HTTPClientConfig {
	var out struct {
		HTTP config_util.HTTPClientConfig `yaml:"http_config"`
	}
	out.HTTP = config_util.DefaultHTTPClientConfig
	if n == nil || isNull(n) {
		return out.HTTP
	}
	whole := func(n *yaml.Node) *yaml.Node { return newMapping(newText("http_config"), n) }
	check := func(text string) error {
		return guarded(func() error {
			d := yaml.NewDecoder(bytes.NewReader([]byte(text)))
			d.KnownFields(true)
			return d.Decode(&out)
		})
	}
	b.accept(n, section{what: "http_config", types: []reflect.Type{reflect.TypeFor[config_util.HTTPClientConfig]()}, advice: httpAdvice, build: whole, check: check})
	b.secretFiles(n)
	return out.HTTP
}

// logs reads the log queries and makes their rules.
func (b *builder) logs() {
	c := &b.cfg.Collector
	names, series := map[string]*yaml.Node{}, map[string]*yaml.Node{}
	var alerting []logs.Source
	for _, e := range b.file.Logs {
		if !b.name(e.Name, e.Node, "source of logs", names) {
			continue
		}
		s := logs.Source{Name: e.Name.v, Tenant: e.Tenant.v, HTTP: b.httpConfig(e.HTTP.n)}
		if !e.URL.given() {
			b.problem(e.Node, "add url: http://loki:3100", "the logs %q have no url", e.Name.v)
		} else {
			var err error
			if s.URL, err = logs.ParseURL(e.URL.v); err != nil {
				b.problem(e.URL.n, "write the address of Loki without its path /loki/api, as in http://loki:3100", "the address of the logs %q cannot be used", e.Name.v)
			}
		}
		if len(e.Queries) == 0 {
			b.warn(e.Node, "add queries: [{record: NAME, expr: LOGQL}]", "nothing is asked of the logs %q", e.Name.v)
		}
		for _, q := range e.Queries {
			s.Queries = append(s.Queries, b.logQuery(q, series))
		}
		c.Logs.Sources = append(c.Logs.Sources, s)
		if e.Alerts.or(true) {
			alerting = append(alerting, s)
		}
	}
	if len(alerting) == 0 || len(b.problems.Errors()) > 0 {
		return
	}
	c.Logs.Alerts = true
	rules, err := logs.Rules(alerting)
	if err != nil {
		b.problem(b.file.Logs[0].Node, "look at the names and labels of the queries", "%v", err)
		return
	}
	f := collector.RuleFile{Name: logs.RulesName, Content: rules}
	for _, p := range collector.CheckRules(f) {
		b.problem(b.file.Logs[0].Node, "look at the names and labels of the queries", "the alerts of the log queries: %s", p.Message)
	}
	c.Rules = append(c.Rules, f)
}

// logQuery reads one log query. seen are the series that others write.
func (b *builder) logQuery(e logQuery, seen map[string]*yaml.Node) logs.Query {
	q := logs.Query{
		Record: e.Record.v, Expr: strings.TrimSpace(e.Expr.v), Offset: e.Offset.v, Severity: e.Severity.or(logSeverity),
		Interval: cmp.Or(b.positive(e.Interval, "interval"), logInterval), Labels: b.seriesLabels(e.Labels, logs.SourceLabel, logs.RecordLabel),
	}
	switch {
	case !e.Record.given():
		b.problem(e.Node, "add record: NAME", "a log query without record")
	case !model.LegacyValidation.IsValidMetricName(q.Record) || strings.HasPrefix(q.Record, "watchbill"):
		b.problem(e.Record.n, "use letters, digits, underscores and colons, and a name that does not begin with watchbill", "%q cannot be the name of a log query's series", q.Record)
	default:
		id := fmt.Sprint(q.Record, q.Labels)
		if first := seen[id]; first != nil {
			b.problem(e.Record.n, "rename one of the two, or give them different labels", "%s is also recorded at %s, with the same labels", q.Record, b.place(first))
		}
		seen[id] = e.Record.n
	}
	if q.Expr == "" {
		b.problem(e.Node, `add expr: 'sum(count_over_time({app="shop"} |= "error" [5m]))'`, "a log query without expr")
	}
	if q.Interval < minLog || q.Interval > maxLog {
		n := e.Node
		if e.Interval.given() {
			n = e.Interval.n
		}
		b.problem(n, "write 1m", "the interval of a log query is between %s and %s, not %s", short(minLog), short(maxLog), short(q.Interval))
	}
	q.Timeout = cmp.Or(b.positive(e.Timeout, "timeout"), min(logTimeout, q.Interval))
	if q.Timeout > q.Interval {
		b.problem(e.Timeout.n, "write a timeout within the interval", "the timeout %s is longer than the interval %s", short(q.Timeout), short(q.Interval))
	}
	return q
}

// engine reads the existing Prometheus server.
func (b *builder) engine() {
	e, s := b.file.Prometheus, &b.cfg.Collector.Server
	if e.Node == nil {
		return
	}
	if !e.URL.given() {
		b.problem(e.Node, "add url: http://prometheus:9090, or remove the section", "prometheus without url")
		return
	}
	u, err := logs.ParseURL(e.URL.v)
	if err != nil {
		b.problem(e.URL.n, "write the address of the server without /api/v1, as in http://mimir:9009/prometheus", "the address of prometheus cannot be used")
		return
	}
	s.URL, s.Tenant, s.HTTP = u.URL, e.Tenant.v, b.httpConfig(e.HTTP.n)
	s.Timeout = b.positive(e.Timeout, "timeout")
	if s.Timeout > 2*time.Minute {
		b.problem(e.Timeout.n, "write at most 2m", "the timeout of prometheus is longer than two minutes")
	}
	s.Own = []string{targets.ExclusionSeries, targets.CalendarSeries, targets.SignalSeries}
	for _, pattern := range e.LocalRuleFiles {
		b.rulesOf(pattern, true)
	}
}

// foreignRules complains about rules that can be evaluated neither here nor on
// the Prometheus server.
func (b *builder) foreignRules() {
	for _, r := range collector.CheckServer(b.cfg.Collector) {
		p := Problem{
			Message: fmt.Sprintf("the rule %s in the group %s cannot be evaluated: %s", r.Rule, r.Group, r.Message),
			Advice:  "see docs/signals.md#an-existing-prometheus-server",
		}
		if src := b.sourceOf(r.File); src != nil {
			line, col := src.find(r.Rule)
			b.recordAt(src, line, col, p)
			continue
		}
		b.record(b.file.Prometheus.Node, p)
	}
}

// sourceOf returns a file by its full path.
func (b *builder) sourceOf(path string) *source {
	for name, src := range b.sources {
		if fullPath(name) == path {
			return src
		}
	}
	return nil
}

// find returns where a word first stands in a file, or its beginning.
func (s *source) find(word string) (line, col int) {
	i := slices.IndexFunc(s.lines, func(l string) bool { return strings.Contains(l, word) })
	if i < 0 {
		return 1, 1
	}
	return i + 1, strings.Index(s.lines[i], word) + 1
}
