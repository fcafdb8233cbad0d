package web

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"watchbill"
)

// Calendars are the feeds in which other programs show who is on duty.
type Calendars interface {
	MakeCalendar(ctx context.Context, who Actor, r CalendarRequest) (MadeCalendar, error)
	ListCalendars(ctx context.Context, who Actor) ([]watchbill.CalendarFeed, error)
	RevokeCalendar(ctx context.Context, who Actor, id int64) error
	// CalendarFeed returns the calendar whose address has a secret.
	CalendarFeed(ctx context.Context, secret string) ([]byte, error)
}

// CalendarRequest asks for a feed of a role or of a person; of neither: of the caller.
type CalendarRequest struct {
	Role   watchbill.RoleID   `json:"role,omitempty"`
	Person watchbill.PersonID `json:"person,omitempty"`
}

// MadeCalendar is a feed with its address, which is shown this once.
type MadeCalendar struct {
	watchbill.CalendarFeed
	URL string `json:"url"`
}

// LeaveRequest is a calendar of when somebody is away.
type LeaveRequest struct {
	Person   watchbill.PersonID `json:"person,omitempty"` // empty: the caller
	Match    string             `json:"match,omitempty"`  // only events whose name holds this
	Calendar string             `json:"calendar"`         // the .ics file
}

func (s *Server) calendarRoutes(change Need) []Route {
	return []Route{
		{"GET", "/api/ops/v1/calendars", Need{}, "The calendar feeds that you made; of the manager, all", s.listCalendars},
		{"POST", "/api/ops/v1/calendars", Need{}, "Make a calendar feed: {\"role\": \"…\"} or {\"person\": \"…\"}; the answer has its address, this once", s.makeCalendar},
		{"DELETE", "/api/ops/v1/calendars/{calendar}", Need{}, "Revoke a calendar feed: its address shows nothing any more", s.revokeCalendar},
		{"GET", "/ical/{feed}", Need{Open: true}, "A calendar feed, whose secret is in the address, ending in .ics", s.calendarFeed},
		{"POST", "/api/ops/v1/oncall/leave", change, "Import when somebody is away from an .ics file: {\"calendar\": \"BEGIN:VCALENDAR…\"}", s.importLeave},
	}
}

func (s *Server) listCalendars(w http.ResponseWriter, c call) error {
	all, err := s.o.Calendars.ListCalendars(c.Context(), c.actor())
	return replyList(w, all, err)
}

func (s *Server) makeCalendar(w http.ResponseWriter, c call) error {
	var r CalendarRequest
	if err := read(c, &r); err != nil {
		return err
	}
	made, err := s.o.Calendars.MakeCalendar(c.Context(), c.actor(), r)
	if err != nil {
		return err
	}
	return reply(w, http.StatusCreated, made)
}

func (s *Server) revokeCalendar(w http.ResponseWriter, c call) error {
	id, err := strconv.ParseInt(c.PathValue("calendar"), 10, 64)
	if err != nil {
		return watchbill.Invalidf("list them with: watchbill ical list", "%q is not the number of a calendar", c.PathValue("calendar"))
	}
	if err := s.o.Calendars.RevokeCalendar(c.Context(), c.actor(), id); err != nil {
		return err
	}
	return reply(w, http.StatusOK, map[string]string{"status": "revoked"})
}

// calendarFeed keeps the secret out of whatever tells of the request from here on.
func (s *Server) calendarFeed(w http.ResponseWriter, c call) error {
	secret, _ := strings.CutSuffix(c.PathValue("feed"), ".ics")
	c.URL.Path, c.URL.RawPath = "/ical/…", ""
	b, err := s.o.Calendars.CalendarFeed(c.Context(), secret)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "text/calendar; charset=utf-8")
	h.Set("Content-Disposition", `inline; filename="watchbill.ics"`)
	h.Set("X-Robots-Tag", "noindex, nofollow")
	_, err = w.Write(b)
	return err
}

func (s *Server) importLeave(w http.ResponseWriter, c call) error {
	var r LeaveRequest
	if err := read(c, &r); err != nil {
		return err
	}
	made, err := s.o.DutyChanges.ImportLeave(c.Context(), c.actor(), r)
	return replyList(w, made, err)
}

// MakeCalendar makes a feed.
func (c *Client) MakeCalendar(ctx context.Context, r CalendarRequest) (made MadeCalendar, err error) {
	err = c.do(ctx, http.MethodPost, "/api/ops/v1/calendars", r, &made)
	return made, err
}

// ListCalendars lists feeds.
func (c *Client) ListCalendars(ctx context.Context) (all []watchbill.CalendarFeed, err error) {
	err = c.do(ctx, http.MethodGet, "/api/ops/v1/calendars", nil, &all)
	return all, err
}

// RevokeCalendar revokes a feed.
func (c *Client) RevokeCalendar(ctx context.Context, id int64) error {
	return c.do(ctx, http.MethodDelete, "/api/ops/v1/calendars/"+strconv.FormatInt(id, 10), nil, nil)
}

// ImportLeave imports leave.
func (c *Client) ImportLeave(ctx context.Context, r LeaveRequest) (made []watchbill.DutyChange, err error) {
	err = c.do(ctx, http.MethodPost, "/api/ops/v1/oncall/leave", r, &made)
	return made, err
}
