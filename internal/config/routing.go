package config

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	amcommoncfg "github.com/prometheus/alertmanager/config/common"
	"github.com/prometheus/alertmanager/matcher/parse"
	"github.com/prometheus/alertmanager/pkg/labels"
	"go.yaml.in/yaml/v3"

	"watchbill"
	"watchbill/escalation"
	"watchbill/incident"
	"watchbill/router"
)

// builtIn is where a rule stands that the daemon brings itself.
const builtIn = "built-in"

// timing reads incidents and escalation.
func (b *builder) timing() {
	in, esc := b.file.Incidents, b.file.Escalation
	for _, d := range in.AckDeadlines {
		severity, err := watchbill.ParseSeverity(d.Key.v)
		if err != nil {
			b.problem(d.Key.n, "use sev1, sev2, sev3 or sev4", "%q is not a severity", d.Key.v)
			continue
		}
		if v := b.positive(d.Value, "an acknowledgement's deadline"); v > 0 {
			if b.cfg.Incident.AckDeadlines == nil {
				b.cfg.Incident.AckDeadlines = map[watchbill.Severity]time.Duration{}
			}
			b.cfg.Incident.AckDeadlines[severity] = v
		}
	}
	b.cfg.Incident.ReopenWindow = b.positive(in.ReopenWindow, "reopen_window")
	b.cfg.Incident.Quiet = b.positive(in.Quiet, "quiet")
	b.reminders()
	b.closingProof()
	t := escalation.Timing{
		Second: b.positive(esc.Second, "second"), Manager: b.positive(esc.Manager, "manager"),
		Everyone: b.positive(esc.Everyone, "everyone"), Repeat: b.positive(esc.Repeat, "repeat"),
	}
	b.cfg.Escalation.Timing = t
	// The steps are delays after the first page, so each is later than the one
	// before it; the defaults of the room count where a key is missing.
	second, manager, everyone := esc.Second.or(5*time.Minute), esc.Manager.or(10*time.Minute), esc.Everyone.or(15*time.Minute)
	advice := "the delays count from the first page: second, then manager, then everyone"
	if second > manager {
		b.problem(firstGiven(esc.Manager, esc.Second), advice, "manager (%s) comes before second (%s)", short(manager), short(second))
	}
	if manager > everyone {
		b.problem(firstGiven(esc.Everyone, esc.Manager), advice, "everyone (%s) comes before manager (%s)", short(everyone), short(manager))
	}
}

// reminders reads what is owed of an incident. The section alone asks for the
// defaults; without it nobody is reminded.
func (b *builder) reminders() {
	if keyNode(b.root, "reminders") == nil {
		return
	}
	read := func(entries table[duration], what string) map[watchbill.Severity]time.Duration {
		all := map[watchbill.Severity]time.Duration{}
		for _, d := range entries {
			severity, err := watchbill.ParseSeverity(d.Key.v)
			switch {
			case err != nil:
				b.problem(d.Key.n, "use sev1, sev2, sev3 or sev4", "%q is not a severity", d.Key.v)
			case d.Value.given() && d.Value.v != 0 && d.Value.v < time.Minute:
				b.problem(d.Value.n, "write a duration such as 30m, or 0s for none", "%s cannot be due every %s", what, d.Value.v)
			case d.Value.given():
				all[severity] = d.Value.v
			}
		}
		return all
	}
	r := b.file.Reminders
	b.cfg.Incident.Reminders = incident.DefaultReminders().With(read(r.Status, "a status update"), read(r.Plan, "a plan"))
	if grace := b.positive(r.Grace, "grace"); grace > 0 {
		b.cfg.Incident.Reminders.Grace = grace
	}
}

func firstGiven(a, b duration) *yaml.Node {
	if a.given() {
		return a.n
	}
	return b.n
}

// short writes a duration without zero parts: 5m, not 5m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// routing reads activities and severities, and adds what the daemon brings.
func (b *builder) routing() {
	r := &b.cfg.Router
	for _, e := range b.file.Activities {
		r.Activities = append(r.Activities, b.activity(e))
	}
	r.Activities = append(r.Activities,
		router.Rule{Match: match(labels.MatchNotEqual, "st", ""), Activity: watchbill.ActivityPerformance, Line: builtIn},
		router.Rule{Match: match(labels.MatchEqual, "signal", "security"), Activity: watchbill.ActivitySecurity, Line: builtIn},
	)
	r.Severities = map[string]watchbill.Severity{
		"page": watchbill.Sev2, "critical": watchbill.Sev2, "ticket": watchbill.Sev3, "warning": watchbill.Sev3, "info": watchbill.Sev4,
		"sev1": watchbill.Sev1, "sev2": watchbill.Sev2, "sev3": watchbill.Sev3, "sev4": watchbill.Sev4,
	}
	for _, s := range b.file.Severities {
		if !s.Value.given() {
			continue
		}
		v, err := watchbill.ParseSeverity(s.Value.v)
		if err != nil {
			b.problem(s.Value.n, didYouMean(s.Value.v, []string{"sev1", "sev2", "sev3", "sev4"}, ""), "%q is not a severity", s.Value.v)
			continue
		}
		r.Severities[s.Key.v] = v
	}
	r.InhibitRules = append(r.InhibitRules, burnInhibition()...)
	f := b.file.Flapping
	r.Flapping = router.Flapping{Count: f.Count.v, Window: b.positive(f.Window, "window"), ClearDelay: b.positive(f.ClearDelay, "clear_delay")}
	if f.Count.given() && (f.Count.v < 2 || f.Count.v > 100) {
		b.problem(f.Count.n, "write 3", "count is between 2 and 100")
	}
	r.SilenceReminder = b.positive(b.file.Silences.Reminder, "reminder")
	if broad := b.file.Silences.Broad; broad.given() {
		if r.BroadSilence = broad.v; broad.v < 1 {
			b.problem(broad.n, "write how many alerts of 7 days one person may mute, such as 10", "broad must be at least 1")
		}
	}
}

// burnInhibition lets a faster burn tier of a service target mute the slower
// ones of the same target, so that one outage is one page.
func burnInhibition() []amcommoncfg.InhibitRule {
	tiers := []string{"page_fast", "page_slow", "ticket_fast", "ticket_slow"}
	var out []amcommoncfg.InhibitRule
	for i, tier := range tiers[:len(tiers)-1] {
		out = append(out, amcommoncfg.InhibitRule{
			Name:           "burn-" + tier,
			SourceMatchers: amcommoncfg.Matchers(match(labels.MatchEqual, "st_tier", tier)),
			TargetMatchers: amcommoncfg.Matchers(match(labels.MatchRegexp, "st_tier", strings.Join(tiers[i+1:], "|"))),
			Equal:          []string{"st"},
		})
	}
	return out
}

// match returns one matcher that is known to be right.
func match(t labels.MatchType, name, value string) labels.Matchers {
	m, err := labels.NewMatcher(t, name, value)
	if err != nil {
		panic(err) // a constant of this file
	}
	return labels.Matchers{m}
}

// activity reads one rule.
func (b *builder) activity(e activityEntry) router.Rule {
	r := router.Rule{Activity: watchbill.ActivityID(e.Activity.v), Line: b.line(e.Node)}
	for _, m := range e.Match {
		if m.given() {
			r.Match = append(r.Match, b.matchers(m)...)
		}
	}
	if e.Node.Kind == yaml.MappingNode {
		if keyNode(e.Node, "match") == nil || len(e.Match) == 0 && isEmptyList(valueNode(e.Node, "match")) {
			b.problem(e.Node, "add match: ['label=\"value\"']; alerts that no rule matches are first-line", "a rule that matches nothing in particular")
		}
		if keyNode(e.Node, "activity") == nil {
			b.problem(e.Node, "add activity: and "+didYouMean("", b.activities, ""), "a rule without an activity")
		}
	}
	b.known(e.Activity, "activity", b.activities)
	for _, t := range slices.Concat(e.MuteIntervals, e.ActiveIntervals) {
		b.known(t, "time interval", b.intervals)
	}
	r.MuteTimeIntervals, r.ActiveTimeIntervals = values(e.MuteIntervals), values(e.ActiveIntervals)
	return r
}

func isEmptyList(n *yaml.Node) bool {
	return isNull(n) || n.Kind == yaml.SequenceNode && len(n.Content) == 0
}

// matcherPlace is how Alertmanager's parser says where it stopped.
var matcherPlace = regexp.MustCompile(`^(\d+):\d+: `)

// matchers reads matchers in Alertmanager's notation. A mistake is shown at the
// character at which the parser stopped, where the text stands as it is read.
func (b *builder) matchers(t text) labels.Matchers {
	ms, err := parse.Matchers(t.v)
	if err == nil {
		return ms
	}
	message, place := err.Error(), *t.n
	if m := matcherPlace.FindStringSubmatch(message); m != nil {
		message = message[len(m[0]):]
		offset, _ := strconv.Atoi(m[1])
		if src := b.files[t.n]; src != nil && place.Line <= len(src.lines) {
			line := []rune(src.lines[place.Line-1])
			start := min(place.Column-1, len(line))
			if t.n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 {
				start = min(start+1, len(line))
			}
			if strings.HasPrefix(string(line[start:]), t.v) {
				place.Column = start + 1 + offset
			}
		}
	}
	b.files[&place] = b.files[t.n]
	b.problem(&place, "write it as in label=\"value\", label!=\"value\", label=~\"regex\"", "%s is not a matcher: %s", fmt.Sprintf("%q", t.v), message)
	return nil
}
