package watchbill_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"watchbill"
)

func TestChangeIDs(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		id := watchbill.ChangeID(rapid.Int64Min(1).Draw(t, "id"))
		got, err := watchbill.ParseChangeID(id.String())
		require.NoError(t, err)
		require.Equal(t, id, got)
	})
	for _, s := range []string{"", "0", "-1", "+1", "CHG-", "CHG-+1", "INC-1", "x"} {
		_, err := watchbill.ParseChangeID(s)
		require.Error(t, err, s)
	}
}

func content() watchbill.ChangeContent {
	return watchbill.ChangeContent{
		Kind: watchbill.ChangeRollback, Title: "Roll back", Service: "checkout", Environment: "prod", Target: "cluster-1", Command: "helm rollback",
		Risk: "low", Rollback: "helm upgrade", Verification: "error rate", NotAfter: time.Date(2026, 11, 29, 6, 0, 0, 0, time.UTC),
	}
}

// Every field is part of the hash, and text that moves from one field to the next
// makes another one.
func TestChangeHash(t *testing.T) {
	t.Parallel()
	sum := content().Sum()
	require.Len(t, sum, 64)
	for i := range reflect.TypeFor[watchbill.ChangeContent]().NumField() {
		c := content()
		f := reflect.ValueOf(&c).Elem().Field(i)
		if f.Kind() == reflect.String {
			f.SetString(f.String() + " ")
		} else {
			f.Set(reflect.ValueOf(time.Date(2026, 11, 29, 6, 0, 0, 1, time.UTC)))
		}
		require.NotEqual(t, sum, c.Sum(), reflect.TypeFor[watchbill.ChangeContent]().Field(i).Name)
	}
	c := content()
	c.NotAfter = c.NotAfter.In(time.FixedZone("CET", 3600))
	require.Equal(t, sum, c.Sum(), "the same instant, written in another zone")
	rapid.Check(t, func(t *rapid.T) {
		// Two neighbours whose texts are cut at different places.
		all := rapid.StringMatching(`[a-z0-9 \n]{0,20}`).Draw(t, "text")
		i, j := rapid.IntRange(0, len(all)).Draw(t, "i"), rapid.IntRange(0, len(all)).Draw(t, "j")
		a, b := content(), content()
		a.Command, a.Diff = all[:i], all[i:]
		b.Command, b.Diff = all[:j], all[j:]
		require.Equal(t, i == j, a.Sum() == b.Sum())
	})
}

func TestChangesAreChained(t *testing.T) {
	t.Parallel()
	c := watchbill.Change{ID: 7, Incident: 142}
	var events []watchbill.Event
	for i := range 3 {
		events = append(events, c.Record(watchbill.Event{At: time.Unix(int64(i), 0), Kind: watchbill.EventChange, Actor: "ana", Text: fmt.Sprint(i)}))
	}
	require.NoError(t, watchbill.VerifyChain(events, c.Head))
	require.Equal(t, watchbill.IncidentID(142), events[2].Incident)
	events[1].Text = "altered"
	require.ErrorContains(t, watchbill.VerifyChain(events, c.Head), "altered")
}

// Who may change production, from the matrix with its marks, by place and time.
func TestMayTouchProduction(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 29, 3, 15, 0, 0, time.UTC)
	m := watchbill.Matrix{
		Manager: "manager", NotProduction: []string{"preprod"},
		Roles: []watchbill.Role{{ID: "manager"}, {ID: "deployment"}, {ID: "support"}},
		Marks: map[watchbill.ActivityID]map[watchbill.RoleID]watchbill.Mark{
			watchbill.ActivityChangeProduction: {"deployment": watchbill.Responsible, "support": watchbill.OnRequest},
		},
	}
	grant := watchbill.Grant{Role: "deployment", Services: []string{"db"}, Until: now.Add(time.Hour)}
	people := map[string]watchbill.Person{
		"deployer":  {ID: "deployer", Roles: []watchbill.RoleID{"deployment"}},
		"supporter": {ID: "supporter", Roles: []watchbill.RoleID{"support"}},
		"manager":   {ID: "manager", Roles: []watchbill.RoleID{"manager"}},
		"developer": {ID: "developer", Roles: []watchbill.RoleID{"deployment"}, Developer: true},
		"supplier":  {ID: "supplier", Grants: []watchbill.Grant{grant}},
		"both":      {ID: "both", Developer: true, Grants: []watchbill.Grant{grant}},
	}
	for _, c := range []struct {
		who, service, environment string
		at                        time.Time
		want                      string
	}{
		{"deployer", "web", "prod", now, "ok deployment"},
		{"supporter", "web", "prod", now, "on request support"},
		{"manager", "web", "prod", now, "no"},
		{"manager", "web", "preprod", now, "ok manager"},
		{"developer", "web", "prod", now, "no"},
		{"developer", "web", "", now, "no"},        // an environment that is not named is production
		{"developer", "web", "staging", now, "no"}, // and one that nobody said is not
		{"developer", "web", "preprod", now, "ok deployment"},
		{"supplier", "db", "prod", now, "ok deployment"},
		{"supplier", "web", "prod", now, "no"},
		{"supplier", "", "prod", now, "no"},
		{"supplier", "db", "prod", now.Add(time.Hour), "no"}, // the date has come
		{"both", "db", "prod", now, "no"},
	} {
		p := m.May(people[c.who], watchbill.ActivityChangeProduction, watchbill.Place{Service: c.service, Environment: c.environment}, c.at)
		got := "no"
		switch {
		case p.OK:
			got = "ok " + string(p.Role)
		case p.OnRequest:
			got = "on request " + string(p.Role)
		}
		require.Equal(t, c.want, got, "%s on %s/%s", c.who, c.service, c.environment)
		require.NotEmpty(t, p.Reason)
	}
}

// Whatever roles and grants a developer holds, and however the matrix is marked:
// never on production.
func TestDeveloperNever(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		roles := rapid.SliceOfDistinct(rapid.SampledFrom([]watchbill.RoleID{"manager", "a", "b"}), rapid.ID).Draw(t, "roles")
		mark := rapid.Map(rapid.IntRange(0, 3), func(n int) watchbill.Mark { return watchbill.Mark(n) })
		row := map[watchbill.RoleID]watchbill.Mark{"manager": mark.Draw(t, "manager"), "a": mark.Draw(t, "a"), "b": mark.Draw(t, "b")}
		m := watchbill.Matrix{Manager: "manager", NotProduction: []string{"dev"}, Marks: map[watchbill.ActivityID]map[watchbill.RoleID]watchbill.Mark{
			watchbill.ActivityChangeProduction: row, watchbill.ActivityDeployPlatform: row,
		}}
		p := watchbill.Person{ID: "dan", Developer: true, Roles: roles, Grants: []watchbill.Grant{{Role: "a", Services: []string{"s"}}}}
		for _, a := range []watchbill.ActivityID{watchbill.ActivityChangeProduction, watchbill.ActivityDeployPlatform} {
			got := m.May(p, a, watchbill.Place{Service: "s", Environment: rapid.SampledFrom([]string{"", "prod", "live"}).Draw(t, "env")}, time.Now())
			require.False(t, got.OK || got.OnRequest)
			require.True(t, strings.Contains(got.Reason, "no developer acts on production"))
		}
	})
}
