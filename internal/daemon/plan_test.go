package daemon_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
)

// The plan is taken from the runbook; an overdue step pages its owner, then the
// path; one that is blocked escalates.
func TestPlan(t *testing.T) {
	t.Parallel()
	routed(t, func(t *testing.T, s *scene) {
		s.post(disk(), 12*time.Hour)
		carla := s.As("carla")
		_, err := carla.Acknowledge(t.Context(), 1, "")
		require.NoError(t, err)
		inc, err := carla.ActOnPlan(t.Context(), 1, watchbill.PlanAct{Act: "import", Text: "disk-full"})
		require.NoError(t, err)
		require.False(t, inc.PlannedAt.IsZero(), "no plan is owed any more")
		require.Equal(t, watchbill.PlanChange, inc.Plan[3].Kind)
		require.Equal(t, watchbill.PersonID("carla"), inc.Plan[0].Owner)
		_, err = carla.ActOnPlan(t.Context(), 1, watchbill.PlanAct{Act: "edit", Step: 1, Owner: "ana", Due: time.Now().Add(5 * time.Minute)})
		require.NoError(t, err)
		_, err = carla.ActOnPlan(t.Context(), 1, watchbill.PlanAct{Act: "edit", Step: 1, Owner: "nobody"})
		require.ErrorContains(t, err, "there is no person")
		s.sleep(time.Second)
		n := len(s.phone.Pages())
		s.sleep(5 * time.Minute)
		pages := s.phone.Pages()[n:]
		require.Equal(t, []string{"ana"}, people(pages))
		require.Contains(t, pages[0].Annot["reason"], "step 1 of the plan is overdue since")
		s.sleep(10 * time.Minute)
		v := show(t, s.frank, 1)
		require.Equal(t, watchbill.StateOpen, v.Incident.State)
		require.Contains(t, v.Incident.PageReason, "re-paged: step 1 of the plan is overdue since")
		require.NoError(t, watchbill.VerifyChain(v.Timeline, v.Incident.Head))

		_, err = carla.Acknowledge(t.Context(), 1, "")
		require.NoError(t, err)
		s.sleep(time.Second)
		n = len(s.phone.Pages())
		inc, err = carla.ActOnPlan(t.Context(), 1, watchbill.PlanAct{Act: "block", Step: 2, Note: "no access"})
		require.NoError(t, err)
		require.Equal(t, watchbill.StateOpen, inc.State)
		s.sleep(time.Second)
		pages = s.phone.Pages()[n:]
		require.NotEmpty(t, pages)
		require.Equal(t, "escalated by carla: step 2 of the plan is blocked: no access", pages[0].Annot["reason"])
		require.Contains(t, show(t, s.frank, 1).Text(), " 2  blocked  check        Shrink the journal")
	}, "", "reminders: {}\n")
}
