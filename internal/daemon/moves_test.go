package daemon_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/web"
)

func ticket() watchbill.Labels {
	return watchbill.Labels{"alertname": "Slow", "service": "db", "severity": "warning"}
}

// The next step comes when a person wants it, once however often they ask for
// the step that they saw, and says whose wish it was.
func TestEscalateNow(t *testing.T) {
	t.Parallel()
	routed(t, func(t *testing.T, s *scene) {
		s.post(disk(), 2*time.Hour)
		s.sleep(time.Minute)
		want := web.EscalateRequest{Note: "it spreads", Generation: 1, Step: 1}
		for range 2 {
			_, err := s.As("ana").Escalate(t.Context(), 1, want)
			require.NoError(t, err)
			s.sleep(time.Second)
		}
		pages := s.phone.Pages()
		require.Equal(t, []string{"ana", "carla"}, people(pages))
		require.Equal(t, "escalated by ana: it spreads", pages[1].Annot["reason"])

		// Whoever has it needs others: it goes on with the second step.
		_, err := s.As("carla").Acknowledge(t.Context(), 1, "")
		require.NoError(t, err)
		inc, err := s.As("carla").Escalate(t.Context(), 1, web.EscalateRequest{})
		require.NoError(t, err)
		require.Equal(t, watchbill.StateOpen, inc.State)
		s.sleep(time.Second)
		require.Len(t, s.phone.Pages(), 3)
		s.sleep(6 * time.Minute)
		require.Equal(t, "frank", s.phone.Pages()[3].Person, "and the path goes on from there")
		_, err = s.frank.Resolve(t.Context(), 1, web.ResolveRequest{Reason: "over"})
		require.NoError(t, err)
		_, err = s.frank.Escalate(t.Context(), 1, web.EscalateRequest{})
		require.ErrorContains(t, err, "INC-1 is resolved: there is nothing to escalate")
	})
}

// Handing over pages the other one by every method until they acknowledge; until
// then the incident stays where it is, also when that was forgotten.
func TestHandOver(t *testing.T) {
	t.Parallel()
	routed(t, func(t *testing.T, s *scene) {
		s.post(disk(), 2*time.Hour)
		frank, ana := s.frank, s.As("ana")
		_, err := frank.Acknowledge(t.Context(), 1, "")
		require.NoError(t, err)
		s.sleep(time.Second)
		n := len(s.phone.Pages())
		for range 2 {
			inc, err := frank.HandOver(t.Context(), 1, web.HandOverRequest{To: "ana", Note: "my watch ends"})
			require.NoError(t, err)
			require.EqualValues(t, "frank", inc.AcknowledgedBy)
		}
		s.sleep(time.Second)
		pages := s.phone.Pages()[n:]
		require.Len(t, pages, 1)
		require.Equal(t, "ana", pages[0].Person)
		require.Equal(t, "frank asks you to take it over: my watch ends", pages[0].Annot["reason"])
		inc, err := ana.Acknowledge(t.Context(), 1, "")
		require.NoError(t, err)
		require.EqualValues(t, "ana", inc.AcknowledgedBy)
		require.Empty(t, inc.Offered)
		s.sleep(5 * time.Minute)
		require.Len(t, s.phone.Pages(), n+1, "her phone is not called any more")
		_, err = frank.HandOver(t.Context(), 1, web.HandOverRequest{To: "ana"})
		require.ErrorContains(t, err, "ana has INC-1 already")
		_, err = frank.HandOver(t.Context(), 1, web.HandOverRequest{To: "anna"})
		require.ErrorContains(t, err, `to: there is no person "anna"`)
	})
}

func TestNotMineGoesToTheRole(t *testing.T) {
	t.Parallel()
	routed(t, func(t *testing.T, s *scene) {
		s.post(disk(), 2*time.Hour)
		s.sleep(time.Second)
		for range 2 {
			inc, err := s.As("ana").NotMine(t.Context(), 1, web.NotMineRequest{Role: "security", Note: "a break-in"})
			require.NoError(t, err)
			require.Equal(t, 2, inc.Generation)
			s.sleep(time.Second)
		}
		s.sleep(11 * time.Minute)
		pages := s.phone.Pages()
		require.Equal(t, []string{"ana", "eve", "frank"}, people(pages))
		require.Equal(t, "handed on: ana says that it belongs to security: a break-in", pages[1].Annot["reason"])
		_, err := s.As("eve").NotMine(t.Context(), 1, web.NotMineRequest{Role: "secrity"})
		require.ErrorContains(t, err, `role: there is no role "secrity"`)
	})
}

// A ticket can wait for the morning; a page cannot, and a ticket that becomes one
// does not.
func TestSnooze(t *testing.T) {
	t.Parallel()
	routed(t, func(t *testing.T, s *scene) {
		s.post(ticket(), 6*time.Hour)
		s.sleep(time.Second)
		ana := s.As("ana")
		until := s.began.Add(3 * time.Hour)
		for range 2 {
			inc, err := ana.Snooze(t.Context(), 1, web.SnoozeRequest{Until: until, Note: "in the morning"})
			require.NoError(t, err)
			require.Equal(t, 2, inc.Generation)
			require.Equal(t, "snoozed by ana until 2026-11-29 06:00 UTC", inc.HeldBy)
		}
		s.sleep(2 * time.Hour)
		require.Len(t, s.phone.Pages(), 1)
		s.sleep(61 * time.Minute)
		pages := s.phone.Pages()
		require.Equal(t, until, pages[1].At.UTC())
		require.Equal(t, "re-paged: the snooze by ana ended", pages[1].Annot["reason"])
		_, err := ana.Snooze(t.Context(), 1, web.SnoozeRequest{Until: until})
		require.ErrorContains(t, err, "until: 2026-11-29T06:00:00Z has passed")
		_, err = ana.Snooze(t.Context(), 1, web.SnoozeRequest{Until: time.Now().AddDate(0, 0, 8)})
		require.ErrorContains(t, err, "is too far away")

		_, err = ana.Snooze(t.Context(), 1, web.SnoozeRequest{Until: time.Now().Add(time.Hour)})
		require.NoError(t, err)
		worse := ticket()
		worse["severity"] = "critical"
		s.post(worse, 2*time.Hour)
		s.sleep(time.Second)
		last := s.phone.Pages()[len(s.phone.Pages())-1]
		require.Equal(t, "re-paged: severity rose from sev3 to sev2", last.Annot["reason"])
		_, err = ana.Snooze(t.Context(), 1, web.SnoozeRequest{Until: time.Now().Add(time.Hour)})
		require.ErrorContains(t, err, "INC-1 is sev2: only sev3 and sev4 can be put off")
	})
}

// Who is called is paged although somebody has the incident, by all their
// methods until they do something.
func TestCallForHelp(t *testing.T) {
	t.Parallel()
	routed(t, func(t *testing.T, s *scene) {
		s.post(disk(), 2*time.Hour)
		_, err := s.frank.Acknowledge(t.Context(), 1, "")
		require.NoError(t, err)
		s.sleep(time.Second)
		n := len(s.phone.Pages())
		for range 2 {
			inc, err := s.frank.Call(t.Context(), 1, web.CallRequest{People: []watchbill.PersonID{"dmitri"}, Role: "support", Note: "two more eyes"})
			require.NoError(t, err)
			require.Equal(t, []watchbill.PersonID{"dmitri", "ana"}, inc.Responders)
			require.EqualValues(t, "frank", inc.AcknowledgedBy)
		}
		s.sleep(3 * time.Minute)
		pages := s.phone.Pages()[n:]
		require.Len(t, to(pages, "dmitri"), 1)
		require.Len(t, to(pages, "ana"), 2, "she did not answer the first")
		require.Equal(t, "frank calls you to help: two more eyes", pages[0].Annot["reason"])
		inc, err := s.As("ana").Note(t.Context(), 1, "here")
		require.NoError(t, err)
		require.Equal(t, []watchbill.PersonID{"dmitri"}, inc.Awaited)
		_, err = s.frank.Call(t.Context(), 1, web.CallRequest{})
		require.ErrorContains(t, err, "people: nobody is named")
	})
}
