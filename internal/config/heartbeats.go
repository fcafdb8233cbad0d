package config

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"watchbill/collector/heartbeat"
)

type heartbeatEntry struct {
	where
	Name     text        `yaml:"name"`
	Key      text        `yaml:"key"`
	KeyFile  text        `yaml:"key_file"`
	Slug     text        `yaml:"slug"`
	Alert    []text      `yaml:"alert"`
	Period   duration    `yaml:"period"`
	Cron     text        `yaml:"cron"`
	TZ       text        `yaml:"tz"`
	Grace    duration    `yaml:"grace"`
	Severity text        `yaml:"severity"`
	Labels   table[text] `yaml:"labels"`
}

// The bounds of a period, and the shortest secret that may stand in an address.
const (
	minBeat    = 10 * time.Second
	maxBeat    = 366 * 24 * time.Hour
	minBeatKey = 16
)

// beatKey is a key that needs no escaping in an address, such as a UUID.
var beatKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// heartbeats reads the heartbeats.
func (b *builder) heartbeats() {
	seen := map[string]*yaml.Node{}
	type address struct {
		key  [32]byte
		slug string
	}
	taken := map[address]string{}
	for _, e := range b.file.Heartbeats {
		if !b.name(e.Name, e.Node, "heartbeat", seen) {
			continue
		}
		h := heartbeat.Heartbeat{
			Name: e.Name.v, Slug: e.Slug.v, Grace: cmp.Or(b.positive(e.Grace, "grace"), heartbeat.DefaultGrace),
			Severity: e.Severity.or(probeSeverity), Labels: b.heartbeatLabels(e.Labels),
		}
		b.schedule(e, &h)
		h.Key = b.heartbeatKey(e)
		for _, m := range e.Alert {
			if m.given() {
				h.Match = append(h.Match, b.matchers(m)...)
			}
		}
		at := address{h.Key, h.Slug}
		if other := taken[at]; other != "" && h.Key != [32]byte{} {
			b.problem(e.Node, "give each its own key, or slugs that differ", "%s has the same address as %s", h.Name, other)
		}
		taken[at] = h.Name
		b.cfg.Heartbeats = append(b.cfg.Heartbeats, h)
	}
}

// schedule reads when a heartbeat is due.
func (b *builder) schedule(e heartbeatEntry, h *heartbeat.Heartbeat) {
	zone := b.zone(e.TZ)
	switch {
	case e.Period.given() && e.Cron.given():
		b.problem(e.Cron.n, "remove one of the two", "period and cron are both set")
	case e.Cron.given():
		var err error
		if h.Cron, err = heartbeat.ParseCron(e.Cron.v, zone); err != nil {
			b.problem(e.Cron.n, `write minute, hour, day of month, month and day of week, as in "0 3 * * *"`, "%q is not a schedule: %v", e.Cron.v, err)
		}
	case e.Period.given():
		if h.Period = e.Period.v; h.Period < minBeat || h.Period > maxBeat {
			b.problem(e.Period.n, "write 1h", "a period is between %s and %s", short(minBeat), model.Duration(maxBeat))
		}
	default:
		b.problem(e.Name.n, `add period: 1h, or cron: "0 3 * * *" with tz:`, "nothing says when %s is due", e.Name.v)
	}
	if e.TZ.given() && !e.Cron.given() {
		b.problem(e.TZ.n, "remove it, or write cron instead of period", "tz means nothing without cron")
	}
}

// heartbeatKey reads the secret of an address.
func (b *builder) heartbeatKey(e heartbeatEntry) (hash [32]byte) {
	place, key := e.Key.n, e.Key.v
	switch {
	case e.Key.given() && e.KeyFile.given():
		b.problem(e.KeyFile.n, "remove one of the two", "key and key_file are both set")
		return hash
	case e.KeyFile.given():
		if place, key = e.KeyFile.n, b.secretText(e.KeyFile); key == "" {
			return hash // a warning says so
		}
	case !e.Key.given():
		if len(e.Alert) == 0 {
			b.problem(e.Name.n, "add key_file: FILE with a secret that uuidgen made, or alert: with matchers", "nobody can report for %s", e.Name.v)
		}
		if e.Slug.given() {
			b.problem(e.Slug.n, "add the key that comes before it, or remove it", "a slug without a key")
		}
		return hash
	}
	if len(key) < minBeatKey || len(key) > 200 || !beatKey.MatchString(key) {
		b.problem(place, "use what uuidgen prints", "the key is not made of %d to 200 letters, digits, - and _", minBeatKey)
		return hash
	}
	if _, _, kind := heartbeat.ParseKind(e.Slug.v); e.Slug.given() && (kind || !beatKey.MatchString(e.Slug.v) || strings.Trim(e.Slug.v, "0123456789") == "") {
		b.problem(e.Slug.n, "write a name such as backup-nightly", "%q cannot follow the key: it would say something else, or needs escaping", e.Slug.v)
	}
	return heartbeat.KeyOf(key)
}

// heartbeatLabels reads the labels of a heartbeat's alerts.
func (b *builder) heartbeatLabels(labels table[text]) map[string]string {
	out := map[string]string{}
	for _, l := range labels {
		name := l.Key.v
		switch {
		case name == "severity":
			b.problem(l.Key.n, "write severity: beside labels", "the severity has a key of its own")
		case name == "alertname" || name == "heartbeat" || strings.HasPrefix(name, "__"):
			b.problem(l.Key.n, "remove it", "the label %q is set by watchbill", name)
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
