package daemon_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/ical"
	"watchbill/internal/web"
)

// A feed shows who is on duty to whoever has its address, until it is revoked or its
// owner has left; why somebody stands in stays out of it.
func TestCalendarFeeds(t *testing.T) {
	t.Parallel()
	routed(t, func(t *testing.T, s *scene) {
		feed := func(address string) (int, string) { return s.get(http.MethodGet, address, nil) }
		ben := s.As("ben")
		role, err := ben.MakeCalendar(t.Context(), web.CalendarRequest{Role: "support"})
		require.NoError(t, err)
		own, err := ben.MakeCalendar(t.Context(), web.CalendarRequest{})
		require.NoError(t, err)
		_, err = s.frank.ChangeDuty(t.Context(), web.DutyRequest{DutyChange: watchbill.DutyChange{
			Kind: watchbill.DutyCover, Person: "ben", Instead: "ana", From: s.began.Add(time.Hour), To: s.began.Add(2 * time.Hour), Reason: "broken leg",
		}})
		require.NoError(t, err)
		_, text := feed(role.URL)
		require.NotContains(t, text, "broken leg")
		all, err := ical.Read([]byte(text))
		require.NoError(t, err)
		require.Greater(t, len(all), 8)
		require.Equal(t, "support: ana", all[1].Summary)
		require.Equal(t, s.began.Add(time.Hour), all[1].To)
		require.Equal(t, "support: ben", all[2].Summary)
		require.Equal(t, s.began.Add(2*time.Hour), all[2].To)
		_, again := feed(role.URL)
		uid := func(text string) []string { return strings.Split(text, "UID:")[1:] }
		require.Equal(t, len(uid(text)), len(uid(again)))

		_, text = feed(own.URL)
		require.Contains(t, text, "SUMMARY:On duty: support")
		require.NotContains(t, text, "SUMMARY:support: ana")
		require.ErrorContains(t, s.As("ana").RevokeCalendar(t.Context(), role.ID), "you have no calendar 1")
		require.NoError(t, s.frank.RevokeCalendar(t.Context(), role.ID), "the manager may")
		code, text := feed(role.URL)
		require.Equal(t, http.StatusNotFound, code)
		require.Contains(t, text, "there is no such calendar, or it was revoked")
		code, _ = feed("http://watchbill.test/ical/x.ics")
		require.Equal(t, http.StatusNotFound, code)
		for range 19 {
			_, err = ben.MakeCalendar(t.Context(), web.CalendarRequest{Role: "support"})
			require.NoError(t, err)
		}
		_, err = ben.MakeCalendar(t.Context(), web.CalendarRequest{Role: "support"})
		require.ErrorContains(t, err, "you have 20 calendars")

		s.change("people: [ben, ana]", "people: [ana]", "  - {name: ben, full_name: Ben Okafor, roles: [support], tz: Europe/Madrid, contact: [{receiver: ben-push}]}\n", "")
		code, _ = feed(own.URL)
		require.Equal(t, http.StatusNotFound, code, "ben has left")
	})
}
