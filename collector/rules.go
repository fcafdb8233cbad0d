package collector

import (
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

// Problem is something wrong with a rule file. Line and Col count from 1; they
// are 1 where the place is not known.
type Problem struct {
	Line, Col int
	Message   string
}

// CheckPrometheus reports what is wrong with scrape configurations, without
// reading the files that they name.
func CheckPrometheus(yaml []byte) error {
	_, err := loadPrometheus(yaml)
	return err
}

// CheckRules reports everything that is wrong with a rule file.
func CheckRules(f RuleFile) []Problem {
	_, problems := parseRules(f)
	return problems
}

func parseRules(f RuleFile) (*rulefmt.RuleGroups, []Problem) {
	groups, errs := rulefmt.Parse(f.Content, false, model.UTF8Validation, promParser(), slog.New(slog.DiscardHandler))
	var problems []Problem
	for _, err := range errs {
		problems = append(problems, places(err)...)
	}
	return groups, slices.CompactFunc(problems, func(a, b Problem) bool { return a == b })
}

var (
	// atPlace is how Prometheus' own checks begin: "12:7: ".
	atPlace = regexp.MustCompile(`^(\d+):(\d+): `)
	// atLine is how the YAML library's messages begin: "line 12: ".
	atLine = regexp.MustCompile(`^(?:yaml: )?line (\d+): `)
)

// places takes the positions out of an error's text, where the library leaves
// them. One error of the YAML library can be several mistakes.
func places(err error) []Problem {
	var out []Problem
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	if len(lines) > 1 && strings.HasSuffix(lines[0], "unmarshal errors:") {
		lines = lines[1:]
	} else {
		lines = []string{strings.Join(lines, " ")}
	}
	for _, text := range lines {
		p := Problem{Line: 1, Col: 1, Message: strings.TrimSpace(text)}
		for {
			m := atPlace.FindStringSubmatch(p.Message)
			if m == nil {
				break
			}
			// With two positions the first that names a line counts.
			if line, _ := strconv.Atoi(m[1]); line > 0 && p.Line == 1 {
				p.Line = line
				p.Col, _ = strconv.Atoi(m[2])
			}
			p.Message = p.Message[len(m[0]):]
		}
		if m := atLine.FindStringSubmatch(p.Message); m != nil {
			p.Line, _ = strconv.Atoi(m[1])
			p.Message = p.Message[len(m[0]):]
		}
		out = append(out, p)
	}
	return out
}

// schedule says when groups are evaluated: recording rules every interval, alert
// rules at a fifth of it. Groups with an interval of their own stay as they are.
func schedule(groups []rulefmt.RuleGroup, every time.Duration) []rulefmt.RuleGroup {
	taken := map[string]bool{}
	for _, g := range groups {
		taken[g.Name] = true
	}
	var out []rulefmt.RuleGroup
	for _, g := range groups {
		var recording, alerts []rulefmt.Rule
		for _, r := range g.Rules {
			if r.Alert != "" {
				alerts = append(alerts, r)
			} else {
				recording = append(recording, r)
			}
		}
		if g.Interval != 0 || len(alerts) == 0 {
			out = append(out, g)
			continue
		}
		name := g.Name
		if len(recording) > 0 {
			grid := g
			grid.Rules = recording
			out = append(out, grid)
			for taken[name] {
				name += " alerts"
			}
			taken[name] = true
		}
		often := g
		often.Name, often.Rules = name, alerts
		often.Interval = model.Duration(alertInterval(every))
		out = append(out, often)
	}
	return out
}

// alertInterval is how often alert rules are evaluated.
func alertInterval(every time.Duration) time.Duration {
	return min(every, max(time.Second, every/5))
}

// loader hands the rule manager its groups from memory.
type loader struct {
	// interval is the evaluation interval in nanoseconds.
	interval atomic.Int64

	mu     sync.Mutex
	groups map[string]*rulefmt.RuleGroups
	local  map[string]bool // files whose rules are evaluated here in any case
}

func (l *loader) set(groups map[string]*rulefmt.RuleGroups, local map[string]bool, every time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.groups, l.local = groups, local
	l.interval.Store(int64(every))
}

// here reports whether the rules of a file are evaluated here in any case.
func (l *loader) here(file string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.local[file]
}

// Load returns the groups of a rule file.
func (l *loader) Load(name string, _ bool, _ model.ValidationScheme) (*rulefmt.RuleGroups, []error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	g, ok := l.groups[name]
	if !ok {
		return nil, []error{fmt.Errorf("load rules: no file %s", name)}
	}
	return g, nil
}

// Parse reads an expression.
func (l *loader) Parse(query string) (parser.Expr, error) { return promParser().ParseExpr(query) }
