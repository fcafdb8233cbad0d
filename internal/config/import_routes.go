package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	amconfig "github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/pkg/labels"
	"go.yaml.in/yaml/v3"

	"watchbill"
	"watchbill/internal/notify"
)

// imported is one rule: what matches all of the matchers goes to the receivers.
type imported struct {
	matchers     labels.Matchers
	receivers    []string // those that send something; none: it is dropped
	mute, active []string // time intervals
	node         *yaml.Node
	mixed        bool // several routes, whose time intervals are not one
}

// flatten makes a list of rules of the tree of routes, of which the first that
// matches an alert names the receivers that Alertmanager would use.
func (im *importer) flatten() ([]imported, error) {
	route := valueNode(im.root, "route")
	root := im.cfg.Route.Receiver
	if im.silent(root) {
		im.used = []string{""}
		im.names[""], im.taken["manager"] = "manager", true
		im.note(route, "the root's receiver "+root+", which sends nothing", "somebody must answer for what nobody owns: the manager, whose pages are printed where the daemon runs", "give the manager a contact")
	} else {
		im.used = []string{root}
	}
	rules, err := im.below(im.cfg.Route, route, nil)
	if err != nil {
		return nil, err
	}
	last := imported{node: route, receivers: im.reaching(root)}
	if len(last.receivers) == 0 { // else what no rule matches is first-line, which is the manager's
		rules = append(rules, last)
	}
	for _, r := range rules {
		for _, receiver := range r.receivers {
			if !slices.Contains(im.used, receiver) {
				im.used = append(im.used, receiver)
			}
		}
		im.muted = im.muted || len(r.receivers) == 0
		if r.mixed {
			im.note(r.node, "a route that continues, with time intervals", "alerts that go to several receivers are held back by none of the intervals", "write the rule's own mute_time_intervals")
		}
	}
	return rules, nil
}

// reaching is a receiver, unless it sends nothing.
func (im *importer) reaching(receiver string) []string {
	if im.silent(receiver) {
		return nil
	}
	return []string{receiver}
}

// below are the rules of the routes below one, for alerts that match what leads
// there.
func (im *importer) below(r *amconfig.Route, n *yaml.Node, above labels.Matchers) ([]imported, error) {
	nodes := valueNode(n, "routes")
	return im.siblings(r.Routes, func(i int) *yaml.Node {
		if nodes == nil || i >= len(nodes.Content) {
			return n
		}
		return nodes.Content[i]
	}, above)
}

// siblings are the rules of some routes of one parent. After a route that
// continues the later ones are asked too: each rule of it stands once with every
// rule of those, and then alone.
func (im *importer) siblings(routes []*amconfig.Route, node func(int) *yaml.Node, above labels.Matchers) ([]imported, error) {
	if len(routes) == 0 {
		return nil, nil
	}
	r := routes[0]
	own := slices.Concat(above, matchersOf(r))
	mine, err := im.below(r, node(0), own)
	if err != nil {
		return nil, err
	}
	mine = append(mine, imported{
		matchers: own, receivers: im.reaching(r.Receiver), mute: r.MuteTimeIntervals, active: r.ActiveTimeIntervals, node: node(0),
	})
	rest, err := im.siblings(routes[1:], func(i int) *yaml.Node { return node(i + 1) }, above)
	if err != nil {
		return nil, err
	}
	var all []imported
	for _, m := range mine {
		if r.Continue {
			for _, later := range rest {
				all = append(all, both(m, later))
			}
		}
		all = append(all, m)
		if len(all)+len(rest) > maxImported {
			return nil, watchbill.Errorf(watchbill.CodeTooLarge, "remove continue: true where it is not needed",
				"%s:%d: the routes make more than %d rules, because many continue", im.file, node(0).Line, maxImported)
		}
	}
	return append(all, rest...), nil
}

// both is the rule for what two rules match.
func both(a, b imported) imported {
	r := imported{matchers: slices.Concat(a.matchers, b.matchers), receivers: slices.Clone(a.receivers), node: a.node, mixed: a.mixed || b.mixed}
	for _, x := range b.receivers {
		if !slices.Contains(r.receivers, x) {
			r.receivers = append(r.receivers, x)
		}
	}
	switch {
	case slices.Equal(a.mute, b.mute) && slices.Equal(a.active, b.active), len(b.receivers) == 0:
		r.mute, r.active = a.mute, a.active
	case len(a.receivers) == 0:
		r.mute, r.active = b.mute, b.active
	default:
		r.mixed = true
	}
	return r
}

// matchersOf are the matchers of a route in all the ways in which they can be
// written.
func matchersOf(r *amconfig.Route) labels.Matchers {
	var all labels.Matchers
	for _, name := range slices.Sorted(maps.Keys(r.Match)) {
		all = append(all, match(labels.MatchEqual, name, r.Match[name])...)
	}
	for _, name := range slices.Sorted(maps.Keys(r.MatchRE)) {
		all = append(all, match(labels.MatchRegexp, name, r.MatchRE[name].Original)...)
	}
	return append(all, labels.Matchers(r.Matchers)...)
}

// activity names the activity of a rule by its receivers.
func (im *importer) activity(r imported) string {
	if len(r.receivers) == 0 {
		return string(watchbill.ActivityFirstLine)
	}
	names := make([]string, len(r.receivers))
	for i, x := range r.receivers {
		names[i] = im.name(x)
	}
	slices.Sort(names)
	return "to-" + strings.Join(names, "-and-")
}

// alwaysInterval is the time interval that mutes what goes nowhere.
func (im *importer) alwaysInterval() string {
	name := "always"
	for im.hasInterval(name) {
		name += "-always"
	}
	return name
}

func (im *importer) hasInterval(name string) bool {
	for _, t := range im.cfg.TimeIntervals {
		if t.Name == name {
			return true
		}
	}
	for _, t := range im.cfg.MuteTimeIntervals {
		if t.Name == name {
			return true
		}
	}
	return false
}

func (im *importer) activitiesNode() *yaml.Node {
	rules := newList()
	for _, r := range im.rules {
		ms := newList()
		ms.Style = yaml.FlowStyle
		var seen []string
		for _, m := range r.matchers {
			if s := m.String(); !slices.Contains(seen, s) {
				seen = append(seen, s)
				ms.Content = append(ms.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s, Style: yaml.SingleQuotedStyle})
			}
		}
		if len(ms.Content) == 0 { // it matches everything
			ms.Content = append(ms.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: `alertname=~".*"`, Style: yaml.SingleQuotedStyle})
		}
		rule := newMapping(scalar("match"), ms, scalar("activity"), scalar(im.activity(r)))
		mute, active := r.mute, r.active
		if len(r.receivers) == 0 {
			mute, active = []string{im.alwaysInterval()}, nil
		}
		if len(mute) > 0 {
			rule.Content = append(rule.Content, scalar("mute_time_intervals"), list(mute...))
		}
		if len(active) > 0 {
			rule.Content = append(rule.Content, scalar("active_time_intervals"), list(active...))
		}
		rule.HeadComment = fmt.Sprintf("line %d", r.node.Line)
		rules.Content = append(rules.Content, rule)
	}
	if len(rules.Content) == 0 {
		return nil
	}
	return mapping("activities", rules)
}

func (im *importer) intervalsNode() *yaml.Node {
	all := newList()
	for _, key := range []string{"time_intervals", "mute_time_intervals"} {
		for entry := range im.entries(key) {
			all.Content = append(all.Content, entry)
		}
	}
	if im.muted {
		ever := newMapping(scalar("name"), scalar(im.alwaysInterval()), scalar("time_intervals"), newList(flow(mapping("years", list("2000:2200")))))
		ever.HeadComment = "What Alertmanager dropped is muted."
		all.Content = append(all.Content, ever)
	}
	if len(all.Content) == 0 {
		return nil
	}
	return mapping("time_intervals", all)
}

// renamed is what a receiver is called here.
func (im *importer) renamed(receiver string) string {
	if receiver == notify.TerminalReceiver || receiver == notify.LoopReceiver {
		return receiver + "-alertmanager"
	}
	return receiver
}

func (im *importer) receiversNode() *yaml.Node {
	all := newList()
	for entry := range im.entries("receivers") {
		name := valueNode(entry, "name")
		if name == nil || im.silent(name.Value) {
			continue
		}
		if to := im.renamed(name.Value); to != name.Value {
			im.note(entry, "the receiver "+name.Value, "the name is watchbill's own, so it is called "+to, "")
			name.Value = to
		}
		all.Content = append(all.Content, entry)
	}
	if len(all.Content) == 0 {
		return nil
	}
	return mapping("receivers", all)
}
