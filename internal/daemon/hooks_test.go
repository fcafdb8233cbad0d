package daemon_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/auth"
	"watchbill/internal/web"
)

// What each webhook sends opens an incident on the role that the matrix names,
// and its resolve ends it.
func TestWebhooksOpenAndResolve(t *testing.T) {
	t.Parallel()
	d, addr := onNetwork(t, `
sources:
  - {name: generic, kind: generic}
  - {name: alertmanager, kind: alertmanager}
  - {name: pagerduty, kind: pagerduty}
`)
	secret, _, err := d.CreateToken(t.Context(), auth.Spec{Person: "frank", CreatedBy: "test"})
	require.NoError(t, err)
	frank := &web.Client{URL: "http://" + addr, Token: secret.Reveal()}
	for source, bodies := range map[string][2]string{
		"generic": {`{"summary": "a", "dedup": "k", "labels": {"service": "one"}}`, `{"action": "resolve", "dedup": "k"}`},
		"alertmanager": {
			`{"version": "4", "new": 1, "alerts": [{"status": "firing", "labels": {"alertname": "A", "service": "two"}}]}`,
			`{"version": "4", "truncatedAlerts": 3, "alerts": [{"status": "resolved", "labels": {"alertname": "A", "service": "two"}}]}`,
		},
		"pagerduty": {
			`{"routing_key": "KEY", "event_action": "trigger", "dedup_key": "k", "payload": {"summary": "a", "source": "db", "severity": "error"}}`,
			`{"routing_key": "KEY", "event_action": "resolve", "dedup_key": "k"}`,
		},
	} {
		hook, _, err := d.CreateToken(t.Context(), auth.Spec{Name: source, Scopes: []auth.Scope{auth.ScopeHooks}, CreatedBy: "test"})
		require.NoError(t, err)
		send := func(path, body string) int {
			req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+addr+path, strings.NewReader(strings.ReplaceAll(body, "KEY", hook.Reveal())))
			require.NoError(t, err)
			req.Header.Set("Authorization", "Bearer "+hook.Reveal())
			res, err := http.DefaultClient.Do(req)
			require.NoError(t, err)
			defer res.Body.Close()
			text, _ := io.ReadAll(res.Body)
			t.Logf("%s: %s", source, text)
			return res.StatusCode
		}
		path := "/hooks/" + source
		if source == "pagerduty" {
			path = "/v2/enqueue"
		}
		for i, want := range []watchbill.State{watchbill.StateOpen, watchbill.StateResolved} {
			require.Equal(t, http.StatusAccepted, send(path, bodies[i]))
			all, err := frank.Incidents(t.Context(), "", 100)
			require.NoError(t, err)
			require.Equal(t, want, all[0].State, source)
			require.Equal(t, watchbill.ActivityID("first-line"), all[0].Activity)
		}
		require.Equal(t, http.StatusForbidden, send("/hooks/other", bodies[0]))
		require.Equal(t, http.StatusForbidden, send("/api/v2/alerts", "[]"))
	}
}
