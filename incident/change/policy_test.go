package change_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/incident/change"
)

func TestLooser(t *testing.T) {
	t.Parallel()
	was := config().WithDefaults().Policy
	require.Empty(t, was.Looser(was))
	require.Empty(t, config().WithDefaults().Looser(was.Baseline()))
	for want, f := range map[string]func(*change.Config){
		"witness from required to optional":           func(c *change.Config) { c.Default.WitnessOptional = true },
		"expires from 8h0m0s to 9h0m0s":               func(c *change.Config) { c.Default.Expires = 9 * time.Hour },
		"live: approvals from 2 to 1":                 func(c *change.Config) { c.Environments = nil },
		"break_glass: review from 72h0m0s to 96h0m0s": func(c *change.Config) { c.ReviewIn = 96 * time.Hour },
		"break_glass: pages from manager to support":  func(c *change.Config) { c.BreakGlassPages = "support" },
		"prod is production no more":                  func(c *change.Config) { c.NotProduction = []string{"preprod", "prod"} },
		"skill from deployment to none":               func(c *change.Config) { c.Skill = "none" },
		"dan is a developer no more":                  func(c *change.Config) { c.People[4].Developer = false },
		"ana-admin is the same person as ana no more": func(c *change.Config) { c.People[1].SameAs = "" },
		"change-production: support from on-request to first": func(c *change.Config) {
			c.Matrix.Marks[watchbill.ActivityChangeProduction]["support"] = watchbill.First
		},
		"deploy-platform: manager from no to on-request": func(c *change.Config) {
			c.Matrix.Marks[watchbill.ActivityDeployPlatform]["manager"] = watchbill.OnRequest
		},
		"deploy-platform: security for [checkout] in [] (override 1) from no to yes": func(c *change.Config) {
			c.Matrix.Overrides = []watchbill.Override{{Services: []string{"checkout"}, Marks: map[watchbill.ActivityID]map[watchbill.RoleID]watchbill.Mark{
				watchbill.ActivityDeployPlatform: {"security": watchbill.Responsible},
			}}}
		},
	} {
		c := config()
		f(&c)
		now := c.WithDefaults().Policy
		require.Contains(t, now.Looser(was), want)
		require.NotEqual(t, was.Digest(), now.Digest())
		if want != "break_glass: pages from manager to support" && want != "skill from deployment to none" {
			require.Empty(t, was.Looser(now), "back again is stricter: %s", want)
		}
		// Under the old rules it is as before.
		require.Empty(t, c.Under(was).WithDefaults().Looser(was), want)
	}
}

func TestStricterNeedsNobody(t *testing.T) {
	t.Parallel()
	was := config().WithDefaults().Policy
	c := config()
	c.Default = change.Demand{Approvals: 2, Expires: time.Hour}
	c.NotProduction, c.ReviewIn = nil, time.Hour
	c.People[0].Developer = true
	delete(c.Matrix.Marks[watchbill.ActivityChangeProduction], "support")
	require.Empty(t, c.WithDefaults().Looser(was))
}

// A looser policy takes a change that names it and is being performed.
func TestAllows(t *testing.T) {
	t.Parallel()
	c := config()
	c.Default.Expires = 9 * time.Hour
	looser := c.WithDefaults().Policy
	asked := content()
	asked.Kind, asked.Command = watchbill.ChangeConfiguration, looser.Digest()
	d := begin(t, "carla", asked)
	allowed := func() bool { ok, _ := d.k.Allows(d.now, d.c, looser); return ok }
	require.False(t, allowed())
	d.must("ben", change.Approve)
	require.False(t, allowed())
	d.must("carla", change.Perform)
	require.False(t, allowed())
	d.must("ben", change.Witness)
	require.True(t, allowed())
	ok, why := d.k.Allows(d.now, d.c, config().WithDefaults().Policy)
	require.False(t, ok)
	require.Contains(t, why, "is not a change of the kind configuration with the command")
	d.must("carla", change.Done)
	require.False(t, allowed())
	d = begin(t, "carla", asked)
	d.refused("carla", change.BreakGlass, change.RuleTwoPeople)
}

func TestReport(t *testing.T) {
	t.Parallel()
	clean := begin(t, "carla", content())
	clean.must("ben", change.Approve)
	clean.must("carla", change.Perform)
	clean.must("ben", change.Witness)
	late := *clean
	clean.must("carla", change.Done)
	late.c.ID, late.now = 2, t0().Add(13*time.Hour)
	late.must("carla", change.Rollback)
	waiting := begin(t, "carla", content())
	waiting.c.ID = 3
	elsewhere := content()
	elsewhere.Environment = "preprod"
	other := begin(t, "dan", elsewhere)
	other.c.ID = 4
	r := clean.k.Report([]watchbill.Change{clean.c, late.c, waiting.c, other.c}, t0(), t0().Add(24*time.Hour))
	require.Equal(t, 3, r.Changes)
	require.Equal(t, 1, r.Exceptions)
	require.Equal(t, []watchbill.ChangeID{2, 3, 1}, []watchbill.ChangeID{r.Entries[0].ID, r.Entries[1].ID, r.Entries[2].ID})
	require.Equal(t, []string{"it was rolled back: as it should be", "it ended after its time, 2026-11-29T15:15:00Z"}, r.Entries[0].Exceptions)
	require.Empty(t, clean.k.Report([]watchbill.Change{clean.c}, t0().Add(time.Hour), t0().Add(2*time.Hour)).Entries)
}
