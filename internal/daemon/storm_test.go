package daemon

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"watchbill"
)

// Whatever is due and was sent: sev1 goes alone, nobody gets more than the limit
// by what is not sev1, each page is in exactly one place, and what is put off is
// put off by at most a minute.
func TestDivideKeepsTheLimitAndEveryPage(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 29, 3, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 6).Draw(t, "limit")
		var recent []time.Time
		for at := now.Add(-stormWindow + time.Second); len(recent) < 12 && !at.After(now); at = at.Add(time.Duration(rapid.IntRange(1, 30).Draw(t, "gap")) * time.Second) {
			recent = append(recent, at)
		}
		var due []watchbill.Delivery
		urgent := 0
		for i := range rapid.IntRange(0, 15).Draw(t, "due") {
			sev := watchbill.Severity(rapid.IntRange(1, 4).Draw(t, "severity"))
			if sev == watchbill.Sev1 {
				urgent++
			}
			due = append(due, watchbill.Delivery{ID: int64(i), Page: watchbill.Page{
				Incident: watchbill.IncidentID(i + 1), Content: watchbill.PageContent{Severity: sev},
			}})
		}
		s := divide(due, recent, limit, now)
		alone, seen := 0, map[int64]bool{}
		for _, d := range s.alone {
			require.False(t, seen[d.ID])
			seen[d.ID] = true
			if d.Page.Content.Severity == watchbill.Sev1 {
				alone++
			}
		}
		require.Equal(t, urgent, alone, "sev1 is never bundled nor put off")
		messages := len(s.alone)
		if s.bundle {
			messages++
			require.True(t, s.until.IsZero())
			require.GreaterOrEqual(t, len(due)-len(s.alone), 2, "one page is no bundle")
		}
		if messages > urgent {
			require.LessOrEqual(t, len(recent)+messages, limit)
		}
		if len(due) > len(s.alone) && !s.bundle {
			require.True(t, s.until.After(now) && !s.until.After(now.Add(stormWindow)), "put off to when there is room")
			later := divide(due, afterwards(recent, urgent, now, s.until), limit, s.until)
			require.True(t, urgent > 0 || later.bundle || len(later.alone) > 0, "and then there is")
		}
	})
}

// afterwards are the messages of the last minute at a later instant.
func afterwards(recent []time.Time, sent int, now, later time.Time) []time.Time {
	var left []time.Time
	for _, at := range recent {
		if later.Sub(at) < stormWindow {
			left = append(left, at)
		}
	}
	for range sent {
		left = append(left, now)
	}
	return left
}

// The counts of a bundle are those of what it stands for, and what is bundled
// again has the same key.
func TestBundleCounts(t *testing.T) {
	t.Parallel()
	var pages []watchbill.Delivery
	for i := range 30 {
		pages = append(pages, watchbill.Delivery{ID: int64(i), Attempt: 1, Page: watchbill.Page{
			Incident: watchbill.IncidentID(1 + i/2), Generation: 1, Step: i % 2, Person: "ana", Method: "push", Due: time.Unix(int64(i), 0),
			Content: watchbill.PageContent{Severity: watchbill.Sev2 + watchbill.Severity(i%2), Title: fmt.Sprint("title ", i)},
		}})
	}
	d := bundle(pages, time.Unix(60, 0), 5)
	require.Equal(t, "30 pages about 15 incidents: 15 of sev2, 15 of sev3", d.Page.Content.Title)
	require.Equal(t, "30", d.Page.Content.Labels["pages"])
	require.Contains(t, d.Page.Content.Impact, "and 5 more")
	require.Equal(t, watchbill.Sev2, d.Page.Content.Severity)
	require.Len(t, d.Bundle, 30)
	require.Equal(t, d.Page.Key(), bundle(pages, time.Unix(90, 0), 5).Page.Key())
	require.Empty(t, bundle(pages[:1], time.Unix(60, 0), 5).Bundle)
}
