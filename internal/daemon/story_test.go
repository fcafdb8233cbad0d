package daemon_test

import (
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/pipenet"
	"watchbill/internal/testkit"
	"watchbill/internal/web"
)

// world copies a folder of testdata into a fresh world.
func world(t testing.TB, from string) *testkit.World {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(from)))
	return testkit.New(t, dir)
}

// until waits until an instant of the bubble.
func until(at time.Time) {
	time.Sleep(time.Until(at))
	synctest.Wait()
}

func show(t *testing.T, c *web.Client, id watchbill.IncidentID) web.IncidentView {
	t.Helper()
	v, err := c.Incident(t.Context(), id)
	require.NoError(t, err)
	return v
}

// The main job, from a metric that goes bad to the closed incident, in virtual
// time: real scraping, real burn-rate rules, the real store and the real
// webhook integration.
func TestTheWholeStory(t *testing.T) {
	t.Parallel()
	pipenet.Warm(t.Context())
	synctest.Test(t, func(t *testing.T) {
		until(time.Date(2026, 11, 29, 1, 0, 0, 0, time.UTC)) // a Sunday, 02:00 in Madrid
		w := world(t, "testdata/story")
		checkout, phone := testkit.NewService(), &testkit.Receiver{}
		w.Host("checkout.test", checkout)
		w.Host("push.test", phone)
		w.Start()
		defer w.Stop()
		frank := w.As("frank")

		until(time.Date(2026, 11, 29, 3, 15, 0, 0, time.UTC)) // two good hours
		require.Empty(t, phone.Pages())
		broke := time.Now()
		checkout.Fail(0.5)

		// 14.4 times the budget of 0.1 % within an hour is reached after
		// 1h * 14.4 * 0.001 / 0.5 = 103.68 s of failing half of all requests
		// (reference: the SRE workbook's detection time). Scrape and evaluation add
		// at most one scrape and one recording interval; alerts are evaluated with it.
		const detection = 103680 * time.Millisecond
		for time.Since(broke) < 10*time.Minute && len(phone.Pages()) == 0 {
			time.Sleep(time.Second)
			synctest.Wait()
		}
		pages := phone.Pages()
		require.Len(t, pages, 1)
		took := pages[0].At.Sub(broke)
		require.GreaterOrEqual(t, took, detection)
		require.LessOrEqual(t, took, detection+15*time.Second+30*time.Second)
		t.Logf("paged %s after the metric went bad; the formula's own time is %s", took, detection)

		v := show(t, frank, 1)
		opened := v.Incident.OpenedAt
		require.Equal(t, opened, pages[0].At, "the page is sent at the instant at which the alert is taken in")
		require.Equal(t, "ana", pages[0].Person, "ana's week began on Monday 23 November")
		require.Equal(t, "sev2", pages[0].Annot["severity"])
		require.Equal(t, "Customers cannot pay", pages[0].Annot["title"])
		require.Contains(t, pages[0].Annot["evidence"], "%")
		require.NotEmpty(t, pages[0].Annot["first_action"])
		require.NotEmpty(t, pages[0].Annot["runbook"])
		require.Contains(t, pages[0].Annot["next"], "carla (deployment), dmitri (infrastructure) at ")

		// Nobody answers: the path climbs at its minutes.
		until(opened.Add(31 * time.Minute))
		want := []struct {
			after time.Duration
			who   string
			path  string
		}{
			{0, "ana", "/ana-push"},
			{2 * time.Minute, "ana", "/ana-phone"},
			{5 * time.Minute, "carla", "/carla-push"},
			{5 * time.Minute, "dmitri", "/dmitri-push"},
			{10 * time.Minute, "frank", "/frank-push"},
			{15 * time.Minute, "ana", "/ana-push"},
			{15 * time.Minute, "ben", "/ben-push"},
			{15 * time.Minute, "carla", "/carla-push"},
			{15 * time.Minute, "dmitri", "/dmitri-push"},
			{15 * time.Minute, "frank", "/frank-push"},
			{17 * time.Minute, "ana", "/ana-phone"},
			{30 * time.Minute, "ana", "/ana-push"},
			{30 * time.Minute, "ben", "/ben-push"},
			{30 * time.Minute, "carla", "/carla-push"},
			{30 * time.Minute, "dmitri", "/dmitri-push"},
			{30 * time.Minute, "frank", "/frank-push"},
		}
		pages = phone.Pages()
		require.Len(t, pages, len(want), testkit.Timeline(pages, opened))
		keys := map[string]bool{}
		for _, x := range want {
			found := false
			for _, p := range pages {
				found = found || (p.At.Equal(opened.Add(x.after)) && p.Person == x.who && p.Path == x.path)
			}
			require.True(t, found, "%s %s by %s\n%s", x.after, x.who, x.path, testkit.Timeline(pages, opened))
		}
		for _, p := range pages {
			require.False(t, keys[p.Key], "the key %s was used twice", p.Key)
			keys[p.Key] = true
		}

		// ana acknowledges: silence, ana's phone at +32 m included.
		inc, err := w.As("ana").Acknowledge(t.Context(), 1, "on it")
		require.NoError(t, err)
		acked := time.Now()
		require.Equal(t, acked.Add(30*time.Minute).UTC(), inc.AckDeadline)
		until(acked.Add(20 * time.Minute))
		require.Len(t, phone.Pages(), len(want))
		_, err = w.As("ben").Note(t.Context(), 1, "the pool is exhausted")
		require.NoError(t, err)
		noted := time.Now()
		until(noted.Add(30*time.Minute - time.Second))
		require.Len(t, phone.Pages(), len(want), "the note renewed the promise")

		// The deadline passes: the path starts again, and says why.
		until(noted.Add(30 * time.Minute))
		again := phone.Pages()[len(want):]
		require.Len(t, again, 1)
		require.Equal(t, "ana", again[0].Person)
		require.Equal(t, noted.Add(30*time.Minute).UTC(), again[0].At)
		require.Contains(t, again[0].Reason, "the acknowledgement by ana expired")
		until(noted.Add(35 * time.Minute))
		require.Len(t, phone.Pages(), len(want)+1+1+2, "ana's phone, then carla and dmitri")

		// carla takes it, the service heals, the incident ends.
		_, err = w.As("carla").Acknowledge(t.Context(), 1, "rolling back")
		require.NoError(t, err)
		sent := len(phone.Pages())
		checkout.Fail(0)
		healed := time.Now()
		for time.Since(healed) < 24*time.Hour && show(t, frank, 1).Incident.State != watchbill.StateResolved {
			_, err = w.As("carla").Note(t.Context(), 1, "watching it recover")
			require.NoError(t, err)
			time.Sleep(10 * time.Minute)
		}
		v = show(t, frank, 1)
		require.Equal(t, watchbill.StateResolved, v.Incident.State)
		until(v.Incident.ResolvedAt.Add(30*time.Minute - time.Second))
		require.Equal(t, watchbill.StateResolved, show(t, frank, 1).Incident.State)
		until(v.Incident.ResolvedAt.Add(30 * time.Minute))
		v = show(t, frank, 1)
		require.Equal(t, watchbill.StateClosed, v.Incident.State)
		require.Len(t, phone.Pages(), sent, "nothing was sent after the second acknowledgement")
		require.NoError(t, watchbill.VerifyChain(v.Timeline, v.Incident.Head))
		all, err := frank.Incidents(t.Context(), "", 10)
		require.NoError(t, err)
		require.Len(t, all, 1, "one incident for all of it")
		t.Logf("resolved %s after it was healed\n%s", v.Incident.ResolvedAt.Sub(healed), v.Text())
	})
}
