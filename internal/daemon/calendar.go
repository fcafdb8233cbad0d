package daemon

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"watchbill"
	"watchbill/internal/ical"
	"watchbill/internal/store"
	"watchbill/internal/web"
)

const (
	// calendarBack and calendarAhead are what a feed shows.
	calendarBack  = 7 * 24 * time.Hour
	calendarAhead = 60 * 24 * time.Hour
	// maxCalendars is how many feeds a person may have.
	maxCalendars = 20
	// maxLeaves is how many leaves one file may bring.
	maxLeaves = 100
)

// MakeCalendar makes a feed. Its secret is returned, and only the hash of it is kept.
func (f *flow) MakeCalendar(ctx context.Context, who web.Actor, q web.CalendarRequest) (made web.MadeCalendar, err error) {
	if q.Role == "" && q.Person == "" {
		q.Person = who.Person
	}
	var random [32]byte
	_, _ = rand.Read(random[:]) // it never fails: the program ends if the system has no randomness
	secret := base64.RawURLEncoding.EncodeToString(random[:])
	err = f.update(ctx, func(w *work) error {
		if err := w.mayCalendar(who.Person, q); err != nil {
			return err
		}
		all, err := w.tx.Calendars()
		if err != nil {
			return err
		}
		if mine := slices.DeleteFunc(all, func(x watchbill.CalendarFeed) bool { return x.Owner != who.Person }); len(mine) >= maxCalendars {
			return watchbill.Errorf(watchbill.CodeConflict, "revoke one with: watchbill ical revoke", "you have %d calendars", len(mine))
		}
		made = web.MadeCalendar{CalendarFeed: watchbill.CalendarFeed{Owner: who.Person, Role: q.Role, Person: q.Person, MadeAt: w.now}}
		if err := w.tx.PutCalendar(&made.CalendarFeed, calendarHash(secret)); err != nil {
			return err
		}
		made.URL = w.externalURL + "/ical/" + secret + ".ics"
		return w.audit(who, watchbill.AuditEntry{Kind: watchbill.AuditCalendar, Object: fmt.Sprintf("calendar %d", made.ID), Text: "made, of " + made.About()})
	})
	return made, err
}

// mayCalendar reports whether somebody may have a feed: of any role, and of
// themselves; the manager of everybody.
func (r *rooms) mayCalendar(who watchbill.PersonID, q web.CalendarRequest) error {
	if q.Role != "" && q.Person != "" {
		return watchbill.Invalidf("write one of the two", "role: a calendar is of a role or of a person")
	}
	if _, known := r.people[q.Person]; q.Person != "" && !known {
		return watchbill.Errorf(watchbill.CodeNotFound, "name somebody of people: in the configuration", "there is no person %q", q.Person)
	}
	if q.Person != "" && q.Person != who && !r.people[who].Holds(r.matrix.Manager) {
		return watchbill.Errorf(watchbill.CodeDenied, "ask them, or the manager; a calendar of a role shows everybody of it", "the calendar of %s is theirs", q.Person)
	}
	return r.knows(q.Role)
}

func calendarHash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// ListCalendars returns the feeds that somebody made; the manager sees all.
func (f *flow) ListCalendars(ctx context.Context, who web.Actor) (all []watchbill.CalendarFeed, err error) {
	r := f.rooms.Load()
	err = f.store.View(ctx, func(tx *store.Tx) error {
		all, err = tx.Calendars()
		return err
	})
	return slices.DeleteFunc(all, func(x watchbill.CalendarFeed) bool { return !r.ownsCalendar(who.Person, x) }), err
}

func (r *rooms) ownsCalendar(who watchbill.PersonID, x watchbill.CalendarFeed) bool {
	return x.Owner == who || r.people[who].Holds(r.matrix.Manager)
}

// RevokeCalendar makes a feed's address show nothing any more.
func (f *flow) RevokeCalendar(ctx context.Context, who web.Actor, id int64) error {
	return f.update(ctx, func(w *work) error {
		all, err := w.tx.Calendars()
		if err != nil {
			return err
		}
		i := slices.IndexFunc(all, func(x watchbill.CalendarFeed) bool { return x.ID == id && w.ownsCalendar(who.Person, x) })
		if i < 0 {
			return watchbill.Errorf(watchbill.CodeNotFound, "list them with: watchbill ical list", "you have no calendar %d", id)
		}
		if err := w.tx.DeleteCalendar(id); err != nil {
			return err
		}
		return w.audit(who, watchbill.AuditEntry{Kind: watchbill.AuditCalendar, Object: fmt.Sprintf("calendar %d", id), Text: "revoked, of " + all[i].About() + ", made by " + string(all[i].Owner)})
	})
}

// CalendarFeed returns the calendar of a feed. One whose owner or subject is not in
// the configuration any more shows nothing.
func (f *flow) CalendarFeed(ctx context.Context, secret string) ([]byte, error) {
	m := f.now()
	var feed watchbill.CalendarFeed
	found := false
	err := f.store.View(ctx, func(tx *store.Tx) (err error) {
		feed, found, err = tx.Calendar(calendarHash(secret))
		return err
	})
	if err != nil {
		return nil, err
	}
	_, owned := m.people[feed.Owner]
	_, known := m.people[feed.Person]
	if !found || !owned || feed.Role == "" && !known || m.knows(feed.Role) != nil {
		return nil, watchbill.Errorf(watchbill.CodeNotFound, "make one with: watchbill ical create", "there is no such calendar, or it was revoked")
	}
	var b bytes.Buffer
	err = ical.Write(&b, "On duty: "+feed.About(), m.calendar(feed), m.now)
	return b.Bytes(), err
}

// calendar are the events of a feed: names and times. Why somebody is on duty stays
// out, as another's leave or illness is nobody's who can read the address.
func (m moment) calendar(feed watchbill.CalendarFeed) []ical.Event {
	var all []ical.Event
	for _, role := range m.matrix.Roles {
		if feed.Role != "" && role.ID != feed.Role || feed.Person != "" && !m.people[feed.Person].Holds(role.ID) {
			continue
		}
		for _, s := range m.planner.Shifts(role.ID, m.now.Add(-calendarBack), m.now.Add(calendarAhead)) {
			title := calendarTitle(s.Watch, feed.Person)
			if title == "" {
				continue
			}
			e := ical.Event{Summary: title, Description: s.Watch.Holders(), From: s.From, To: s.To}
			if n := len(all) - 1; n >= 0 && all[n].To.Equal(e.From) && all[n].Summary == e.Summary && all[n].Description == e.Description {
				all[n].To = e.To
				continue
			}
			sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%d", title, role.ID, s.From.Unix()))
			e.ID = hex.EncodeToString(sum[:10]) + "@watchbill"
			all = append(all, e)
		}
	}
	return all
}

// calendarTitle names a shift, in the feed of a person only those in which they sit.
func calendarTitle(w watchbill.Watch, of watchbill.PersonID) string {
	switch {
	case w.Vacant && of == "":
		return fmt.Sprintf("%s: nobody, so %s answers", w.Role, w.Primary.Person)
	case of == "":
		return fmt.Sprintf("%s: %s", w.Role, w.Primary.Person)
	case w.Primary.Person == of && !w.Vacant:
		return "On duty: " + string(w.Role)
	case slices.ContainsFunc(w.Second, func(d watchbill.Duty) bool { return d.Person == of }):
		return "Behind: " + string(w.Role)
	}
	return ""
}

// ImportLeave makes a leave of each event of a calendar that is not over, all of them
// or none. What is a leave already is not made again.
func (x duty) ImportLeave(ctx context.Context, who web.Actor, q web.LeaveRequest) ([]watchbill.DutyChange, error) {
	if q.Person == "" {
		q.Person = who.Person
	}
	r := x.d.rooms.Load()
	person, known := r.people[q.Person]
	if !known {
		return nil, watchbill.Invalidf("name somebody of people: in the configuration", "person: there is no person %q", q.Person)
	}
	events, err := ical.Read([]byte(q.Calendar))
	if err != nil {
		return nil, err
	}
	before, err := x.DutyChanges(ctx)
	if err != nil {
		return nil, err
	}
	now, matched := time.Now(), 0
	var asked []watchbill.DutyChange
	for _, e := range events {
		if !strings.Contains(strings.ToLower(e.Summary), strings.ToLower(q.Match)) {
			continue
		}
		matched++
		c := watchbill.DutyChange{Kind: watchbill.DutyLeave, Instead: q.Person, Reason: strings.TrimSpace(e.Summary)}
		if c.Reason == "" {
			c.Reason = "leave"
		}
		c.From, c.To = e.In(person.Zone())
		c.From, c.To = c.From.UTC().Truncate(time.Second), c.To.UTC().Truncate(time.Second)
		same := func(o watchbill.DutyChange) bool {
			return o.Kind == c.Kind && o.Instead == c.Instead && o.From.Equal(c.From) && o.To.Equal(c.To)
		}
		if c.To.After(now) && !slices.ContainsFunc(before, same) && !slices.ContainsFunc(asked, same) {
			asked = append(asked, c)
		}
	}
	if matched == 0 {
		return nil, watchbill.Invalidf("look into the file, or leave out what names must hold", "the calendar has no event that is a leave")
	}
	if len(asked) > maxLeaves {
		return nil, watchbill.Errorf(watchbill.CodeTooLarge, "export fewer years, or say what names must hold", "the calendar has %d leaves to come, and %d can be imported at once", len(asked), maxLeaves)
	}
	return x.make(ctx, who, asked)
}
