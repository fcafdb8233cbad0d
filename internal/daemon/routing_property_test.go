package daemon_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"watchbill"
)

// routingCase is a random configuration, an alert, and what might mute it.
type routingCase struct {
	sections string
	labels   watchbill.Labels
	silenced bool
	held     int // severity of an open incident of what its service depends on; 0: none
}

// routingCases draws cases whose service is their own, so that none joins the
// incident of another.
func routingCases(round int) *rapid.Generator[routingCase] {
	return rapid.Custom(func(t *rapid.T) routingCase {
		a := fmt.Sprintf("a%d", round)
		c := routingCase{labels: watchbill.Labels{"alertname": "Broken", "service": a}}
		c.labels["severity"] = rapid.SampledFrom([]string{"sev1", "page", "warning", "info"}).Draw(t, "severity")
		for name, values := range map[string][]string{"environment": {"", "preprod"}, "signal": {"", "security"}, "st": {"", "a-requests"}} {
			if v := rapid.SampledFrom(values).Draw(t, name); v != "" {
				c.labels[name] = v
			}
		}
		roles := []string{"manager", "deployment", "infrastructure", "security", "support"}
		activities := []string{"performance", "security", "states", "first-line"}
		var s strings.Builder
		fmt.Fprintf(&s, "matrix:\n")
		for _, activity := range activities {
			fmt.Fprintf(&s, "  %s: {%s: %s}\n", activity, rapid.SampledFrom(roles).Draw(t, "role"), rapid.SampledFrom([]string{"first", "yes", "no", "on-request"}).Draw(t, "mark"))
		}
		s.WriteString("overrides:\n")
		for range rapid.IntRange(1, 3).Draw(t, "overrides") {
			where := rapid.SampledFrom([]string{"services: [" + a + "]", "environments: [preprod]", "environments: [prod]"}).Draw(t, "where")
			what := rapid.SampledFrom([]string{"roles: [deployment]", "roles: [security, support]", "max_severity: sev3", "active_time_intervals: [mornings]", "mute_time_intervals: [mornings]", "matrix: {first-line: {manager: first}}"}).Draw(t, "what")
			fmt.Fprintf(&s, "  - {%s, %s}\n", where, what)
		}
		s.WriteString("time_intervals: [{name: mornings, time_intervals: [{times: [{start_time: '06:00', end_time: '12:00'}]}]}]\n")
		if rapid.IntRange(0, 3).Draw(t, "maintenance") == 0 {
			fmt.Fprintf(&s, "maintenance: [{name: m, services: [%s], start: '2026-01-01 00:00', end: '2027-01-01 00:00'}]\n", a)
		}
		c.sections = s.String()
		c.silenced = rapid.IntRange(0, 3).Draw(t, "silenced") == 0
		c.held = rapid.SampledFrom([]int{0, 0, 2, 3}).Draw(t, "held")
		return c
	})
}

// On random configurations, what explain says is what happens: every page with its
// person, role, method, step and clock time, and no other; what is muted pages
// nobody; and after the end nobody is paged.
func TestExplainEqualsLiveOnRandomConfigurations(t *testing.T) {
	t.Parallel()
	rounds := 10
	if raced {
		rounds = 2
	}
	routed(t, func(t *testing.T, s *scene) {
		paged, muted := 0, 0
		for round := range rounds {
			c := routingCases(round).Example(round + 10)
			a, b := fmt.Sprintf("a%d", round), fmt.Sprintf("b%d", round)
			s.change("services:\n", fmt.Sprintf("services:\n  - {name: %s, owner: infrastructure, environments: [prod, preprod], depends_on: [%s]}\n  - {name: %s}\n", a, b, b), "", c.sections)
			if c.silenced {
				_, err := s.frank.Silence(t.Context(), matching(watchbill.Labels{"service": a}, 24*time.Hour))
				require.NoError(t, err)
			}
			parent := watchbill.Labels(nil)
			if c.held != 0 {
				parent = watchbill.Labels{"alertname": "Cause", "service": b, "severity": fmt.Sprintf("sev%d", c.held)}
				for _, name := range []string{"environment", "signal", "st"} {
					if c.labels[name] != "" {
						parent[name] = c.labels[name]
					}
				}
				s.post(parent, 100*time.Hour)
			}
			x := s.explained(c.labels)
			s.post(c.labels, 100*time.Hour)
			if len(x.Muted) > 0 {
				muted++
				require.Zero(t, incidentsOf(s, a), "%s: %v", c.sections, x.Muted)
				s.sleep(2 * time.Minute)
				require.Zero(t, incidentsOf(s, a), "muted is never paged: %s", c.sections)
				s.post(c.labels, -time.Second) // the next configuration may mute it no more
			} else {
				inc := s.incidents()[0]
				require.Equal(t, x.Group, inc.Key, c.sections)
				require.Equal(t, x.Severity, inc.Severity)
				require.Equal(t, x.Activity, inc.Activity)
				if len(x.Pages) > 0 {
					s.sleep(time.Until(x.Pages[len(x.Pages)-1].At) + time.Second)
				}
				var want, got []string
				for _, p := range x.Pages {
					want = append(want, fmt.Sprintf("%s step %d %s as %s by %s", p.At.Format(time.RFC3339), p.Step, p.Person, p.Role, p.Method))
				}
				for _, p := range show(t, s.frank, inc.ID).Pages {
					got = append(got, fmt.Sprintf("%s step %d %s as %s by %s", p.Page.Due.Format(time.RFC3339), p.Page.Step, p.Page.Person, p.Page.Role, p.Page.Method))
				}
				require.ElementsMatch(t, want, got, c.sections)
				paged += len(got)
				s.post(c.labels, -time.Second)
				require.False(t, show(t, s.frank, inc.ID).Incident.State.Live())
				n := len(show(t, s.frank, inc.ID).Pages)
				last := fmt.Sprintf("%s/", inc.ID)
				sent := ofIncident(s, last)
				s.sleep(16 * time.Minute)
				require.Len(t, show(t, s.frank, inc.ID).Pages, n, "nobody is paged after the end")
				require.Equal(t, sent, ofIncident(s, last))
			}
			if parent != nil {
				s.post(parent, -time.Second)
			}
		}
		if !raced {
			require.Greater(t, paged, 10, "the cases page")
			require.Greater(t, muted, 1, "and mute")
		}
	})
}

func incidentsOf(s *scene, service string) int {
	n := 0
	for _, inc := range s.incidents() {
		if inc.Service == service {
			n++
		}
	}
	return n
}

func ofIncident(s *scene, prefix string) int {
	n := 0
	for _, p := range s.phone.Pages() {
		if strings.HasPrefix(p.Key, prefix) {
			n++
		}
	}
	return n
}
