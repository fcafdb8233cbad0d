package config

import (
	"fmt"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"watchbill"
	"watchbill/router"
	"watchbill/targets"
)

// maintenanceEntry is planned work: once, from start to end, or again and again.
type maintenanceEntry struct {
	where
	Name     text   `yaml:"name"`
	Category text   `yaml:"category"`
	Reason   text   `yaml:"reason"`
	Services []text `yaml:"services"`
	Targets  []text `yaml:"targets"`

	Environments []text `yaml:"environments"`
	Activities   []text `yaml:"activities"`

	Start    text     `yaml:"start"`
	End      text     `yaml:"end"`
	Cron     text     `yaml:"cron"`
	Duration duration `yaml:"duration"`
	TZ       text     `yaml:"tz"`
	Mute     toggle   `yaml:"mute"`
	Exclude  toggle   `yaml:"exclude"`
}

// Bounds of maintenance: how much of it there may be, and how long work that is
// repeated may last.
const (
	maxMaintenance = 1000
	maxRepeated    = 7 * 24 * time.Hour
)

// maintenance reads planned work, for the targets' budgets and for the router.
func (b *builder) maintenance() {
	entries := b.file.Maintenance
	if len(entries) > maxMaintenance {
		b.problem(entries[maxMaintenance].Node, "remove what is over", "there are more than %d maintenance windows", maxMaintenance)
		return
	}
	ids := make([]string, len(b.cfg.Targets.Targets))
	for i, t := range b.cfg.Targets.Targets {
		ids[i] = t.ID
	}
	seen := map[string]*yaml.Node{}
	for _, e := range entries {
		b.name(e.Name, e.Node, "maintenance", seen)
		for _, t := range e.Targets {
			b.known(t, "target", ids)
		}
		m := b.oneMaintenance(e)
		b.cfg.Targets.Maintenance = append(b.cfg.Targets.Maintenance, m)
		if m.Mute {
			b.cfg.Router.Maintenance = append(b.cfg.Router.Maintenance, router.Maintenance{
				Name: m.Name, Reason: m.Reason, Concerns: m.Concerns, Running: m.Running, Ended: m.Ended,
				Environments: values(e.Environments), Activities: b.classes(e),
			})
		}
	}
}

// classes reads which alerts the work brings about.
func (b *builder) classes(e maintenanceEntry) []watchbill.ActivityID {
	var all []watchbill.ActivityID
	for _, a := range e.Activities {
		if b.known(a, "activity", b.activities) {
			all = append(all, watchbill.ActivityID(a.v))
		}
	}
	return all
}

func (b *builder) oneMaintenance(e maintenanceEntry) targets.Maintenance {
	m := targets.Maintenance{
		Name: e.Name.v, Category: e.Category.v, Reason: e.Reason.v, Services: values(e.Services), Targets: values(e.Targets),
		Zone: b.zone(e.TZ), Mute: e.Mute.or(true), Exclude: e.Exclude.v,
	}
	if len(e.Environments) > 0 && m.Exclude {
		b.problem(e.Exclude.n, "remove it, or remove environments", "an error budget is that of all environments: work in some of them cannot be taken out of it")
	}
	for _, key := range []string{"services", "targets", "environments", "activities"} {
		if k := keyNode(e.Node, key); k != nil && isEmptyList(valueNode(e.Node, key)) {
			b.problem(k, "name some, or remove the key: without it the work is not limited by them", "maintenance for no %s", key)
		}
	}
	if len(b.services) > 0 {
		for _, s := range e.Services {
			b.known(s, "service", b.services)
		}
	}
	if !m.Mute && !m.Exclude {
		b.problem(e.Mute.n, "add exclude: true, or remove mute: false", "the maintenance neither mutes nor excludes, so it would do nothing")
	}
	once, repeated := e.Start.given() || e.End.given(), e.Cron.given() || e.Duration.given()
	switch {
	case once == repeated:
		b.problem(e.Node, "write start: and end: for work that is done once, or cron: and duration: for work that is repeated",
			"nothing says when the maintenance is, or two things do")
	case once:
		m.Start, m.End = b.instant(e, e.Start, "start", m.Zone), b.instant(e, e.End, "end", m.Zone)
		if !m.Start.IsZero() && !m.End.IsZero() && !m.Start.Before(m.End) {
			b.problem(e.End.n, "write an end after the start", "the maintenance ends before it begins")
		}
	default:
		m.Cron, m.Duration = b.repetition(e)
	}
	return m
}

// repetition is when work that is repeated begins, and how long it lasts.
func (b *builder) repetition(e maintenanceEntry) (string, time.Duration) {
	const example = `five fields as in a crontab: "0 2 * * sun" is 02:00 on Sundays`
	switch {
	case !e.Cron.given():
		b.problem(e.Node, "add cron: with "+example, "maintenance with a duration and nothing that says when it begins")
		return "", 0
	case !e.Duration.given():
		b.problem(e.Node, "add duration: 2h", "repeated maintenance without a duration")
		return "", 0
	}
	if strings.Contains(e.Cron.v, "TZ=") || strings.HasPrefix(e.Cron.v, "@every") {
		b.problem(e.Cron.n, "write "+example+", and the zone as tz:", "%q is not five fields", e.Cron.v)
		return "", 0
	}
	if err := targets.ParseCron(e.Cron.v); err != nil {
		b.problem(e.Cron.n, "write "+example, "%q is %v", e.Cron.v, err)
		return "", 0
	}
	d := b.positive(e.Duration, "duration")
	if d > maxRepeated {
		b.problem(e.Duration.n, "write start: and end: for work that goes on for longer", "repeated maintenance lasts at most 7d")
	}
	return e.Cron.v, d
}

// instant reads a time: with an offset, or in the zone of the entry.
func (b *builder) instant(e maintenanceEntry, t text, key string, zone *time.Location) time.Time {
	if !t.given() {
		b.problem(e.Node, "add "+key+": 2026-12-01T22:00:00+01:00", "maintenance without %s", key)
		return time.Time{}
	}
	if at, err := time.Parse(time.RFC3339, t.v); err == nil {
		return at.UTC()
	}
	if zone == nil {
		zone = time.UTC
	}
	for _, layout := range []string{"2006-01-02 15:04", "2006-01-02T15:04", time.DateTime} {
		if at, err := time.ParseInLocation(layout, t.v, zone); err == nil {
			return at.UTC()
		}
	}
	b.problem(t.n, `write "2026-12-01 22:00" with tz:, or 2026-12-01T22:00:00+01:00`, "%s is not a time", fmt.Sprintf("%q", t.v))
	return time.Time{}
}
