package targets

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

// Rules returns a rule file for each target. A target with a mistake has no
// file; a target with a warning has one.
func Rules(cfg Config) ([]File, []Problem) {
	g := newGenerator(cfg)
	var files []File
	for _, p := range g.plans() {
		if f, ok := g.file(p); ok {
			files = append(files, f)
		}
	}
	return files, g.problems
}

// plans are the plans of all targets.
func (g *generator) plans() []plan {
	var out []plan
	seen := map[string]Pos{}
	for _, t := range g.cfg.Targets {
		if first, ok := seen[t.ID]; ok {
			g.fail(t.Pos, "rename the service or the target", "the target id %q is already that of %s:%d", t.ID, first.File, first.Line)
			continue
		}
		seen[t.ID] = t.Pos
		if p, ok := g.plan(t); ok {
			out = append(out, p)
		}
	}
	return out
}

// generator makes the rule files and collects what is wrong.
type generator struct {
	cfg        Config
	catalogues map[time.Duration]Windows
	problems   []Problem
}

func newGenerator(cfg Config) *generator {
	g := &generator{cfg: cfg, catalogues: map[time.Duration]Windows{}}
	for _, w := range builtin() {
		g.catalogues[w.Period] = w
	}
	g.addCatalogues()
	return g
}

func (g *generator) fail(at Pos, advice, format string, args ...any) {
	g.problems = append(g.problems, Problem{Pos: at, Message: fmt.Sprintf(format, args...), Advice: advice})
}

func (g *generator) warn(at Pos, advice, format string, args ...any) {
	g.problems = append(g.problems, Problem{Pos: at, Message: fmt.Sprintf(format, args...), Advice: advice, Warning: true})
}

// addCatalogues lets the configured catalogues replace the built-in ones.
func (g *generator) addCatalogues() {
	own := map[time.Duration]Windows{}
	for _, w := range g.cfg.Windows {
		if flaws := w.check(); len(flaws) > 0 {
			g.fail(w.Pos, flaws[0].advice, "%s: %s", flaws[0].field, flaws[0].message)
			continue
		}
		if first, ok := own[w.Period]; ok {
			g.fail(w.Pos, "keep one catalogue for each sloPeriod", "the period %s already has the catalogue %s", days(w.Period), first.Name)
			continue
		}
		own[w.Period], g.catalogues[w.Period] = w, w
	}
}

// file makes the rule file of a target.
func (g *generator) file(p plan) (File, bool) {
	groups, err := p.groups()
	if err != nil {
		g.fail(p.Pos, "try the queries in Prometheus", "%v", err)
		return File{}, false
	}
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(rulefmt.RuleGroups{Groups: groups}); err != nil {
		g.fail(p.Pos, "remove unusual characters from the target", "cannot write the rules of %s: %v", p.ID, err)
		return File{}, false
	}
	_, errs := rulefmt.Parse(b.Bytes(), false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	for _, err := range errs {
		g.fail(p.Pos, "check the templates in its labels and annotations", "the rules of %s are not valid: %v", p.ID, err)
	}
	return File{Name: "targets/" + p.ID, Content: b.Bytes()}, len(errs) == 0
}

// groups are the rule groups of a target. What is computed as often as the
// windows are recorded is one group, in the order in which the rules read each
// other: an alert is evaluated right after what it reads was recorded, not
// somewhere between two recordings.
func (p plan) groups() ([]rulefmt.RuleGroup, error) {
	base, err := p.baseRules()
	if err != nil {
		return nil, err
	}
	windows, err := p.windowRules()
	if err != nil {
		return nil, err
	}
	interval := p.windows.interval()
	var out []rulefmt.RuleGroup
	add := func(name string, every time.Duration, rules []rulefmt.Rule) {
		if len(rules) > 0 {
			out = append(out, rulefmt.RuleGroup{Name: "sloth-slo-" + name + "-" + p.ID, Interval: model.Duration(every), Rules: rules})
		}
	}
	if p.every == interval {
		base, windows = nil, append(base, windows...)
	}
	rules, often := append(windows, p.metaRules()...), p.alertRules()
	if !p.remote {
		rules, often = slices.Concat(rules, p.tierAlerts(), p.recordedAlerts()), p.stateAlerts()
	}
	add("slices-recordings", p.every, base)
	add("rules", interval, rules)
	add("period-recordings", p.slow(), p.periodRules())
	add("alerts", 0, often)
	return out, nil
}

// slow is how often what covers the whole period is computed: a long range is
// what a rule costs most for, and moves least.
func (p plan) slow() time.Duration {
	return max(p.windows.interval(), min(p.windows.Period/2000, 2*time.Minute)).Truncate(time.Millisecond)
}
