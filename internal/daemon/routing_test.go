package daemon_test

import (
	"cmp"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/config"
	"watchbill/internal/daemon"
	"watchbill/internal/web"
)

// routed is play on the story's configuration with changes: pairs of what is
// replaced, or of nothing and what is added. Nothing is scraped, so that time
// passes fast.
func routed(t *testing.T, script func(*testing.T, *scene), changes ...string) {
	t.Helper()
	play(t, func(t *testing.T, s *scene) {
		s.change(changes...)
		script(t, s)
	})
}

// change reloads the story's configuration with changes.
func (s *scene) change(changes ...string) {
	s.t.Helper()
	text := replace(read(s.t, "testdata/story/watchbill.yaml"), "_interval: 15s", "_interval: 10m", "targets: [targets.yaml, windows.yaml]\n", "",
		"scrape_configs:\n  - job_name: checkout\n    static_configs: [{targets: ['checkout.test:80'], labels: {service: checkout, environment: prod}}]\n", "")
	for i := 0; i < len(changes); i += 2 {
		if changes[i] == "" {
			text += changes[i+1]
			continue
		}
		require.Contains(s.t, text, changes[i])
		text = strings.Replace(text, changes[i], changes[i+1], 1)
	}
	s.Write("watchbill.yaml", text)
	require.NoError(s.t, s.frank.Reload(s.t.Context()))
}

// explained asks the daemon.
func (s *scene) explained(labels watchbill.Labels) daemon.Explanation {
	s.t.Helper()
	var x daemon.Explanation
	require.NoError(s.t, s.frank.Explain(s.t.Context(), labels, time.Now(), &x))
	return x
}

// Before production an alert is deployment's, and waits for the morning; in
// production the same alert wakes support.
func TestPreproductionWaitsForDeploymentsMorning(t *testing.T) {
	t.Parallel()
	routed(t, func(t *testing.T, s *scene) {
		labels := watchbill.Labels{"alertname": "Slow", "service": "checkout", "severity": "critical", "st": "checkout-requests", "environment": "preprod"}
		x := s.explained(labels)
		require.Equal(t, []daemon.ExplainedRole{{Role: "deployment", Mark: "first", Line: strings.TrimSpace(x.RowReason)}}, x.Row)
		require.Contains(t, x.RowReason, "watchbill.yaml:")
		require.Equal(t, watchbill.Sev3, x.Severity)
		require.Contains(t, x.SeverityReason, "at most sev3 here (watchbill.yaml:")
		morning := s.began.Add(time.Hour) // 05:00 in Madrid
		require.Equal(t, morning, x.Pages[0].At.UTC())
		require.EqualValues(t, "carla", x.Pages[0].Person)

		s.post(labels, 100*time.Hour)
		s.sleep(time.Until(morning) - time.Second)
		require.Empty(t, s.phone.Pages(), "nobody is woken")
		s.sleep(time.Second)
		require.Equal(t, []string{"carla"}, people(s.phone.Pages()))
		require.Equal(t, watchbill.Sev3, s.incidents()[0].Severity)
		require.Contains(t, show(t, s.frank, 1).Text(), "the roles are those of watchbill.yaml:")

		labels["environment"] = "prod"
		s.post(labels, time.Hour)
		require.Equal(t, watchbill.Sev2, s.incidents()[0].Severity)
		require.Equal(t, []string{"carla", "ana"}, people(s.phone.Pages()))
	},
		"rosters:\n", "rosters:\n  - {role: deployment, people: [carla], start: 2026-11-16, tz: Europe/Madrid, hours: [{weekdays: [sunday], from: \"05:00\", to: \"18:00\"}]}\n",
		"", "overrides: [{environments: [preprod], roles: [deployment], max_severity: sev3}]\n")
}

// A catalogue of other roles pages by its own matrix, and check names what would
// be nobody's.
func TestAnotherCatalogue(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := world(t, "testdata/story")
	w.Dir = dir
	w.Write("watchbill.yaml", `external_url: http://watchbill.test
roles: {preset: operations-professional, manager: support-engineer}
activities: [{match: ['kind="database"'], activity: database}]
people:
  - {name: dora, roles: [database-administrator], contact: [{receiver: terminal}]}
  - {name: sam, roles: [system-administrator, support-engineer, network-administrator], contact: [{receiver: terminal}]}
`)
	cfg, err := config.Load(filepath.Join(dir, "watchbill.yaml"), nil)
	require.NoError(t, err)
	require.Len(t, cfg.Warnings, 1)
	require.Contains(t, cfg.Warnings[0].Message, "have no runbook", "no built-in one is for these activities")
	x, err := daemon.Explain(cfg, web.ExplainRequest{
		Labels: watchbill.Labels{"alertname": "Replica", "kind": "database", "severity": "page"}, At: time.Date(2026, 11, 29, 3, 0, 0, 0, time.UTC),
	})
	require.NoError(t, err)
	require.EqualValues(t, "dora", x.Pages[0].Person)
	require.EqualValues(t, "database-administrator", x.Pages[0].Role)
	require.EqualValues(t, "sam", x.Pages[1].Person)
}

// While an incident of the database is live, what depends on it waits behind it
// instead of paging: the same activity and environment, and no higher severity.
// When it is resolved what still fires pages at once.
func TestDependentsWaitBehindTheirCause(t *testing.T) {
	t.Parallel()
	routed(t, func(t *testing.T, s *scene) {
		shop := watchbill.Labels{"alertname": "Errors", "service": "shop", "severity": "page"}
		s.post(disk(), 10*time.Hour)
		n := len(s.phone.Pages())
		s.post(shop, 10*time.Hour) // through checkout
		require.Len(t, s.incidents(), 1)
		require.Len(t, s.phone.Pages(), n)
		require.Contains(t, show(t, s.frank, 1).Text(), "waits here instead of paging: shop depends on db, whose incident INC-1 is not resolved")
		require.Equal(t, []string{"shop depends on db, whose incident INC-1 is not resolved"}, s.explained(shop).Muted)
		s.sleep(3 * time.Minute)
		events := 0
		for _, e := range show(t, s.frank, 1).Timeline {
			if e.Kind == watchbill.EventAlertJoined {
				events++
			}
		}
		require.Equal(t, 1, events, "written once, not at each look")

		for name, labels := range map[string]watchbill.Labels{
			"more severe":         {"alertname": "Down", "service": "shop", "severity": "sev1"},
			"another activity":    {"alertname": "Burn", "service": "shop", "severity": "page", "st": "x"},
			"another environment": {"alertname": "Down", "service": "shop", "severity": "page", "environment": "preprod"},
			"upstream of it":      {"alertname": "Power", "service": "rack", "severity": "page"},
		} {
			require.Empty(t, s.explained(labels).Muted, name)
		}

		s.post(disk(), -time.Second)
		s.sleep(0)
		all := s.incidents()
		require.Len(t, all, 2, "the cause is gone and this fires still")
		require.Equal(t, "shop", all[0].Service)
		require.Greater(t, len(s.phone.Pages()), n)
	}, "  - {name: checkout, tier: 1, owner: deployment, environments: [prod]}\n",
		"  - {name: checkout, tier: 1, owner: deployment, environments: [prod], depends_on: [db]}\n  - {name: db, depends_on: [rack]}\n  - {name: rack}\n  - {name: shop, depends_on: [checkout]}\n")
}

// A cause that is silenced is no reason to keep quiet about its effects; and the
// end of an alert that waits is recorded.
func TestASilencedCauseHidesNothing(t *testing.T) {
	t.Parallel()
	routed(t, func(t *testing.T, s *scene) {
		shop := watchbill.Labels{"alertname": "Errors", "service": "checkout", "severity": "page"}
		s.post(disk(), 10*time.Hour)
		s.post(shop, 10*time.Hour)
		require.Len(t, s.incidents(), 1)
		s.silence(time.Hour, "alertname", "DiskFull")
		s.sleep(6 * time.Minute) // the next step of the cause is held
		require.NotEmpty(t, show(t, s.frank, 1).Incident.HeldBy)
		require.Len(t, s.incidents(), 2)
		s.post(shop, -time.Second)
		require.Equal(t, watchbill.StateResolved, s.incidents()[0].State, "a resolve is never suppressed")
	}, "deployment, environments: [prod]}\n", "deployment, environments: [prod], depends_on: [db]}\n  - {name: db}\n")
}

func matching(labels watchbill.Labels, d time.Duration) watchbill.Silence {
	s := watchbill.Silence{StartsAt: time.Now(), EndsAt: time.Now().Add(d), Comment: "replacing the disk"}
	for name, value := range labels {
		s.Matchers = append(s.Matchers, watchbill.Matcher{Name: name, Value: value, IsEqual: true})
	}
	return s
}

// A broad silence is kept, mutes nothing, and takes a second person; its reach is
// what it mutes now and would have muted in the last 7 days.
func TestABroadSilenceTakesASecondPerson(t *testing.T) {
	t.Parallel()
	routed(t, func(t *testing.T, s *scene) {
		ana, ben := s.As("ana"), s.As("ben")
		for _, host := range []string{"a", "b", "c", "d"} {
			labels := disk()
			labels["instance"] = host
			s.post(labels, 10*time.Hour)
		}
		labels := disk()
		labels["instance"] = "a"
		s.post(labels, -time.Second)
		broad := matching(watchbill.Labels{"service": "db"}, time.Hour)
		reach, err := ana.Reach(t.Context(), broad)
		require.NoError(t, err)
		require.Equal(t, 3, reach.Now)
		require.Equal(t, 4, reach.Week)
		require.Len(t, reach.Examples, 4)
		_, err = ana.Silence(t.Context(), broad)
		require.ErrorContains(t, err, "mutes nothing until a second person approved it: it is broad: it mutes 4 alerts of the last 7 days, 3 of which fire, and one person may mute 3")
		all, err := ana.Silences(t.Context())
		require.NoError(t, err)
		require.Len(t, all, 1)
		require.Equal(t, "pending", all[0].Status.State)
		require.Empty(t, s.explained(disk()).Muted)

		_, err = ana.ApproveSilence(t.Context(), all[0].ID)
		require.ErrorContains(t, err, "it takes a second person")
		approved, err := ben.ApproveSilence(t.Context(), all[0].ID)
		require.NoError(t, err)
		require.Equal(t, "ben", approved.ApprovedBy)
		require.Len(t, s.explained(disk()).Muted, 1)
		_, err = ben.ApproveSilence(t.Context(), all[0].ID)
		require.ErrorContains(t, err, "ben approved the silence")

		narrow := matching(watchbill.Labels{"service": "db", "instance": "b"}, time.Hour)
		id, err := ana.Silence(t.Context(), narrow)
		require.NoError(t, err, "one alert is one person's")
		wide := broad
		wide.ID = id
		_, err = ana.Silence(t.Context(), wide)
		require.Error(t, err, "making it broad afterwards takes a second person too")
		kept, err := ana.Silences(t.Context())
		require.NoError(t, err)
		require.Len(t, kept, 3, "and leaves the narrow one in force")
		not := narrow
		not.Matchers = []watchbill.Matcher{{Name: "service", Value: ""}}
		_, err = ana.Silence(t.Context(), not)
		require.ErrorContains(t, err, "it names nothing that it is for")
	}, "", "silences: {broad: 3}\n")
}

// A security alert is muted only by what two people agreed on, the second of whom
// is responsible for security, whatever the silence was made for.
func TestASecuritySilenceTakesSecurity(t *testing.T) {
	t.Parallel()
	routed(t, func(t *testing.T, s *scene) {
		ana := s.As("ana")
		shell := watchbill.Labels{"alertname": "Shell", "service": "db", "signal": "security", "severity": "critical"}
		_, err := ana.Silence(t.Context(), matching(watchbill.Labels{"service": "db"}, time.Hour))
		require.NoError(t, err, "it mutes no security alert")
		require.Empty(t, s.explained(shell).Muted)
		require.Len(t, s.explained(disk()).Muted, 1)

		_, err = ana.Silence(t.Context(), matching(watchbill.Labels{"signal": "security", "service": "db"}, time.Hour))
		require.ErrorContains(t, err, "it is for security alerts")
		all, err := ana.Silences(t.Context())
		require.NoError(t, err)
		id := all[len(all)-1].ID
		for _, x := range all {
			if x.Waits() != "" {
				id = x.ID
			}
		}
		_, err = s.As("frank").ApproveSilence(t.Context(), id)
		require.NoError(t, err)
		require.Len(t, s.explained(shell).Muted, 1)

		s.post(watchbill.Labels{"alertname": "Shell", "service": "web", "signal": "security", "severity": "critical"}, time.Hour)
		_, err = ana.Silence(t.Context(), matching(watchbill.Labels{"service": "web"}, time.Hour))
		require.ErrorContains(t, err, "it mutes 1 security alerts of the last 7 days")
	})
}

// Before a silence ends its author is told if it still mutes something, once; and
// what fires when it ends pages, saying what held it back.
func TestASilenceRemindsAndPagesAtItsEnd(t *testing.T) {
	t.Parallel()
	routed(t, func(t *testing.T, s *scene) {
		s.silence(2*time.Hour, "alertname", "DiskFull")
		s.silence(2*time.Hour, "alertname", "Nothing")
		s.post(disk(), 10*time.Hour)
		s.sleep(105*time.Minute - time.Second)
		require.Empty(t, s.phone.Pages())
		s.Stop()
		s.Start() // what is due is in the store
		s.sleep(time.Second)
		pages := s.phone.Pages()
		require.Len(t, pages, 1)
		require.Equal(t, "ana", pages[0].Person)
		require.Contains(t, pages[0].Annot["title"], "Your silence ends at 06:00 CET (05:00 UTC) and 1 alerts still fire")
		s.sleep(15*time.Minute - time.Second)
		require.Len(t, s.phone.Pages(), 1)
		s.sleep(time.Second)
		require.Len(t, s.phone.Pages(), 2)
		require.Contains(t, s.phone.Pages()[1].Reason, "first page; until now silenced by ana until 2026-11-29T05:00:00Z: replacing the disk")
	})
}

// Planned work is in an environment and for a class of alerts: it hides neither
// another environment, nor a critical alert of another class, nor an end. When it
// is over those who would have been paged hear what it held back, once.
func TestMaintenanceHidesOnlyItsOwn(t *testing.T) {
	t.Parallel()
	routed(t, func(t *testing.T, s *scene) {
		s.sleep(time.Minute + 5*time.Second) // it began
		shell := watchbill.Labels{"alertname": "Shell", "service": "db", "signal": "security", "severity": "critical"}
		scan := watchbill.Labels{"alertname": "Scan", "service": "db", "signal": "security", "severity": "info"}
		preprod := watchbill.Labels{"alertname": "DiskFull", "service": "db", "severity": "page", "environment": "preprod"}
		slow := watchbill.Labels{"alertname": "Slow", "service": "db", "severity": "page"}
		require.Equal(t, []string{"maintenance patching (kernel)"}, s.explained(disk()).Muted)
		require.Equal(t, []string{"maintenance patching (kernel)"}, s.explained(scan).Muted)
		require.Empty(t, s.explained(shell).Muted, "a critical one of another class")
		require.Empty(t, s.explained(preprod).Muted, "another environment")

		s.post(disk(), 10*time.Hour)
		s.post(slow, 10*time.Hour)
		s.post(slow, -time.Second)
		require.Empty(t, s.phone.Pages())
		s.post(shell, 10*time.Hour)
		require.Equal(t, []string{"eve"}, people(s.phone.Pages()))
		s.post(shell, -time.Second)
		require.Equal(t, watchbill.StateResolved, s.incidents()[0].State)
		require.Len(t, s.incidents(), 1)

		s.sleep(time.Until(s.began.Add(31*time.Minute)) - time.Second)
		s.Stop()
		s.sleep(2 * time.Minute)
		s.Start() // it was over meanwhile
		s.sleep(time.Second)
		s.Stop()
		s.Start()
		s.sleep(time.Second)
		digests, pages := 0, 0
		for _, p := range s.phone.Pages()[1:] {
			if strings.Contains(p.Annot["title"], "Maintenance patching is over") {
				digests++
				require.Equal(t, "Maintenance patching is over: 2 alerts were held back, 1 still fire", p.Annot["title"])
				require.Equal(t, "ana", p.Person)
			} else if pages++; pages == 1 {
				require.Contains(t, p.Reason, "until now maintenance patching (kernel)")
			}
		}
		require.Equal(t, 1, digests)
		require.Equal(t, 1, pages)
	}, "", `maintenance:
  - {name: patching, reason: kernel, services: [db], environments: [prod], cron: "1 4 * * sun", duration: 30m, tz: Europe/Madrid}
`, "services:\n", "services:\n  - {name: db, environments: [prod, preprod]}\n")
}

// An alert that keeps ending and firing pages as often as it is news, and then not
// again: whoever acknowledged keeps it, and its end counts when it stays away.
func TestAFlappingAlertPagesNobodyAgain(t *testing.T) {
	t.Parallel()
	routed(t, func(t *testing.T, s *scene) {
		ack := func() {
			_, err := s.As("ana").Acknowledge(t.Context(), 1, "")
			require.NoError(t, err)
		}
		flip := func() {
			s.sleep(10 * time.Second)
			s.post(disk(), -time.Second)
			s.sleep(10 * time.Second)
		}
		for range 3 {
			s.post(disk(), time.Hour)
			ack()
			flip()
		}
		require.Equal(t, watchbill.StateResolved, s.incidents()[0].State)
		n, generation := len(s.phone.Pages()), s.incidents()[0].Generation
		require.Contains(t, s.explained(disk()).Joins, "the alert flaps")
		for range 5 {
			s.post(disk(), time.Hour)
			inc := s.incidents()[0]
			require.Equal(t, watchbill.StateAcknowledged, inc.State)
			require.EqualValues(t, "ana", inc.AcknowledgedBy)
			flip()
			require.Equal(t, watchbill.StateAcknowledged, s.incidents()[0].State, "its end does not count yet")
			s.post(disk(), -time.Second) // said again, as Prometheus does
		}
		require.Len(t, s.phone.Pages(), n)
		require.Equal(t, generation, s.incidents()[0].Generation)
		v := show(t, s.frank, 1)
		require.Contains(t, v.Text(), "DiskFull flaps, it ended 3 times in a short time; ana still has it and nobody is paged again")
		require.True(t, v.Alerts[0].Flap.Clearing)
		s.Stop()
		s.Start() // the delay is in the store
		s.sleep(10*time.Minute - 20*time.Second)
		require.Equal(t, watchbill.StateAcknowledged, s.incidents()[0].State)
		s.sleep(20 * time.Second)
		require.Equal(t, watchbill.StateResolved, s.incidents()[0].State)
		require.Len(t, s.phone.Pages(), n)
		require.True(t, show(t, s.frank, 1).Alerts[0].Flap.IsZero(), "it does not flap any more")
		s.post(disk(), time.Hour)
		require.Greater(t, len(s.phone.Pages()), n, "and is news again")
	})
}

// Nobody took it: the first step is not paged again, the second is.
func TestAFlappingAlertThatNobodyTookClimbs(t *testing.T) {
	t.Parallel()
	routed(t, func(t *testing.T, s *scene) {
		for range 2 {
			s.post(disk(), time.Hour)
			s.sleep(5 * time.Second)
			s.post(disk(), -time.Second)
			s.sleep(5 * time.Second)
		}
		n := len(s.phone.Pages())
		s.post(disk(), time.Hour)
		again := time.Now()
		s.sleep(5*time.Minute - time.Second)
		require.Len(t, s.phone.Pages(), n)
		s.sleep(time.Second)
		require.Equal(t, "carla", s.phone.Pages()[n].Person)
		require.Equal(t, 5*time.Minute, s.phone.Pages()[n].At.Sub(again))
		require.Contains(t, s.phone.Pages()[n].Reason, "flaps")

		worse := disk()
		worse["severity"] = "sev1"
		m := len(s.phone.Pages())
		s.post(worse, time.Hour)
		require.Greater(t, len(s.phone.Pages()), m, "a rise is news")
	}, "", "flapping: {count: 2, window: 10m, clear_delay: 1m}\n")
}

// A storm: each person gets at most five messages a minute, sev1 goes alone and at
// once, every page is in exactly one message, and the counts add up. A restart in
// the middle neither loses a page nor sends more.
func TestAStormIsBundled(t *testing.T) {
	t.Parallel()
	const many = 120
	routed(t, func(t *testing.T, s *scene) {
		alert := func(service, severity string) watchbill.Alert {
			return watchbill.Alert{Labels: watchbill.Labels{"alertname": "Down", "service": service, "severity": severity}, EndsAt: time.Now().Add(10 * time.Hour)}
		}
		var all []watchbill.Alert
		for i := range many {
			all = append(all, alert("svc"+strconv.Itoa(i), "page"))
		}
		require.NoError(t, s.frank.PostAlerts(t.Context(), all))
		synctest.Wait()
		first := s.phone.Pages()
		require.NotEmpty(t, first)
		require.Equal(t, s.began, first[0].At, "the first page waits for nothing")
		s.sleep(30 * time.Second)
		require.NoError(t, s.frank.PostAlerts(t.Context(), []watchbill.Alert{alert("urgent", "sev1")}))
		synctest.Wait()
		last := s.phone.Pages()[len(s.phone.Pages())-1]
		require.Equal(t, "sev1", last.Severity)
		require.Equal(t, s.began.Add(30*time.Second), last.At)
		s.sleep(95 * time.Second) // the phone's pages are due
		s.Stop()
		s.Start()
		s.sleep(2*time.Minute + 45*time.Second)

		sent := s.phone.Pages()
		of := map[string][]time.Time{}
		messages, stood := 0, map[string]int{}
		for _, p := range sent {
			messages++
			n, err := strconv.Atoi(cmp.Or(p.Labels["pages"], "1"))
			require.NoError(t, err)
			stood[p.Path] += n
			if p.Severity == "sev1" {
				require.Empty(t, p.Labels["pages"])
				continue
			}
			of[p.Person] = append(of[p.Person], p.At)
		}
		for person, at := range of {
			for i := range at {
				if i >= 5 {
					require.GreaterOrEqual(t, at[i].Sub(at[i-5]), time.Minute, "%s got six within a minute", person)
				}
			}
		}
		require.Equal(t, many+1, stood["/ana-push"], "each page is in one message")
		require.Equal(t, many+1, stood["/ana-phone"])
		require.Less(t, messages, 25)
		incidents, err := s.frank.Incidents(t.Context(), "", 1000)
		require.NoError(t, err)
		require.Len(t, incidents, many+1)
		for _, inc := range incidents {
			for _, p := range show(t, s.frank, inc.ID).Pages {
				if p.Page.Step == 0 {
					require.Equal(t, "delivered", p.State, p.Key)
				}
			}
		}
		require.Contains(t, show(t, s.frank, incidents[1].ID).Text(), "in one message with")
		verifies(t, s)
	})
}
