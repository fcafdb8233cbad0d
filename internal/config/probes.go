package config

import (
	"bytes"
	"cmp"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	bbconfig "github.com/prometheus/blackbox_exporter/config"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"watchbill/collector"
	"watchbill/collector/probe"
)

const moduleAdvice = "see https://github.com/prometheus/blackbox_exporter/blob/master/CONFIGURATION.md"

// The defaults of a target, and the bounds of its interval.
const (
	probeTimeout  = 10 * time.Second
	probeSeverity = "page"
	minProbe      = time.Second
	maxProbe      = 5 * time.Minute // longer, and a series would look gone between two probes
)

// probesSection is the name of a module file, or a mapping with more.
type probesSection struct {
	probesKeys

	n *yaml.Node
}

// probesKeys is the section as a mapping.
type probesKeys struct {
	Modules text          `yaml:"modules"`
	Allow   []text        `yaml:"allow"`
	Alerts  toggle        `yaml:"alerts"`
	Targets []targetProbe `yaml:"targets"`
}

type targetProbe struct {
	where
	Name     text        `yaml:"name"`
	Module   text        `yaml:"module"`
	Target   text        `yaml:"target"`
	Hostname text        `yaml:"hostname"`
	Interval duration    `yaml:"interval"`
	Timeout  duration    `yaml:"timeout"`
	Severity text        `yaml:"severity"`
	Labels   table[text] `yaml:"labels"`
}

func (p *probesSection) decodeNode(l *loader, n *yaml.Node, what string) {
	if isNull(n) {
		return
	}
	p.n = n
	if n.Kind == yaml.ScalarNode {
		p.Modules.decodeNode(l, n, what)
		return
	}
	l.decodeStruct(n, reflect.ValueOf(&p.probesKeys).Elem(), what)
}

// probes reads the section and returns the scrape configs of its targets.
func (b *builder) probes(global *yaml.Node) []*yaml.Node {
	s, c := b.file.Probes, &b.cfg.Collector.Probes
	if s.n == nil {
		return nil
	}
	if !s.Modules.given() {
		b.problem(s.n, "add modules: blackbox.yml, in blackbox_exporter's format", "probes without modules")
		return nil
	}
	if !b.modules(s.Modules) {
		return nil
	}
	for _, t := range s.Allow {
		a, err := probe.ParseAllow(t.v)
		if t.given() && err != nil {
			b.problem(t.n, "write a network (10.0.0.0/8), a host (*.example.com) or host:port", "%q cannot be allowed: %v", t.v, err)
			continue
		}
		if t.given() {
			c.Allow = append(c.Allow, a)
		}
	}
	if len(s.Targets)+len(s.Allow) == 0 {
		b.warn(s.n, "write probes: {modules: FILE, allow: [HOST, NETWORK], targets: […]}", "these modules can probe nothing: no target is named, and none allowed")
	}
	c.Alerts = s.Alerts.or(true)
	seen := map[string]*yaml.Node{}
	for _, e := range s.Targets {
		if t, ok := b.targetProbe(e, seen, global); ok {
			c.Targets = append(c.Targets, t)
		}
	}
	return b.probeJobs()
}

// probeJobs makes the scrape configs and the rules of the targets.
func (b *builder) probeJobs() []*yaml.Node {
	c := &b.cfg.Collector
	if len(c.Probes.Targets) == 0 {
		return nil
	}
	text, err := probe.ScrapeConfigs(c.Probes.Targets)
	var doc yaml.Node
	if err == nil {
		err = yaml.Unmarshal(text, &doc)
	}
	var rules []byte
	if err == nil && c.Probes.Alerts {
		rules, err = probe.Rules(c.Probes.Targets)
	}
	if err != nil {
		b.problem(b.file.Probes.n, "look at the names and labels of the targets", "%v", err)
		return nil
	}
	if rules != nil {
		f := collector.RuleFile{Name: probe.RulesName, Content: rules}
		for _, p := range collector.CheckRules(f) {
			b.problem(b.file.Probes.n, "look at the names and labels of the targets", "the alerts of the targets: %s", p.Message)
		}
		c.Rules = append(c.Rules, f)
	}
	return doc.Content[0].Content
}

// modules reads a module file: its modules one by one, so that each mistake is
// found where it stands.
func (b *builder) modules(file text) bool {
	path := b.resolve(file.n, filepath.FromSlash(file.v))
	content, err := b.read(path)
	if err != nil {
		b.problem(file.n, "make the file readable", "%s cannot be read: %v", b.relative(path), err)
		return false
	}
	problems := len(b.problems)
	root := b.parse(b.newSource(path, content), content)
	if root == nil {
		if len(b.problems) == problems {
			b.problem(file.n, "write modules: {http_2xx: {prober: http}} into it", "%s is empty", b.relative(path))
		}
		return false
	}
	for k := range pairs(root) {
		if k.Value != "modules" {
			b.problem(k, didYouMean(k.Value, []string{"modules"}, moduleAdvice), "unknown key %q in a module file", k.Value)
		}
	}
	whole := func(modules ...*yaml.Node) *yaml.Node { return newMapping(newText("modules"), newMapping(modules...)) }
	modules := valueNode(root, "modules")
	if modules != nil && !isNull(modules) && modules.Kind != yaml.MappingNode {
		b.problem(modules, "write `name: {prober: …}` lines", "modules must be a mapping, not a %s", kindName(modules))
		return false
	}
	var names []string
	for name, module := range pairs(modules) {
		names = append(names, name.Value)
		if isNull(module) {
			b.problem(name, "write {prober: http} after it", "the module %q is empty", name.Value)
			continue
		}
		b.accept(module, section{
			what: "module", types: []reflect.Type{reflect.TypeFor[bbconfig.Module]()}, advice: moduleAdvice,
			build: func(n *yaml.Node) *yaml.Node { return whole(newText(name.Value), n) },
			check: func(text string) error { _, err := readModules(text); return err },
		})
		b.secretFiles(module)
		b.proberKnown(name, module)
	}
	if len(b.problems.Errors()) > len(b.problems[:problems].Errors()) {
		return false
	}
	if len(names) == 0 {
		b.problem(file.n, "write modules: {http_2xx: {prober: http}} into it", "%s has no modules", b.relative(path))
		return false
	}
	cfg, err := readModules(b.render(whole(modules.Content...)).text.String())
	if err != nil {
		b.problem(file.n, moduleAdvice, "%s cannot be read: %v", b.relative(path), err)
		return false
	}
	b.cfg.Collector.Probes.Modules = cfg.Modules
	return true
}

// proberKnown complains about a module that nothing can make probes of, which
// the library finds out only when it is asked to.
func (b *builder) proberKnown(name, module *yaml.Node) {
	known := []string{"http", "tcp", "dns", "icmp", "grpc", "unix"}
	p := valueNode(module, "prober")
	if p == nil {
		b.problem(name, "add prober: http, tcp, dns, icmp, grpc or unix", "the module %q has no prober", name.Value)
	} else if !slices.Contains(known, p.Value) {
		b.problem(p, didYouMean(p.Value, known, ""), "there is no prober %q", p.Value)
	}
}

// readModules lets blackbox_exporter's own types read a module file.
func readModules(text string) (cfg bbconfig.Config, err error) {
	err = guarded(func() error {
		d := yaml.NewDecoder(bytes.NewReader([]byte(text)))
		d.KnownFields(true)
		return d.Decode(&cfg)
	})
	return cfg, err
}

// targetProbe reads one target.
func (b *builder) targetProbe(e targetProbe, seen map[string]*yaml.Node, global *yaml.Node) (probe.Target, bool) {
	before := len(b.problems)
	c := b.cfg.Collector.Probes
	for _, k := range []struct {
		key   string
		value text
	}{{"name", e.Name}, {"module", e.Module}, {"target", e.Target}} {
		if e.Node.Kind == yaml.MappingNode && (keyNode(e.Node, k.key) == nil || k.value.given() && k.value.v == "") {
			b.problem(e.Node, "add "+k.key+":", "a target to probe without %s", k.key)
		}
	}
	if e.Name.given() {
		if first := seen[e.Name.v]; first != nil {
			b.problem(e.Name.n, "it is also used at "+b.place(first)+": rename one of the two", "a second target %q", e.Name.v)
		}
		seen[e.Name.v] = e.Name.n
	}
	b.known(e.Module, "module", slices.Sorted(maps.Keys(c.Modules)))
	module := c.Modules[e.Module.v]
	t := probe.Target{
		Name: e.Name.v, Module: e.Module.v, Target: e.Target.v, Hostname: e.Hostname.v, Severity: e.Severity.or(probeSeverity),
		Interval: cmp.Or(b.positive(e.Interval, "interval"), b.scrapeInterval(global)), Labels: b.seriesLabels(e.Labels, "probe"),
	}
	if t.Interval < minProbe || t.Interval > maxProbe {
		n := e.Node
		if e.Interval.given() {
			n = e.Interval.n
		}
		b.problem(n, "write 30s", "the interval of a probe is between %s and %s, not %s", short(minProbe), short(maxProbe), short(t.Interval))
	}
	t.Timeout = cmp.Or(b.positive(e.Timeout, "timeout"), module.Timeout, min(probeTimeout, t.Interval))
	if e.Timeout.given() && t.Timeout > t.Interval {
		b.problem(e.Timeout.n, "write a timeout within the interval", "the timeout %s is longer than the interval %s", short(t.Timeout), short(t.Interval))
	}
	if e.Hostname.given() && module.Prober != "http" && module.Prober != "tcp" && module.Prober != "" {
		b.problem(e.Hostname.n, "remove it", "hostname means nothing to the prober %s", module.Prober)
	}
	return t, len(b.problems) == before || len(b.problems[before:].Errors()) == 0
}

// seriesLabels reads the labels of series and alerts. own are names that watchbill
// sets itself, beside those of every scrape.
func (b *builder) seriesLabels(labels table[text], own ...string) map[string]string {
	out := map[string]string{}
	for _, l := range labels {
		name := l.Key.v
		switch {
		case slices.Contains(append([]string{"job", "instance", "severity"}, own...), name) || strings.HasPrefix(name, "__"):
			advice := "remove it"
			if name == "severity" {
				advice = "write severity: beside labels: it is the alert's, not the series'"
			}
			b.problem(l.Key.n, advice, "the label %q is set by watchbill", name)
		case !model.LegacyValidation.IsValidLabelName(name):
			b.problem(l.Key.n, "use letters, digits and underscores", "%q is not the name of a label", name)
		case l.Value.given():
			out[name] = l.Value.v
		}
		if name == "service" && len(b.services) > 0 && l.Value.given() && !slices.Contains(b.services, l.Value.v) {
			b.warn(l.Value.n, didYouMean(l.Value.v, b.services, ""), "the label is for %q, which is not one of the services", l.Value.v)
		}
	}
	return out
}

// scrapeInterval is the default interval.
func (b *builder) scrapeInterval(global *yaml.Node) time.Duration {
	if n := valueNode(global, "scrape_interval"); n != nil {
		if d, err := model.ParseDuration(n.Value); err == nil {
			return time.Duration(d)
		}
	}
	return time.Minute // Prometheus' default
}
