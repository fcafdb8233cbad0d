package daemon_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/pipenet"
	"watchbill/internal/testkit"
	"watchbill/internal/web"
)

// scene is a running daemon on the story's configuration, on a Sunday night.
type scene struct {
	*testkit.World
	t     *testing.T
	phone *testkit.Receiver
	frank *web.Client
	began time.Time
}

func play(t *testing.T, script func(*testing.T, *scene)) {
	t.Helper()
	playWith(t, func(*scene) {}, script)
}

// playWith plays a script on a scene at 03:00 UTC, 04:00 in Madrid, that prepare
// has changed before it begins.
func playWith(t *testing.T, prepare func(*scene), script func(*testing.T, *scene)) {
	t.Helper()
	pipenet.Warm(t.Context())
	synctest.Test(t, func(t *testing.T) {
		began := time.Date(2026, 11, 29, 3, 0, 0, 0, time.UTC)
		until(began)
		s := &scene{World: world(t, "testdata/story"), t: t, phone: &testkit.Receiver{}, began: began}
		s.Host("checkout.test", testkit.NewService())
		s.Host("push.test", s.phone)
		prepare(s)
		s.Start()
		defer func() { s.Stop() }()
		s.frank = s.As("frank")
		script(t, s)
	})
}

func (s *scene) post(labels watchbill.Labels, ends time.Duration) {
	s.t.Helper()
	a := watchbill.Alert{Labels: labels, Annotations: watchbill.Labels{"summary": labels["alertname"] + " is broken"}}
	if ends != 0 {
		a.EndsAt = time.Now().Add(ends)
	}
	require.NoError(s.t, s.frank.PostAlerts(s.t.Context(), []watchbill.Alert{a}))
	synctest.Wait()
}

func (s *scene) sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (s *scene) incidents() []watchbill.Incident {
	s.t.Helper()
	all, err := s.frank.Incidents(s.t.Context(), "", 100)
	require.NoError(s.t, err)
	return all
}

func (s *scene) silence(endsIn time.Duration, name, value string) string {
	s.t.Helper()
	id, err := s.As("ana").Silence(s.t.Context(), watchbill.Silence{
		Matchers: []watchbill.Matcher{{Name: name, Value: value, IsEqual: true}},
		StartsAt: time.Now(), EndsAt: time.Now().Add(endsIn), Comment: "replacing the disk",
	})
	require.NoError(s.t, err)
	return id
}

func disk() watchbill.Labels {
	return watchbill.Labels{"alertname": "DiskFull", "service": "db", "severity": "page"}
}

func TestAlertWithoutEndResolvesAfterTheTimeout(t *testing.T) {
	t.Parallel()
	play(t, func(t *testing.T, s *scene) {
		s.post(disk(), 0)
		s.sleep(4 * time.Minute)
		s.post(disk(), 0) // re-sent: it goes on
		s.sleep(5*time.Minute - time.Second)
		require.Equal(t, watchbill.StateOpen, s.incidents()[0].State)
		s.sleep(time.Second)
		require.Equal(t, watchbill.StateResolved, s.incidents()[0].State)
		s.sleep(30 * time.Minute)
		require.Equal(t, watchbill.StateClosed, s.incidents()[0].State)
		s.post(disk(), 0)
		all := s.incidents()
		require.Len(t, all, 2, "after closed, a new one")
		require.Equal(t, all[1].ID, all[0].Previous)
	})
}

// A source that re-sends every minute never lets its alert end, and most of its
// re-sends write nothing.
func TestResendsKeepAliveAndMostlyWriteNothing(t *testing.T) {
	t.Parallel()
	play(t, func(t *testing.T, s *scene) {
		s.post(disk(), 4*time.Minute)
		seq := show(t, s.frank, 1).Incident.Seq
		for range 60 {
			s.sleep(time.Minute)
			s.post(disk(), 4*time.Minute)
			require.True(t, s.incidents()[0].State.Live())
		}
		require.Len(t, s.incidents(), 1)
		v := show(t, s.frank, 1)
		for _, e := range v.Timeline[seq:] {
			require.Contains(t, []watchbill.EventKind{watchbill.EventStepFired, watchbill.EventPageSent}, e.Kind, "a re-send is no event")
		}
		s.sleep(4 * time.Minute)
		require.Equal(t, watchbill.StateResolved, s.incidents()[0].State, "silent for as long as was promised")
	})
}

func TestFiringAgainReopens(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		s.post(disk(), time.Hour)
		s.post(disk(), -time.Second)
		require.Equal(t, watchbill.StateResolved, s.incidents()[0].State)
		n := len(s.phone.Pages())
		s.sleep(10 * time.Minute)
		require.Len(t, s.phone.Pages(), n, "resolved is quiet")
		s.post(disk(), time.Hour)
		all := s.incidents()
		require.Len(t, all, 1)
		require.Equal(t, 2, all[0].Generation)
		last := s.phone.Pages()[n:]
		require.Len(t, last, 1)
		require.Contains(t, last[0].Reason, "reopened: firing again 10m0s after it was resolved")
	})
}

func TestASilencedAlertPagesWhenTheSilenceEnds(t *testing.T) {
	t.Parallel()
	play(t, func(t *testing.T, s *scene) {
		s.silence(20*time.Minute, "alertname", "DiskFull")
		s.post(disk(), 10*time.Hour)
		s.sleep(20*time.Minute - time.Second)
		require.Empty(t, s.incidents())
		require.Len(t, s.phone.Pages(), 1, "the author is told that it ends soon")
		s.sleep(time.Second)
		require.Len(t, s.incidents(), 1)
		require.Equal(t, s.began.Add(20*time.Minute), s.phone.Pages()[1].At)
	})
}

// What was worked out about alerts before counts no more once somebody makes or
// ends a silence.
func TestASilenceCountsAtOnce(t *testing.T) {
	t.Parallel()
	play(t, func(t *testing.T, s *scene) {
		s.post(other(), 10*time.Hour) // the silences have been read
		id := s.silence(time.Hour, "service", "db")
		s.post(disk(), 10*time.Hour)
		require.Len(t, s.incidents(), 1)
		require.NoError(t, s.As("ana").ExpireSilence(s.t.Context(), id))
		second := disk()
		second["instance"] = "db-2"
		s.post(second, 10*time.Hour)
		require.Len(t, s.incidents(), 2)
		s.silence(time.Hour, "alertname", "QueueFull")
		s.sleep(2 * time.Hour) // it ends by itself
		third := other()
		third["instance"] = "queue-2"
		s.post(third, 10*time.Hour)
		v := show(t, s.frank, 1)
		require.Len(t, v.Alerts, 2)
	})
}

// One request may say several things about one alert; the last one counts.
func TestARequestThatRepeatsAnAlert(t *testing.T) {
	t.Parallel()
	play(t, func(t *testing.T, s *scene) {
		fires := watchbill.Alert{Labels: disk(), EndsAt: time.Now().Add(time.Hour)}
		ended := watchbill.Alert{Labels: disk(), EndsAt: time.Now().Add(-time.Second)}
		third := watchbill.Alert{Labels: other(), EndsAt: time.Now().Add(time.Hour)}
		require.NoError(t, s.frank.PostAlerts(t.Context(), []watchbill.Alert{fires, third, fires, ended}))
		synctest.Wait()
		all := s.incidents()
		require.Len(t, all, 2)
		require.Equal(t, watchbill.StateOpen, all[0].State)
		require.Equal(t, watchbill.StateResolved, all[1].State)
		require.NoError(t, s.frank.PostAlerts(t.Context(), []watchbill.Alert{ended, fires}))
		synctest.Wait()
		all = s.incidents()
		require.Len(t, all, 2)
		require.Equal(t, watchbill.StateOpen, all[1].State)
		require.Equal(t, 2, all[1].Generation)
	})
}

func TestASilenceHoldsAnOpenIncident(t *testing.T) {
	t.Parallel()
	play(t, func(t *testing.T, s *scene) {
		s.post(disk(), 10*time.Hour)
		s.sleep(time.Minute)
		n := len(s.phone.Pages())
		id := s.silence(time.Hour, "service", "db")
		s.sleep(30 * time.Minute)
		for _, p := range s.phone.Pages()[n:] {
			require.Equal(t, 2*time.Minute, p.At.Sub(s.began), "only the phone call of the step that had fired")
		}
		require.Contains(t, s.incidents()[0].HeldBy, "silenced by ana")
		n = len(s.phone.Pages())
		require.NoError(t, s.As("ana").ExpireSilence(s.t.Context(), id))
		s.sleep(time.Minute)
		require.Greater(t, len(s.phone.Pages()), n, "the step that was held fires within a minute")
		require.Empty(t, s.incidents()[0].HeldBy)
	})
}

// A slower burn tier belongs to the incident of the faster one: it pages nobody,
// holds the incident open, and lets its severity fall.
func TestInhibitedAlertsJoinWithoutPaging(t *testing.T) {
	t.Parallel()
	play(t, func(t *testing.T, s *scene) {
		burn := func(tier, severity string) watchbill.Labels {
			return watchbill.Labels{"alertname": "Burn", "service": "checkout", "st": "checkout-requests", "st_tier": tier, "severity": severity}
		}
		s.post(burn("page_fast", "page"), time.Hour)
		s.post(burn("ticket_slow", "ticket"), time.Hour)
		require.Len(t, s.incidents(), 1)
		n := len(s.phone.Pages())
		_, err := s.As("ana").Acknowledge(t.Context(), 1, "")
		require.NoError(t, err)
		s.post(burn("page_fast", "page"), -time.Second)
		inc := s.incidents()[0]
		require.Equal(t, watchbill.StateAcknowledged, inc.State)
		require.Equal(t, watchbill.Sev3, inc.Severity)
		require.Equal(t, time.Now().Add(2*time.Hour).UTC(), inc.AckDeadline)
		s.post(burn("ticket_slow", "ticket"), -time.Second)
		require.Equal(t, watchbill.StateResolved, s.incidents()[0].State)
		s.sleep(time.Hour)
		require.Len(t, s.phone.Pages(), n)
	})
}

// An inhibited alert without an incident of its own pages as soon as what
// inhibited it ends.
func TestTheEndOfASourceFreesItsTargets(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		l := func(tier, env string) watchbill.Labels {
			return watchbill.Labels{"alertname": "Burn", "service": "checkout", "environment": env, "st": "x", "st_tier": tier, "severity": "page"}
		}
		s.post(l("page_fast", "prod"), time.Hour)
		s.post(l("page_slow", "preprod"), time.Hour) // another group
		require.Len(t, s.incidents(), 1)
		s.sleep(10 * time.Second)
		s.post(l("page_fast", "prod"), -time.Second)
		s.sleep(0)
		require.Len(t, s.incidents(), 2)
	})
}

func TestAReceiverThatRefusesHandsOverAtOnce(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		refuse := &testkit.Receiver{}
		refuse.Answer(http.StatusGone)
		s.Host("push.test", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/ana-push" {
				refuse.ServeHTTP(w, r)
				return
			}
			s.phone.ServeHTTP(w, r)
		}))
		s.post(disk(), time.Hour)
		pages := s.phone.Pages()
		require.Len(t, pages, 1)
		require.Equal(t, "/ana-phone", pages[0].Path, "ana's second method, two minutes early")
		require.Equal(t, s.began, pages[0].At)
		require.Contains(t, show(t, s.frank, 1).Text(), "next by ana-phone at once")
	})
}

func TestWhenNobodyOfAStepCanBeReachedTheNextStepFires(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		s.Host("push.test", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/ana-push" || r.URL.Path == "/ana-phone" {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			s.phone.ServeHTTP(w, r)
		}))
		s.post(disk(), time.Hour)
		s.sleep(time.Second)
		pages := s.phone.Pages()
		require.NotEmpty(t, pages)
		require.Equal(t, "carla", pages[0].Person, "the role that stands behind support, five minutes early")
		require.LessOrEqual(t, pages[0].At.Sub(s.began), time.Second)
	})
}

func TestAFailingReceiverDoesNotLoseThePage(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		s.phone.Answer(http.StatusServiceUnavailable)
		s.post(disk(), 10*time.Hour)
		s.sleep(2 * time.Minute)
		require.Empty(t, s.phone.Pages())
		s.phone.Answer(0)
		s.sleep(2 * time.Minute)
		keys := map[string]int{}
		for _, p := range s.phone.Pages() {
			keys[p.Key]++
		}
		require.Equal(t, map[string]int{"INC-1/1/0/ana/ana-push": 1, "INC-1/1/0/ana/ana-phone": 1}, keys)
	})
}

// A restart in the middle: the next step fires at its own time, and nothing is
// sent twice.
func TestRestartKeepsTheSteps(t *testing.T) {
	t.Parallel()
	play(t, func(t *testing.T, s *scene) {
		s.post(disk(), 10*time.Hour)
		s.sleep(3 * time.Minute)
		s.Stop()
		s.sleep(time.Minute)
		s.Start()
		s.sleep(time.Minute)
		require.Equal(t, []string{"ana", "ana", "carla"}, people(s.phone.Pages()))
		require.Equal(t, s.began.Add(5*time.Minute), s.phone.Pages()[2].At)
		s.Stop()
		s.sleep(time.Hour) // down for an hour: one late step, not a burst of five
		s.Start()
		s.sleep(time.Second)
		require.Equal(t, []string{"ana", "ana", "carla", "frank"}, people(s.phone.Pages()))
		s.sleep(5 * time.Minute)
		require.Greater(t, len(s.phone.Pages()), 4)
	})
}

func people(pages []testkit.Page) []string {
	var who []string
	for _, p := range pages {
		who = append(who, p.Person)
	}
	return who
}

// A reload with mistakes changes nothing; a good one is used by the next step.
func TestReload(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		s.post(disk(), 10*time.Hour)
		good, bad := read(t, "testdata/story/watchbill.yaml"), "people: 7\n"
		s.Write("watchbill.yaml", bad)
		err := s.frank.Reload(t.Context())
		require.Error(t, err)
		require.Contains(t, err.Error(), "watchbill.yaml:1:9")
		require.Error(t, s.As("ana").Reload(t.Context()), "reload is the manager's")

		// carla leaves: the step that would have paged carla asks who is on duty
		// when it fires.
		s.Write("watchbill.yaml", replace(good, "carla", "gina", "Carla Neri", "Gina Park"))
		require.NoError(t, s.frank.Reload(t.Context()))
		s.sleep(5 * time.Minute)
		require.Equal(t, []string{"ana", "ana", "gina"}, people(s.phone.Pages()))
	})
}
