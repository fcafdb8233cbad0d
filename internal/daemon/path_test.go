package daemon_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/testkit"
	"watchbill/internal/web"
)

// paid is a path of its own for the service of the story.
const paid = `
paths:
  - name: paid
    services: [checkout]
    acks: 2
    steps:
      - {roles: [deployment], hours: [{from: "08:00", to: "20:00"}], tz: Europe/Madrid}
      - {roles: [support], receivers: [room]}
      - {after: 5m, people: [dmitri], severities: [sev1]}
      - {after: 6m, people: [carla]}
    repeat: {times: 1, every: 4m}
`

func slow() watchbill.Labels {
	return watchbill.Labels{"alertname": "Slow", "service": "checkout", "environment": "prod", "severity": "critical"}
}

// A path of one's own is walked by its conditions, twice, and ends at the manager
// and everybody; what explain says beforehand is what happens.
func TestAPathOfOnesOwn(t *testing.T) {
	t.Parallel()
	routed(t, func(t *testing.T, s *scene) {
		x := s.explained(slow())
		require.Equal(t, "paid", x.Path)
		require.Len(t, x.Passed, 4, "by night the first step is passed over, and the third for sev2, in each round")
		require.Contains(t, x.Passed[0], "step 0 (pages deployment) is passed over: it is outside of its hours at Sun 04:00 CET")
		var said []string
		for _, p := range x.Pages {
			require.Contains(t, p.Lines[0], "watchbill.yaml:")
			said = append(said, p.At.Sub(s.began).String()+" "+string(p.Person))
		}
		s.post(slow(), 2*time.Hour)
		s.sleep(45 * time.Minute)
		var was []string
		for _, p := range s.phone.Pages() {
			who := p.Person
			if p.Path == "/room" {
				who = "@room"
			}
			was = append(was, p.At.Sub(s.began).String()+" "+who)
		}
		for i, who := range said { // seconds to send apart, as said
			require.Contains(t, was, who, "page %d: %v", i, was)
		}
		require.Contains(t, was, "0s @room")
		require.Contains(t, was, "6m0s carla")
		require.Contains(t, was, "10m0s @room", "the second round")
		require.Contains(t, was, "20m0s frank", "the manager, after it")
		require.NotContains(t, was, "5m0s dmitri")
	}, "", paid, "receivers:\n", "receivers:\n  - {name: room, webhook_configs: [{url: 'http://push.test/room'}]}\n")
}

// With acks: 2 the path goes on until a second person acknowledges, and pages
// whoever has done so no more.
func TestTwoMustAcknowledge(t *testing.T) {
	t.Parallel()
	routed(t, func(t *testing.T, s *scene) {
		s.post(slow(), 2*time.Hour)
		ana, frank := s.As("ana"), s.frank
		inc, err := ana.Acknowledge(t.Context(), 1, "")
		require.NoError(t, err)
		require.Equal(t, watchbill.StateOpen, inc.State)
		require.Equal(t, []watchbill.PersonID{"ana"}, inc.Acks)
		again, err := ana.Acknowledge(t.Context(), 1, "")
		require.NoError(t, err)
		require.Equal(t, inc, again, "once more counts once")
		s.sleep(12 * time.Minute)
		require.Contains(t, people(s.phone.Pages()), "carla")
		require.Len(t, to(s.phone.Pages(), "ana"), 1, "neither by phone after two minutes nor in the second round")
		inc, err = frank.Acknowledge(t.Context(), 1, "I help")
		require.NoError(t, err)
		require.Equal(t, watchbill.StateAcknowledged, inc.State)
		require.EqualValues(t, "ana", inc.AcknowledgedBy)
		n := len(s.phone.Pages())
		s.sleep(20 * time.Minute)
		require.Len(t, s.phone.Pages(), n)
		s.sleep(15 * time.Minute) // the deadline of a sev2 is 30 minutes
		v := show(t, s.frank, 1)
		require.Equal(t, watchbill.StateOpen, v.Incident.State)
		require.Empty(t, v.Incident.Acks, "a new generation wants both again")
	}, "", paid, "receivers:\n", "receivers:\n  - {name: room, webhook_configs: [{url: 'http://push.test/room'}]}\n")
}

func to(pages []testkit.Page, who string) (theirs []testkit.Page) {
	for _, p := range pages {
		if p.Person == who {
			theirs = append(theirs, p)
		}
	}
	return theirs
}

// A path is frozen: a reload changes neither its steps nor their order, and whom
// a step names but is gone is answered for by the manager.
func TestAPersonOfThePathIsRemoved(t *testing.T) {
	t.Parallel()
	routed(t, func(t *testing.T, s *scene) {
		s.post(slow(), 2*time.Hour)
		s.sleep(time.Minute)
		s.change()
		s.sleep(5 * time.Minute)
		last := s.phone.Pages()[len(s.phone.Pages())-1]
		require.Equal(t, "frank", last.Person)
		require.Contains(t, last.Annot["why"], "zoe, who is not in the configuration any more, so the manager answers")
	}, "", "paths: [{name: z, steps: [{roles: [support]}, {after: 5m, people: [zoe]}]}]\n",
		"people:\n", "people:\n  - {name: zoe, roles: [support], contact: [{receiver: frank-push}]}\n")
}

// A trainee who reads along has neither code nor link, and cannot acknowledge until it
// is handed to them; a step reaches who stands behind.
func TestTraineesDoNotAcknowledge(t *testing.T) {
	t.Parallel()
	routed(t, func(t *testing.T, s *scene) {
		s.post(slow(), 2*time.Hour)
		s.sleep(6 * time.Minute)
		pages := s.phone.Pages()
		require.ElementsMatch(t, []string{"ana", "eve", "ana", "ben"}, people(pages))
		for _, p := range pages {
			require.Equal(t, p.Person == "eve", p.Annot["act_url"] == "", p.Person)
			require.Equal(t, p.Person == "eve", p.Annot["code"] == "", p.Person)
			require.Equal(t, p.Person == "eve", !strings.Contains(p.Annot["actions"], "Acknowledge"), p.Person)
			require.Equal(t, p.Person == "ben", strings.Contains(p.Annot["why"], "stands behind"), p.Person)
		}
		_, err := s.As("eve").Acknowledge(t.Context(), 1, "")
		require.ErrorContains(t, err, "eve reads along with INC-1 as a trainee, and is not the one to take it")
		_, err = s.frank.HandOver(t.Context(), 1, web.HandOverRequest{To: "eve", Note: "your first one"})
		require.NoError(t, err)
		s.sleep(time.Second)
		inc, err := s.As("eve").Acknowledge(t.Context(), 1, "")
		require.NoError(t, err)
		require.EqualValues(t, "eve", inc.AcknowledgedBy)
	}, "  - {role: support, people: [ben, ana], start: 2026-11-16, handover: \"monday 09:00\", tz: Europe/Madrid}\n", `  - role: support
    layers:
      - {name: first, people: [ana], start: 2026-11-16}
      - {name: behind, as: secondary, people: [ben], start: 2026-11-16}
      - {name: trainee, as: shadow, people: [eve], start: 2026-11-16}
paths:
  - {name: mine, steps: [{roles: [support]}, {after: 5m, behind: [support]}]}
`)
}
