package config

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"

	amconfig "github.com/prometheus/alertmanager/config"
	"go.yaml.in/yaml/v3"

	"watchbill"
)

// Note is something of another program's configuration that is not carried as it
// was, and what that means.
type Note struct {
	Line  string `json:"line"`  // "alertmanager.yml:41"; empty for the whole file
	What  string `json:"what"`  // what stands there
	Means string `json:"means"` // what happens here instead
	Do    string `json:"do,omitempty"`
}

// Import is a configuration made of another program's.
type Import struct {
	Config []byte `json:"-"` // in YAML
	Notes  []Note `json:"notes"`
}

// maxImported bounds the rules that a tree of routes becomes.
const maxImported = 1000

// ImportAlertmanager makes a configuration of Alertmanager's. file is what its
// notes call it.
//
// Each receiver that a route names becomes a role, held by one person of the same
// name who is reached by it; each route becomes a rule of activities, whose row
// marks the role. The rules stand in the order in which Alertmanager looks at its
// routes, and a route that continues becomes a rule for each combination, so that
// the first rule that matches an alert names the receivers that Alertmanager would
// have used. The receiver of the root is the manager's.
func ImportAlertmanager(file string, text []byte) (*Import, error) {
	var cfg *amconfig.Config
	err := guarded(func() (err error) { cfg, err = amconfig.Load(string(text)); return err })
	if err != nil {
		return nil, watchbill.Invalidf("check it with: amtool check-config "+file, "%s is not a configuration of Alertmanager: %v", file, err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil || len(doc.Content) == 0 {
		return nil, watchbill.Invalidf("check it with: amtool check-config "+file, "%s cannot be read: %v", file, err)
	}
	im := &importer{file: file, cfg: cfg, root: doc.Content[0], names: map[string]string{}, taken: map[string]bool{}}
	im.rules, err = im.flatten()
	if err != nil {
		return nil, err
	}
	im.remarks()
	out, err := im.write()
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(im.notes, func(a, b Note) int { return byLine(a.Line, b.Line) })
	return &Import{Config: out, Notes: im.notes}, nil
}

// importer makes one configuration.
type importer struct {
	file  string
	cfg   *amconfig.Config
	root  *yaml.Node
	rules []imported
	notes []Note
	names map[string]string // of roles and people, by receiver
	taken map[string]bool
	used  []string // receivers that routes name and that reach somebody, the root's first
	muted bool     // some route leads nowhere
}

func (im *importer) note(n *yaml.Node, what, means, do string) {
	line := im.file
	if n != nil {
		line = fmt.Sprintf("%s:%d", im.file, n.Line)
	}
	im.notes = append(im.notes, Note{Line: line, What: what, Means: means, Do: do})
}

// silent reports whether a receiver sends nothing anywhere, which is how
// Alertmanager is told to drop alerts.
func (im *importer) silent(receiver string) bool {
	for entry := range im.entries("receivers") {
		if name := valueNode(entry, "name"); name == nil || name.Value != receiver {
			continue
		}
		for k, v := range pairs(entry) {
			if strings.HasSuffix(k.Value, "_configs") && v.Kind == yaml.SequenceNode && len(v.Content) > 0 {
				return false
			}
		}
		return true
	}
	return true
}

func (im *importer) entries(key string) func(func(*yaml.Node) bool) {
	list := valueNode(im.root, key)
	return func(yield func(*yaml.Node) bool) {
		if list == nil {
			return
		}
		for _, entry := range list.Content {
			if !yield(entry) {
				return
			}
		}
	}
}

var notInNames = regexp.MustCompile(`[^A-Za-z0-9._@-]+`)

// name returns what the role and the person of a receiver are called.
func (im *importer) name(receiver string) string {
	if name, ok := im.names[receiver]; ok {
		return name
	}
	base := strings.Trim(notInNames.ReplaceAllString(receiver, "-"), "-._@")
	if base == "" {
		base = "receiver"
	}
	name := base
	for n := 2; im.taken[name]; n++ {
		name = fmt.Sprintf("%s-%d", base, n)
	}
	im.names[receiver], im.taken[name] = name, true
	return name
}

// remarks notes what is not carried, outside of the routes.
func (im *importer) remarks() {
	for key, means := range map[string]string{
		"tracing":        "nothing is traced",
		"event_recorder": "events are in the store, and in watchbill incident show",
	} {
		if k := keyNode(im.root, key); k != nil {
			im.note(k, "the section "+key, means, "")
		}
	}
	if r := valueNode(im.root, "route"); r != nil {
		im.timing(r)
	}
	for entry := range im.entries("receivers") {
		im.receiver(entry)
	}
	for entry := range im.entries("templates") {
		im.note(entry, "the template file "+entry.Value, "it is used as it is; a page's own data are the annotations of one alert, so that text which ranges over alerts shows one", "run watchbill check: it executes every template")
	}
	im.note(nil, "who is behind each receiver", "each is one person of its name, who is always on duty", "replace them with the people, and give roles of several people a roster")
	im.note(nil, "what happens when nobody reacts", "the first page goes out as before; then it climbs to the manager, who has the root's receiver, and to everyone, until somebody acknowledges", "set the delays in escalation:, and the manager's role")
	im.note(nil, "how urgent an alert is", `its label severity decides: critical and page are sev2, warning is sev3; anything else, "info" too, is sev3 as well, so that it pages as before`, "set severities:, and hours: in rosters, so that what can wait does")
}

// byLine orders places of one file; those without a number come last.
func byLine(a, b string) int {
	number := func(s string) int {
		n := 1 << 30
		if i := strings.LastIndexByte(s, ':'); i >= 0 {
			_, _ = fmt.Sscan(s[i+1:], &n)
		}
		return n
	}
	return number(a) - number(b)
}

// timing notes the settings of routes that this daemon decides otherwise, once
// for each value.
func (im *importer) timing(route *yaml.Node) {
	seen := map[string]bool{}
	var walk func(*yaml.Node)
	walk = func(r *yaml.Node) {
		for k, v := range pairs(r) {
			value := strings.TrimSpace(render(v))
			if seen[k.Value+value] {
				continue
			}
			switch k.Value {
			case "group_by":
				im.note(k, "group_by: "+value, "alerts with the same service, environment and receiver are one incident", "give alerts the labels service and environment")
			case "group_wait":
				im.note(k, "group_wait: "+value, "the first alert of a group pages at once; those that follow join its incident", "")
			case "group_interval", "repeat_interval":
				im.note(k, k.Value+": "+value, "an incident pages again when it becomes more severe, and by its escalation until somebody acknowledges; after that it does not repeat", "set repeat: in escalation:")
			case "labels":
				im.note(k, "labels of a route", "they are not added to what receivers are sent", "")
			}
			seen[k.Value+value] = true
		}
		if routes := valueNode(r, "routes"); routes != nil {
			for _, sub := range routes.Content {
				walk(sub)
			}
		}
	}
	walk(route)
}

// render writes a node on one line.
func render(n *yaml.Node) string {
	c := *n
	c.HeadComment, c.LineComment, c.FootComment = "", "", ""
	if c.Kind != yaml.ScalarNode {
		c.Style = yaml.FlowStyle
	}
	b, err := yaml.Marshal(&c)
	if err != nil {
		return ""
	}
	return strings.Join(strings.Fields(string(b)), " ")
}

func (im *importer) receiver(entry *yaml.Node) {
	name := valueNode(entry, "name")
	if name == nil {
		return
	}
	switch {
	case im.silent(name.Value):
		im.note(entry, "the receiver "+name.Value+", which sends nothing", "alerts that are routed to it are muted by the time interval always, and can be seen with watchbill alert why", "")
		return
	case !slices.Contains(im.used, name.Value):
		im.note(entry, "the receiver "+name.Value+", which no route uses", "it is carried, and reaches nobody", "name it in somebody's contact list, or remove it")
	}
	for k, v := range pairs(entry) {
		if k.Value == "labels" {
			im.note(k, "labels of a receiver", "they are not carried", "")
		}
		if v.Kind != yaml.SequenceNode {
			continue
		}
		for _, c := range v.Content {
			if r := valueNode(c, "send_resolved"); r != nil && r.Value == "true" {
				im.note(r, "send_resolved: true, of "+name.Value, "nobody is paged when alerts end; the incident resolves, and its pages stop", "")
			}
		}
	}
}

// write writes the configuration.
func (im *importer) write() ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Made from %s by watchbill import alertmanager. Paths in it are as they were:\n# keep it in the same folder. docs/configuration.md describes every key.\n\n", im.file)
	b.WriteString("# The address at which people reach watchbill. It stands in every page.\nexternal_url: http://127.0.0.1:9095\n")
	sections := []struct {
		comment string
		node    *yaml.Node
	}{
		{"", im.copied("global")},
		{"A role for each receiver. Whoever has the root's answers for what nobody owns.", im.rolesNode()},
		{"Whose the alerts of each rule below are.", im.matrixNode()},
		{"Replace these with the people behind the receivers.", im.peopleNode()},
		{"Alertmanager's routes, in the order in which it looks at them.", im.activitiesNode()},
		{"Alertmanager knows no severities: nothing is held back for being only information.", mapping("severities", newMapping(scalar("info"), scalar("sev3"), scalar("sev4"), scalar("sev3")))},
		{"", im.intervalsNode()},
		{"", im.copied("inhibit_rules")},
		{"", im.receiversNode()},
		{"", im.copied("templates")},
	}
	for _, s := range sections {
		if s.node == nil {
			continue
		}
		b.WriteByte('\n')
		if s.comment != "" {
			b.WriteString("# " + s.comment + "\n")
		}
		e := yaml.NewEncoder(&b)
		e.SetIndent(2)
		if err := e.Encode(s.node); err != nil {
			return nil, fmt.Errorf("write the configuration: %w", err)
		}
	}
	return b.Bytes(), nil
}

func scalar(v string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(v)
	return n
}

func mapping(key string, value *yaml.Node) *yaml.Node { return newMapping(scalar(key), value) }

func flow(n *yaml.Node) *yaml.Node {
	n.Style = yaml.FlowStyle
	return n
}

func list(values ...string) *yaml.Node {
	n := flow(newList())
	for _, v := range values {
		n.Content = append(n.Content, scalar(v))
	}
	return n
}

// copied is a section as it stands, or nil if it is not there.
func (im *importer) copied(key string) *yaml.Node {
	v := valueNode(im.root, key)
	if v == nil || isNull(v) || len(v.Content) == 0 {
		return nil
	}
	return mapping(key, v)
}

func (im *importer) rolesNode() *yaml.Node {
	roles := newList()
	for i, receiver := range im.used {
		role := flow(newMapping(scalar("id"), scalar(im.name(receiver))))
		if i == 0 {
			role.Content = append(role.Content, scalar("manager"), &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: "true"})
		}
		roles.Content = append(roles.Content, role)
	}
	return mapping("roles", roles)
}

func (im *importer) matrixNode() *yaml.Node {
	rows := newMapping()
	row := func(activity, mark string, receivers ...string) {
		cells := flow(newMapping())
		for _, r := range receivers {
			cells.Content = append(cells.Content, scalar(im.name(r)), scalar(mark))
		}
		rows.Content = append(rows.Content, scalar(activity), cells)
	}
	seen := map[string]bool{}
	for _, r := range im.rules {
		if a := im.activity(r); len(r.receivers) > 0 && !seen[a] {
			seen[a] = true
			row(a, "first", r.receivers...)
		}
	}
	for _, activity := range []watchbill.ActivityID{watchbill.ActivityPerformance, watchbill.ActivitySecurity, watchbill.ActivityStates, watchbill.ActivityFirstLine} {
		row(string(activity), "first", im.used[0])
	}
	row(string(watchbill.ActivityRaiseAlerts), "yes", im.used...)
	row(string(watchbill.ActivityChangeProduction), "yes", im.used[0])
	row(string(watchbill.ActivityDeployPlatform), "yes", im.used[0])
	return mapping("matrix", rows)
}

func (im *importer) peopleNode() *yaml.Node {
	people := newList()
	for _, receiver := range im.used {
		p := flow(newMapping(scalar("name"), scalar(im.name(receiver)), scalar("roles"), list(im.name(receiver))))
		if receiver != "" {
			p.Content = append(p.Content, scalar("contact"), flow(newList(flow(mapping("receiver", scalar(im.renamed(receiver)))))))
		}
		people.Content = append(people.Content, p)
	}
	return mapping("people", people)
}
