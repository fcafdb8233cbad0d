package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"watchbill"
	"watchbill/escalation"
	"watchbill/router"
	"watchbill/targets"
)

// maxOrphans bounds how many are named: more of them have the same cause.
const maxOrphans = 50

// orphan is something whose alerts are nobody's.
type orphan struct {
	what   string // "the rule DiskFull"
	node   *yaml.Node
	src    *source // for what does not stand in a configuration file
	line   int
	labels watchbill.Labels

	annotations watchbill.Labels
}

// orphans names the signals, rules, targets and services whose alerts would land
// on a role that nobody holds. It asks the router that is used live.
func (b *builder) orphans() {
	if len(b.problems.Errors()) > 0 || b.untrusted || b.guessing {
		return
	}
	r, err := router.New(b.cfg.Router)
	if err != nil {
		return // what is wrong is a problem already
	}
	empty := b.emptyRoles()
	left := 0
	seen := map[string]bool{}
	for _, o := range b.alertsToCome() {
		v := r.Decide(router.Input{Alert: watchbill.Alert{Labels: o.labels}, Now: time.Unix(0, 0).UTC()})
		why, advice := nobodys(b.cfg.Matrix, v, empty)
		if c, ok := b.cfg.Escalation.PathOf(v.Activity, watchbill.Place{Service: v.Service, Environment: v.Environment}); ok {
			why, advice = nobodysPath(c, empty)
		}
		key := o.what + why
		if why == "" || seen[key] {
			continue
		}
		seen[key] = true
		if left++; left > maxOrphans {
			continue
		}
		p := Problem{Message: fmt.Sprintf("the alerts of %s belong to nobody: %s", o.what, why), Advice: advice, Warning: true}
		if o.src != nil {
			b.recordAt(o.src, o.line, o.src.indent(o.line)+1, p)
			continue
		}
		b.record(o.node, p)
	}
	if left > maxOrphans {
		b.warn(b.root, "begin with the ones above: they have the same causes", "%d more alerts belong to nobody", left-maxOrphans)
	}
}

// nobodys says why an alert is nobody's, and what to do; empty if it is
// somebody's. It is nobody's when none is marked in its row, or when nobody holds
// a role that is paged first.
func nobodys(m watchbill.Matrix, v router.Verdict, empty map[watchbill.RoleID]bool) (why, advice string) {
	where := string(v.Activity)
	if v.RowReason != "" {
		where += " (" + v.RowReason + ")"
	}
	if len(v.Roles) == 0 {
		return "no role is marked for " + where, "mark one in matrix:; until then they go to the manager"
	}
	var missing []string
	at := m.At(watchbill.Place{Service: v.Service, Environment: v.Environment})
	for _, role := range at.FirstRoles(v.Activity) {
		if empty[role] {
			missing = append(missing, string(role))
		}
	}
	if len(missing) == 0 {
		return "", ""
	}
	names := strings.Join(missing, ", ")
	return fmt.Sprintf("nobody holds %s, which is first for %s", names, where),
		fmt.Sprintf("give roles: [%s] to somebody, or mark another role; until then they go to the manager", names)
}

// nobodysPath is nobodys for an alert that has a path of its own: it is nobody's
// when the first step names nobody but roles that nobody holds.
func nobodysPath(c escalation.ConfiguredPath, empty map[watchbill.RoleID]bool) (why, advice string) {
	first := c.Steps[0]
	if len(first.People)+len(first.Receivers) > 0 || slices.ContainsFunc(first.Roles, func(r watchbill.RoleID) bool { return !empty[r] }) {
		return "", ""
	}
	names := watchbill.JoinRoles(first.Roles, "")
	return fmt.Sprintf("nobody holds %s, which the path %s pages first", names, c.Name),
		fmt.Sprintf("give roles: [%s] to somebody, or let the path page another role; until then they go to the manager", names)
}

func (b *builder) emptyRoles() map[watchbill.RoleID]bool {
	empty := map[watchbill.RoleID]bool{}
	for _, role := range b.cfg.Matrix.Roles {
		empty[role.ID] = !slices.ContainsFunc(b.cfg.People, func(p watchbill.Person) bool { return p.Holds(role.ID) })
	}
	return empty
}

// alertsToCome are the alerts that the configuration itself can bring about, as
// far as their labels are known beforehand.
func (b *builder) alertsToCome() []orphan {
	var all []orphan
	for i, rule := range b.cfg.Router.Activities {
		if i >= len(b.file.Activities) { // built in
			break
		}
		labels := watchbill.Labels{}
		for _, m := range rule.Match {
			if m.Type.String() == "=" {
				labels[m.Name] = m.Value
			}
		}
		if len(labels) == len(rule.Match) && len(labels) > 0 {
			all = append(all, orphan{what: "the rule of activities for " + string(rule.Activity), node: b.file.Activities[i].Node, labels: labels})
		}
	}
	for _, e := range b.file.Services {
		environments := values(e.Environments)
		if len(environments) == 0 {
			environments = []string{""}
		}
		for _, env := range environments {
			labels, what := watchbill.Labels{"service": e.Name.v}, "the service "+e.Name.v
			if env != "" {
				labels["environment"] = env
				if len(environments) > 1 {
					what += " in " + env
				}
			}
			all = append(all, orphan{what: what, node: e.Name.n, labels: labels})
		}
	}
	for _, h := range b.cfg.Heartbeats {
		labels := watchbill.Labels{"alertname": "HeartbeatMissed", "heartbeat": h.Name}
		maps.Copy(labels, h.Labels)
		if i := slices.IndexFunc(b.file.Heartbeats, func(e heartbeatEntry) bool { return e.Name.v == h.Name }); i >= 0 {
			all = append(all, orphan{what: "the heartbeat " + h.Name, node: b.file.Heartbeats[i].Node, labels: labels})
		}
	}
	return append(all, b.ruleAlerts()...)
}

// sourceAt returns the file that was read under a full path; nil if it was made.
func (b *builder) sourceAt(path string) *source {
	for name, src := range b.sources {
		if fullPath(name) == path {
			return src
		}
	}
	return nil
}

// ruleAlerts are the alerts of all rule files, the user's and those made of
// targets, probes and log queries.
func (b *builder) ruleAlerts() []orphan {
	var all []orphan
	for _, file := range b.cfg.Collector.Rules {
		var content struct {
			Groups []struct {
				Labels map[string]string `yaml:"labels"`
				Rules  []yaml.Node       `yaml:"rules"`
			} `yaml:"groups"`
		}
		if yaml.Unmarshal(file.Content, &content) != nil {
			continue // a problem says so
		}
		at := orphan{node: b.root, src: b.sourceAt(file.Name)}
		if t := slices.IndexFunc(b.cfg.Targets.Targets, func(t targets.Target) bool { return "targets/"+t.ID == file.Name }); t >= 0 {
			pos := b.cfg.Targets.Targets[t].Pos
			at.what, at.src, at.line = "the target "+b.cfg.Targets.Targets[t].ID, b.sources[pos.File], pos.Line
		}
		for _, g := range content.Groups {
			for _, n := range g.Rules {
				var rule struct {
					Alert  string            `yaml:"alert"`
					Labels map[string]string `yaml:"labels"`

					Annotations map[string]string `yaml:"annotations"`
				}
				if n.Decode(&rule) != nil || rule.Alert == "" {
					continue
				}
				labels := watchbill.Labels{"alertname": rule.Alert}
				for _, from := range []map[string]string{g.Labels, rule.Labels} {
					for name, value := range from {
						if !strings.Contains(value, "{{") { // else it is known when it fires
							labels[name] = value
						}
					}
				}
				o := at
				o.labels, o.annotations = labels, rule.Annotations
				if o.what == "" {
					o.what, o.line = "the rule "+rule.Alert, n.Line
				}
				if o.src == nil {
					o.what += " of " + file.Name
				}
				all = append(all, o)
			}
		}
	}
	return all
}
