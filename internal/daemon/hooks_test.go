package daemon_test

import (
	"fmt"
	"net/http"
	"net/smtp"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/auth"
	"watchbill/internal/daemon"
	"watchbill/internal/web"
)

const hookSources = `
sources:
  - {name: ci, kind: generic, labels: {service: from-ci}}
  - {name: am, kind: alertmanager}
  - {name: graf, kind: grafana, labels: {service: from-graf}}
  - {name: pd, kind: pagerduty, labels: {service: from-pd}}
  - {name: falco, kind: falco, labels: {service: from-falco}}
  - {name: events, kind: cloudevents, labels: {service: from-events}}
  - {name: small, kind: pagerduty, labels: {service: from-small}, limits: {alerts: 3}}
  - {name: sidekick, kind: alertmanager_api, label_allow: [severity], labels: {service: nodes, signal: security}, limits: {alerts: 100}}
`

// hooked is a scene with sources that push, at night.
func hooked(t *testing.T, more string, script func(*testing.T, *hookScene)) {
	t.Helper()
	playWith(t, func(s *scene) { s.expect("\n" + more + hookSources) }, func(t *testing.T, s *scene) {
		script(t, &hookScene{scene: s, keys: map[string]string{}})
	})
}

type hookScene struct {
	*scene
	keys map[string]string
}

// key returns the token of a source.
func (s *hookScene) key(source string, scope auth.Scope) string {
	s.t.Helper()
	if s.keys[source] == "" {
		s.keys[source] = machine(s.t, s.Daemon, source, scope)
	}
	return s.keys[source]
}

func machine(t *testing.T, d *daemon.Daemon, name string, scope auth.Scope) string {
	t.Helper()
	secret, _, err := d.CreateToken(t.Context(), auth.Spec{Name: name, Scopes: []auth.Scope{scope}, CreatedBy: "test"})
	require.NoError(t, err)
	return secret.Reveal()
}

func payload(t *testing.T, file string) string {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("../../intake/testdata", file))
	require.NoError(t, err)
	return string(body)
}

// push sends a body as a source, and returns the status and the answer.
func (s *hookScene) push(source, body string) (int, string) {
	s.t.Helper()
	return s.ask(http.MethodPost, "/hooks/"+source+"/"+s.key(source, auth.ScopeHooks), body)
}

func (s *hookScene) accepted(source, body string) {
	s.t.Helper()
	code, text := s.push(source, body)
	require.Equal(s.t, http.StatusAccepted, code, text)
}

// enqueue sends an event as PagerDuty's clients do.
func (s *hookScene) enqueue(source, body string) (int, string) {
	s.t.Helper()
	return s.ask(http.MethodPost, "/v2/enqueue", strings.ReplaceAll(body, "R0123456789abcdef0123456789abcde", s.key(source, auth.ScopeHooks)))
}

func (s *hookScene) of(service string) watchbill.Incident {
	s.t.Helper()
	for _, inc := range s.incidents() {
		if inc.Service == service {
			return inc
		}
	}
	require.Fail(s.t, "no incident", service)
	return watchbill.Incident{}
}

// What each program sends opens an incident on the role that the matrix names, and
// its end closes the loop.
func TestHooksOpenAndEnd(t *testing.T) {
	t.Parallel()
	hooked(t, "", func(t *testing.T, s *hookScene) {
		am := payload(t, "alertmanager/firing.json")
		all := []struct {
			source, service, begins, ends string
			activity                      watchbill.ActivityID
			role                          watchbill.RoleID
			severity                      watchbill.Severity
		}{
			{"ci", "from-ci", payload(t, "generic/trigger.json"), payload(t, "generic/resolve.json"), "first-line", "support", watchbill.Sev2},
			{"am", "checkout", am, strings.ReplaceAll(am, `"firing"`, `"resolved"`), "first-line", "support", watchbill.Sev2},
			{"graf", "from-graf", payload(t, "grafana/firing.json"), payload(t, "grafana/resolved.json"), "first-line", "support", watchbill.Sev2},
			{"events", "from-events", payload(t, "cloudevents/generic.json"), payload(t, "cloudevents/resolve.json"), "first-line", "support", watchbill.Sev2},
			{"falco", "from-falco", payload(t, "falco/http_output.json"), "", "security", "security", watchbill.Sev3},
			{"pd", "from-pd", payload(t, "pagerduty/trigger.json"), payload(t, "pagerduty/resolve.json"), "first-line", "support", watchbill.Sev2},
		}
		send := func(source, body string) {
			t.Helper()
			by := s.push
			if source == "pd" {
				by = s.enqueue
			}
			code, text := by(source, body)
			require.Equal(t, http.StatusAccepted, code, text)
		}
		first := map[string]watchbill.IncidentID{}
		for _, c := range all {
			paged := len(s.phone.Pages())
			send(c.source, c.begins)
			inc := s.of(c.service)
			first[c.source] = inc.ID
			require.Equal(t, watchbill.StateOpen, inc.State, c.source)
			require.Equal(t, c.activity, inc.Activity, c.source)
			require.Equal(t, c.severity, inc.Severity, c.source)
			require.Equal(t, c.role, inc.Path.Steps[0].Roles[0], c.source)
			pages := s.phone.Pages()[paged:]
			require.NotEmpty(t, pages, c.source)
			require.Equal(t, map[watchbill.RoleID]string{"support": "ana", "security": "eve"}[c.role], pages[0].Person, c.source)
			send(c.source, c.begins) // sent again
			require.Len(t, show(t, s.frank, inc.ID).Alerts, 1, c.source)
		}
		send("am", payload(t, "alertmanager/truncated.json"))
		require.Equal(t, watchbill.StateOpen, s.of("checkout").State, "what was left out did not end")
		for _, c := range all {
			if c.ends != "" {
				send(c.source, c.ends)
				require.Equal(t, watchbill.StateResolved, s.of(c.service).State, c.source)
			}
		}
		s.sleep(61 * time.Minute)
		require.Equal(t, watchbill.StateResolved, s.of("from-falco").State, "it was not seen for an hour")
		s.sleep(30 * time.Minute)
		for _, c := range all {
			require.Equal(t, watchbill.StateClosed, s.of(c.service).State, c.source)
			send(c.source, c.begins)
			require.Equal(t, first[c.source], s.of(c.service).Previous, "%s: after the end a new one opens", c.source)
		}
	})
}

// No source ends, changes or pretends to be another.
func TestASourceCannotTouchTheAlertsOfAnother(t *testing.T) {
	t.Parallel()
	hooked(t, "", func(t *testing.T, s *hookScene) {
		s.accepted("ci", payload(t, "generic/trigger.json"))
		victim := show(t, s.frank, s.of("from-ci").ID).Alerts[0]
		require.Equal(t, "ci", victim.Labels[watchbill.LabelSource])
		ended := victim
		ended.StartsAt, ended.EndsAt = time.Now().Add(-time.Hour), time.Now().Add(-time.Second)

		pusher := &web.Client{URL: s.frank.URL, Token: machine(t, s.Daemon, "pusher", auth.ScopeAlerts), HTTP: s.frank.HTTP}
		require.NoError(t, pusher.PostAlerts(t.Context(), []watchbill.Alert{ended}))
		require.NoError(t, s.frank.PostAlerts(t.Context(), []watchbill.Alert{ended}))
		s.accepted("events", `{"specversion": "1.0", "id": "1", "source": "a", "type": "b", "data": {"action": "resolve", "dedup": "orders", "labels": {"watchbill_source": "ci"}}}`)
		code, _ := s.enqueue("pd", `{"routing_key": "R0123456789abcdef0123456789abcde", "event_action": "resolve", "dedup_key": "orders"}`)
		require.Equal(t, http.StatusAccepted, code)
		s.accepted("am", fmt.Sprintf(`{"version": "4", "alerts": [{"status": "resolved", "labels": {"alertname": %q, "watchbill_source": "ci", "watchbill_dedup": "orders"}}]}`, victim.Name()))
		require.Equal(t, watchbill.StateOpen, s.of("from-ci").State)

		// The same key at another source is another alert.
		s.accepted("events", `{"specversion": "1.0", "id": "1", "source": "a", "type": "b", "data": {"summary": "x", "dedup": "orders"}}`)
		require.Len(t, show(t, s.frank, s.of("from-ci").ID).Alerts, 1)
		require.Equal(t, watchbill.StateOpen, s.of("from-events").State)

		// Its own key cannot give it other labels either.
		s.accepted("ci", `{"summary": "now elsewhere", "dedup": "orders", "severity": "critical", "labels": {"environment": "preprod"}}`)
		all := show(t, s.frank, s.of("from-ci").ID).Alerts
		require.Len(t, all, 1)
		require.Equal(t, victim.Labels, all[0].Labels)
		require.Equal(t, "now elsewhere", all[0].Annotations["summary"])

		// A token speaks for the source of its name, and for nothing but hooks.
		code, _ = s.ask(http.MethodPost, "/hooks/events/"+s.key("ci", auth.ScopeHooks), `{}`)
		require.Equal(t, http.StatusForbidden, code)
		code, _ = s.ask(http.MethodPost, "/hooks/ci/"+pusher.Token, `{}`)
		require.Equal(t, http.StatusForbidden, code)
		code, text := s.ask(http.MethodPost, "/hooks/ci/wb_"+strings.Repeat("A", 49), `{}`)
		require.Equal(t, http.StatusUnauthorized, code)
		require.NotContains(t, text, "AAAA")
		code, _ = s.push("stranger", `{}`)
		require.Equal(t, http.StatusForbidden, code, "a token without a source")
		hook := &web.Client{URL: s.frank.URL, Token: s.key("ci", auth.ScopeHooks), HTTP: s.frank.HTTP}
		require.ErrorContains(t, hook.PostAlerts(t.Context(), []watchbill.Alert{victim}), "does not allow")
	})
}

// PagerDuty's clients get the answers that they know.
func TestEnqueueAnswersAsPagerDuty(t *testing.T) {
	t.Parallel()
	hooked(t, "", func(t *testing.T, s *hookScene) {
		code, text := s.enqueue("pd", payload(t, "pagerduty/trigger.json"))
		require.Equal(t, http.StatusAccepted, code)
		require.JSONEq(t, `{"status": "success", "message": "Event processed", "dedup_key": "db-7/replication"}`, text)
		code, text = s.enqueue("pd", payload(t, "pagerduty/acknowledge.json"))
		require.Equal(t, http.StatusAccepted, code, text)
		require.Equal(t, watchbill.StateOpen, s.of("from-pd").State, "only people acknowledge")
		code, text = s.enqueue("pd", payload(t, "pagerduty/without_key.json"))
		require.Equal(t, http.StatusAccepted, code)
		require.Regexp(t, `"dedup_key":"[0-9a-f]{32}"`, text)
		require.Len(t, show(t, s.frank, s.of("from-pd").ID).Alerts, 2)
		for _, body := range []string{
			`{`, `{"event_action": "trigger"}`, `{"routing_key": "R0123456789abcdef0123456789abcde", "event_action": "trigger"}`,
			`{"routing_key": "` + strings.Repeat("x", 32) + `", "event_action": "resolve", "dedup_key": "a"}`,
		} {
			code, text = s.enqueue("pd", body)
			require.Equal(t, http.StatusBadRequest, code, body)
			require.Contains(t, text, `"status":"invalid event"`)
			require.Contains(t, text, `"errors":["`)
		}
		code, _ = s.enqueue("pd", `{"event_action": "`+strings.Repeat("x", 513<<10)+`"}`)
		require.Equal(t, http.StatusRequestEntityTooLarge, code)
	})
}

// Beyond its limit a source is answered 429 with when to try again, one incident
// says so, and it ends when the flood does.
func TestAFloodIsRefusedAndTold(t *testing.T) {
	t.Parallel()
	hooked(t, "", func(t *testing.T, s *hookScene) {
		event := func(i int) string {
			return strings.ReplaceAll(payload(t, "pagerduty/trigger.json"), "db-7/replication", strconv.Itoa(i))
		}
		for i := range 3 {
			code, text := s.enqueue("small", event(i))
			require.Equal(t, http.StatusAccepted, code, text)
		}
		for i := range 40 { // for ten minutes
			if i%4 == 0 {
				code, text := s.enqueue("small", event(100+i))
				require.Contains(t, []int{http.StatusAccepted, http.StatusTooManyRequests}, code, text)
			}
			code, text := s.enqueue("small", event(200+i))
			if code == http.StatusTooManyRequests {
				require.Contains(t, text, `"status":"throttle exceeded"`)
			}
			s.sleep(15 * time.Second)
		}
		flood := s.of("watchbill")
		require.Equal(t, watchbill.StateOpen, flood.State)
		require.Equal(t, "small sends more than its 3 alerts a minute: what is beyond is refused", flood.Title)
		require.Len(t, show(t, s.frank, flood.ID).Alerts, 1)
		s.sleep(6 * time.Minute)
		require.Equal(t, watchbill.StateResolved, s.of("watchbill").State)
		s.sleep(31 * time.Minute)
		require.Equal(t, watchbill.StateClosed, s.of("watchbill").State)
		require.Equal(t, flood.ID, s.of("watchbill").ID, "it was one")

		// The answer says when.
		var last *http.Response
		for i := range 4 {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.frank.URL+"/hooks/small", strings.NewReader(event(300+i)))
			require.NoError(t, err)
			req.Header.Set("Authorization", "Bearer "+s.key("small", auth.ScopeHooks))
			last, err = s.frank.HTTP.Do(req)
			require.NoError(t, err)
			require.NoError(t, last.Body.Close())
		}
		require.Equal(t, http.StatusTooManyRequests, last.StatusCode)
		require.Equal(t, "20", last.Header.Get("Retry-After"))
		code, _ := s.enqueue("pd", event(1))
		require.Equal(t, http.StatusAccepted, code, "another source is not held back")
	})
}

// A source of Alertmanager's API is held to its labels, so that what differs each
// time makes no new alert, and to its limit.
func TestAPIOfASourceIsHeldToItsLabels(t *testing.T) {
	t.Parallel()
	hooked(t, "", func(t *testing.T, s *hookScene) {
		c := &web.Client{URL: s.frank.URL, Token: s.key("sidekick", auth.ScopeAlerts), HTTP: s.frank.HTTP}
		for i := range 5 {
			require.NoError(t, c.PostAlerts(t.Context(), []watchbill.Alert{{Labels: watchbill.Labels{
				"alertname": "Shell in a container", "severity": "critical", "proc_cmdline": fmt.Sprint("sh -c ", i), "service": "elsewhere",
			}}}))
		}
		synctest.Wait()
		inc := s.of("nodes")
		require.Equal(t, watchbill.ActivityID("security"), inc.Activity)
		all := show(t, s.frank, inc.ID).Alerts
		require.Len(t, all, 1)
		require.Equal(t, watchbill.Labels{
			"alertname": "Shell in a container", "severity": "critical", "service": "nodes", "signal": "security", "watchbill_source": "sidekick",
		}, all[0].Labels)
		require.Equal(t, "sh -c 4", all[0].Annotations["proc_cmdline"])
		many := make([]watchbill.Alert, 100)
		for i := range many {
			many[i] = watchbill.Alert{Labels: watchbill.Labels{"alertname": fmt.Sprint("A", i)}}
		}
		require.ErrorContains(t, c.PostAlerts(t.Context(), many), "may send 100 alerts a minute")
		s.sleep(6 * time.Minute)
		require.Equal(t, watchbill.StateResolved, s.of("nodes").State, "without an end it ends as Alertmanager's do")
	})
}

// An alert that pushes for a heartbeat is a ping by a hook too.
func TestAHookPingsHeartbeats(t *testing.T) {
	t.Parallel()
	hooked(t, `heartbeats: [{name: prom-eu, alert: ['alertname="Watchdog"', 'cluster="eu"'], period: 1m, grace: 2m}]`, func(t *testing.T, s *hookScene) {
		s.accepted("am", `{"version": "4", "alerts": [{"status": "firing", "labels": {"alertname": "Watchdog", "cluster": "eu"}}]}`)
		require.Equal(t, "up", s.beat("prom-eu").State)
		require.Empty(t, s.titles())
		s.accepted("ci", `{"summary": "x", "dedup": "w", "labels": {"alertname": "Watchdog", "cluster": "eu"}}`)
		require.Empty(t, s.titles())
		require.Len(t, s.beat("prom-eu").Pings, 2)
	})
}

// What a machine tells once is over when a person says so, and comes back as news.
func TestAPersonEndsWhatIsToldOnce(t *testing.T) {
	t.Parallel()
	hooked(t, "", func(t *testing.T, s *hookScene) {
		s.accepted("ci", payload(t, "generic/trigger.json"))
		inc := s.of("from-ci")
		inc, err := s.frank.Resolve(t.Context(), inc.ID, web.ResolveRequest{Reason: "restarted"})
		require.NoError(t, err)
		require.Zero(t, inc.QuietUntil, "nothing is left to be quiet about")
		s.sleep(31 * time.Minute)
		require.Equal(t, watchbill.StateClosed, s.of("from-ci").State)
		paged := len(s.phone.Pages())
		s.accepted("ci", payload(t, "generic/trigger.json"))
		require.Equal(t, inc.ID, s.of("from-ci").Previous)
		require.Greater(t, len(s.phone.Pages()), paged)
	})
}

// A key is known after a restart.
func TestAKeyOutlivesARestart(t *testing.T) {
	t.Parallel()
	hooked(t, "", func(t *testing.T, s *hookScene) {
		s.accepted("ci", payload(t, "generic/trigger.json"))
		s.accepted("ci", `{"summary": "b", "dedup": "other"}`)
		s.Stop()
		s.Start()
		s.accepted("ci", `{"action": "resolve", "dedup": "orders"}`)
		require.Equal(t, watchbill.StateOpen, s.of("from-ci").State)
		_, err := s.frank.Acknowledge(t.Context(), 1, "")
		require.NoError(t, err)
		s.accepted("ci", `{"action": "resolve", "dedup": "other"}`)
		require.Equal(t, watchbill.StateResolved, s.of("from-ci").State)
	})
}

// Under one key a higher severity pages again, in the same incident; a lower one
// changes nothing.
func TestAWorseEventUnderTheSameKeyPages(t *testing.T) {
	t.Parallel()
	hooked(t, "", func(t *testing.T, s *hookScene) {
		s.accepted("ci", `{"summary": "slow", "dedup": "k", "severity": "warning"}`)
		inc, paged := s.of("from-ci"), len(s.phone.Pages())
		require.Equal(t, watchbill.Sev3, inc.Severity)
		s.accepted("ci", `{"summary": "dead", "dedup": "k", "severity": "critical"}`)
		worse := s.of("from-ci")
		require.Equal(t, inc.ID, worse.ID)
		require.Equal(t, watchbill.Sev2, worse.Severity)
		require.Equal(t, 2, worse.Generation)
		require.Greater(t, len(s.phone.Pages()), paged)
		s.accepted("ci", `{"summary": "slow", "dedup": "k", "severity": "info"}`)
		require.Equal(t, watchbill.Sev2, s.of("from-ci").Severity)
		s.accepted("ci", `{"action": "resolve", "dedup": "k"}`)
		require.Equal(t, watchbill.StateResolved, s.of("from-ci").State)
	})
}

// Everybody may raise; each report is an incident of its own, with who raised it and
// what they saw.
func TestEverybodyMayRaise(t *testing.T) {
	t.Parallel()
	hooked(t, "", func(t *testing.T, s *hookScene) {
		for _, who := range []watchbill.PersonID{"ana", "carla", "dmitri", "eve", "frank"} {
			paged := len(s.phone.Pages())
			r, err := s.As(who).Raise(t.Context(), web.RaiseRequest{
				Kind: "anomaly", Summary: "Memory doubles each hour, says " + string(who), Service: "checkout", Environment: "preprod", Severity: "sev2",
				Reporter: "QA", Evidence: []string{"build 812"},
			})
			require.NoError(t, err)
			synctest.Wait()
			require.Equal(t, watchbill.StateOpen, r.Incident.State)
			require.Equal(t, "preprod", r.Incident.Environment)
			pages := s.phone.Pages()[paged:]
			require.NotEmpty(t, pages)
			require.Equal(t, "ana", pages[0].Person)
			v := show(t, s.frank, r.Incident.ID)
			require.Len(t, v.Alerts, 1)
			i := 0
			for v.Timeline[i].Kind != watchbill.EventNote {
				i++
			}
			require.Equal(t, string(who), v.Timeline[i].Actor)
			require.Equal(t, "raised as anomaly for QA: Memory doubles each hour, says "+string(who)+"\nevidence: build 812", v.Timeline[i].Text)
		}
		require.Len(t, s.incidents(), 5)
		s.sleep(10 * time.Minute)
		require.Len(t, s.titles(), 5, "they stay until somebody resolves them")
		for id := range 5 {
			_, err := s.frank.Resolve(t.Context(), watchbill.IncidentID(id+1), web.ResolveRequest{Reason: "a leak, fixed in build 813"})
			require.NoError(t, err)
		}
		s.sleep(31 * time.Minute)
		require.Equal(t, watchbill.StateClosed, show(t, s.frank, 1).Incident.State)

		_, err := s.frank.Raise(t.Context(), web.RaiseRequest{Kind: "anomaly", Summary: "x"})
		require.ErrorContains(t, err, "environment:")
		c := &web.Client{URL: s.frank.URL, Token: s.key("ci", auth.ScopeHooks), HTTP: s.frank.HTTP}
		_, err = c.Raise(t.Context(), web.RaiseRequest{Kind: "issue", Summary: "x"})
		require.ErrorContains(t, err, "does not allow")

		s.silence(time.Hour, "report", "issue")
		r, err := s.frank.Raise(t.Context(), web.RaiseRequest{Kind: "issue", Summary: "No logo", Severity: "sev2"})
		require.NoError(t, err)
		require.Nil(t, r.Incident)
		require.Contains(t, r.Muted, "silence")
	})
}

// Requests that come at the same time with one key make one alert.
func TestOneKeyAtOnceIsOneAlert(t *testing.T) {
	t.Parallel()
	d, addr := onNetwork(t, "sources: [{name: ci, kind: generic, labels: {service: shop}}]\n")
	key := machine(t, d, "ci", auth.ScopeHooks)
	frank := as(t, d, addr, "frank")
	send := func(body string) int {
		res, err := http.Post("http://"+addr+"/hooks/ci/"+key, "application/json", strings.NewReader(body))
		if err != nil {
			return 0
		}
		_ = res.Body.Close()
		return res.StatusCode
	}
	var wg sync.WaitGroup
	codes := make([]int, 40)
	for i := range codes {
		wg.Go(func() {
			codes[i] = send(fmt.Sprintf(`{"summary": "a", "dedup": "k%d", "labels": {"build": "%d"}}`, i%2, i))
		})
	}
	wg.Wait()
	for _, code := range codes {
		require.Equal(t, http.StatusAccepted, code)
	}
	require.Len(t, show(t, frank, 1).Alerts, 2)
	for i := range 2 {
		require.Equal(t, http.StatusAccepted, send(fmt.Sprintf(`{"action": "resolve", "dedup": "k%d"}`, i)))
	}
	require.Equal(t, watchbill.StateResolved, show(t, frank, 1).Incident.State)
}

func as(t *testing.T, d *daemon.Daemon, addr string, who watchbill.PersonID) *web.Client {
	t.Helper()
	secret, _, err := d.CreateToken(t.Context(), auth.Spec{Name: "test", Person: who, CreatedBy: "test"})
	require.NoError(t, err)
	return &web.Client{URL: "http://" + addr, Token: secret.Reveal(), HTTP: http.DefaultClient}
}

// A client's mail opens a case on the support's role; what follows in the exchange
// is added to it, and another client's mail is a case of its own.
func TestMailsOpenCases(t *testing.T) {
	t.Parallel()
	d, addr := onNetwork(t, `
mail: {listen: 127.0.0.1:0}
sources:
  - {name: clients, kind: mail, recipients: [support@example.com], labels: {service: shop, severity: sev3}, limits: {alerts: 5}}
`)
	frank := as(t, d, addr, "frank")
	send := func(from, subject, head, text string) error {
		return smtp.SendMail(d.MailAddr().String(), nil, from, []string{"support@example.com"},
			[]byte("From: "+from+"\r\nSubject: "+subject+"\r\n"+head+"\r\n\r\n"+text+"\r\n"))
	}
	require.NoError(t, send("eva@client.example", "No invoices", "Message-ID: <1@client.example>", "Since Monday."))
	require.NoError(t, send("eva@client.example", "No invoices", "Message-ID: <1@client.example>", "Since Monday.")) // its server sends it again
	require.NoError(t, send("udo@other.example", "No invoices", "Message-ID: <1@other.example>", "Here neither."))
	all, err := frank.Incidents(t.Context(), "", 100)
	require.NoError(t, err)
	require.Len(t, all, 2)
	v := show(t, frank, 1)
	require.Equal(t, watchbill.StateOpen, v.Incident.State)
	require.Equal(t, watchbill.ActivityID("first-line"), v.Incident.Activity)
	require.Equal(t, "No invoices", v.Incident.Title)
	require.Equal(t, "shop", v.Incident.Service)
	notes := func() (texts []string) {
		for _, e := range show(t, frank, 1).Timeline {
			if e.Kind == watchbill.EventNote {
				texts = append(texts, e.Text)
			}
		}
		return texts
	}
	require.Equal(t, []string{"mail of eva@client.example: No invoices\nSince Monday."}, notes())

	reply := "Message-ID: <3@client.example>\r\nReferences: <1@client.example> <2@example.com>"
	require.NoError(t, send("eva@client.example", "Re: No invoices", reply, "Still none."))
	require.Len(t, notes(), 2)
	_, err = frank.Resolve(t.Context(), 1, web.ResolveRequest{Reason: "the invoices are there"})
	require.NoError(t, err)
	require.NoError(t, send("eva@client.example", "Re: No invoices", strings.Replace(reply, "<3@", "<4@", 1), "They are gone again."))
	v = show(t, frank, 1)
	require.Equal(t, watchbill.StateOpen, v.Incident.State, "reopened")
	require.Equal(t, 2, v.Incident.Generation)

	require.ErrorContains(t, send("eva@client.example", "a", "", "b"), "4.7.0 clients may send")
	all, err = frank.Incidents(t.Context(), "", 100)
	require.NoError(t, err)
	require.Len(t, all, 3, "the flood is told")
	require.Equal(t, "SourceFloods", all[0].Labels["alertname"])
}
