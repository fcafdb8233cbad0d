package change_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"watchbill"
	"watchbill/incident/change"
)

func t0() time.Time { return time.Date(2026, 11, 29, 3, 15, 0, 0, time.UTC) }

func config() change.Config {
	yes, asked := watchbill.Responsible, watchbill.OnRequest
	return change.Config{
		Policy: change.Policy{
			Environments:  map[string]change.Demand{"live": {Approvals: 2, Expires: time.Hour}},
			NotProduction: []string{"preprod"},
		},
		Matrix: watchbill.Matrix{
			Manager: "manager",
			Roles:   []watchbill.Role{{ID: "manager"}, {ID: "deployment"}, {ID: "infrastructure"}, {ID: "security"}, {ID: "support"}},
			Marks: map[watchbill.ActivityID]map[watchbill.RoleID]watchbill.Mark{
				watchbill.ActivityChangeProduction: {"deployment": yes, "infrastructure": yes, "support": asked},
				watchbill.ActivityDeployPlatform:   {"deployment": yes},
				watchbill.ActivitySecurity:         {"security": yes, "support": yes},
				watchbill.ActivityRaiseAlerts:      {"manager": yes, "deployment": yes, "infrastructure": yes, "security": yes, "support": yes},
			},
		},
		People: []watchbill.Person{
			{ID: "ana", Roles: roles("support")},
			{ID: "ana-admin", SameAs: "ana", Roles: roles("deployment")},
			{ID: "ben", Roles: roles("infrastructure")},
			{ID: "carla", Roles: roles("deployment"), Level: map[string]int{"deployment": 4}},
			{ID: "dan", Roles: roles("deployment", "manager"), Developer: true},
			{ID: "dan-ops", SameAs: "dan", Roles: roles("deployment")},
			{ID: "eve", Roles: roles("security")},
			{ID: "frank", Roles: roles("manager")},
			{ID: "gus", Grants: []watchbill.Grant{{Role: "deployment", Services: []string{"checkout"}, Until: t0().Add(2 * time.Hour)}}},
			{ID: "hal", Roles: roles("deployment"), Level: map[string]int{"deployment": 2}},
			{ID: "nobody"},
		},
	}
}

func roles(r ...watchbill.RoleID) []watchbill.RoleID { return r }

func content() watchbill.ChangeContent {
	return watchbill.ChangeContent{
		Kind: watchbill.ChangeRollback, Title: "Roll checkout back", Service: "checkout", Environment: "prod", Target: "cluster-1",
		Command: "helm rollback checkout 41", Risk: "low", Rollback: "helm upgrade", Verification: "error rate below 1 %",
		NotAfter: t0().Add(12 * time.Hour),
	}
}

// desk is a change in people's hands.
type desk struct {
	t   require.TestingT
	k   *change.Control
	c   watchbill.Change
	now time.Time
	log []string
}

func begin(t require.TestingT, who watchbill.PersonID, c watchbill.ChangeContent) *desk {
	d := &desk{t: t, k: change.New(config(), func(p watchbill.PersonID, _ time.Time) bool { return p == "carla" }), now: t0()}
	e, err := d.k.Request(d.now, change.Actor{Person: who, Via: "cli"}, change.Request{Content: c})
	require.NoError(t, err)
	e.Change.ID = 1
	d.keep(e)
	return d
}

func (d *desk) keep(e change.Effect) {
	d.c = e.Change
	for _, ev := range e.Events {
		require.Equal(d.t, watchbill.EventChange, ev.Kind)
		d.log = append(d.log, ev.Actor+": "+ev.Text)
	}
}

func (d *desk) try(who watchbill.PersonID, a change.Act) error {
	if a.Verb == change.Approve && a.Hash == "" {
		a.Hash = d.c.Hash
	}
	e, err := d.k.Act(d.now, d.c, change.Actor{Person: who, Via: "cli"}, a)
	if err == nil {
		d.keep(e)
	}
	return err
}

func (d *desk) must(who watchbill.PersonID, v change.Verb) {
	require.NoError(d.t, d.try(who, change.Act{Verb: v, Text: "as it should be"}))
}

// refused checks that an act is refused by a rule and leaves the change as it is.
func (d *desk) refused(who watchbill.PersonID, v change.Verb, rule change.Rule) string {
	was, before := d.c, len(d.log)
	err := d.try(who, change.Act{Verb: v, Text: "because"})
	require.ErrorContains(d.t, err, "(rule: "+string(rule)+")", "%s by %s", v, who)
	require.Equal(d.t, was, d.c)
	require.Len(d.t, d.log, before)
	return err.Error()
}

func TestTwoPeopleSuffice(t *testing.T) {
	t.Parallel()
	d := begin(t, "carla", content())
	require.Equal(t, watchbill.ChangeRequested, d.c.State)
	d.refused("carla", change.Perform, change.RuleApproval)
	d.must("ben", change.Approve)
	require.Equal(t, watchbill.ChangeApproved, d.c.State)
	d.must("carla", change.Perform)
	require.Equal(t, watchbill.ChangeApproved, d.c.State, "without a witness nothing begins")
	require.False(t, d.k.Permit(d.now, d.c, d.c.Hash, "prod").OK)
	d.must("ben", change.Witness)
	require.Equal(t, watchbill.ChangePerforming, d.c.State)
	permit := d.k.Permit(d.now, d.c, d.c.Hash, "prod")
	require.True(t, permit.OK)
	require.Equal(t, t0().Add(8*time.Hour), permit.Until)
	require.Contains(t, permit.Reason, "approved by ben, performed by carla, witnessed by ben")
	d.refused("ben", change.Done, change.RuleHands)
	d.must("carla", change.Done)
	require.Equal(t, watchbill.ChangeDone, d.c.State)
	require.Equal(t, d.c.Hash, d.c.PerformedHash)
}

// Each rule refuses, says which it is, and names who could act instead.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func(*desk){
		"the requester does not approve": func(d *desk) {
			said := d.refused("carla", change.Approve, change.RuleAuthor)
			require.Contains(t, said, "who could approve it now: ana-admin, ben, frank, gus, hal")
		},
		"whoever edited does not approve": func(d *desk) {
			c := content()
			c.Command = "helm rollback checkout 40"
			require.NoError(t, d.try("ben", change.Act{Verb: change.Edit, Content: &c}))
			d.refused("ben", change.Approve, change.RuleAuthor)
			d.refused("carla", change.Approve, change.RuleAuthor)
			d.must("frank", change.Approve)
		},
		"the approver does not perform": func(d *desk) {
			d.must("ben", change.Approve)
			said := d.refused("ben", change.Perform, change.RulePerformer)
			require.Contains(t, said, "who could perform it now: carla (on duty), ana, ana-admin, gus, hal")
		},
		"the performer does not approve": func(d *desk) {
			d.must("ben", change.Approve)
			d.must("gus", change.Perform)
			d.refused("gus", change.Approve, change.RulePerformer)
		},
		"the performer does not witness": func(d *desk) {
			d.must("ben", change.Approve)
			d.must("carla", change.Perform)
			d.refused("carla", change.Witness, change.RuleWitness)
			d.must("ben", change.Witness)
			d.refused("ben", change.Perform, change.RulePerformer)
			d.must("hal", change.Witness) // a hand-over
			d.refused("hal", change.Perform, change.RuleWitness)
		},
		"a role without a mark": func(d *desk) {
			d.refused("eve", change.Approve, change.RuleMarked)
			d.refused("nobody", change.Approve, change.RuleMarked)
			d.refused("stranger", change.Approve, change.RuleMarked)
			d.must("frank", change.Approve)
			d.refused("eve", change.Perform, change.RuleMarked)
			d.refused("frank", change.Perform, change.RulePerformer)
			d.must("carla", change.Perform)
			d.refused("eve", change.Witness, change.RuleMarked)
		},
		"a developer, by any account": func(d *desk) {
			for _, v := range change.Verbs()[1:4] {
				d.refused("dan", v, map[change.Verb]change.Rule{change.Perform: change.RuleApproval}[v]+map[change.Verb]change.Rule{change.Approve: change.RuleDeveloper, change.Reject: change.RuleDeveloper}[v])
			}
			d.must("ben", change.Approve)
			for _, who := range []watchbill.PersonID{"dan", "dan-ops"} {
				said := d.refused(who, change.Perform, change.RuleDeveloper)
				require.NotContains(t, said[strings.Index(said, "who could"):], "dan")
				d.refused(who, change.BreakGlass, change.RuleDeveloper)
			}
			d.must("carla", change.Perform)
			d.refused("dan", change.Witness, change.RuleDeveloper)
		},
		"two accounts are one person": func(d *desk) {
			c := content()
			c.Title = "again"
			require.NoError(t, d.try("ana", change.Act{Verb: change.Edit, Content: &c}))
			d.refused("ana-admin", change.Approve, change.RuleAuthor)
			d.must("ben", change.Approve)
			d.must("ana-admin", change.Perform)
			d.refused("ana", change.Witness, change.RuleWitness)
		},
		"what was edited is not what was read": func(d *desk) {
			err := d.try("ben", change.Act{Verb: change.Approve, Hash: strings.Repeat("0", 64)})
			require.ErrorContains(t, err, string(change.RuleHash))
			err = d.try("ben", change.Act{Verb: change.Approve, Hash: d.c.Hash[:7]})
			require.ErrorContains(t, err, "at least the first 8 digits")
		},
		"an edit voids": func(d *desk) {
			d.must("ben", change.Approve)
			c := content()
			c.Risk = "high"
			require.NoError(t, d.try("carla", change.Act{Verb: change.Edit, Content: &c}))
			require.Equal(t, watchbill.ChangeRequested, d.c.State)
			require.Contains(t, d.log[len(d.log)-1], "voids the approval of ben")
			d.refused("carla", change.Perform, change.RuleHash)
		},
		"an approval ends": func(d *desk) {
			d.must("ben", change.Approve)
			d.now = d.now.Add(8 * time.Hour)
			d.refused("carla", change.Perform, change.RuleExpires)
		},
		"an approval ends while it is performed": func(d *desk) {
			d.must("ben", change.Approve)
			d.must("carla", change.Perform)
			d.must("ben", change.Witness)
			d.now = d.now.Add(8 * time.Hour)
			require.False(t, d.k.Permit(d.now, d.c, d.c.Hash, "prod").OK)
			d.refused("gus", change.Perform, change.RuleExpires) // no hand-over either
			d.must("carla", change.Done)                         // what happened is recorded
		},
		"its time": func(d *desk) {
			d.must("ben", change.Approve)
			d.now = d.c.Content.NotAfter
			d.refused("carla", change.Perform, change.RuleWindow)
			d.refused("gus", change.Approve, change.RuleWindow)
			d.refused("carla", change.BreakGlass, change.RuleWindow)
		},
		"a grant ends": func(d *desk) {
			d.must("ben", change.Approve)
			d.now = d.now.Add(2 * time.Hour)
			d.refused("gus", change.Perform, change.RuleMarked)
		},
		"level 2 with a supervisor": func(d *desk) {
			d.must("ben", change.Approve)
			d.must("hal", change.Perform)
			said := d.refused("ben", change.Witness, change.RuleLevel)
			require.Contains(t, said, "who could witness it now: carla (on duty)")
			d.must("carla", change.Witness)
			d.refused("ben", change.Witness, change.RuleLevel) // no hand-over either
			d.refused("hal", change.BreakGlass, change.RuleOrder)
		},
		"order": func(d *desk) {
			d.refused("ben", change.Witness, change.RuleApproval)
			d.refused("carla", change.Done, change.RuleOrder)
			d.refused("carla", change.Review, change.RuleOrder)
			d.must("ben", change.Reject)
			for _, v := range []change.Verb{change.Approve, change.Reject, change.Perform, change.Witness, change.Done, change.Fail, change.Rollback, change.BreakGlass} {
				d.refused("ben", v, change.RuleOrder)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(begin(t, "carla", content()))
		})
	}
}

// Support may on request: a responsible role asked, somebody else.
func TestOnRequest(t *testing.T) {
	t.Parallel()
	d := begin(t, "ana", content())
	d.must("ben", change.Approve)
	d.refused("ana", change.Perform, change.RuleOnRequest)
	d = begin(t, "frank", content()) // the manager's row has no mark: no request of a responsible role
	d.must("ben", change.Approve)
	d.refused("ana", change.Perform, change.RuleOnRequest)
	d = begin(t, "carla", content())
	d.must("ben", change.Approve)
	d.must("ana", change.Perform)
	d.must("carla", change.Witness)
	d.must("ana", change.Done)
}

func TestAccessIsApprovedByTheManager(t *testing.T) {
	t.Parallel()
	c := content()
	c.Kind = watchbill.ChangeAccess
	d := begin(t, "carla", c)
	d.refused("eve", change.Approve, change.RuleManager)
	d.must("frank", change.Approve)
	d.refused("carla", change.Perform, change.RuleMarked)
	d.must("eve", change.Perform)
	d.must("frank", change.Witness)
	d.must("eve", change.Done)
	d = begin(t, "carla", c)
	d.refused("eve", change.BreakGlass, change.RuleTwoPeople)
}

func TestStricterEnvironment(t *testing.T) {
	t.Parallel()
	c := content()
	c.Environment = "live"
	d := begin(t, "carla", c)
	d.must("ben", change.Approve)
	d.must("ben", change.Approve) // a repetition changes nothing
	require.Len(t, d.c.Approvals, 1)
	require.Equal(t, watchbill.ChangeRequested, d.c.State)
	require.Contains(t, d.refused("carla", change.Perform, change.RuleApproval), "1 of 2")
	d.must("ana-admin", change.Approve)
	require.Equal(t, watchbill.ChangeApproved, d.c.State)
	require.Equal(t, t0().Add(time.Hour), d.c.Approvals[0].Until)
}

func TestOneHumanApprovesOnce(t *testing.T) {
	t.Parallel()
	cfg := config()
	cfg.People[0].Roles = roles("deployment") // ana and ana-admin
	k := change.New(cfg, nil)
	c := content()
	c.Environment = "live"
	e, err := k.Request(t0(), change.Actor{Person: "carla"}, change.Request{Content: c})
	require.NoError(t, err)
	e, err = k.Act(t0(), e.Change, change.Actor{Person: "ana"}, change.Act{Verb: change.Approve, Hash: e.Change.Hash})
	require.NoError(t, err)
	_, err = k.Act(t0(), e.Change, change.Actor{Person: "ana-admin"}, change.Act{Verb: change.Approve, Hash: e.Change.Hash})
	require.ErrorContains(t, err, string(change.RuleOnePerson))
}

func TestNotProduction(t *testing.T) {
	t.Parallel()
	c := content()
	c.Environment = "preprod"
	d := begin(t, "dan", c)
	require.Equal(t, watchbill.ChangeApproved, d.c.State)
	d.must("dan", change.Perform)
	require.Equal(t, watchbill.ChangePerforming, d.c.State)
	d.must("dan", change.Done)
	// A developer's change does not move into production by an edit.
	d = begin(t, "dan", c)
	c.Environment = "prod"
	err := d.try("dan", change.Act{Verb: change.Edit, Content: &c})
	require.ErrorContains(t, err, string(change.RuleDeveloper))
	require.NoError(t, d.try("carla", change.Act{Verb: change.Edit, Content: &c}))
	d.refused("dan", change.Perform, change.RuleApproval)
}

func TestBreakGlass(t *testing.T) {
	t.Parallel()
	d := begin(t, "carla", content())
	require.ErrorContains(t, d.try("carla", change.Act{Verb: change.BreakGlass}), "say why")
	e, err := d.k.Act(d.now, d.c, change.Actor{Person: "carla"}, change.Act{Verb: change.BreakGlass, Text: "nobody answers"})
	require.NoError(t, err)
	require.Equal(t, []change.Tell{{
		To: "dan", Urgent: true, Title: e.Tell[0].Title, Impact: "nobody answers", Action: e.Tell[0].Action, Why: e.Tell[0].Why,
	}, {To: "frank", Urgent: true, Title: e.Tell[0].Title, Impact: "nobody answers", Action: e.Tell[0].Action, Why: e.Tell[0].Why}}, e.Tell)
	require.Contains(t, e.Tell[0].Title, "carla broke the glass on checkout/prod")
	d.keep(e)
	require.Equal(t, watchbill.ChangePerforming, d.c.State)
	require.True(t, d.k.Permit(d.now, d.c, d.c.Hash, "prod").OK)
	d.refused("frank", change.Review, change.RuleOrder)
	d.must("frank", change.Witness) // better late
	d.must("carla", change.Done)
	require.True(t, d.c.BreakGlass.Waits())
	d.refused("carla", change.Review, change.RuleReview)
	d.refused("eve", change.Review, change.RuleMarked)

	// The review is reminded of, and overdue the manager is paged each day.
	var pages []string
	for range 4 {
		d.now = d.k.Next(d.c)
		e := d.k.Due(d.now, d.c)
		for _, tell := range e.Tell {
			if tell.To == "frank" {
				pages = append(pages, fmt.Sprint(d.now.Sub(t0()), " ", tell.Urgent))
			}
		}
		d.keep(e)
	}
	require.Equal(t, []string{"36h0m0s false", "60h0m0s false", "72h0m0s true", "96h0m0s true"}, pages)
	require.Equal(t, []string{"carla broke the glass: nobody answers", "its review is overdue since 2026-12-02T03:15:00Z"},
		d.k.Report([]watchbill.Change{d.c}, t0(), d.now).Entries[0].Exceptions[:2])
	d.must("frank", change.Review)
	require.False(t, d.c.BreakGlass.Waits())
	require.Zero(t, d.k.Next(d.c))
	d.refused("ben", change.Review, change.RuleOrder)
}

func TestWaitingRemindsAndEscalates(t *testing.T) {
	t.Parallel()
	d := begin(t, "carla", content())
	var told []string
	for d.c.State.Live() {
		d.now = d.k.Next(d.c)
		require.False(t, d.now.IsZero())
		e := d.k.Due(d.now, d.c)
		require.NotEmpty(t, e.Events, "due and nothing done at %s: it would be due for ever", d.now)
		var line strings.Builder
		line.WriteString(d.now.Sub(t0()).String())
		for _, tell := range e.Tell {
			line.WriteString(" " + string(tell.To))
			if tell.Urgent {
				line.WriteString("!")
			}
		}
		told = append(told, line.String())
		d.keep(e)
	}
	require.Equal(t, "30m0s ana-admin ben frank gus hal", told[0])
	require.Equal(t, "2h0m0s ana-admin ben hal dan! frank!", told[1], "the supplier's time is over")
	require.Equal(t, "4h0m0s ana-admin ben hal dan! frank!", told[2])
	require.Equal(t, "12h0m0s carla", told[len(told)-1])
	require.Equal(t, watchbill.ChangeExpired, d.c.State)
}

func TestApprovalEndsByItself(t *testing.T) {
	t.Parallel()
	d := begin(t, "carla", content())
	d.must("ben", change.Approve)
	d.must("carla", change.Perform)
	d.now = d.k.Next(d.c)
	require.Equal(t, t0().Add(8*time.Hour), d.now)
	d.keep(d.k.Due(d.now, d.c))
	require.Equal(t, watchbill.ChangeRequested, d.c.State)
	require.Empty(t, d.c.Performer)
	require.Contains(t, d.log[len(d.log)-1], "the approval of ben ended by itself")
	d.must("ben", change.Approve) // anew
}

func TestPermit(t *testing.T) {
	t.Parallel()
	c := content()
	c.NotBefore = t0().Add(time.Hour)
	d := begin(t, "carla", c)
	d.must("ben", change.Approve)
	d.refused("carla", change.Perform, change.RuleWindow)
	d.now = d.now.Add(time.Hour)
	d.must("carla", change.Perform)
	d.must("ben", change.Witness)
	for name, p := range map[string]watchbill.ChangePermit{
		"another hash":        d.k.Permit(d.now, d.c, strings.Repeat("0", 64), "prod"),
		"a part of the hash":  d.k.Permit(d.now, d.c, d.c.Hash[:12], "prod"),
		"no hash":             d.k.Permit(d.now, d.c, "", "prod"),
		"another environment": d.k.Permit(d.now, d.c, d.c.Hash, "live"),
		"too early":           d.k.Permit(d.now.Add(-time.Second), d.c, d.c.Hash, "prod"),
		"after the approval":  d.k.Permit(t0().Add(8*time.Hour), d.c, d.c.Hash, "prod"),
		"after its time":      d.k.Permit(d.c.Content.NotAfter, d.c, d.c.Hash, "prod"),
	} {
		require.False(t, p.OK, name)
		require.NotEmpty(t, p.Rule, name)
		require.NotEmpty(t, p.Reason, name)
	}
	require.True(t, d.k.Permit(d.now, d.c, d.c.Hash, "prod").OK)
	tampered := d.c
	tampered.Content.Command = "rm -rf /"
	require.False(t, d.k.Permit(d.now, tampered, d.c.Hash, "prod").OK)
	d.must("carla", change.Done)
	require.False(t, d.k.Permit(d.now, d.c, d.c.Hash, "prod").OK)
}

func TestBadContent(t *testing.T) {
	t.Parallel()
	k := change.New(config(), nil)
	for want, f := range map[string]func(*watchbill.ChangeContent){
		"title: is empty":            func(c *watchbill.ChangeContent) { c.Title = " " },
		"service: is empty":          func(c *watchbill.ChangeContent) { c.Service = "" },
		"environment: is empty":      func(c *watchbill.ChangeContent) { c.Environment = "" },
		"target: is empty":           func(c *watchbill.ChangeContent) { c.Target = "" },
		"risk: is empty":             func(c *watchbill.ChangeContent) { c.Risk = "" },
		"rollback: is empty":         func(c *watchbill.ChangeContent) { c.Rollback = "" },
		"verification: is empty":     func(c *watchbill.ChangeContent) { c.Verification = "" },
		"is no kind of change":       func(c *watchbill.ChangeContent) { c.Kind = "x" },
		"one of the two is needed":   func(c *watchbill.ChangeContent) { c.Command = "" },
		"command, diff: one":         func(c *watchbill.ChangeContent) { c.Diff = "+1" },
		"has passed":                 func(c *watchbill.ChangeContent) { c.NotAfter = t0() },
		"is not after not_before":    func(c *watchbill.ChangeContent) { c.NotBefore = c.NotAfter },
		"is more than 90 days ahead": func(c *watchbill.ChangeContent) { c.NotAfter = t0().Add(91 * 24 * time.Hour) },
	} {
		c := content()
		f(&c)
		_, err := k.Request(t0(), change.Actor{Person: "carla"}, change.Request{Content: c})
		require.ErrorContains(t, err, want)
	}
	c := content()
	c.NotAfter = time.Time{}
	e, err := k.Request(t0(), change.Actor{Person: "carla"}, change.Request{Content: c})
	require.NoError(t, err)
	require.Equal(t, t0().Add(24*time.Hour), e.Change.Content.NotAfter)
}

// No interleaving of edits, approvals, acts, hand-overs and time reaches
// "performing" or beyond without the distinct people and a matching hash, other
// than by breaking the glass, which leaves a review. The check is naive and works
// on what was said and when, not on the change.
func TestNoWayAround(t *testing.T) {
	t.Parallel()
	cfg := config()
	ids := make([]watchbill.PersonID, len(cfg.People))
	byID := map[watchbill.PersonID]watchbill.Person{}
	for i, p := range cfg.People {
		ids[i], byID[p.ID] = p.ID, p
	}
	ids = append(ids, "stranger")
	performed := 0
	rapid.Check(t, func(t *rapid.T) {
		person := rapid.SampledFrom(ids)
		text := rapid.SampledFrom([]string{"", "why"})
		draw := func() watchbill.ChangeContent {
			c := content()
			c.Kind = rapid.SampledFrom([]watchbill.ChangeKind{watchbill.ChangeRollback, watchbill.ChangeDeploy, watchbill.ChangeAccess}).Draw(t, "kind")
			c.Environment = rapid.SampledFrom([]string{"prod", "prod", "live"}).Draw(t, "environment")
			c.Command = rapid.SampledFrom([]string{"a", "b"}).Draw(t, "command")
			return c
		}
		d := &desk{t: t, k: change.New(cfg, nil), now: t0()}
		who := person.Draw(t, "requester")
		e, err := d.k.Request(d.now, change.Actor{Person: who}, change.Request{Content: draw()})
		if err != nil {
			return
		}
		d.keep(e)
		o := &oracle{byID: byID, authors: []watchbill.PersonID{who}, requester: who}
		verbs := rapid.SampledFrom(append(change.Verbs(), change.Approve, change.Approve, change.Perform, change.Perform, change.Witness, change.Witness, "time", "time-flies"))
		for range rapid.IntRange(1, 30).Draw(t, "acts") {
			switch v := verbs.Draw(t, "verb"); v { //nolint:exhaustive // the verbs are one case
			case "time":
				d.now = d.now.Add(rapid.SampledFrom([]time.Duration{time.Minute, 45 * time.Minute, 3 * time.Hour}).Draw(t, "passes"))
			case "time-flies":
				if next := d.k.Next(d.c); !next.IsZero() {
					d.now = later(d.now, next)
					d.keep(d.k.Due(d.now, d.c))
				}
			default:
				who := person.Draw(t, "who")
				if rapid.IntRange(0, 2).Draw(t, "next") > 0 { // what leads on, by somebody who may
					for verb, able := range d.k.Could(d.c, d.now) {
						v, who = verb, rapid.SampledFrom(able).Draw(t, "able")
					}
				}
				a := change.Act{Verb: v, Text: text.Draw(t, "text")}
				if v == change.Edit {
					c := draw()
					a.Content = &c
				}
				was := d.c
				if d.try(who, a) == nil {
					o.did(was, d.c, who, a, d.now)
				}
			}
			o.check(t, d)
			if d.c.State.Performed() && d.c.BreakGlass == nil {
				performed++
			}
		}
	})
	require.Positive(t, performed, "nothing was ever performed: the test proves nothing")
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// oracle remembers who said what.
type oracle struct {
	byID      map[watchbill.PersonID]watchbill.Person
	requester watchbill.PersonID
	authors   []watchbill.PersonID
	yes       []said
	glass     bool
	began     time.Time
}

type said struct {
	who  watchbill.PersonID
	what watchbill.ChangeContent
	at   time.Time
}

func (o *oracle) human(id watchbill.PersonID) watchbill.PersonID { return o.byID[id].Identity() }

func (o *oracle) did(was, c watchbill.Change, who watchbill.PersonID, a change.Act, now time.Time) {
	switch a.Verb { //nolint:exhaustive // the rest is looked at in check
	case change.Edit:
		if was.Version != c.Version { // one that changes nothing is none
			o.authors, o.yes = append(o.authors, who), nil
		}
	case change.Approve:
		if len(c.Approvals) > len(was.Approvals) { // a repetition does not make it last longer
			o.yes = append(o.yes, said{who, c.Content, now})
		}
	case change.Reject:
		o.yes = nil
	case change.BreakGlass:
		o.glass = true
	}
	if was.State != watchbill.ChangePerforming && c.State == watchbill.ChangePerforming {
		o.began = now
	}
}

func (o *oracle) check(t *rapid.T, d *desk) {
	c := d.c
	for _, who := range append([]watchbill.PersonID{c.Performer, c.Witness, o.requester}, o.authors...) {
		require.NotEqual(t, watchbill.PersonID("dan"), o.human(who), "a developer took part")
	}
	for _, y := range o.yes {
		require.NotEqual(t, watchbill.PersonID("dan"), o.human(y.who), "a developer took part")
	}
	if c.State != watchbill.ChangePerforming && !c.State.Performed() {
		return
	}
	require.Equal(t, c.Hash, c.PerformedHash)
	require.Equal(t, c.Hash, c.Content.Sum())
	if c.Witness != "" {
		require.NotEqual(t, o.human(c.Performer), o.human(c.Witness))
	}
	if o.glass {
		require.NotNil(t, c.BreakGlass)
		require.NotEmpty(t, c.BreakGlass.Reason)
		require.Equal(t, c.BreakGlass.At.Add(72*time.Hour), c.BreakGlass.ReviewDue)
		return
	}
	require.NotEmpty(t, c.Witness)
	need, lasts := 1, 8*time.Hour
	if c.Content.Environment == "live" {
		need, lasts = 2, time.Hour
	}
	var yes []watchbill.PersonID
	for _, y := range o.yes {
		if y.what == c.Content && o.began.Before(y.at.Add(lasts)) && !slices.Contains(yes, o.human(y.who)) {
			yes = append(yes, o.human(y.who))
			require.NotEqual(t, o.human(c.Performer), o.human(y.who), "who approved performs it")
			for _, a := range o.authors {
				require.NotEqual(t, o.human(a), o.human(y.who), "who wrote it approved it")
			}
		}
	}
	require.GreaterOrEqual(t, len(yes), need)
	if o.byID[c.Performer].Level["deployment"] == 2 {
		require.GreaterOrEqual(t, o.byID[c.Witness].Level["deployment"], 3)
	}
	if c.Performer == "ana" && c.Content.Kind == watchbill.ChangeRollback {
		require.Contains(t, []watchbill.PersonID{"ben", "carla", "gus", "hal"}, o.requester)
	}
}
