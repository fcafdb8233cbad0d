package daemon_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/web"
)

// A drill walks the real path until somebody answers, or its time is over, and
// its report says who, how fast and by which method.
func TestDrills(t *testing.T) {
	t.Parallel()
	routed(t, func(t *testing.T, s *scene) {
		v, err := s.frank.Drill(t.Context(), web.DrillRequest{Role: "support", Note: "monthly"})
		require.NoError(t, err)
		s.sleep(11 * time.Minute)
		pages := s.phone.Pages()
		require.Equal(t, []string{"ana", "ana", "frank"}, people(pages))
		require.Equal(t, "DRILL of role support: please acknowledge", pages[0].Annot["title"])
		require.Equal(t, "DRILL, drill asked for by frank: monthly", pages[0].Annot["reason"])
		inc, err := s.frank.Acknowledge(t.Context(), v.ID, "")
		require.NoError(t, err)
		require.Equal(t, watchbill.StateClosed, inc.State)
		n := len(s.phone.Pages())
		s.sleep(time.Hour)
		require.Len(t, s.phone.Pages(), n, "nothing of it is left")
		v, err = s.frank.ShowDrill(t.Context(), v.ID)
		require.NoError(t, err)
		require.Equal(t, web.DrillAnswered, v.Result)
		require.EqualValues(t, "frank", v.AnsweredBy)
		require.InDelta(t, 660, v.After, 1)
		require.Len(t, v.Pages, 3)
		require.Equal(t, "ana-phone", v.Pages[1].Method)
		require.Equal(t, v.Pages[1].Due, v.Pages[1].Sent)

		// One of a service closes no gate, and ends by itself.
		_, err = s.frank.Drill(t.Context(), web.DrillRequest{Service: "checkout", Severity: watchbill.Sev1, For: web.Span(4 * time.Minute)})
		require.NoError(t, err)
		g, err := s.frank.Gate(t.Context(), "checkout")
		require.NoError(t, err)
		require.Empty(t, g.Reasons)
		s.sleep(time.Hour)
		all, err := s.frank.ListDrills(t.Context())
		require.NoError(t, err)
		require.Len(t, all, 2)
		require.Equal(t, web.DrillUnanswered, all[0].Result)
		require.Len(t, s.phone.Pages(), n+2, "ana by both methods, and no second step")
		_, err = s.frank.Drill(t.Context(), web.DrillRequest{})
		require.ErrorContains(t, err, "role: a drill is of a role or of a service")
	})
}
