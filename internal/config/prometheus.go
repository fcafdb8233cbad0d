package config

import (
	"log/slog"
	"reflect"
	"time"

	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/dns"
	"github.com/prometheus/prometheus/discovery/file"
	"github.com/prometheus/prometheus/discovery/http"
	"go.yaml.in/yaml/v3"

	"watchbill/collector"
	"watchbill/targets"
)

const scrapeAdvice = "see https://prometheus.io/docs/prometheus/latest/configuration/configuration/#scrape_config"

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
	b.cfg.Collector.Prometheus = []byte(b.render(whole(global, jobs...)).text.String())
	b.ruleFiles()
}

// checkPrometheus lets Prometheus read a configuration.
func checkPrometheus(text string) error {
	return guarded(func() error {
		cfg, err := promconfig.Load(text, slog.New(slog.DiscardHandler))
		if err == nil {
			_, err = cfg.GetScrapeConfigs()
		}
		return err
	})
}

// externalLabels replaces ${NAME} in the values of external_labels, which
// Prometheus does by itself, but with the environment of this process and
// without a word if it is not set.
func (b *builder) externalLabels(global *yaml.Node) {
	for _, v := range pairs(valueNode(global, "external_labels")) {
		if v.Kind == yaml.ScalarNode && variable.MatchString(v.Value) {
			v.Value, v.Tag, v.Style = b.expandEnv(v), "!!str", yaml.DoubleQuotedStyle
		}
	}
}

// ruleFiles reads the rule files.
func (b *builder) ruleFiles() {
	for _, pattern := range b.file.RuleFiles {
		for _, path := range b.glob(pattern) {
			content, err := b.read(path)
			if err != nil {
				b.problem(pattern.n, "make the file readable", "%s cannot be read: %v", b.relative(path), err)
				continue
			}
			b.cfg.Collector.Rules = append(b.cfg.Collector.Rules, collector.RuleFile{Name: path, Content: content})
		}
	}
}

// targetFiles reads the service targets and makes their rules.
func (b *builder) targetFiles() {
	c := &b.cfg.Targets
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
	retention := b.positive(b.file.Retention.Series, "series")
	if retention > 0 {
		c.Retention = retention
	} else {
		retention = max(defaultRetention, c.NeededRetention())
	}
	b.cfg.Collector.Retention = retention
	files, problems := targets.Rules(*c)
	b.targetProblems(problems)
	for _, f := range files {
		b.cfg.Collector.Rules = append(b.cfg.Collector.Rules, collector.RuleFile{Name: f.Name, Content: f.Content})
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
