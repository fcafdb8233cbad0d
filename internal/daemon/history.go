package daemon

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"watchbill"
	"watchbill/internal/store"
	"watchbill/internal/web"
	"watchbill/router/amapi"
)

// maxScan is how many occurrences one request looks at: a filter that matches
// little is answered in several pages, so that no request reads for long.
const maxScan = 5000

// maxMutes bounds what is kept of the mutes of one alert.
const maxMutes = 20

// AfterEnd is how long after the end of an alert a page still counts as its own:
// it was being sent.
const AfterEnd = 30 * time.Second

// muted notes that something mutes an alert from now on, or nothing any more.
func muted(spans []store.MuteSpan, why string, now time.Time) []store.MuteSpan {
	last := len(spans) - 1
	if last >= 0 && spans[last].Until.IsZero() {
		if spans[last].Reason == why {
			return spans
		}
		spans = slices.Clone(spans)
		spans[last].Until = now
	}
	if why == "" || len(spans) >= maxMutes {
		return spans
	}
	return append(slices.Clip(spans), store.MuteSpan{From: now, Reason: why})
}

// occurred records in the history one time that an alert fired, which is over.
func (w *work) occurred(row *store.AlertRow) error {
	row.Mutes = muted(row.Mutes, "", w.now)
	if row.Source == selfSource {
		return nil
	}
	return w.tx.PutOccurrence(*row, w.now)
}

type historyQuery struct {
	store.OccurrenceQuery
	alerts        amapi.Query
	firing, ended bool
	offset        int // among those that fire
}

func parseHistory(v url.Values) (q historyQuery, err error) {
	if q.alerts.Filter, err = amapi.ParseMatchers(v["filter"]); err != nil {
		return q, err
	}
	q.Limit = 100
	if text := v.Get("limit"); text != "" {
		if q.Limit, err = strconv.Atoi(text); err != nil || q.Limit < 1 || q.Limit > 1000 {
			return q, watchbill.Invalidf("use 1 to 1000", "limit: %q is not a count", text)
		}
	}
	for name, into := range map[string]*time.Time{"from": &q.From, "to": &q.To} {
		if text := v.Get(name); text != "" {
			if *into, err = time.Parse(time.RFC3339, text); err != nil || into.Year() < 1970 || into.Year() > 2200 {
				return q, watchbill.Invalidf("write it like 2026-11-29T03:15:00Z", "%s: %q is not a time", name, text)
			}
		}
	}
	if text := v.Get("incident"); text != "" {
		if q.Incident, err = watchbill.ParseIncidentID(text); err != nil {
			return q, err
		}
	}
	state := v.Get("state")
	q.firing, q.ended = state != "ended", state != "firing"
	if !slices.Contains([]string{"", "firing", "ended"}, state) {
		return q, watchbill.Invalidf("use firing or ended, or leave it out", "state: %q is neither", state)
	}
	return q, q.parseCursor(v.Get("cursor"))
}

func (q *historyQuery) parseCursor(text string) error {
	kind, number, _ := strings.Cut(text, "-")
	n, err := strconv.ParseInt(cmp.Or(number, "0"), 10, 64)
	switch {
	case text == "":
	case err != nil || n < 0:
		return watchbill.Invalidf("pass next of the answer before, unchanged", "cursor: %q is not one", text)
	case kind == "firing":
		q.offset = int(n)
	case kind == "ended":
		q.firing, q.Before = false, n
	default:
		return watchbill.Invalidf("pass next of the answer before, unchanged", "cursor: %q is not one", text)
	}
	return nil
}

// AlertHistory implements [web.AlertHistory]: what fires first, newest first, and
// then what ended, the last end first.
func (b board) AlertHistory(ctx context.Context, query url.Values) (web.HistoryPage, error) {
	page := web.HistoryPage{Alerts: []web.HistoryAlert{}}
	q, err := parseHistory(query)
	if err != nil {
		return page, err
	}
	now := time.Now().UTC()
	err = b.flow.store.View(ctx, func(tx *store.Tx) error {
		if q.firing {
			if err := q.listFiring(tx, now, &page); err != nil || page.Next != "" {
				return err
			}
		}
		if q.ended {
			return q.listEnded(tx, &page)
		}
		return nil
	})
	return page, err
}

func (q *historyQuery) listFiring(tx *store.Tx, now time.Time, page *web.HistoryPage) error {
	rows, err := tx.ActiveAlerts()
	if err != nil {
		return err
	}
	rows = slices.DeleteFunc(rows, func(r store.AlertRow) bool {
		return r.Source == selfSource || r.Flap.Clearing || r.StartsAt.After(now) || !q.To.IsZero() && r.StartsAt.After(q.To) ||
			q.Incident != 0 && r.Incident != q.Incident || !amapi.Matches(q.alerts.Filter, r.Labels)
	})
	slices.SortStableFunc(rows, func(a, b store.AlertRow) int { return b.StartsAt.Compare(a.StartsAt) })
	rows = rows[min(q.offset, len(rows)):]
	for i, r := range rows {
		if i == q.Limit {
			page.Next = fmt.Sprintf("firing-%d", q.offset+q.Limit)
			return nil
		}
		o := store.Occurrence{Incident: r.Incident, Alert: r.Alert, Mutes: r.Mutes}
		if err := addTo(page, tx, o, time.Time{}, now); err != nil {
			return err
		}
	}
	return nil
}

func (q *historyQuery) listEnded(tx *store.Tx, page *web.HistoryPage) error {
	ask, wanted := q.OccurrenceQuery, q.Limit
	ask.Limit = 500
	for scanned := 0; ; {
		if scanned >= maxScan || len(page.Alerts) >= wanted {
			page.Next = fmt.Sprintf("ended-%d", ask.Before)
			if ask.Before == 0 {
				page.Next = fmt.Sprintf("ended-%d", int64(1<<62))
			}
			return nil
		}
		all, err := tx.Occurrences(ask)
		if err != nil {
			return err
		}
		for _, o := range all {
			if len(page.Alerts) >= wanted {
				break
			}
			scanned, ask.Before = scanned+1, o.ID
			if amapi.Matches(q.alerts.Filter, o.Labels) {
				if err := addTo(page, tx, o, o.EndsAt, o.EndsAt.Add(AfterEnd)); err != nil {
					return err
				}
			}
		}
		if len(all) < ask.Limit && (len(all) == 0 || ask.Before == all[len(all)-1].ID) {
			return nil
		}
	}
}

// addTo adds an alert to a page, with who was paged by its incident while it
// fired and why steps of the incident were held.
func addTo(page *web.HistoryPage, tx *store.Tx, o store.Occurrence, ended, until time.Time) error {
	h := web.HistoryAlert{
		Fingerprint: o.Fingerprint(), Labels: o.Labels, Annotations: o.Annotations, Source: o.Source, StartsAt: o.StartsAt, EndedAt: ended,
		Seconds: until.Sub(o.StartsAt).Seconds(), Paged: []web.HistoryPaged{}, Muted: []web.HistoryMute{},
	}
	if !ended.IsZero() {
		h.Seconds = max(ended.Sub(o.StartsAt), 0).Seconds()
	}
	for _, m := range o.Mutes {
		h.Muted = append(h.Muted, web.HistoryMute(m))
	}
	if o.Incident == 0 {
		page.Alerts = append(page.Alerts, h)
		return nil
	}
	h.Incident = o.Incident.String()
	paged, err := tx.PagedBetween(o.Incident, o.StartsAt, until)
	if err != nil {
		return err
	}
	for _, p := range paged {
		h.Paged = append(h.Paged, web.HistoryPaged(p))
	}
	page.Alerts = append(page.Alerts, h)
	return nil
}
