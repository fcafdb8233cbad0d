package escalation_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"watchbill"
	"watchbill/escalation"
)

// oracle answers minute by minute, and knows of a zone only what its clock shows:
// it watches the clock from before the beginning, and remembers how far it came.
type oracle struct {
	cfg     escalation.Config
	changes []watchbill.DutyChange
	from    time.Time
	shown   map[*time.Location][]int64 // by minute since from: the furthest reading, in minutes
}

func newOracle(cfg escalation.Config, changes []watchbill.DutyChange, from time.Time, minutes int) *oracle {
	o := &oracle{cfg: cfg, changes: changes, from: from, shown: map[*time.Location][]int64{}}
	zones := []*time.Location{time.UTC}
	for _, r := range cfg.Rosters {
		zones = append(zones, r.Zone)
		for _, l := range r.Layers {
			zones = append(zones, l.Zone)
		}
	}
	const before = 26 * 60
	for _, z := range zones {
		if z == nil || o.shown[z] != nil {
			continue
		}
		furthest := int64(-1 << 60)
		for m := -before; m < minutes; m++ {
			t := from.Add(time.Duration(m) * time.Minute).In(z)
			y, month, d := t.Date()
			days := time.Date(y, month, d, 12, 0, 0, 0, time.UTC).Unix() / 86400
			furthest = max(furthest, days*1440+int64(t.Hour()*60+t.Minute()))
			if m >= 0 {
				o.shown[z] = append(o.shown[z], furthest)
			}
		}
	}
	return o
}

func under(a, b int64) int64 { return (a%b + b) % b }

func (o *oracle) inHours(spans []escalation.Hours, shown int64) bool {
	for _, h := range spans {
		for _, back := range []int64{0, 1440} {
			day := (shown - under(shown, 1440) - back) / 1440
			weekday := time.Weekday(under(day+4, 7))
			at := under(shown, 1440) + back
			if at >= int64(h.From) && at < int64(h.To) && slices.Contains(h.Weekdays, weekday) {
				return true
			}
		}
	}
	return len(spans) == 0
}

func (o *oracle) person(id watchbill.PersonID) *watchbill.Person {
	for i := range o.cfg.People {
		if o.cfg.People[i].ID == id {
			return &o.cfg.People[i]
		}
	}
	return nil
}

// latest returns the change that was made last of those that fit.
func (o *oracle) latest(fits func(watchbill.DutyChange) bool) (best watchbill.DutyChange) {
	for _, c := range o.changes {
		if c.ID > best.ID && fits(c) {
			best = c
		}
	}
	return best
}

func (o *oracle) away(id watchbill.PersonID, at time.Time) bool {
	for _, l := range o.person(id).Leave {
		if !at.Before(l.From) && at.Before(l.To) {
			return true
		}
	}
	return o.latest(func(c watchbill.DutyChange) bool {
		return c.Kind == watchbill.DutyLeave && c.Instead == id && c.In(at)
	}).ID > 0
}

func (o *oracle) there(id watchbill.PersonID, role watchbill.RoleID, at time.Time, met ...watchbill.PersonID) (watchbill.PersonID, bool) {
	met = append(met, id)
	cover := o.latest(func(c watchbill.DutyChange) bool {
		return (c.Kind == watchbill.DutyCover || c.Kind == watchbill.DutySwap) && c.Instead == id && (c.Role == "" || c.Role == role) &&
			c.In(at) && o.person(c.Person) != nil && !slices.Contains(met, c.Person)
	})
	if cover.ID > 0 {
		return o.there(cover.Person, role, at, met...)
	}
	if !o.away(id, at) {
		return id, true
	}
	deputy := o.person(id).Deputy
	if o.person(deputy) == nil || slices.Contains(met, deputy) {
		return "", false
	}
	return o.there(deputy, role, at, met...)
}

// holder returns who has a seat of a roster at a minute.
func (o *oracle) holder(r escalation.Roster, seat escalation.Seat, m int, taken watchbill.PersonID) watchbill.PersonID {
	at := o.from.Add(time.Duration(m) * time.Minute)
	if seat == escalation.Primary {
		var all []watchbill.DutyChange
		for _, c := range o.changes {
			if c.Kind == watchbill.DutyOverride && c.Role == r.Role && (c.Location == "" || c.Location == r.Location) && c.In(at) && o.person(c.Person) != nil {
				all = append(all, c)
			}
		}
		slices.SortFunc(all, func(a, b watchbill.DutyChange) int { return int(b.ID - a.ID) })
		for _, c := range all {
			if who, ok := o.there(c.Person, r.Role, at); ok {
				return who
			}
		}
	}
	for _, l := range r.Layers {
		if l.Seat != seat {
			continue
		}
		shown := o.shown[l.Zone][m]
		if !o.inHours(l.On, shown) {
			continue
		}
		holiday := slices.ContainsFunc(l.Holidays, func(h escalation.Holiday) bool { return h.Date.Unix()/86400 == (shown-under(shown, 1440))/1440 })
		if l.OnHolidays == escalation.HolidaysOff && holiday || l.OnHolidays == escalation.HolidaysOnly && !holiday {
			continue
		}
		length := int64(l.Every / time.Minute)
		start := l.Start.Unix() / 86400
		if length%(7*1440) == 0 { // back to the day of the hand-over
			for time.Weekday(under(start+4, 7)) != l.Handover.Weekday {
				start--
			}
		}
		since := shown - start*1440 - int64(l.Handover.Hour*60+l.Handover.Minute)
		turn := (since - under(since, length)) / length
		for i := range int64(len(l.People)) {
			if who, ok := o.there(l.People[under(turn+i, int64(len(l.People)))], r.Role, at); ok && who != taken {
				return who
			}
		}
	}
	return ""
}

// watch returns who is on duty for a role at a minute: the first one and who stand
// behind.
func (o *oracle) watch(role watchbill.RoleID, m int) (first watchbill.PersonID, behind []watchbill.PersonID) {
	var others []watchbill.PersonID
	for _, r := range o.cfg.Rosters {
		if r.Role != role {
			continue
		}
		who := o.holder(r, escalation.Primary, m, "")
		if first == "" && who != "" {
			first = who
			others = append([]watchbill.PersonID{o.holder(r, escalation.Secondary, m, first)}, others...)
			continue
		}
		others = append(others, who)
	}
	if first == "" {
		return "", nil
	}
	for _, id := range others {
		if id != "" && id != first && !slices.Contains(behind, id) {
			behind = append(behind, id)
		}
	}
	return first, behind
}

// moments are beginnings of two days in which clocks and calendars do something.
func moments() []time.Time {
	var all []time.Time
	for _, day := range []string{
		"2026-03-28", "2026-10-24", // Europe
		"2026-03-07", "2026-10-31", // America
		"2026-04-04", "2026-10-03", // Lord Howe: half an hour
		"2028-02-28", "2027-02-28", // a leap day, and none
		"2026-12-31", "2027-01-02", "2020-12-31", // week 53
		"2011-12-29", // Apia skips a day
		"2026-06-15",
	} {
		t, err := time.Parse(time.DateOnly, day)
		if err != nil {
			panic(err)
		}
		all = append(all, t)
	}
	return all
}

const horizon = 2 * 24 * 60

// organisation draws two roles with rosters of every kind, and a manager.
func organisation(t *rapid.T, from time.Time) (escalation.Config, []watchbill.DutyChange) {
	zones := []string{"UTC", "Europe/Madrid", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Pacific/Apia", "Etc/GMT+5", "America/Sao_Paulo"}
	ids := []watchbill.PersonID{"a", "b", "c", "d", "e"}
	drawID := func(what string) watchbill.PersonID { return rapid.SampledFrom(ids).Draw(t, what) }
	near := func(what string) time.Time {
		return from.Add(time.Duration(rapid.IntRange(-1440, horizon).Draw(t, what)) * time.Minute)
	}
	people := []watchbill.Person{{ID: "boss", Roles: []watchbill.RoleID{manager}}}
	for _, id := range ids {
		p := watchbill.Person{ID: id, Roles: []watchbill.RoleID{support, infra}}
		if rapid.Bool().Draw(t, "has a deputy") {
			p.Deputy = drawID("deputy")
		}
		for range rapid.IntRange(0, 1).Draw(t, "leaves") {
			begin := near("leave")
			p.Leave = append(p.Leave, watchbill.Leave{From: begin, To: begin.Add(time.Duration(rapid.IntRange(1, 2000).Draw(t, "leave lasts")) * time.Minute)})
		}
		people = append(people, p)
	}
	hours := func() (all []escalation.Hours) {
		for range rapid.IntRange(0, 2).Draw(t, "spans") {
			begin := rapid.IntRange(0, 1439).Draw(t, "from")
			days := rapid.SliceOfNDistinct(rapid.IntRange(0, 6), 1, 7, rapid.ID[int]).Draw(t, "weekdays")
			h := escalation.Hours{From: begin, To: min(2880, begin+rapid.IntRange(1, 1440).Draw(t, "long"))}
			for _, d := range days {
				h.Weekdays = append(h.Weekdays, time.Weekday(d))
			}
			all = append(all, h)
		}
		return all
	}
	layer := func(n int) escalation.Layer {
		l := escalation.Layer{
			Name: fmt.Sprint(n), Seat: escalation.Seat(rapid.IntRange(0, 1).Draw(t, "seat")),
			People: rapid.SliceOfN(rapid.SampledFrom(ids), 1, 4).Draw(t, "people"),
			Start:  from.AddDate(0, 0, rapid.IntRange(-40, 40).Draw(t, "start")),
			Every:  time.Duration(rapid.SampledFrom([]int{60, 90, 8 * 60, 12 * 60, 1440, 2160, 3 * 1440, 7 * 1440, 14 * 1440}).Draw(t, "every")) * time.Minute,
			Handover: escalation.Handover{
				Weekday: time.Weekday(rapid.IntRange(0, 6).Draw(t, "weekday")),
				Hour:    rapid.IntRange(0, 23).Draw(t, "hour"), Minute: rapid.IntRange(0, 59).Draw(t, "minute"),
			},
			Zone: zone(t, rapid.SampledFrom(zones).Draw(t, "zone")), On: hours(),
			OnHolidays: escalation.OnHolidays(rapid.IntRange(0, 2).Draw(t, "on holidays")),
		}
		if l.OnHolidays != escalation.HolidaysOn {
			l.Holidays = []escalation.Holiday{{Date: from.AddDate(0, 0, rapid.IntRange(0, 2).Draw(t, "holiday")), Name: "Holiday"}}
		}
		return l
	}
	cfg := escalation.Config{
		Matrix: watchbill.Matrix{Manager: manager, Roles: []watchbill.Role{{ID: support}, {ID: infra}, {ID: manager}}}, People: people,
		Rosters: []escalation.Roster{{Role: manager, Zone: time.UTC, Layers: []escalation.Layer{{
			Name: "boss", People: []watchbill.PersonID{"boss"}, Zone: time.UTC, Start: from, Every: 24 * time.Hour,
		}}}},
	}
	for _, r := range []escalation.Roster{{Role: support}, {Role: support, Location: "Madrid"}, {Role: infra}} {
		r.Zone, r.Staffed = zone(t, rapid.SampledFrom(zones).Draw(t, "roster's zone")), hours()
		for n := range rapid.IntRange(1, 3).Draw(t, "layers") {
			r.Layers = append(r.Layers, layer(n))
		}
		cfg.Rosters = append(cfg.Rosters, r)
	}
	var changes []watchbill.DutyChange
	for i := range rapid.IntRange(0, 5).Draw(t, "changes") {
		c := watchbill.DutyChange{
			ID: int64(i + 1), Kind: rapid.SampledFrom([]watchbill.DutyChangeKind{watchbill.DutyOverride, watchbill.DutyCover, watchbill.DutySwap, watchbill.DutyLeave}).Draw(t, "kind"),
			Role: rapid.SampledFrom([]watchbill.RoleID{support, infra}).Draw(t, "role"), Person: drawID("person"), Instead: drawID("instead"),
			From: near("change"), Author: "boss", Reason: "because",
		}
		if c.Kind == watchbill.DutyOverride && rapid.Bool().Draw(t, "for a location") {
			c.Location = "Madrid"
		}
		if c.Kind == watchbill.DutyCover && rapid.Bool().Draw(t, "for all roles") {
			c.Role = ""
		}
		if rapid.IntRange(0, 9).Draw(t, "gone") == 0 {
			c.Person = "gone"
		}
		c.To = c.From.Add(time.Duration(rapid.IntRange(1, 3000).Draw(t, "change lasts")) * time.Minute)
		changes = append(changes, c)
	}
	return cfg, changes
}

// Minute by minute, the resolver and the shifts say what the oracle does.
func TestRostersAgainstMinutes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		from := rapid.SampledFrom(moments()).Draw(t, "from").Add(time.Duration(rapid.IntRange(0, 1439).Draw(t, "minute")) * time.Minute)
		cfg, changes := organisation(t, from)
		p, err := escalation.New(cfg)
		require.NoError(t, err)
		p = p.With(changes)
		o := newOracle(cfg, changes, from, horizon)
		for _, role := range []watchbill.RoleID{support, infra} {
			shifts := p.Shifts(role, from, from.Add(horizon*time.Minute))
			require.Equal(t, from, shifts[0].From)
			require.Equal(t, from.Add(horizon*time.Minute), shifts[len(shifts)-1].To)
			i := 0
			for m := range horizon {
				at := from.Add(time.Duration(m) * time.Minute)
				if !at.Before(shifts[i].To) {
					require.Equal(t, shifts[i].To, shifts[i+1].From)
					i++
				}
				first, behind := o.watch(role, m)
				s := shifts[i].Watch
				require.Equal(t, first == "", s.Vacant, at)
				if first == "" {
					require.Equal(t, watchbill.PersonID("boss"), s.Primary.Person, at)
					continue
				}
				require.Equal(t, first, s.Primary.Person, at)
				var second []watchbill.PersonID
				for _, d := range s.Second {
					second = append(second, d.Person)
				}
				require.Equal(t, behind, second, at)
				if m%7 == 0 { // the point query, by another way than the edges
					w := p.Watch(role, at)
					require.Equal(t, first, w.Primary.Person, at)
					require.Equal(t, len(behind), len(w.Second), at)
					require.NotEmpty(t, w.Primary.Reason)
				}
			}
		}
	})
}

// Minute by minute, the proof of coverage finds what the oracle misses, and
// nothing else.
func TestCoverageAgainstMinutes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		from := rapid.SampledFrom(moments()).Draw(t, "from")
		cfg, changes := organisation(t, from)
		cfg.Matrix.Marks = map[watchbill.ActivityID]map[watchbill.RoleID]watchbill.Mark{
			watchbill.ActivityChangeProduction: {infra: watchbill.First, support: watchbill.Responsible},
		}
		for i := range cfg.People {
			p := &cfg.People[i]
			p.Location = rapid.SampledFrom([]string{"Madrid", "Lisbon"}).Draw(t, "location")
			p.Developer = rapid.IntRange(0, 5).Draw(t, "developer") == 0
			if level := rapid.IntRange(1, 4).Draw(t, "level"); level > 1 {
				p.Level = map[string]int{"deployment": level}
			}
			if rapid.IntRange(0, 4).Draw(t, "reachable") > 0 {
				p.Contact = []watchbill.Contact{{Receiver: "phone"}}
			}
		}
		needs := escalation.Needs{
			Locations: []escalation.LocationNeed{{Role: support, Location: "Lisbon", Zone: time.UTC, Hours: []escalation.Hours{{Weekdays: everyDay(), From: 300, To: 1200}}}},
			Zone:      time.UTC,
		}
		if rapid.Bool().Draw(t, "changes at night") {
			needs.Changes = []escalation.Hours{{Weekdays: everyDay(), From: 1300, To: 1500}}
		}
		p, err := escalation.New(cfg)
		require.NoError(t, err)
		gaps := p.With(changes).Coverage(escalation.Question{
			From: from, To: from.Add(horizon * time.Minute), Needs: needs,
			Reachable: func(p watchbill.Person) bool { return len(p.Contact) > 0 },
		})
		o := newOracle(cfg, changes, from, horizon)
		for m := range horizon {
			at := from.Add(time.Duration(m) * time.Minute)
			var got []string
			for _, g := range gaps {
				if !at.Before(g.From) && at.Before(g.To) {
					got = append(got, fmt.Sprintf("%s %s", g.Kind, g.About()))
				}
			}
			slices.Sort(got)
			require.Equal(t, o.missing(needs, m), got, at)
		}
	})
}

func everyDay() (all []time.Weekday) {
	for d := range time.Weekday(7) {
		all = append(all, d)
	}
	return all
}

// missing returns what is not there at a minute, in order.
func (o *oracle) missing(needs escalation.Needs, m int) (all []string) {
	at := o.from.Add(time.Duration(m) * time.Minute)
	miss := func(kind watchbill.GapKind, about string) { all = append(all, fmt.Sprintf("%s %s", kind, about)) }
	reach := func(id watchbill.PersonID) bool { return o.person(id) != nil && len(o.person(id).Contact) > 0 }
	var hands []watchbill.PersonID
	boss, _ := o.watch(manager, m)
	for _, role := range []watchbill.RoleID{support, infra, manager} {
		first, behind := o.watch(role, m)
		staffed := false
		for _, r := range o.cfg.Rosters {
			staffed = staffed || r.Role == role && o.inHours(r.Staffed, o.shown[r.Zone][m])
		}
		switch {
		case !staffed:
		case first == "":
			miss(watchbill.GapVacant, string(role))
		default:
			if !reach(first) {
				miss(watchbill.GapUnreachable, string(role))
			}
			others := append(slices.Clone(behind), boss)
			if deputy := o.person(first).Deputy; o.person(deputy) != nil && !o.away(deputy, at) {
				others = append(others, deputy)
			}
			if !slices.ContainsFunc(others, func(id watchbill.PersonID) bool { return id != first && reach(id) }) {
				miss(watchbill.GapFallback, string(role))
			}
		}
		if first == "" {
			if role == support && o.inHours(needs.Locations[0].Hours, o.shown[time.UTC][m]) {
				miss(watchbill.GapLocation, "support in Lisbon")
			}
			continue
		}
		there := false
		for _, id := range append([]watchbill.PersonID{first}, behind...) {
			person := o.person(id)
			if !reach(id) {
				continue
			}
			if !person.Developer && (person.Holds(infra) || person.Holds(support)) && !slices.Contains(hands, id) {
				hands = append(hands, id)
			}
			there = there || person.Location == "Lisbon"
		}
		if role == support && !there && o.inHours(needs.Locations[0].Hours, o.shown[time.UTC][m]) {
			miss(watchbill.GapLocation, "support in Lisbon")
		}
	}
	lead := slices.ContainsFunc(hands, func(id watchbill.PersonID) bool {
		level := o.person(id).Level["deployment"]
		return level == 0 || level >= 3
	})
	if (len(hands) < 2 || !lead) && o.inHours(needs.Changes, o.shown[time.UTC][m]) {
		miss(watchbill.GapFourEyes, "changes of production")
	}
	slices.Sort(all)
	return all
}

// Planted gaps are all found, to the minute, and nothing else.
func TestPlantedGaps(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		from := rapid.SampledFrom(moments()).Draw(t, "from")
		at := func(m int) time.Time { return from.Add(time.Duration(m) * time.Minute) }
		person := func(id watchbill.PersonID, roles ...watchbill.RoleID) watchbill.Person {
			return watchbill.Person{ID: id, Roles: roles, Contact: []watchbill.Contact{{Receiver: "phone"}}, TZ: "Australia/Lord_Howe"}
		}
		cfg := escalation.Config{
			Matrix: watchbill.Matrix{
				Manager: manager, Roles: []watchbill.Role{{ID: support}, {ID: infra}, {ID: manager}},
				Marks: map[watchbill.ActivityID]map[watchbill.RoleID]watchbill.Mark{
					watchbill.ActivityChangeProduction: {infra: watchbill.First, deployment: watchbill.Responsible},
				},
			},
			People: []watchbill.Person{person("s", support), person("i", infra, deployment), person("j", deployment), person("boss", manager), person("vice", manager)},
		}
		cfg.People[3].Deputy = "vice"
		cfg.Matrix.Roles = append(cfg.Matrix.Roles, watchbill.Role{ID: deployment})
		cfg.Rosters = []escalation.Roster{
			{Role: manager, People: []watchbill.PersonID{"boss"}},
			{Role: deployment, People: []watchbill.PersonID{"j", "i"}, Layers: []escalation.Layer{{Name: "a", People: []watchbill.PersonID{"j"}}, {Name: "b", People: []watchbill.PersonID{"i"}}}},
		}
		var want []watchbill.Gap
		end := 0
		for end < horizon-200 && len(want) < 8 {
			begin := end + rapid.IntRange(1, 600).Draw(t, "after")
			end = begin + rapid.IntRange(1, 600).Draw(t, "lasts")
			if end >= horizon {
				break
			}
			leave := watchbill.Leave{From: at(begin), To: at(end)}
			switch rapid.IntRange(0, 1).Draw(t, "kind") {
			case 0: // nobody else holds support
				cfg.People[0].Leave = append(cfg.People[0].Leave, leave)
				want = append(want, watchbill.Gap{Kind: watchbill.GapVacant, Role: support, From: leave.From, To: leave.To})
			case 1: // i does both
				cfg.People[2].Leave = append(cfg.People[2].Leave, leave)
				want = append(want, watchbill.Gap{Kind: watchbill.GapFourEyes, From: leave.From, To: leave.To})
			}
		}
		p, err := escalation.New(cfg)
		require.NoError(t, err)
		got := p.Coverage(escalation.Question{From: from, To: at(horizon), Reachable: func(watchbill.Person) bool { return true }})
		for i := range got {
			require.NotEmpty(t, got[i].Why)
			got[i].Why = ""
		}
		require.Equal(t, want, got)
	})
}
