package daemon_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/web"
)

// Whoever has an incident is reminded of the plan and of each status update, and
// when they give none, the path starts again and says why.
func TestReminders(t *testing.T) {
	t.Parallel()
	routed(t, func(t *testing.T, s *scene) {
		s.post(disk(), 12*time.Hour)
		carla := s.As("carla")
		_, err := carla.Acknowledge(t.Context(), 1, "")
		require.NoError(t, err)
		s.sleep(time.Second)
		n := len(s.phone.Pages())
		s.sleep(19 * time.Minute)
		_, err = carla.Status(t.Context(), 1, web.StatusRequest{Text: "half of it works"})
		require.NoError(t, err)
		s.sleep(12 * time.Minute) // an update puts no plan off
		pages := s.phone.Pages()[n:]
		require.Len(t, pages, 1)
		require.Equal(t, "carla", pages[0].Person)
		require.Contains(t, pages[0].Annot["reason"], "a plan is due: none since 03:00 UTC; record it with: watchbill incident status INC-1 --plan …")
		inc, err := carla.Status(t.Context(), 1, web.StatusRequest{Text: "roll back", Plan: true})
		require.NoError(t, err)
		require.False(t, inc.PlannedAt.IsZero())
		for range 3 { // notes renew the acknowledgement, and are no status updates
			s.sleep(19 * time.Minute)
			_, err = carla.Note(t.Context(), 1, "still at it")
			require.NoError(t, err)
		}
		s.sleep(4 * time.Minute)
		pages = s.phone.Pages()[n:]
		require.Len(t, pages, 2)
		require.Contains(t, pages[1].Annot["reason"], "a status update is due: none since 03:31 UTC")
		s.sleep(10 * time.Minute)
		v := show(t, s.frank, 1)
		require.Equal(t, watchbill.StateOpen, v.Incident.State)
		require.Equal(t, 2, v.Incident.Generation)
		pages = s.phone.Pages()[n+2:]
		require.ElementsMatch(t, []string{"ana", "carla"}, people(pages))
		require.Equal(t, "re-paged: no status update by carla since 03:31 UTC", pages[0].Annot["reason"])
		for _, next := range v.Next {
			require.Equal(t, string(watchbill.TimerStep), next.What, "nobody owes anything until somebody has it again")
		}
	}, "", "reminders: {}\n")
}
