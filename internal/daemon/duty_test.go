package daemon

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/config"
	"watchbill/internal/web"
)

// A trainee gets a copy that says so and has no way to acknowledge; nobody is told
// that the trainee is next.
func TestTraineesGetACopy(t *testing.T) {
	t.Parallel()
	cfg, err := config.Load("../../deploy/examples/follow-the-sun/watchbill.yaml", nil)
	require.NoError(t, err)
	r, err := build(cfg, Options{})
	require.NoError(t, err)
	at := time.Date(2027, 11, 8, 7, 0, 0, 0, time.UTC)
	v := situation{now: at}.input(r, asked(watchbill.Labels{"service": "checkout", "severity": "page"}, at), 0)
	inc := r.life.Open(at, r.opening(v.Alert, r.router.Decide(v))).Incident
	pages := r.compose(inc, r.plan(inc, 0, at))
	require.Len(t, pages, 2)
	require.Equal(t, watchbill.PersonID("ana"), pages[0].Person)
	require.Len(t, pages[0].Content.Actions, 2)
	own, copied := pages[0].Content, pages[1].Content
	require.Equal(t, watchbill.PersonID("lee"), pages[1].Person)
	require.Equal(t, "Copy: "+own.Title, copied.Title)
	require.Contains(t, copied.Why, "you get a copy as a trainee for support, and nothing is expected of you: reads along with ana")
	require.Len(t, copied.Actions, 1)
	require.Equal(t, "Look", copied.Actions[0].Name)
}

// A configuration whose rosters have gaps is refused where that is wanted.
func TestGapsRefuseAConfiguration(t *testing.T) {
	t.Parallel()
	cfg, err := config.Load("../../deploy/examples/follow-the-sun/watchbill.yaml", nil)
	require.NoError(t, err)
	o, err := Rosters(cfg)
	require.NoError(t, err)
	gaps, err := o.Coverage(t.Context(), time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC), 28)
	require.NoError(t, err)
	require.Len(t, gaps, 3)
	r := o.rooms()
	require.NoError(t, r.uncovered(), "it only warns")
	require.NoError(t, refused(nil, 28))
	require.ErrorContains(t, refused(gaps, 28), "3 gaps in the next 28 days, the first: vacant: security from Wed 10 Mar 2027 07:00")
	r.coverage.OnGap, r.coverage.Days = "refuse", 1
	for id := range r.people { // nobody can be reached any more
		r.people[id] = watchbill.Person{ID: id}
	}
	require.ErrorContains(t, r.uncovered(), "gaps in the next 1 days")
	_, err = o.Coverage(t.Context(), time.Now(), 0)
	require.ErrorContains(t, err, "no proof for 0 days")
	_, err = o.OnDuty(t.Context(), "cook", time.Now())
	require.ErrorContains(t, err, `there is no role "cook"`)
}

// Who may change what.
func TestWhoMayChangeTheDuty(t *testing.T) {
	t.Parallel()
	cfg, err := config.Load("../../deploy/examples/follow-the-sun/watchbill.yaml", nil)
	require.NoError(t, err)
	o, err := Rosters(cfg)
	require.NoError(t, err)
	now := time.Date(2027, 3, 9, 12, 0, 0, 0, time.UTC)
	cover := func(author, person, instead watchbill.PersonID) watchbill.DutyChange {
		return watchbill.DutyChange{Kind: watchbill.DutyCover, Author: author, Person: person, Instead: instead, From: now, To: now.Add(time.Hour), Reason: "r"}
	}
	r := o.rooms()
	require.NoError(t, r.mayChange(cover("frank", "ana", "ben"), now), "the manager")
	require.NoError(t, r.mayChange(cover("ana", "ana", "ben"), now), "one of the two")
	require.ErrorContains(t, r.mayChange(cover("henry", "ana", "ben"), now), "not theirs to change")
	require.ErrorContains(t, r.mayChange(cover("frank", "anna", "ben"), now), `no person "anna"`)
	away := cover("frank", "eve", "ben")
	away.From, away.To = now.AddDate(0, 0, 1), now.AddDate(0, 0, 2)
	require.ErrorContains(t, r.mayChange(away, now), "eve is away until 2027-03-10T23:00:00Z: moving house")
	_, err = r.swapped(web.DutyRequest{DutyChange: watchbill.DutyChange{Role: "security"}, First: now.AddDate(0, 0, 3), Second: now.AddDate(0, 0, 6)}, now)
	require.ErrorContains(t, err, "has both shifts")
	two, err := r.swapped(web.DutyRequest{DutyChange: watchbill.DutyChange{Role: "manager"}, First: now.AddDate(0, 0, 3), Second: now.AddDate(0, 0, 7)}, now)
	require.NoError(t, err)
	require.Equal(t, []watchbill.PersonID{"frank", "grace"}, []watchbill.PersonID{two[1].Instead, two[1].Person})
	require.Equal(t, time.Date(2027, 3, 15, 8, 0, 0, 0, time.UTC), two[0].To.UTC())
}
