package daemon_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/web"
)

// Whoever comes on duty reads what is open, muted, planned and waiting, and accepts
// it; the pack is kept as they read it.
func TestHandover(t *testing.T) {
	t.Parallel()
	routed(t, func(t *testing.T, s *scene) {
		ana, ben := s.As("ana"), s.As("ben")
		s.post(disk(), 5*time.Hour)
		_, err := ana.Acknowledge(t.Context(), 1, "")
		require.NoError(t, err)
		_, err = ana.Status(t.Context(), 1, web.StatusRequest{Text: "the disk is replaced at ten"})
		require.NoError(t, err)
		s.sleep(time.Minute)
		s.post(slow(), 5*time.Hour)
		s.silence(4*time.Hour, "alertname", "Later")
		s.silence(2*time.Hour, "alertname", "Sooner")
		_, err = ana.Silence(t.Context(), watchbill.Silence{
			Matchers: []watchbill.Matcher{{Name: "severity", Value: ".+", IsRegex: true, IsEqual: true}}, StartsAt: time.Now(), EndsAt: time.Now().Add(time.Hour), Comment: "all of it",
		})
		require.ErrorContains(t, err, "mutes nothing until a second person")
		begins := s.began.Add(time.Hour)
		_, err = s.frank.ChangeDuty(t.Context(), web.DutyRequest{DutyChange: watchbill.DutyChange{
			Kind: watchbill.DutyOverride, Role: "support", Person: "ben", From: begins, To: begins.Add(2 * time.Hour), Reason: "sleep",
		}})
		require.NoError(t, err)

		p, err := ben.HandoverPack(t.Context(), "support")
		require.NoError(t, err)
		require.EqualValues(t, "ana", p.Now.Watch.Primary.Person)
		require.EqualValues(t, "ben", p.Next.Watch.Primary.Person)
		require.Equal(t, begins, p.Next.From)
		require.Len(t, p.Incidents, 2)
		first, second := p.Incidents[0], p.Incidents[1]
		require.EqualValues(t, 2, first.ID, "what nobody has taken comes first")
		require.Empty(t, first.Owner)
		require.Equal(t, "step 1 pages", first.Next)
		require.EqualValues(t, "ana", second.Owner)
		require.Equal(t, "the disk is replaced at ten", second.Said)
		require.Equal(t, "the acknowledgement expires", second.Next)
		require.Len(t, p.Silences, 2)
		require.True(t, p.Silences[0].EndsAt.Before(p.Silences[1].EndsAt))
		require.Len(t, p.Approvals, 1)
		require.Len(t, p.Windows, 1)
		require.Equal(t, "weekly", p.Windows[0].Name)
		require.Equal(t, time.Date(2026, 12, 5, 2, 0, 0, 0, time.UTC), p.Windows[0].From)
		require.Equal(t, 2*time.Hour, p.Windows[0].To.Sub(p.Windows[0].From))
		require.Len(t, p.Changes, 1)
		require.Nil(t, p.Accepted)

		_, err = s.As("carla").AcceptHandover(t.Context(), web.AcceptRequest{Role: "support"})
		require.ErrorContains(t, err, "carla is not on duty for support, and is not next")
		_, err = ben.AcceptHandover(t.Context(), web.AcceptRequest{Role: "supprot"})
		require.ErrorContains(t, err, `there is no role "supprot"`)
		_, err = ben.AcceptHandover(t.Context(), web.AcceptRequest{})
		require.ErrorContains(t, err, "role: the duty of which role")
		h, err := ben.AcceptHandover(t.Context(), web.AcceptRequest{Role: "support", Note: "spoke to ana"})
		require.NoError(t, err)
		require.EqualValues(t, "ana", h.From)
		require.Len(t, h.Pack.Incidents, 2)
		all, err := ben.Handovers(t.Context(), "support")
		require.NoError(t, err)
		require.Len(t, all, 1)
		require.Nil(t, all[0].Pack)
		p, err = ana.HandoverPack(t.Context(), "support")
		require.NoError(t, err)
		require.EqualValues(t, "ben", p.Accepted.By)
		entries, err := s.frank.AuditLog(t.Context(), web.AuditQuery{Kind: watchbill.AuditHandover})
		require.NoError(t, err)
		require.Len(t, entries.Entries, 1)
		require.Equal(t, "accepted as handover 1: 2 incidents, 2 silences, 1 waiting for a second person, 0 changes of production", entries.Entries[0].Text)
	}, "", "\nsilences: {broad: 1}\nmaintenance: [{name: weekly, cron: '0 2 * * sat', duration: 2h, services: [checkout]}]\n")
}
