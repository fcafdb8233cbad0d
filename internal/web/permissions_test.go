package web_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Who gets past the door of each route. Everybody else is answered 401 without
// a token that is good, and 403 with one.
func TestPermissions(t *testing.T) {
	t.Parallel()
	const (
		anybody  = "nobody bad machine:none machine:alerts machine:hooks machine:metrics machine:read machine:signals machine:write manager deployment infrastructure security support roleless"
		people   = "manager deployment infrastructure security support roleless"
		marked   = "manager deployment infrastructure security support"
		readers  = "machine:read " + people
		stewards = "manager support"
	)
	want := map[string]string{
		"GET /-/healthy":                             anybody,
		"GET /-/ready":                               anybody,
		"GET /api/ops/v1/oncall":                     readers,
		"GET /api/ops/v1/oncall/shifts":              readers,
		"GET /api/ops/v1/oncall/load":                readers,
		"GET /api/ops/v1/oncall/changes":             readers,
		"POST /api/ops/v1/oncall/changes":            marked,
		"POST /api/ops/v1/oncall/changes/{duty}/end": marked,
		"GET /api/ops/v1/coverage":                   readers,
		"POST /-/reload":                             "manager",
		"GET /metrics":                               "machine:metrics " + people,
		"GET /probe":                                 "machine:metrics " + people,
		"POST /api/v2/alerts":                        "machine:alerts " + marked,
		"POST /hooks/{source}":                       "machine:hooks",
		"POST /hooks/{source}/{token}":               "", // the token stands in the address: TestHookByAddress
		"POST /v2/enqueue":                           anybody,
		"POST /api/ops/v1/raise":                     people,
		"GET /api/v2/silences":                       readers,
		"POST /api/v2/silences":                      stewards,
		"GET /api/v2/silence/{id}":                   readers,
		"DELETE /api/v2/silence/{id}":                stewards,
		"GET /api/ops/v1/incidents":                  readers,
		"GET /api/ops/v1/incidents/{id}":             readers,
		"POST /api/ops/v1/incidents/{id}/ack":        marked,
		"POST /api/ops/v1/incidents/{id}/note":       marked,
		"POST /api/ops/v1/incidents/{id}/resolve":    marked,
		"GET /api/ops/v1/explain":                    readers,
		"GET /api/ops/v1/incidents/{id}/why":         readers,
		"GET /api/ops/v1/alerts/why":                 readers,
		"POST /api/ops/v1/explain":                   readers,
		"GET /api/ops/v1/hold":                       readers,
		"POST /api/ops/v1/hold/release":              "manager",
		"POST /api/ops/v1/hold/drop":                 "manager",
		"GET /api/ops/v1/audit":                      "manager security support",
		"POST /api/ops/v1/audit/erase":               "manager",
		"POST /api/ops/v1/alarm/test":                stewards,
		"POST /api/ops/v1/alarm/confirm":             marked,
		"GET /ping/{key}":                            anybody,
		"POST /ping/{key}":                           anybody,
		"GET /ping/{key}/{rest...}":                  anybody,
		"POST /ping/{key}/{rest...}":                 anybody,
		"GET /api/ops/v1/heartbeats":                 readers,
		"GET /api/ops/v1/heartbeats/{name}":          readers,
		"POST /api/ops/v1/drills":                    marked,
		"GET /api/ops/v1/incidents/{id}/plan":        readers,
		"POST /api/ops/v1/incidents/{id}/plan":       marked,
		"POST /api/ops/v1/incidents/{id}/close":      marked,
		"GET /api/ops/v1/actions":                    readers,
		"POST /api/ops/v1/incidents/{id}/actions":    marked,
		"POST /api/ops/v1/incidents/{id}/severity":   marked,
		"POST /api/ops/v1/incidents/{id}/role":       marked,
		"GET /api/ops/v1/incidents/{id}/export":      readers,
		"GET /api/ops/v1/drills":                     readers,
		"GET /api/ops/v1/drills/{id}":                readers,
		"POST /api/ops/v1/incidents/{id}/escalate":   marked,
		"POST /api/ops/v1/incidents/{id}/status":     marked,
		"POST /api/ops/v1/incidents/{id}/handover":   marked,
		"POST /api/ops/v1/incidents/{id}/not-mine":   marked,
		"POST /api/ops/v1/incidents/{id}/snooze":     marked,
		"POST /api/ops/v1/incidents/{id}/call":       marked,
		"GET /i/{id}":                                readers,
		"GET /runbooks/{name}":                       readers,
		"POST /api/v1/write":                         "machine:write",
		"GET /api/v1/query":                          readers,
		"POST /api/v1/query":                         readers,
		"GET /api/v1/query_range":                    readers,
		"POST /api/v1/query_range":                   readers,
		"GET /api/v1/query_exemplars":                readers,
		"POST /api/v1/query_exemplars":               readers,
		"GET /api/v1/format_query":                   readers,
		"POST /api/v1/format_query":                  readers,
		"GET /api/v1/series":                         readers,
		"POST /api/v1/series":                        readers,
		"GET /api/v1/labels":                         readers,
		"POST /api/v1/labels":                        readers,
		"GET /api/v1/label/{name}/values":            readers,
		"GET /api/v1/metadata":                       readers,
		"GET /api/v1/targets":                        readers,
		"GET /api/v1/targets/metadata":               readers,
		"GET /api/v1/rules":                          readers,
		"GET /api/v1/alerts":                         readers,
		"GET /api/v2/alerts":                         readers,
		"GET /api/v2/alerts/groups":                  readers,
		"GET /api/v2/receivers":                      readers,
		"GET /api/v2/status":                         readers,
		"GET /api/ops/v1/alerts/history":             readers,
		"GET /api/ops/v1/targets":                    readers,
		"GET /api/ops/v1/targets/{id}":               readers,

		"POST /api/ops/v1/silences/reach":             readers,
		"POST /api/ops/v1/silences/{id}/approve":      stewards,
		"GET /api/ops/v1/services/{name}/gate":        readers,
		"POST /api/ops/v1/services/{name}/signals":    "machine:signals " + marked,
		"GET /api/v1/status/buildinfo":                readers,
		"GET /api/ops/v1/contacts":                    people,
		"POST /api/ops/v1/contacts":                   people,
		"POST /api/ops/v1/contacts/{contact}/test":    people,
		"POST /api/ops/v1/contacts/{contact}/confirm": people,
		"DELETE /api/ops/v1/contacts/{contact}":       people,
		"GET /act/{page}/{token}":                     anybody,
		"POST /act/{page}/{token}":                    anybody,
		"POST /sms/{receiver}/reply":                  anybody,
		"POST /sms/{receiver}/status":                 anybody,
	}
	maps.Copy(want, changeCallers(people, readers))
	for _, r := range setUp(t).server.Routes() {
		name := r.Method + " " + r.Path
		list, ok := want[name]
		require.True(t, ok, "%s is a new route: say here who may call it", name)
		delete(want, name)
		require.NotEmpty(t, r.Doc, name)
		allowed := strings.Fields(list)
		for caller := range strings.FieldsSeq(anybody) {
			w := setUp(t)
			rec := w.call(caller, r.Method, target(r), "")
			var status int
			switch {
			case slices.Contains(allowed, caller):
				require.NotContains(t, []int{http.StatusUnauthorized, http.StatusForbidden}, rec.Code, "%s as %s: %s", name, caller, rec.Body)
				continue
			case caller == "nobody", caller == "bad":
				status = http.StatusUnauthorized
				require.NotEmpty(t, rec.Header().Get("WWW-Authenticate"))
			case list == "": // nobody's token is in the address
				status = http.StatusUnauthorized
			default:
				status = http.StatusForbidden
			}
			require.Equal(t, status, rec.Code, "%s as %s", name, caller)
			require.Empty(t, w.done(), "%s as %s", name, caller)
			_, message, hint := problem(t, rec)
			require.NotEmpty(t, message)
			require.NotEmpty(t, hint)
		}
	}
	require.Empty(t, want, "these routes are gone")
}
