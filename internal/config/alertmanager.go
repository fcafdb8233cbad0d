package config

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	amconfig "github.com/prometheus/alertmanager/config"
	amcommoncfg "github.com/prometheus/alertmanager/config/common"
	amtemplate "github.com/prometheus/alertmanager/template"
	"github.com/prometheus/alertmanager/timeinterval"
	promconfig "github.com/prometheus/prometheus/config"
	"go.yaml.in/yaml/v3"

	"watchbill/internal/notify"
)

const (
	receiverAdvice = "see https://prometheus.io/docs/alerting/latest/configuration/#receiver-integration-settings"
	inhibitAdvice  = "see https://prometheus.io/docs/alerting/latest/configuration/#inhibit_rule"
	intervalAdvice = "see https://prometheus.io/docs/alerting/latest/configuration/#time_interval"
	globalAdvice   = "see https://prometheus.io/docs/alerting/latest/configuration/#file-layout-and-global-settings"
)

// rootReceiver is the name of a receiver that is added so that the library,
// which cannot do without a route, has somewhere to route to.
const rootReceiver = "watchbill root"

// splitGlobal divides the global section between Prometheus and Alertmanager.
func (b *builder) splitGlobal() (prometheus, alertmanager *yaml.Node) {
	prometheus, alertmanager = newMapping(), newMapping()
	global := b.file.Global.n
	if global == nil || isNull(global) {
		return prometheus, alertmanager
	}
	if global.Kind != yaml.MappingNode {
		b.problem(global, "write `key: value` lines", "global must be a mapping, not a %s", kindName(global))
		return prometheus, alertmanager
	}
	for _, half := range []*yaml.Node{prometheus, alertmanager} {
		half.Line, half.Column = global.Line, global.Column
		b.files[half] = b.files[global]
	}
	ours := yamlKeys(reflect.TypeFor[promconfig.GlobalConfig]())
	theirs := yamlKeys(reflect.TypeFor[amconfig.GlobalConfig]())
	for k, v := range pairs(global) {
		switch {
		case slices.Contains(ours, k.Value):
			prometheus.Content = append(prometheus.Content, k, v)
		case slices.Contains(theirs, k.Value):
			alertmanager.Content = append(alertmanager.Content, k, v)
		default:
			b.problem(k, didYouMean(k.Value, slices.Concat(ours, theirs), globalAdvice), "unknown key %q in global", k.Value)
		}
	}
	return prometheus, alertmanager
}

// alertmanager reads the sections in Alertmanager's format.
func (b *builder) alertmanager() {
	_, global := b.splitGlobal()
	has := func(key string) bool { v := valueNode(global, key); return v != nil && !isNull(v) }
	b.smtp, b.smtpFrom = has("smtp_smarthost"), has("smtp_from")
	whole := func(global *yaml.Node, key string, entries ...*yaml.Node) *yaml.Node {
		receivers := newList(newMapping(newText("name"), newText(rootReceiver)))
		doc := newMapping(newText("global"), global,
			newText("route"), newMapping(newText("receiver"), newText(rootReceiver)),
			newText("receivers"), receivers)
		switch key {
		case "":
		case "receivers":
			receivers.Content = append(receivers.Content, entries...)
		default:
			doc.Content = append(doc.Content, newText(key), newList(entries...))
		}
		return doc
	}
	check := func(text string) error {
		return guarded(func() error { _, err := amconfig.Load(text); return err })
	}
	ok := b.accept(global, section{
		what: "global", types: []reflect.Type{reflect.TypeFor[amconfig.GlobalConfig]()}, advice: globalAdvice, check: check,
		build: func(n *yaml.Node) *yaml.Node { return whole(n, "") },
	})
	kinds := []struct {
		key, what, advice string
		typ               reflect.Type
		entries           []*yaml.Node
	}{
		{"receivers", "receiver", receiverAdvice, reflect.TypeFor[amconfig.Receiver](), b.named(b.file.Receivers.n, "receiver")},
		{"inhibit_rules", "inhibit rule", inhibitAdvice, reflect.TypeFor[amcommoncfg.InhibitRule](), b.entries(b.file.InhibitRules.n, "inhibit_rules")},
		{"time_intervals", "time interval", intervalAdvice, reflect.TypeFor[amconfig.TimeInterval](), b.named(b.file.Intervals.n, "time interval")},
	}
	b.secretFiles(global)
	doc := whole(global, "")
	for _, k := range kinds {
		for _, entry := range k.entries {
			s := section{
				what: k.what, types: []reflect.Type{k.typ}, advice: k.advice, check: check,
				build: func(n *yaml.Node) *yaml.Node { return whole(global, k.key, n) },
			}
			if !ok {
				// The mistake in global would come back with every entry.
				s.build = func(n *yaml.Node) *yaml.Node { return whole(newMapping(), k.key, n) }
				s.check = func(text string) error { return onlyLines(check(text)) }
			}
			b.accept(entry, s)
			b.secretFiles(entry)
		}
		if k.key == "receivers" {
			list := valueNode(doc, "receivers")
			list.Content = append(list.Content, k.entries...)
		} else {
			doc.Content = append(doc.Content, newText(k.key), newList(k.entries...))
		}
	}
	b.receiverNames(kinds[0].entries)
	for _, n := range kinds[2].entries {
		if v := valueNode(n, "name"); v != nil {
			b.intervals = append(b.intervals, v.Value)
		}
	}
	if len(b.problems.Errors()) == 0 {
		b.loadAlertmanager(doc)
	}
	b.templates()
}

// onlyLines keeps an error that names lines: it is about the entry itself.
func onlyLines(err error) error {
	if err != nil && errorLine.MatchString(err.Error()) {
		return err
	}
	return nil
}

// loadAlertmanager reads all sections at once, so that the global section's
// defaults are applied, and takes the result over.
func (b *builder) loadAlertmanager(doc *yaml.Node) {
	var loaded *amconfig.Config
	err := guarded(func() (err error) {
		loaded, err = amconfig.Load(b.render(doc).text.String())
		return err
	})
	if err != nil {
		b.problem(b.root, "check what the sections receivers, inhibit_rules and time_intervals share, such as names", "%s", b.redact(plainMessage(err), b.root, nil))
		return
	}
	b.cfg.Notify.Global = loaded.Global
	b.cfg.Notify.Receivers = slices.DeleteFunc(loaded.Receivers, func(r amconfig.Receiver) bool { return r.Name == rootReceiver })
	b.cfg.Router.InhibitRules = loaded.InhibitRules
	b.cfg.Router.ResolveTimeout = time.Duration(loaded.Global.ResolveTimeout)
	for _, ti := range loaded.TimeIntervals {
		if b.cfg.Router.TimeIntervals == nil {
			b.cfg.Router.TimeIntervals = map[string][]timeinterval.TimeInterval{}
		}
		b.cfg.Router.TimeIntervals[ti.Name] = ti.TimeIntervals
	}
}

// entries returns the entries of a list that a library reads.
func (b *builder) entries(n *yaml.Node, what string) []*yaml.Node {
	if n == nil || isNull(n) {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		b.problem(n, "write it as a list, with a dash before each entry", "%s must be a list, not a %s", what, kindName(n))
		return nil
	}
	var out []*yaml.Node
	for _, item := range n.Content {
		if item.Kind != yaml.MappingNode {
			b.problem(item, "write `key: value` lines after the dash", "an entry of %s must be a mapping, not a %s", what, kindName(item))
			continue
		}
		out = append(out, item)
	}
	return out
}

// named returns the entries of a list whose names must differ.
func (b *builder) named(n *yaml.Node, what string) []*yaml.Node {
	seen := map[string]*yaml.Node{}
	var out []*yaml.Node
	for _, entry := range b.entries(n, what+"s") {
		name := valueNode(entry, "name")
		if name != nil && name.Kind == yaml.ScalarNode && !isNull(name) {
			if first := seen[name.Value]; first != nil {
				b.problem(name, "it is also defined at "+b.place(first)+": rename or remove one of the two", "a second %s %q", what, name.Value)
				continue
			}
			seen[name.Value] = name
		}
		out = append(out, entry)
	}
	return out
}

// receiverNames collects the names that contacts may use, and refuses receivers
// that could not reach anybody.
func (b *builder) receiverNames(entries []*yaml.Node) {
	for _, entry := range entries {
		channels := 0
		for k, v := range pairs(entry) {
			if !strings.HasSuffix(k.Value, "_configs") || v.Kind != yaml.SequenceNode {
				continue
			}
			for _, item := range v.Content {
				if channels++; isNull(item) {
					b.problem(item, receiverAdvice, "receiver: an empty entry in %s", k.Value)
				}
			}
		}
		name := valueNode(entry, "name")
		if name == nil || name.Kind != yaml.ScalarNode {
			b.anyReceiver = true
			continue
		}
		if channels == 0 {
			b.problem(name, "add webhook_configs, email_configs, slack_configs or another of Alertmanager's integrations", "the receiver %q sends nothing anywhere", name.Value)
		}
		if name.Value == notify.TerminalReceiver {
			b.problem(name, "choose another name", "%q is the built-in receiver that prints pages where the daemon runs", name.Value)
		}
		b.ownReceivers = append(b.ownReceivers, name.Value)
	}
	b.anyReceiver = b.anyReceiver || b.file.Receivers.n != nil && b.file.Receivers.n.Kind != yaml.SequenceNode
	b.receivers = append(slices.Clone(b.ownReceivers), notify.TerminalReceiver, notify.EmailReceiver)
}

var templatePlace = regexp.MustCompile(`^template: [^:]*:(\d+)(?::(\d+))?: (?:executing [^:]*: )?`)

// templates reads the user's template files, to find their mistakes before a
// page does.
func (b *builder) templates() {
	for _, pattern := range b.file.Templates {
		for _, path := range b.glob(pattern) {
			content, err := b.read(path)
			if err != nil {
				b.problem(pattern.n, "make the file readable", "%s cannot be read: %v", b.relative(path), err)
				continue
			}
			b.cfg.Notify.Templates = append(b.cfg.Notify.Templates, fullPath(path))
			if err := guarded(func() error { _, err := amtemplate.FromGlobs([]string{path}); return err }); err != nil {
				src, line, col := b.newSource(path, content), 1, 0
				message := err.Error()
				if m := templatePlace.FindStringSubmatch(message); m != nil {
					message = message[len(m[0]):]
					line, _ = strconv.Atoi(m[1])
					col, _ = strconv.Atoi(m[2])
				}
				if col == 0 {
					col = src.indent(line)
				}
				b.recordAt(src, line, col+1, Problem{Message: "template: " + message, Advice: "templates are Go templates, as Alertmanager's"})
			}
		}
	}
}

// secretFiles warns about a secret's file that is not there.
func (b *builder) secretFiles(n *yaml.Node) {
	for k, v := range pairs(n) {
		if slices.Contains(free, k.Value) {
			continue
		}
		if strings.HasSuffix(k.Value, "_file") && v.Kind == yaml.ScalarNode && v.Value != "" && !strings.Contains(v.Value, "${") {
			if _, err := os.Stat(b.resolve(v, filepath.FromSlash(v.Value))); err != nil {
				b.warn(v, "make it before the daemon starts", "%s: %s cannot be read: %v", k.Value, v.Value, plainFileError(err))
			}
		}
		b.secretFiles(v)
	}
	if n != nil && n.Kind == yaml.SequenceNode {
		for _, item := range n.Content {
			b.secretFiles(item)
		}
	}
}
