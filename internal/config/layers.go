package config

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"watchbill"
	"watchbill/escalation"
	"watchbill/internal/ical"
	"watchbill/internal/notify"
)

// layerEntry is a rotation within a roster.
type layerEntry struct {
	where
	Name       text         `yaml:"name"`
	As         text         `yaml:"as"`
	People     []text       `yaml:"people"`
	Rotation   text         `yaml:"rotation"`
	Start      text         `yaml:"start"`
	Handover   text         `yaml:"handover"`
	TZ         text         `yaml:"tz"`
	On         []hoursEntry `yaml:"on"`
	Holidays   []text       `yaml:"holidays"`
	OnHolidays text         `yaml:"on_holidays"`
}

type leaveEntry struct {
	where
	From   text `yaml:"from"`
	To     text `yaml:"to"`
	Reason text `yaml:"reason"`
}

type coverageSection struct {
	OnGap     text            `yaml:"on_gap"`
	Days      number          `yaml:"days"`
	Locations []locationEntry `yaml:"locations"`
	Changes   changesEntry    `yaml:"changes"`
}

type locationEntry struct {
	where
	Role     text         `yaml:"role"`
	Location text         `yaml:"location"`
	TZ       text         `yaml:"tz"`
	Hours    []hoursEntry `yaml:"hours"`
}

type changesEntry struct {
	TZ    text         `yaml:"tz"`
	Hours []hoursEntry `yaml:"hours"`
}

// Coverage is what a proof of coverage asks for, and what is done about a gap.
type Coverage struct {
	OnGap string // "warn" or "refuse"; empty: gaps are looked for only when somebody asks
	Days  int    // how far ahead
	Needs escalation.Needs
}

// maxHolidays is how many days a file of holidays may have.
const maxHolidays = 5000

// DefaultCoverageDays is how far ahead gaps are looked for.
const DefaultCoverageDays = 14

// Reachable reports whether a page for a person can get to them: by anything but
// the terminal, which stands where the daemon does.
func Reachable(p watchbill.Person) bool {
	return slices.ContainsFunc(p.Contact, func(c watchbill.Contact) bool { return c.Receiver != notify.TerminalReceiver })
}

// calendars reads the holidays, by the name of their calendar.
func (b *builder) calendars() map[string][]escalation.Holiday {
	all := map[string][]escalation.Holiday{}
	for _, c := range b.file.Holidays {
		days := []escalation.Holiday{}
		for _, d := range c.Value {
			if d.Key.v == "file" {
				days = append(days, b.holidayFile(d.Value)...)
				continue
			}
			day, err := time.Parse(time.DateOnly, d.Key.v)
			if err != nil {
				b.problem(d.Key.n, "write year-month-day, as in 2026-12-25, or file: CALENDAR.ics", "%q is not a date", d.Key.v)
				continue
			}
			days = append(days, escalation.Holiday{Date: day, Name: d.Value.v})
		}
		all[c.Key.v] = days
	}
	return all
}

// holidayFile reads the days of an .ics file. An event of several days is each of
// them; one that does not last whole days is none.
func (b *builder) holidayFile(file text) []escalation.Holiday {
	if !file.given() {
		return nil
	}
	path := b.resolve(file.n, filepath.FromSlash(file.v))
	content, err := b.read(path)
	if err != nil {
		b.problem(file.n, "make the file readable", "%s cannot be read: %v", b.relative(path), err)
		return nil
	}
	events, err := ical.Read(content)
	if err != nil {
		e, _ := errors.AsType[*watchbill.Error](err)
		b.problem(file.n, e.Hint, "%s: %s", b.relative(path), e.Message)
		return nil
	}
	var days []escalation.Holiday
	for _, e := range events {
		for day := e.From; e.WholeDays && day.Before(e.To) && len(days) < maxHolidays; day = day.AddDate(0, 0, 1) {
			days = append(days, escalation.Holiday{Date: day, Name: e.Summary})
		}
	}
	if len(days) == 0 {
		b.problem(file.n, "name a calendar of holidays", "%s has no event of whole days", b.relative(path))
	}
	return days
}

// layers reads the layers of a roster.
func (b *builder) layers(e rosterEntry, r *escalation.Roster, calendars map[string][]escalation.Holiday) {
	for _, key := range []string{"people", "start", "handover"} {
		if n := keyNode(e.Node, key); n != nil {
			b.problem(n, "move it into a layer", "a roster with layers has no %s of its own", key)
		}
	}
	seen := map[string]*yaml.Node{}
	first := false
	for _, x := range e.Layers {
		l := escalation.Layer{Name: x.Name.v, Zone: r.Zone, Line: b.line(x.Node)}
		if x.TZ.given() {
			l.Zone = b.zone(x.TZ)
		}
		b.name(x.Name, x.Node, "layer", seen)
		role := e.Role
		switch as := x.As.or("primary"); as {
		case "primary":
			first = true
		case "secondary":
			l.Seat = escalation.Secondary
		case "shadow":
			l.Seat = escalation.Shadow
			role = text{} // a trainee need not hold the role yet
		default:
			b.problem(x.As.n, didYouMean(as, []string{"primary", "secondary", "shadow"}, "use primary, secondary or shadow"), "%q is no way to be on duty", as)
		}
		l.People = b.rosterPeople(x.Node, x.People, role)
		l.Start = b.rosterStart(x.Node, x.Start, l.Zone)
		l.Every = b.rotation(x.Rotation)
		l.Handover = b.layerHandover(x, l.Every)
		for _, h := range x.On {
			l.On = append(l.On, b.hours(h, true))
		}
		b.layerHolidays(x, &l, calendars)
		r.Layers = append(r.Layers, l)
	}
	if !first {
		b.problem(e.Node, "add a layer that is as: primary", "a roster without a primary layer")
	}
}

// rotation reads the length of a turn.
func (b *builder) rotation(t text) time.Duration {
	switch t.or("weekly") {
	case "weekly":
		return 7 * 24 * time.Hour
	case "daily":
		return 24 * time.Hour
	}
	d, err := model.ParseDuration(t.v)
	if err != nil || time.Duration(d) < time.Hour || time.Duration(d)%time.Minute != 0 {
		b.problem(t.n, "write daily, weekly or a duration such as 12h, 3d or 2w", "a turn is at least an hour of whole minutes long, not %q", t.v)
		return 7 * 24 * time.Hour
	}
	return time.Duration(d)
}

// layerHandover reads "monday 09:00" for turns of whole weeks and "09:00" for
// others.
func (b *builder) layerHandover(x layerEntry, every time.Duration) escalation.Handover {
	if !x.Handover.given() {
		return escalation.Handover{Weekday: time.Monday, Hour: 9}
	}
	if every%(7*24*time.Hour) == 0 {
		return b.handover(x.Handover)
	}
	m, ok := minuteOfDay(strings.TrimSpace(x.Handover.v))
	if !ok || m == 24*60 {
		b.problem(x.Handover.n, "write a time of day, as in \"09:00\"; a weekday is for turns of whole weeks", "handover must be a time of day, not %q", x.Handover.v)
		return escalation.Handover{}
	}
	return escalation.Handover{Hour: m / 60, Minute: m % 60}
}

func (b *builder) layerHolidays(x layerEntry, l *escalation.Layer, calendars map[string][]escalation.Holiday) {
	var names []string
	for _, c := range b.file.Holidays {
		names = append(names, c.Key.v)
	}
	for _, c := range x.Holidays {
		if b.known(c, "calendar of holidays", names) {
			l.Holidays = append(l.Holidays, calendars[c.v]...)
		}
	}
	switch does := x.OnHolidays.or("on"); does {
	case "on":
	case "off":
		l.OnHolidays = escalation.HolidaysOff
	case "only":
		l.OnHolidays = escalation.HolidaysOnly
	default:
		b.problem(x.OnHolidays.n, didYouMean(does, []string{"on", "off", "only"}, "use on, off or only"), "%q is nothing a layer can do on holidays", does)
	}
	if x.OnHolidays.given() && len(x.Holidays) == 0 {
		b.problem(x.OnHolidays.n, "add holidays: [CALENDAR], of holidays:", "the layer has no holidays")
	}
}

// leave reads when a person is away. Its last day is a day of leave.
func (b *builder) leave(e personEntry) []watchbill.Leave {
	zone, err := time.LoadLocation(e.TZ.v)
	if err != nil {
		zone = time.UTC // it is a problem of its own
	}
	var all []watchbill.Leave
	for _, x := range e.Leave {
		begin, ok := b.leaveDay(x, x.From, "from", zone)
		last, ok2 := b.leaveDay(x, x.To, "to", zone)
		switch {
		case !ok || !ok2:
			continue
		case last.Before(begin):
			b.problem(x.To.n, "write the last day of the leave", "the leave ends before it begins")
			continue
		}
		all = append(all, watchbill.Leave{From: begin, To: last.AddDate(0, 0, 1), Reason: x.Reason.or("leave"), Line: b.line(x.Node)})
	}
	return all
}

func (b *builder) leaveDay(x leaveEntry, t text, key string, zone *time.Location) (time.Time, bool) {
	if !t.given() {
		if keyNode(x.Node, key) == nil {
			b.problem(x.Node, "add "+key+": with a date, as in 2026-12-24", "a leave without %s", key)
		}
		return time.Time{}, false
	}
	day, err := time.ParseInLocation(time.DateOnly, t.v, zone)
	if err != nil {
		b.problem(t.n, "write year-month-day, as in 2026-12-24", "%q is not a date", t.v)
	}
	return day, err == nil
}

// coverage reads what must be covered.
func (b *builder) coverage() {
	s, c := &b.file.Coverage, &b.cfg.Coverage
	if n := keyNode(b.root, "coverage"); n != nil {
		c.OnGap = s.OnGap.or("warn")
	}
	if c.OnGap != "" && c.OnGap != "warn" && c.OnGap != "refuse" {
		b.problem(s.OnGap.n, didYouMean(c.OnGap, []string{"warn", "refuse"}, "use warn or refuse"), "%q is nothing to do about a gap", c.OnGap)
	}
	if c.Days = s.Days.or(DefaultCoverageDays); c.Days < 1 || c.Days > 366 {
		b.problem(s.Days.n, "write 14", "days is between 1 and 366, not %d", c.Days)
	}
	for _, e := range s.Locations {
		n := escalation.LocationNeed{Role: watchbill.RoleID(e.Role.v), Location: e.Location.v, Zone: b.zone(e.TZ), Line: b.line(e.Node)}
		if !b.knownRole(e.Role) || !e.Role.given() {
			if keyNode(e.Node, "role") == nil {
				b.problem(e.Node, "add role: and the role of which somebody must be there", "a location without a role")
			}
			continue
		}
		places := b.locations(n.Role)
		if !e.Location.given() || !slices.Contains(places, n.Location) {
			at := e.Location.n
			if at == nil {
				at = e.Node
			}
			b.problem(at, didYouMean(n.Location, places, "name the location of a person or of a roster"), "nobody of %s is in %q", n.Role, n.Location)
		}
		for _, h := range e.Hours {
			n.Hours = append(n.Hours, b.hours(h, true))
		}
		c.Needs.Locations = append(c.Needs.Locations, n)
	}
	c.Needs.Zone = b.zone(s.Changes.TZ)
	for _, h := range s.Changes.Hours {
		c.Needs.Changes = append(c.Needs.Changes, b.hours(h, true))
	}
}

// locations are those where somebody of a role may be.
func (b *builder) locations(role watchbill.RoleID) []string {
	var all []string
	for _, r := range b.cfg.Escalation.Rosters {
		if r.Role == role && r.Location != "" {
			all = append(all, r.Location)
		}
	}
	for _, p := range b.cfg.People {
		if p.Holds(role) && p.Location != "" {
			all = append(all, p.Location)
		}
	}
	return all
}
