package web

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"watchbill"
)

// AlertHistory answers what fired when.
type AlertHistory interface {
	AlertHistory(ctx context.Context, query url.Values) (HistoryPage, error)
}

// HistoryPage is a part of the history. Next is the cursor of the part after it,
// empty after the last.
type HistoryPage struct {
	Alerts []HistoryAlert `json:"alerts"`
	Next   string         `json:"next,omitempty"`
}

// HistoryAlert is one time that an alert fired.
type HistoryAlert struct {
	Fingerprint watchbill.Fingerprint `json:"fingerprint"`
	Labels      watchbill.Labels      `json:"labels"`
	Annotations watchbill.Labels      `json:"annotations,omitempty"`
	Source      string                `json:"source,omitempty"`
	StartsAt    time.Time             `json:"starts_at"`
	EndedAt     time.Time             `json:"ended_at,omitzero"` // left out while it fires
	Seconds     float64               `json:"seconds"`           // it fired, until now if it still does
	Incident    string                `json:"incident,omitempty"`
	Paged       []HistoryPaged        `json:"paged"` // by its incident, while it fired
	Muted       []HistoryMute         `json:"muted"`
}

// HistoryPaged is who a page reached, by which method, when first.
type HistoryPaged struct {
	Person watchbill.PersonID `json:"person"`
	Method string             `json:"method"`
	At     time.Time          `json:"at"`
}

// HistoryMute is a time in which something muted an alert.
type HistoryMute struct {
	From   time.Time `json:"from"`
	Until  time.Time `json:"until,omitzero"` // left out while it still does
	Reason string    `json:"reason"`
}

func (s *Server) historyRoutes(read Need) []Route {
	return []Route{{"GET", "/api/ops/v1/alerts/history", read, "What fired when, who was paged and what muted it: ?filter=name=value, ?state=firing|ended, ?from=, ?to=, ?incident=INC-1, ?limit=100, ?cursor= of the answer before", func(w http.ResponseWriter, c call) error {
		page, err := s.o.AlertHistory.AlertHistory(c.Context(), c.URL.Query())
		if err != nil {
			return err
		}
		return reply(w, http.StatusOK, page)
	}}}
}

// AlertHistory asks what fired when.
func (c *Client) AlertHistory(ctx context.Context, query url.Values) (HistoryPage, error) {
	var page HistoryPage
	err := c.do(ctx, http.MethodGet, "/api/ops/v1/alerts/history?"+query.Encode(), nil, &page)
	return page, err
}
