package config

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"watchbill"
	"watchbill/collector"
	"watchbill/collector/heartbeat"
	"watchbill/escalation"
	"watchbill/incident"
	"watchbill/incident/change"
	"watchbill/intake"
	"watchbill/internal/auth"
	"watchbill/internal/notify"
	"watchbill/internal/watchdog"
	"watchbill/router"
	"watchbill/runbooks"
	"watchbill/targets"
)

// Defaults of the daemon's own keys. Those of the rooms are in the rooms.
const (
	DefaultListen = "127.0.0.1:9095"
	DefaultStore  = "sqlite:data/watchbill.db"

	DefaultKeepIncidents = 400 * 24 * time.Hour

	DefaultPagesPerMinute = 5
)

// Config is a whole configuration: what the daemon needs, and the Config of
// each room.
type Config struct {
	Path        string // of the main file
	ExternalURL string // without a slash at the end
	Store       string // path of the SQLite file
	Listen      string // host:port
	WebConfig   string // file of TLS for it, in exporter-toolkit's format; empty: plain HTTP
	DataDir     string // folder of the store and of the time series
	// KeepIncidents is how long an incident is kept after it closed.
	KeepIncidents time.Duration
	// PagesPerMinute is how many messages one person gets in a minute before pages
	// are bundled; those of sev1 are not.
	PagesPerMinute int

	Matrix   watchbill.Matrix
	People   []watchbill.Person
	Services []watchbill.Service

	Collector  collector.Config
	Hooks      []intake.Source
	Mail       Mail
	Heartbeats heartbeat.Config
	Targets    targets.Config
	Router     router.Config
	Escalation escalation.Config
	Coverage   Coverage
	Incident   incident.Config
	Changes    change.Config
	Runbooks   runbooks.Config
	// RunbookCover says for every alert that the configuration can bring about, and
	// for every activity, which runbook it gets.
	RunbookCover []RunbookCover
	Notify       notify.Config
	Auth         auth.Config
	Watch        watchdog.Config

	// AuditURL is where the head of the audit log is published; empty: nowhere.
	AuditURL watchdog.Secret

	// SelfMonitoring has the daemon watch its own metrics with the rules that it
	// brings.
	SelfMonitoring bool

	// Warnings are doubts that do not keep the configuration from being used.
	Warnings Problems

	// Line returns where something stands, as "watchbill.yaml:41": a path of
	// keys, list indices and names, such as "listen", "people.ana.contact.0" or
	// "matrix.security". It returns "" for what was not written.
	Line func(path string) string
	// Written is what stands in the files.
	Written Written
}

// Format writes what the configuration is about and nothing that is in it, so
// that no log line can hold a secret.
func (c Config) Format(w fmt.State, _ rune) {
	_, _ = fmt.Fprintf(w, "configuration %s: %d services, %d people, %d receivers",
		c.Path, len(c.Services), len(c.People), len(c.Notify.Receivers))
}

// Load reads a configuration and everything it names. The error is [Problems]:
// all mistakes of all files at once, and the doubts beside them. env looks up
// environment variables; it may be nil.
func Load(path string, env func(string) string) (*Config, error) {
	if env == nil {
		env = func(string) string { return "" }
	}
	l := newLoader(path, env)
	root := l.readAll()
	if root == nil && len(l.problems.Errors()) == 0 {
		l.problems = append(l.problems, Problem{
			File: path, Message: "the configuration is empty",
			Advice: "`watchbill init DIR` writes one to start with",
		})
	}
	if root == nil {
		return nil, l.found()
	}
	b := &builder{loader: l, root: root, cfg: &Config{Path: path, DataDir: "", Line: l.lines(root), Written: written(root)}}
	l.decodeNodeInto(root, &b.file, "the configuration")
	b.build()
	found := l.found()
	if len(found.Errors()) > 0 {
		return nil, found
	}
	b.cfg.Warnings = found
	return b.cfg, nil
}

// Explain returns the problems in an error of [Load], and the error as a problem
// of the file if it is none.
func Explain(path string, err error) Problems {
	if problems, ok := errors.AsType[Problems](err); ok {
		return problems
	}
	return Problems{{File: path, Message: err.Error()}}
}

func (l *loader) decodeNodeInto(n *yaml.Node, out any, what string) {
	l.decode(n, reflect.ValueOf(out).Elem(), what)
}

// lines returns Config.Line for a configuration.
func (l *loader) lines(root *yaml.Node) func(string) string {
	return func(path string) string {
		n := root
		place := root
		for step := range strings.SplitSeq(path, ".") {
			if n == nil {
				return ""
			}
			place, n = child(n, step)
		}
		if place == nil {
			return ""
		}
		return l.line(place)
	}
}

// child finds a step of a path in a node: a key, a list index, or the name of a
// list's entry. It returns where the step stands and what it leads to.
func child(n *yaml.Node, step string) (place, value *yaml.Node) {
	switch n.Kind {
	case yaml.MappingNode:
		return keyNode(n, step), valueNode(n, step)
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(n.Content) {
			return n.Content[i], n.Content[i]
		}
		for _, item := range n.Content {
			for _, key := range []string{"name", "id"} {
				if v := valueNode(item, key); v != nil && v.Value == step {
					return item, item
				}
			}
		}
	case yaml.ScalarNode, yaml.DocumentNode, yaml.AliasNode:
	}
	return nil, nil
}

// builder makes the rooms' configurations of a decoded file.
type builder struct {
	*loader
	root *yaml.Node
	file sections
	cfg  *Config

	roles      []string // names to suggest
	people     []string
	services   []string
	activities []string
	intervals  []string
	receivers  []string // configured and built in
	texting    []string // receivers of text messages
	smtp       bool     // global.smtp_smarthost is set
	smtpFrom   bool     // global.smtp_from is set

	ownReceivers []string // configured
	anyReceiver  bool     // receivers could not be read: do not complain about names
	guessing     bool     // somebody's role is unknown: do not say who lacks which
	untrusted    bool     // roles could not be read: do not complain about their names

	mergedInto map[string]string // by role of the preset
}

// build fills the configuration, in the order in which the parts need each
// other's names.
func (b *builder) build() {
	b.general()
	b.matrix()
	b.alertmanager()
	b.sms()
	b.servicesSection()
	b.peopleSection()
	b.timing()
	b.routing()
	b.overrides()
	b.rosters()
	b.coverage()
	b.paths()
	b.prometheus()
	b.targetFiles()
	b.heartbeats()
	b.writers()
	b.mail()
	b.foreignRules()
	b.watch()
	b.changes()
	b.assemble()
	b.orphans()
	b.runbookCover()
}

// general reads the daemon's own keys.
func (b *builder) general() {
	f, c := &b.file, b.cfg
	c.ExternalURL = strings.TrimRight(f.ExternalURL.v, "/")
	if !f.ExternalURL.given() {
		if keyNode(b.root, "external_url") == nil {
			b.problem(b.root, "add external_url: https://… with the address at which people reach the daemon", "external_url is missing")
		}
	} else if u, err := url.Parse(f.ExternalURL.v); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		b.problem(f.ExternalURL.n, "write an address such as https://watchbill.example.com", "external_url must be an http or https address without a password")
	}
	c.Listen = f.Listen.or(DefaultListen)
	if f.Listen.given() {
		_, port, err := net.SplitHostPort(c.Listen)
		if n, perr := strconv.Atoi(port); err != nil || perr != nil || n < 0 || n > 65535 {
			b.problem(f.Listen.n, "write "+DefaultListen+", or 0.0.0.0:9095 for all interfaces", "listen must be host:port, not %q", c.Listen)
		}
	}
	store := f.Store.or(DefaultStore)
	path, ok := strings.CutPrefix(store, "sqlite:")
	if !ok || path == "" {
		b.problem(f.Store.n, "write sqlite:PATH, as in "+DefaultStore, "the store must be sqlite:PATH")
	}
	c.Store = b.absolute(f.Store.n, filepath.FromSlash(path))
	c.DataDir = filepath.Dir(c.Store)
	c.KeepIncidents = cmp.Or(b.positive(f.Retention.Incidents, "incidents"), DefaultKeepIncidents)
	per := f.Storm.PagesPerMinute
	if c.PagesPerMinute = per.or(DefaultPagesPerMinute); c.PagesPerMinute < 1 {
		b.problem(per.n, "write 5", "pages_per_minute must be at least 1")
	}
	b.webConfig()
	b.signIn()
	if dir := f.Runbooks.Dir; dir.given() {
		c.Runbooks.Dir = b.absolute(dir.n, dir.v)
		if b.needFolder(dir, c.Runbooks.Dir) {
			b.runbooks(dir)
		}
	}
}

// runbooks reads the runbooks, to find their mistakes before a page needs them.
func (b *builder) runbooks(dir text) {
	_, problems, err := runbooks.New(b.cfg.Runbooks)
	if err != nil {
		b.problem(dir.n, "name a folder of *.md files that the daemon may read", "%v", err)
		return
	}
	for _, p := range problems {
		own := Problem{Message: p.Message, Advice: p.Hint, Warning: p.Warning}
		path := filepath.Join(b.resolve(dir.n, dir.v), p.File)
		src := b.sources[path]
		if src == nil {
			if content, err := b.read(path); err == nil {
				src = b.newSource(path, content)
			}
		}
		if src == nil {
			own.Message = p.File + ": " + own.Message
			b.record(dir.n, own)
			continue
		}
		b.recordAt(src, p.Line, p.Col, own)
	}
}

// positive returns a duration that may be left out but not be zero.
func (b *builder) positive(d duration, what string) time.Duration {
	if d.given() && d.v <= 0 {
		b.problem(d.n, "write a duration such as 15m, or remove the key for the default", "%s must be longer than nothing", what)
	}
	return d.v
}

// assemble hands the shared parts to the rooms that need them.
func (b *builder) assemble() {
	c := b.cfg
	c.Collector.ExternalURL, c.Notify.ExternalURL = c.ExternalURL, c.ExternalURL
	c.Router.Matrix, c.Escalation.Matrix = c.Matrix, c.Matrix
	c.Router.Services, c.Escalation.Services = c.Services, c.Services
	c.Notify.People, c.Escalation.People = c.People, c.People
}
