package config

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/dns"
	"github.com/prometheus/prometheus/discovery/file"
	"github.com/prometheus/prometheus/discovery/http"
	"github.com/prometheus/prometheus/model/rulefmt"
	"go.yaml.in/yaml/v3"

	"watchbill"
	"watchbill/collector"
	"watchbill/targets"
)

const scrapeAdvice = "see https://prometheus.io/docs/prometheus/latest/configuration/configuration/#scrape_config"

const ruleAdvice = "see https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/"

// defaultRetention is how long series are kept unless a target's period is
// longer.
const defaultRetention = 3 * 24 * time.Hour

// discoveryKeys are the keys of a scrape config that Prometheus reads by other
// means than its struct.
type discoveryKeys struct {
	Static []struct {
		Targets []string          `yaml:"targets"`
		Labels  map[string]string `yaml:"labels"`
	} `yaml:"static_configs"`
	File []file.SDConfig `yaml:"file_sd_configs"`
	HTTP []http.SDConfig `yaml:"http_sd_configs"`
	DNS  []dns.SDConfig  `yaml:"dns_sd_configs"`
}

// prometheus reads the sections in Prometheus' format.
func (b *builder) prometheus() {
	problems := len(b.problems)
	global, _ := b.splitGlobal()
	b.problems = b.problems[:problems] // reported with Alertmanager's half
	b.externalLabels(global)
	whole := func(global *yaml.Node, jobs ...*yaml.Node) *yaml.Node {
		doc := newMapping(newText("global"), global)
		if len(jobs) > 0 {
			doc.Content = append(doc.Content, newText("scrape_configs"), newList(jobs...))
		}
		return doc
	}
	ok := b.accept(global, section{
		what: "global", types: []reflect.Type{reflect.TypeFor[promconfig.GlobalConfig]()}, advice: globalAdvice, check: checkPrometheus,
		build: func(n *yaml.Node) *yaml.Node { return whole(n) },
	})
	s := section{
		what: "scrape config", advice: scrapeAdvice, check: checkPrometheus,
		types: []reflect.Type{reflect.TypeFor[promconfig.ScrapeConfig](), reflect.TypeFor[discoveryKeys]()},
		build: func(n *yaml.Node) *yaml.Node { return whole(global, n) },
	}
	if !ok {
		s.build = func(n *yaml.Node) *yaml.Node { return whole(newMapping(), n) }
		s.check = func(text string) error { return onlyLines(checkPrometheus(text)) }
	}
	jobs := b.entries(b.file.Scrape.n, "scrape_configs")
	seen := map[string]*yaml.Node{}
	for _, job := range jobs {
		if name := valueNode(job, "job_name"); name != nil && name.Kind == yaml.ScalarNode {
			if first := seen[name.Value]; first != nil {
				b.problem(name, "it is also defined at "+b.place(first)+": rename or remove one of the two", "a second scrape config %q", name.Value)
			}
			seen[name.Value] = name
		}
		b.accept(job, s)
		b.secretFiles(job)
	}
	jobs = append(jobs, b.probes(global)...)
	b.cfg.Collector.Prometheus = []byte(b.render(whole(global, jobs...)).text.String())
	b.cfg.Collector.Dir = fullPath(b.loader.root)
	b.ruleFiles()
	b.pulled()
	b.queries()
}

// checkPrometheus lets the collector read a configuration.
func checkPrometheus(text string) error {
	err := guarded(func() error { return collector.CheckPrometheus([]byte(text)) })
	if e, ok := errors.AsType[*watchbill.Error](err); ok {
		if message, ok := strings.CutPrefix(e.Message, "read scrape_configs: "); ok {
			return errors.New(message)
		}
	}
	return err
}

// externalLabels replaces $NAME and ${NAME} in the values of external_labels, as
// Prometheus does, but a variable that is not set is a problem rather than an
// empty label. What is left of dollars is doubled, because Prometheus still
// looks.
func (b *builder) externalLabels(global *yaml.Node) {
	for _, v := range pairs(valueNode(global, "external_labels")) {
		if v.Kind != yaml.ScalarNode || !strings.Contains(v.Value, "$") {
			continue
		}
		value := os.Expand(v.Value, func(name string) string {
			if name == "$" {
				return name
			}
			return b.variable(v, name)
		})
		v.Value, v.Tag, v.Style = strings.ReplaceAll(value, "$", "$$"), "!!str", yaml.DoubleQuotedStyle
	}
}

// ruleFiles reads the rule files.
func (b *builder) ruleFiles() {
	for _, pattern := range b.file.RuleFiles {
		b.rulesOf(pattern, false)
	}
}

// rulesOf reads the rule files of a pattern.
func (b *builder) rulesOf(pattern text, here bool) {
	for _, path := range b.glob(pattern) {
		content, err := b.read(path)
		if err != nil {
			b.problem(pattern.n, "make the file readable", "%s cannot be read: %v", b.relative(path), err)
			continue
		}
		f := collector.RuleFile{Name: fullPath(path), Content: content, Here: here, Watch: here || !b.file.Prometheus.URL.given()}
		b.cfg.Collector.Rules = append(b.cfg.Collector.Rules, f)
		src := b.newSource(path, content)
		for _, p := range collector.CheckRules(f) {
			b.ruleProblem(src, p)
		}
	}
}

// ruleProblem takes over what the collector found in a rule file.
func (b *builder) ruleProblem(src *source, p collector.Problem) {
	own := Problem{Message: p.Message, Advice: ruleAdvice}
	if m := unknownField.FindStringSubmatch(p.Message); m != nil {
		known := slices.Concat(yamlKeys(reflect.TypeFor[rulefmt.Rule]()), yamlKeys(reflect.TypeFor[rulefmt.RuleGroup]()))
		own.Message, own.Advice = fmt.Sprintf("unknown key %q", m[1]), didYouMean(m[1], known, ruleAdvice)
	}
	if p.Col <= 1 {
		p.Col = src.indent(p.Line) + 1
	}
	b.recordAt(src, p.Line, p.Col, own)
}

// targetFiles reads the service targets and makes their rules.
func (b *builder) targetFiles() {
	c := &b.cfg.Targets
	c.Remote = b.cfg.Collector.Server.URL != nil
	for _, pattern := range b.file.Targets {
		for _, path := range b.glob(pattern) {
			content, err := b.read(path)
			if err != nil {
				b.problem(pattern.n, "make the file readable", "%s cannot be read: %v", b.relative(path), err)
				continue
			}
			b.newSource(path, content)
			ts, ws, problems := targets.Parse(path, content)
			b.targetProblems(problems)
			c.Targets = append(c.Targets, ts...)
			c.Windows = append(c.Windows, ws...)
		}
	}
	for _, t := range c.Targets {
		if src := b.sources[t.Pos.File]; src != nil && len(b.services) > 0 && !slices.Contains(b.services, t.Service) {
			b.recordAt(src, t.Pos.Line, t.Pos.Col, Problem{
				Message: fmt.Sprintf("the target is for %q, which is not one of the services", t.Service),
				Advice:  didYouMean(t.Service, b.services, ""), Warning: true,
			})
		}
	}
	retention := b.positive(b.file.Retention.Series, "series")
	if retention > 0 {
		c.Retention = retention
	} else {
		retention = max(defaultRetention, c.NeededRetention())
	}
	b.cfg.Collector.Retention = retention
	b.maintenance()
	files, problems := targets.Rules(*c)
	b.targetProblems(problems)
	for _, f := range files {
		b.cfg.Collector.Rules = append(b.cfg.Collector.Rules, collector.RuleFile{Name: f.Name, Content: f.Content, Generated: true})
	}
}

// targetProblems takes over what the targets room found.
func (b *builder) targetProblems(problems []targets.Problem) {
	for _, p := range problems {
		own := Problem{Message: p.Message, Advice: p.Advice, Warning: p.Warning}
		if src := b.sources[p.File]; src != nil && p.Line > 0 {
			b.recordAt(src, p.Line, p.Col, own)
			continue
		}
		b.record(b.file.Retention.Series.n, own)
	}
}
