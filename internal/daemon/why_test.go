package daemon_test

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/pipenet"
	"watchbill/internal/testkit"
)

// "Why was I paged?" and "why was I not?" are answered for everybody, through the
// API, from what was kept when it was decided.
func TestWhy(t *testing.T) {
	t.Parallel()
	pipenet.Warm(t.Context())
	synctest.Test(t, func(t *testing.T) {
		until(time.Date(2026, 12, 1, 10, 0, 0, 0, time.UTC)) // ben's week
		w := testkit.New(t, t.TempDir())
		w.Write("watchbill.yaml", whyConfig)
		phone := &testkit.Receiver{}
		w.Host("push.test", phone)
		w.Start()
		defer w.Stop()
		ana := w.As("ana")
		ctx := t.Context()
		fire := func(l watchbill.Labels) {
			require.NoError(t, ana.PostAlerts(ctx, []watchbill.Alert{{Labels: l, EndsAt: time.Now().Add(20 * time.Hour)}}))
			synctest.Wait()
		}
		node := watchbill.Labels{"alertname": "NodeDown", "instance": "db-1", "service": "db", "severity": "critical"}
		disk := watchbill.Labels{"alertname": "NodeDiskFull", "instance": "db-1", "service": "db", "environment": "preprod", "severity": "critical"}
		other := watchbill.Labels{"alertname": "NodeDiskFull", "instance": "db-2", "service": "db", "severity": "critical"}
		fire(node)
		fire(disk)
		fire(other)

		of := func(person watchbill.PersonID) (bool, []string) {
			v, err := ana.WhyIncident(ctx, 1, person)
			require.NoError(t, err)
			require.Equal(t, person, v.Person.Person)
			return v.Person.Paged, v.Person.Why
		}
		paged, why := of("ben")
		require.True(t, paged)
		require.Len(t, why, 1)
		require.Contains(t, why[0], "step 0 at 10:00:00 paged ben as support: first for first-line; weekly rotation of support, since Mon 30 Nov 09:00 CET (watchbill.yaml:")
		paged, why = of("ana")
		require.False(t, paged)
		require.Contains(t, why[0], "step 0 at 10:00:00 asked support, and that was ben: weekly rotation of support")
		require.Contains(t, why[1], "step 3 (everyone in these roles), 15m after the path began, asks support, and did not fire: its time has not come")
		paged, why = of("eve")
		require.False(t, paged)
		require.Equal(t, []string{"the path of first-line asks support, infrastructure, manager, and eve holds security"}, why)
		v, err := ana.WhyIncident(ctx, 1, "") // whoever asks
		require.NoError(t, err)
		require.Equal(t, watchbill.PersonID("ana"), v.Person.Person)

		// What muted the one and spared the other.
		all, err := ana.WhyAlerts(ctx, watchbill.Labels{"alertname": "NodeDiskFull"})
		require.NoError(t, err)
		require.Len(t, all, 2)
		byInstance := map[string]int{all[0].Alert.Labels["instance"]: 0, all[1].Alert.Labels["instance"]: 1}
		muted, spared := all[byInstance["db-1"]], all[byInstance["db-2"]]
		require.Contains(t, muted.Muted, "inhibited by NodeDown")
		require.Zero(t, muted.Incident)
		require.Len(t, muted.Decisions, 1)
		d := muted.Decisions[0]
		require.Equal(t, watchbill.RulingMuted, d.Ruling)
		require.Equal(t, "inhibited", d.Mutes[0].Kind)
		require.Regexp(t, `^watchbill\.yaml:\d+$`, d.Mutes[0].Line)
		require.Equal(t, []watchbill.RoleID{"support"}, d.Roles)
		require.Contains(t, d.ActivityWhy, `matches alertname="NodeDiskFull"`)
		require.Equal(t, watchbill.RulingOpened, spared.Decisions[0].Ruling)
		require.Contains(t, spared.Decisions[0].Spared[0].Why, `NodeDown fires, but with instance="db-1", not "db-2"`)

		// It is decided again each minute: the same decision is kept once.
		time.Sleep(10 * time.Minute)
		all, err = ana.WhyAlerts(ctx, disk)
		require.NoError(t, err)
		require.Len(t, all[0].Decisions, 1)

		// The node is back: the disk opens an incident of its own, and both decisions
		// are there, the newest first.
		node2 := watchbill.Alert{Labels: node, EndsAt: time.Now()}
		require.NoError(t, ana.PostAlerts(ctx, []watchbill.Alert{node2}))
		synctest.Wait()
		all, err = ana.WhyAlerts(ctx, disk)
		require.NoError(t, err)
		require.Equal(t, []watchbill.Ruling{watchbill.RulingOpened, watchbill.RulingMuted}, []watchbill.Ruling{all[0].Decisions[0].Ruling, all[0].Decisions[1].Ruling})
		require.Contains(t, all[0].Text(), "muted, no incident")
		id := all[0].Incident
		require.NotZero(t, id)

		// A receiver that refuses: paged, and it did not arrive.
		phone.Answer(404)
		fire(watchbill.Labels{"alertname": "Shell", "signal": "security", "severity": "critical"})
		v, err = ana.WhyIncident(ctx, id+1, "eve")
		require.NoError(t, err)
		require.False(t, v.Person.Paged)
		require.Contains(t, v.Person.Pages[0].Last, "attempt 1 at 10:10:00")
		require.Contains(t, v.Person.Why[len(v.Person.Why)-1], "none of these pages arrived")
		require.Contains(t, v.Text(), "eve was not paged")

		// After an acknowledgement the rest of the path did not come to pass.
		phone.Answer(0)
		_, err = ana.Acknowledge(ctx, id, "mine")
		require.NoError(t, err)
		v, err = ana.WhyIncident(ctx, id, "frank")
		require.NoError(t, err)
		require.Contains(t, v.Person.Why[0], "step 2 (the manager), 10m after the path began, asks manager, and did not fire: ana had acknowledged at 10:10:00")
		require.NoError(t, watchbill.VerifyChain(show(t, ana, id).Timeline, show(t, ana, id).Incident.Head))
		_, err = ana.WhyIncident(ctx, 99, "")
		require.ErrorContains(t, err, "there is no incident INC-99")
	})
}

// Alerts that join an incident for the reasons of an earlier one are stored with
// the number of its event, and each is told whole, also after a restart.
func TestWhyOfManyThatJoin(t *testing.T) {
	t.Parallel()
	pipenet.Warm(t.Context())
	synctest.Test(t, func(t *testing.T) {
		until(time.Date(2026, 12, 1, 10, 0, 0, 0, time.UTC))
		w := testkit.New(t, t.TempDir())
		w.Write("watchbill.yaml", whyConfig)
		w.Host("push.test", &testkit.Receiver{})
		w.Start()
		defer func() { w.Stop() }()
		labels := func(host, severity string) watchbill.Labels {
			return watchbill.Labels{"alertname": "Slow", "service": "db", "instance": host, "severity": severity}
		}
		fire := func(host, severity string) {
			require.NoError(t, w.As("ana").PostAlerts(t.Context(), []watchbill.Alert{{Labels: labels(host, severity), EndsAt: time.Now().Add(20 * time.Hour)}}))
			synctest.Wait()
		}
		fire("a", "critical")
		fire("b", "critical")
		fire("c", "warning") // other reasons
		fire("d", "warning")
		fire("e", "critical")
		w.Stop()
		w.Start()
		fire("f", "critical")
		fire("g", "critical")

		v, err := w.As("ana").WhyIncident(t.Context(), 1, "")
		require.NoError(t, err)
		require.Len(t, v.Decisions, 7)
		for i, host := range []string{"a", "b", "c", "d", "e", "f", "g"} {
			d := v.Decisions[i]
			severity := map[bool]string{true: "warning", false: "critical"}[host == "c" || host == "d"]
			require.Equal(t, host, d.Of["instance"])
			require.Contains(t, d.SeverityWhy, severity, host)
			require.Equal(t, []watchbill.RoleID{"support"}, d.Roles, host)
			require.Equal(t, map[bool]watchbill.Ruling{true: watchbill.RulingOpened, false: watchbill.RulingJoined}[i == 0], d.Ruling)
			all, err := w.As("ana").WhyAlerts(t.Context(), labels(host, severity))
			require.NoError(t, err)
			require.Equal(t, []watchbill.Decision{d.Decision}, all[0].Decisions)
		}
		var as []int64
		for _, e := range show(t, w.As("ana"), 1).Timeline {
			if e.Kind == watchbill.EventOpened || e.Kind == watchbill.EventAlertJoined {
				var d watchbill.Decision
				require.NoError(t, json.Unmarshal(e.Data, &d))
				as = append(as, d.As)
			}
		}
		require.Equal(t, []int64{0, 1, 0, as[3], 0, 0, as[6]}, as)
		require.NotZero(t, as[3])
		require.NotZero(t, as[6])
	})
}

const whyConfig = `external_url: http://w.test
store: sqlite:w.db
self_monitoring: false
services: [{name: db, owner: infrastructure, environments: [prod, preprod]}]
roles: {preset: operations}
people:
  - {name: ana, roles: [support], contact: [{receiver: push}]}
  - {name: ben, roles: [support], contact: [{receiver: push}]}
  - {name: dmitri, roles: [infrastructure], contact: [{receiver: push}]}
  - {name: eve, roles: [security], contact: [{receiver: push}]}
  - {name: frank, roles: [manager], contact: [{receiver: push}]}
rosters:
  - {role: support, people: [ben, ana], start: 2026-11-16, handover: "monday 09:00", tz: Europe/Madrid}
activities:
  - {match: ['alertname="NodeDiskFull"'], activity: states}
inhibit_rules:
  - {name: node-down, source_matchers: ['alertname="NodeDown"'], target_matchers: ['alertname="NodeDiskFull"'], equal: [instance]}
receivers:
  - {name: push, webhook_configs: [{url: 'http://push.test/push'}]}
`
