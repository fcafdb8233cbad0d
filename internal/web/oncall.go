package web

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"watchbill"
)

// Oncall answers who is on duty.
type Oncall interface {
	OnDuty(ctx context.Context, role watchbill.RoleID, at time.Time) ([]watchbill.Shift, error)
	Shifts(ctx context.Context, role watchbill.RoleID, from, to time.Time) ([]watchbill.Shift, error)
	Coverage(ctx context.Context, from time.Time, days int) ([]watchbill.Gap, error)
	DutyLoad(ctx context.Context, from time.Time, days int) ([]watchbill.DutyLoad, error)
}

// DutyChanges changes who is on duty.
type DutyChanges interface {
	DutyChanges(ctx context.Context) ([]watchbill.DutyChange, error)
	ChangeDuty(ctx context.Context, who Actor, q DutyRequest) ([]watchbill.DutyChange, error)
	EndDutyChange(ctx context.Context, who Actor, id int64, reason string) error
	ImportLeave(ctx context.Context, who Actor, r LeaveRequest) ([]watchbill.DutyChange, error)
}

// DutyRequest is a change to make. A swap names an instant of each of the two
// shifts, as first and second, and nothing of people and times.
type DutyRequest struct {
	watchbill.DutyChange
	First  time.Time `json:"first,omitzero"`
	Second time.Time `json:"second,omitzero"`
}

// EndRequest says why something is ended.
type EndRequest struct {
	Reason string `json:"reason"`
}

func (s *Server) oncallRoutes(read, change Need) []Route {
	return []Route{
		{"GET", "/api/ops/v1/oncall", read, "Who is on duty, why and until when: ?role=…&at=…; without a role, for all", s.onDuty},
		{"GET", "/api/ops/v1/oncall/shifts", read, "Who is on duty for a role, one shift after the other: ?role=…&from=…&days=28", s.shifts},
		{"GET", "/api/ops/v1/oncall/load", read, "Hours, nights, weekend hours and pages of each person: ?from=…&days=28", s.dutyLoad},
		{"GET", "/api/ops/v1/oncall/changes", read, "The overrides, covers, swaps and leaves that count now or will", s.dutyChanges},
		{"POST", "/api/ops/v1/oncall/changes", change, "Change the duty: {\"kind\": \"override|cover|swap|leave\", …}; see docs/oncall.md", s.changeDuty},
		{"POST", "/api/ops/v1/oncall/changes/{duty}/end", change, "End a change of the duty: {\"reason\": \"…\"}", s.endDutyChange},
		{"GET", "/api/ops/v1/coverage", read, "The gaps in the rosters: ?from=…&days=28", s.coverage},
	}
}

// instant reads a time of a query; now if there is none.
func instant(c call, name string) (time.Time, error) {
	text := c.URL.Query().Get(name)
	if text == "" {
		return time.Now().UTC(), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, watchbill.Invalidf("write it like 2026-11-29T03:15:00Z", "%s: %q is not a time", name, text)
	}
	return at.UTC(), nil
}

// span reads from and days of a query.
func span(c call) (from time.Time, days int, err error) {
	if from, err = instant(c, "from"); err != nil {
		return from, 0, err
	}
	text := cmp.Or(c.URL.Query().Get("days"), "28")
	if days, err = strconv.Atoi(text); err != nil || days < 1 || days > 366 {
		return from, 0, watchbill.Invalidf("write 28", "days: %q is not a number from 1 to 366", text)
	}
	return from, days, nil
}

func (s *Server) onDuty(w http.ResponseWriter, c call) error {
	at, err := instant(c, "at")
	if err != nil {
		return err
	}
	all, err := s.o.Oncall.OnDuty(c.Context(), watchbill.RoleID(c.URL.Query().Get("role")), at)
	return replyList(w, all, err)
}

func (s *Server) shifts(w http.ResponseWriter, c call) error {
	from, days, err := span(c)
	if err != nil {
		return err
	}
	all, err := s.o.Oncall.Shifts(c.Context(), watchbill.RoleID(c.URL.Query().Get("role")), from, from.AddDate(0, 0, days))
	return replyList(w, all, err)
}

func (s *Server) dutyLoad(w http.ResponseWriter, c call) error {
	from, days, err := span(c)
	if err != nil {
		return err
	}
	all, err := s.o.Oncall.DutyLoad(c.Context(), from, days)
	return replyList(w, all, err)
}

func (s *Server) coverage(w http.ResponseWriter, c call) error {
	from, days, err := span(c)
	if err != nil {
		return err
	}
	all, err := s.o.Oncall.Coverage(c.Context(), from, days)
	return replyList(w, all, err)
}

func (s *Server) dutyChanges(w http.ResponseWriter, c call) error {
	all, err := s.o.DutyChanges.DutyChanges(c.Context())
	return replyList(w, all, err)
}

func (s *Server) changeDuty(w http.ResponseWriter, c call) error {
	var q DutyRequest
	if err := read(c, &q); err != nil {
		return err
	}
	made, err := s.o.DutyChanges.ChangeDuty(c.Context(), c.actor(), q)
	return replyList(w, made, err)
}

func (s *Server) endDutyChange(w http.ResponseWriter, c call) error {
	id, err := strconv.ParseInt(c.PathValue("duty"), 10, 64)
	if err != nil {
		return watchbill.Invalidf("list them with: watchbill oncall changes", "%q is not the number of a change", c.PathValue("duty"))
	}
	var r EndRequest
	if err := read(c, &r); err != nil {
		return err
	}
	if err := s.o.DutyChanges.EndDutyChange(c.Context(), c.actor(), id, r.Reason); err != nil {
		return err
	}
	return reply(w, http.StatusOK, map[string]string{"status": "ended"})
}

// replyList answers with a list, which is [] when it is empty.
func replyList[T any](w http.ResponseWriter, all []T, err error) error {
	if err != nil {
		return err
	}
	if all == nil {
		all = []T{}
	}
	return reply(w, http.StatusOK, all)
}

// OnDuty asks who is on duty for a role, or for all of them.
func (c *Client) OnDuty(ctx context.Context, role watchbill.RoleID, at time.Time) ([]watchbill.Shift, error) {
	var all []watchbill.Shift
	q := url.Values{"role": {string(role)}, "at": {at.UTC().Format(time.RFC3339)}}
	err := c.do(ctx, http.MethodGet, "/api/ops/v1/oncall?"+q.Encode(), nil, &all)
	return all, err
}

// Shifts asks who is on duty for a role, one shift after the other. It asks for
// whole days.
func (c *Client) Shifts(ctx context.Context, role watchbill.RoleID, from, to time.Time) ([]watchbill.Shift, error) {
	var all []watchbill.Shift
	days := max(1, int(to.Sub(from).Hours()+23)/24)
	err := c.do(ctx, http.MethodGet, "/api/ops/v1/oncall/shifts?role="+url.QueryEscape(string(role))+"&"+spanQuery(from, days), nil, &all)
	return all, err
}

// Coverage asks for the gaps of some days.
func (c *Client) Coverage(ctx context.Context, from time.Time, days int) ([]watchbill.Gap, error) {
	var all []watchbill.Gap
	err := c.do(ctx, http.MethodGet, "/api/ops/v1/coverage?"+spanQuery(from, days), nil, &all)
	return all, err
}

// DutyLoad asks what some days ask of each person.
func (c *Client) DutyLoad(ctx context.Context, from time.Time, days int) ([]watchbill.DutyLoad, error) {
	var all []watchbill.DutyLoad
	err := c.do(ctx, http.MethodGet, "/api/ops/v1/oncall/load?"+spanQuery(from, days), nil, &all)
	return all, err
}

func spanQuery(from time.Time, days int) string {
	return url.Values{"from": {from.UTC().Format(time.RFC3339)}, "days": {strconv.Itoa(days)}}.Encode()
}

// DutyChanges lists the changes of the duty.
func (c *Client) DutyChanges(ctx context.Context) ([]watchbill.DutyChange, error) {
	var all []watchbill.DutyChange
	err := c.do(ctx, http.MethodGet, "/api/ops/v1/oncall/changes", nil, &all)
	return all, err
}

// ChangeDuty changes the duty.
func (c *Client) ChangeDuty(ctx context.Context, q DutyRequest) ([]watchbill.DutyChange, error) {
	var made []watchbill.DutyChange
	err := c.do(ctx, http.MethodPost, "/api/ops/v1/oncall/changes", q, &made)
	return made, err
}

// EndDutyChange ends a change of the duty.
func (c *Client) EndDutyChange(ctx context.Context, id int64, reason string) error {
	return c.do(ctx, http.MethodPost, fmt.Sprintf("/api/ops/v1/oncall/changes/%d/end", id), EndRequest{reason}, nil)
}
