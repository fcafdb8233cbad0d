package deploy

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"watchbill/internal/scenario"
)

// play plays a scenario of an example, against another configuration unless it is
// empty, and returns what differs from its timeline.
func play(t *testing.T, path, config string) string {
	t.Helper()
	s, err := scenario.ReadFile(path)
	require.NoError(t, err)
	script, err := s.Unpack(t.TempDir(), config)
	require.NoError(t, err)
	entries, err := scenario.Play(t, script, memory(t), noEnv)
	require.NoError(t, err)
	return scenario.Diff(s.Want, scenario.Text(script.Start, entries))
}

// memory is a folder in memory where there is one: hundreds of plays need not
// wait for a disk.
func memory(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "watchbill") //nolint:usetesting // T.TempDir is on a disk
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// TestScenarios holds every promise of the examples.
func TestScenarios(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("examples/*/scenarios/*.txtar")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 12)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			s, err := scenario.ReadFile(file)
			require.NoError(t, err)
			require.NotEmpty(t, s.Promise, "a scenario says what it promises")
			require.Empty(t, play(t, file, ""))
		})
	}
}

// mutant is one routing decision that is made otherwise, and the scenario that
// notices.
type mutant struct {
	path    string // of what is replaced
	value   string // in YAML; empty removes it
	noticed string // by this scenario
}

func small() []mutant {
	all := []mutant{
		{"services.0.owner", "security", "disks"},
		{"services.1.owner", "security", "disks"},
		{"services.2.owner", "security", "disks"},
		{"services.0.environments", "[preprod, prod]", "night"},
		{"services.1.environments", "[preprod, prod]", "disks"},
		{"services.2.environments", "[preprod, prod]", "disks"},

		{"services.0.depends_on", "", "depends"},
		{"services.0.depends_on", "[db]", "depends"},
		{"services.1.depends_on", "", "depends"},

		{"people.0.roles", "[support, security]", "security"},
		{"people.1.roles", "[support, security]", "security"},
		{"people.2.roles", "[deployment, security]", "security"},
		{"people.3.roles", "[infrastructure, deployment, support]", "night"},
		{"people.4.roles", "[security, support]", "night"},
		{"people.5.roles", "[manager, support]", "night"},
		{"people.0.contact", "[{receiver: email}, {receiver: ana-push, after: 2m}]", "night"},
		{"people.0.contact.1.after", "3m", "night"},
		{"people.1.contact", "[{receiver: email}]", "night"},
		{"people.1.contact.1.after", "1m", "night"},
		{"people.2.contact", "[{receiver: dmitri-push}, {receiver: email, after: 2m}]", "night"},
		{"people.2.contact.1.after", "0s", "night"},
		{"people.3.contact", "[{receiver: email, after: 2m}]", "night"},
		{"people.3.contact.1.after", "4m", "night"},
		{"people.4.contact", "[{receiver: email}]", "security"},
		{"people.4.contact.1.after", "1m", "security"},
		{"people.5.contact", "[{receiver: frank-push}]", "night"},

		{"rosters.0", "", "hours"},
		{"rosters.0.people", "[ana, ben]", "night"},
		{"rosters.0.start", "2026-11-23", "night"},
		{"rosters.0.handover", "tuesday 09:00", "handover"},
		{"rosters.0.handover", `"monday 10:00"`, "handover"},
		{"rosters.0.tz", "UTC", "handover"},
		{"rosters.0.hours.0.weekdays", "[tuesday:friday]", "hours"},
		{"rosters.0.hours.0.weekdays", "[monday:saturday]", "hours"},
		{"rosters.0.hours.0.from", `"07:00"`, "hours"},
		{"rosters.0.hours.0.from", `"09:00"`, "hours"},
		{"rosters.0.hours.0.to", `"19:00"`, "hours"},
		{"rosters.0.hours.0.to", `"21:00"`, "hours"},
		{"rosters.0.hours", "", "hours"},
		{"rosters.1", "", "night"},
		{"rosters.1.people", "[carla, dmitri]", "night"},
		{"rosters.1.start", "2026-11-23", "night"},
		{"rosters.1.handover", "sunday 09:00", "handover"},
		{"rosters.1.tz", "America/New_York", "handover"},

		{"activities.0", "", "disks"},
		{"activities.0.match", `['alertname="NodeDown"']`, "inhibited"},
		{"activities.0.activity", "performance", "disks"},
		{"activities.1", "", "weekend"},
		{"activities.1.match", `['severity="warning"']`, "grows"},
		{"activities.1.activity", "first-line", "weekend"},
		{"activities.1.mute_time_intervals", "", "weekend"},

		{"inhibit_rules.0", "", "inhibited"},
		{"inhibit_rules.0.source_matchers", `['alertname="DiskSlow"']`, "inhibited"},
		{"inhibit_rules.0.target_matchers", `['alertname="DiskSlow"']`, "inhibited"},
		{"inhibit_rules.0.equal", "[service]", "inhibited"},
		{"inhibit_rules.0.equal", "", "inhibited"},
		{"time_intervals.0.time_intervals.0.weekdays", "[saturday]", "weekend"},
		{"time_intervals.0.time_intervals.0.weekdays", "[sunday]", "weekend"},
		{"time_intervals.0.time_intervals.0.location", "UTC", "weekend"},

		{"escalation.second", "6m", "night"},
		{"escalation.manager", "11m", "night"},
		{"escalation.everyone", "16m", "night"},
		{"escalation.repeat", "20m", "night"},

		// What the configuration leaves to the defaults is decided too.
		{"severities", "{page: sev3}", "night"},
		{"severities", "{critical: sev3}", "security"},
		{"severities", "{warning: sev2}", "grows"},
		{"severities", "{ticket: sev4}", "hours"},
		{"severities", "{info: sev3}", "weekend"},
		{"severities", "{sev1: sev2}", "sev1"},
		{"severities", "{sev4: sev2}", "hours"},
		{"flapping", "{count: 2}", "flaps"},
		{"flapping", "{count: 4}", "flaps"},
		{"flapping", "{window: 30m}", "flaps"},
		{"flapping", "{clear_delay: 1m}", "flaps"},
		{"flapping", "{clear_delay: 20m}", "flaps"},
		{"storm", "{pages_per_minute: 4}", "storm"},
		{"storm", "{pages_per_minute: 6}", "storm"},
		{"silences", "{broad: 11}", "broad"},
		{"silences", "{reminder: 1m}", "silence"},
		{"incidents", "{reopen_window: 20m}", "returns"},
		{"incidents", "{quiet: 30m}", "held-quiet"},
		{"incidents", "{ack_deadlines: {sev1: 30m}}", "sev1"},
		{"incidents", "{ack_deadlines: {sev2: 20m}}", "lapsed"},
		{"incidents", "{ack_deadlines: {sev3: 30m}}", "grows"},
	}
	// The cells of the preset's matrix, in the rows that alerts can be given.
	for row, scenario := range map[string]string{"performance": "night", "security": "security", "states": "disks", "first-line": "lapsed"} {
		for _, role := range []string{"manager", "deployment", "infrastructure", "security", "support"} {
			mark := "yes"
			if marked(row, role) {
				mark = "no"
			}
			all = append(all, mutant{"matrix", fmt.Sprintf("{%s: {%s: %s}}", row, role, mark), scenario})
		}
	}
	return append(all, mutant{"matrix", "{performance: {support: yes}}", "night"}, mutant{"matrix", "{security: {support: first}}", "security"})
}

// marked are the cells of the preset operations in these rows.
func marked(row, role string) bool {
	return slices.Contains(map[string][]string{
		"performance": {"support", "deployment", "infrastructure"}, "security": {"security", "support"},
		"states": {"support"}, "first-line": {"support"},
	}[row], role)
}

func maintained() []mutant {
	return []mutant{
		{"maintenance.0", "", "maintenance"},
		{"maintenance.0.services", "[search]", "maintenance"},
		{"maintenance.0.cron", "0 3 * * sun", "maintenance"},
		{"maintenance.0.cron", "0 2 * * mon", "maintenance"},
		{"maintenance.0.duration", "1h", "maintenance"},
		{"maintenance.0.tz", "UTC", "maintenance"},
		{"maintenance.0.mute", "false", "maintenance"},
		{"maintenance.1", "", "maintenance"},
		{"maintenance.1.services", "[shop]", "maintenance"},
		{"maintenance.1.targets", "[shop-orders]", "maintenance"},
		{"maintenance.1.start", `"2026-12-01 21:00"`, "maintenance"},
		{"maintenance.1.end", `"2026-12-02 03:00"`, "maintenance"},
		{"maintenance.1.tz", "UTC", "maintenance"},
		{"maintenance.1.mute", "false", "maintenance"},
	}
}

// Every routing decision of an example matters to one of its scenarios: when it is
// made otherwise, that scenario fails, and its diff says who is paged instead.
func TestEveryRoutingDecisionIsHeldByAScenario(t *testing.T) {
	t.Parallel()
	for example, mutants := range map[string][]mutant{"small": small(), "targets": maintained()} {
		text, err := os.ReadFile(filepath.Join("examples", example, "watchbill.yaml"))
		require.NoError(t, err)
		for i, m := range mutants {
			if raced && i%8 != 0 { // the race detector finds nothing in the twentieth that it does not in the first
				continue
			}
			t.Run(fmt.Sprintf("%s %s is %s", example, m.path, m.value), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				require.NoError(t, os.CopyFS(dir, os.DirFS(filepath.Join("examples", example))))
				config := filepath.Join(dir, "watchbill.yaml")
				require.NoError(t, os.WriteFile(config, mutate(t, text, example, m), 0o600))
				diff := play(t, filepath.Join("examples", example, "scenarios", m.noticed+".txtar"), config)
				require.NotEmpty(t, diff, "%s does not notice", m.noticed)
				require.Regexp(t, `(?m)^[-+]\d\d:\d\d:\d\d  \+`, diff, "the diff names what happens, and when")
				t.Log("\n" + diff)
			})
		}
	}
}

// mutate replaces one value of a configuration. Sections that the rest of it does
// not need are left out of the small example: they cost most of its loading.
func mutate(t *testing.T, text []byte, example string, m mutant) []byte {
	t.Helper()
	var doc yaml.Node
	require.NoError(t, yaml.Unmarshal(text, &doc))
	root := doc.Content[0]
	if example == "small" {
		for _, section := range []string{"targets", "rule_files", "scrape_configs"} {
			replace(t, root, strings.Split(section, "."), nil)
		}
	}
	var value *yaml.Node
	if m.value != "" {
		var v yaml.Node
		require.NoError(t, yaml.Unmarshal([]byte(m.value), &v))
		value = v.Content[0]
	}
	replace(t, root, strings.Split(m.path, "."), value)
	out, err := yaml.Marshal(&doc)
	require.NoError(t, err)
	return out
}

// replace puts a value where a path leads, or removes what is there.
func replace(t *testing.T, n *yaml.Node, path []string, value *yaml.Node) {
	t.Helper()
	at, width := -1, 1
	if n.Kind == yaml.SequenceNode {
		_, err := fmt.Sscan(path[0], &at)
		require.NoError(t, err)
		require.Less(t, at, len(n.Content))
	} else {
		width = 2
		for i := 0; i < len(n.Content); i += 2 {
			if n.Content[i].Value == path[0] {
				at = i
			}
		}
		if at < 0 { // it is not written yet
			require.Len(t, path, 1)
			n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: path[0]}, value)
			return
		}
	}
	switch last := at + width - 1; {
	case len(path) > 1:
		replace(t, n.Content[last], path[1:], value)
	case value == nil:
		n.Content = slices.Delete(n.Content, at, at+width)
	default:
		n.Content[last] = value
	}
}

// What the mutants do not touch: names that people choose, and what says how a
// page reads, not to whom it goes. A roster of another role is one that is gone.
func untouched() []string {
	return []string{"name", "full_name", "tier", "level", "location", "email", "deputy", "role"}
}

// Every value in the sections that route is changed by some mutant.
func TestMutantsMissNothing(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("examples/small/watchbill.yaml")
	require.NoError(t, err)
	var doc yaml.Node
	require.NoError(t, yaml.Unmarshal(text, &doc))
	sections := []string{"services", "people", "rosters", "activities", "inhibit_rules", "time_intervals", "escalation"}
	var walk func(path string, n *yaml.Node)
	walk = func(path string, n *yaml.Node) {
		if slices.ContainsFunc(small(), func(m mutant) bool { return m.path == path && strings.Count(path, ".") > 1 }) {
			return
		}
		switch n.Kind {
		case yaml.MappingNode:
			for i := 0; i < len(n.Content); i += 2 {
				key := n.Content[i].Value
				if slices.Contains(untouched(), key) || strings.HasPrefix(path, "people.") && key == "tz" {
					continue
				}
				walk(path+"."+key, n.Content[i+1])
			}
		case yaml.SequenceNode:
			for i, item := range n.Content {
				walk(fmt.Sprintf("%s.%d", path, i), item)
			}
		case yaml.ScalarNode:
			require.True(t, slices.ContainsFunc(small(), func(m mutant) bool { return m.path == path }), "no mutant changes %s", path)
		case yaml.DocumentNode, yaml.AliasNode:
		}
	}
	root := doc.Content[0]
	for i := 0; i < len(root.Content); i += 2 {
		if slices.Contains(sections, root.Content[i].Value) {
			walk(root.Content[i].Value, root.Content[i+1])
		}
	}
}
