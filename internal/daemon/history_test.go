package daemon_test

import (
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/web"
)

func TestAlertHistory(t *testing.T) {
	t.Parallel()
	play(t, func(t *testing.T, s *scene) {
		ask := func(q url.Values) web.HistoryPage {
			t.Helper()
			page, err := s.frank.AlertHistory(t.Context(), q)
			require.NoError(t, err)
			return page
		}
		s.post(disk(), 10*time.Hour)
		s.sleep(10 * time.Minute)
		s.silence(20*time.Minute, "alertname", "Quiet")
		quiet := watchbill.Labels{"alertname": "Quiet", "service": "web", "severity": "page"}
		s.post(quiet, 10*time.Hour)
		page := ask(url.Values{"state": {"firing"}})
		require.Len(t, page.Alerts, 2)
		require.Equal(t, quiet, page.Alerts[0].Labels, "newest first")
		require.Contains(t, page.Alerts[0].Muted[0].Reason, "silenced by ana")
		require.True(t, page.Alerts[0].Muted[0].Until.IsZero())
		require.Empty(t, page.Alerts[0].Incident)
		require.Equal(t, "INC-1", page.Alerts[1].Incident)
		require.InDelta(t, 600, page.Alerts[1].Seconds, 1)

		s.post(disk(), -time.Second)
		s.sleep(25 * time.Minute)
		s.post(quiet, -time.Second)
		page = ask(url.Values{"limit": {"1"}})
		require.Len(t, page.Alerts, 1)
		first := page.Alerts[0]
		require.Equal(t, quiet, first.Labels, "the last end first")
		require.Equal(t, 20*time.Minute, first.Muted[0].Until.Sub(first.Muted[0].From), "until the silence ended")
		require.Equal(t, "INC-2", first.Incident)
		require.NotEmpty(t, first.Paged)
		page = ask(url.Values{"limit": {"1"}, "cursor": {page.Next}})
		require.Equal(t, disk(), page.Alerts[0].Labels)
		require.Equal(t, watchbill.PersonID("ana"), page.Alerts[0].Paged[0].Person)
		require.Equal(t, s.began, page.Alerts[0].StartsAt.UTC())
		require.InDelta(t, 600, page.Alerts[0].Seconds, 2)
		require.Empty(t, page.Next, "that was all")

		require.Len(t, ask(url.Values{"filter": {"service=~d."}}).Alerts, 1)
		require.Len(t, ask(url.Values{"incident": {"INC-2"}}).Alerts, 1)
		require.Len(t, ask(url.Values{"from": {s.began.Add(15 * time.Minute).Format(time.RFC3339)}}).Alerts, 1)
		require.Len(t, ask(url.Values{"to": {s.began.Add(time.Minute).Format(time.RFC3339)}}).Alerts, 1)
		for _, bad := range []url.Values{{"limit": {"0"}}, {"from": {"x"}}, {"cursor": {"ended-x"}}, {"state": {"odd"}}, {"incident": {"x"}}, {"filter": {"{{"}}} {
			_, err := s.frank.AlertHistory(t.Context(), bad)
			require.Error(t, err, bad)
		}
		s.post(disk(), time.Hour)
		require.Len(t, ask(url.Values{"filter": {"alertname=DiskFull"}}).Alerts, 2, "each time that it fired")
	})
}
