package daemon_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/pipenet"
	"watchbill/internal/testkit"
)

// shopWindows is a catalogue for a period of 20 minutes, and a target of 99 % over
// it that freezes releases once nothing is left.
const shopWindows = `
apiVersion: sloth.slok.dev/v1
kind: AlertWindows
spec:
  sloPeriod: 20m
  page:
    quick: {errorBudgetPercent: 40, shortWindow: 2m, longWindow: 5m}
    slow: {errorBudgetPercent: 60, shortWindow: 3m, longWindow: 8m}
  ticket:
    quick: {errorBudgetPercent: 70, shortWindow: 4m, longWindow: 10m}
    slow: {errorBudgetPercent: 80, shortWindow: 5m, longWindow: 15m}
---
apiVersion: watchbill/v1
kind: Target
service: checkout
name: requests
objective: 99
window: {rolling: 20m}
indicator:
  events:
    bad: sum(rate(http_requests_total{code="500"}[{{.window}}]))
    total: sum(rate(http_requests_total[{{.window}}]))
budget_policy:
  - {remaining_below: 0, action: freeze}
`

const shopConfig = `
external_url: http://watchbill.test
store: sqlite:watchbill.db
self_monitoring: false
global: {scrape_interval: 30s, evaluation_interval: 30s}
scrape_configs:
  - job_name: checkout
    static_configs: [{targets: ['checkout.test:80'], labels: {service: checkout, environment: prod}}]
targets: [targets.yaml]
services: [{name: checkout, environments: [prod]}, {name: db}]
roles: {preset: operations}
people: [{name: frank, roles: [manager, deployment, infrastructure, security, support], contact: [{receiver: push}]}]
receivers: [{name: push, webhook_configs: [{url: 'http://push.test/'}]}]
`

// shop is a world with a service, its target and somebody to page.
func shop(t *testing.T, more string) (w *testkit.World, checkout *testkit.Service, phone *testkit.Receiver) {
	t.Helper()
	w = testkit.New(t, t.TempDir())
	w.Write("watchbill.yaml", shopConfig+more)
	w.Write("targets.yaml", shopWindows)
	checkout, phone = testkit.NewService(), &testkit.Receiver{}
	w.Host("checkout.test", checkout)
	w.Host("push.test", phone)
	return w, checkout, phone
}

func kinds(g watchbill.Gate) string {
	out := make([]string, len(g.Reasons))
	for i, r := range g.Reasons {
		out[i] = string(r.Kind)
	}
	return strings.Join(out, " ")
}

// While a budget is used up the gate says no, with the target and what its policy
// is; once the errors have left the period it says yes.
func TestTheGateIsClosedWhileABudgetIsExhausted(t *testing.T) {
	t.Parallel()
	pipenet.Warm(t.Context())
	synctest.Test(t, func(t *testing.T) {
		until(time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC))
		w, checkout, _ := shop(t, "")
		var gone atomic.Bool
		w.Host("checkout.test", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if gone.Load() {
				http.NotFound(rw, r)
				return
			}
			checkout.ServeHTTP(rw, r)
		}))
		w.Start()
		defer w.Stop()
		frank := w.As("frank")
		gate := func() watchbill.Gate {
			g, err := frank.Gate(t.Context(), "checkout")
			require.NoError(t, err)
			return g
		}
		g := gate()
		require.True(t, g.Open, "a service that was never measured can be released for the first time")
		require.Equal(t, []string{"checkout-requests: nothing was ever measured"}, g.Notes)

		time.Sleep(5 * time.Minute)
		g = gate()
		require.True(t, g.Open)
		require.Len(t, g.Notes, 1)
		require.Contains(t, g.Notes[0], "warming")
		status, err := frank.Target(t.Context(), "checkout-requests")
		require.NoError(t, err)
		require.Equal(t, watchbill.TargetOK, status.State)
		require.InDelta(t, 1, *status.BudgetLeft, 1e-9)
		require.InDelta(t, 5.0/20, *status.Coverage, 0.07)
		require.True(t, status.Warming)
		require.Nil(t, status.ExhaustsIn)

		// One in twenty fails: 0.05*t/(0.01*1200 s) is 1 after four minutes.
		checkout.Fail(0.05)
		time.Sleep(2 * time.Minute)
		status, err = frank.Target(t.Context(), "checkout-requests")
		require.NoError(t, err)
		require.Greater(t, *status.BudgetLeft, 0.0)
		require.Less(t, *status.BudgetLeft, 1.0)
		require.NotNil(t, status.ExhaustsIn)
		time.Sleep(5 * time.Minute)
		checkout.Fail(0)
		g = gate()
		require.False(t, g.Open)
		require.Contains(t, kinds(g), "freeze")
		require.Equal(t, "checkout-requests", g.Reasons[0].Subject)
		require.Regexp(t, `^-\d+(\.\d+)?% of the error budget of 20m is left; its policy freezes releases at 0%$`, g.Reasons[0].Text)
		require.Contains(t, kinds(g), "incident", "the burn paged meanwhile")
		all, err := frank.Targets(t.Context(), "checkout")
		require.NoError(t, err)
		require.Len(t, all, 1)
		require.Equal(t, watchbill.TargetFrozen, all[0].State)

		// Twenty minutes after the first error the last ones still count; then they
		// have left the period.
		time.Sleep(11 * time.Minute)
		require.Equal(t, "freeze", kinds(gate()), "of the incident only a sev3 is left")
		time.Sleep(13 * time.Minute)
		g = gate()
		require.True(t, g.Open, kinds(g))

		// Data that vanishes is not a target that is met.
		gone.Store(true)
		time.Sleep(8 * time.Minute)
		g = gate()
		require.Contains(t, kinds(g), "no_data")
		require.Contains(t, g.Reasons[0].Text, "there was data before")

		_, err = frank.Gate(t.Context(), "chekout")
		require.ErrorContains(t, err, `there is no service "chekout"`)
		g, err = frank.Gate(t.Context(), "db")
		require.NoError(t, err)
		require.Equal(t, []string{"the service has no target: nothing says how well it must work"}, g.Notes)
		_, err = frank.Target(t.Context(), "checkout")
		require.ErrorContains(t, err, `there is no target "checkout"`)
		_, err = frank.Targets(t.Context(), "chekout")
		require.ErrorContains(t, err, `there is no service "chekout"`)
	})
}

// Maintenance holds pages back and costs no budget; before it and after it both
// are as always.
func TestMaintenanceMutesAndIsExcluded(t *testing.T) {
	t.Parallel()
	pipenet.Warm(t.Context())
	synctest.Test(t, func(t *testing.T) {
		until(time.Date(2026, 11, 24, 1, 55, 0, 0, time.UTC)) // 02:55 in Madrid
		w, checkout, phone := shop(t, `
maintenance:
  - {name: patching, reason: kernel updates, services: [checkout], cron: "0 3 * * tue", duration: 10m, tz: Europe/Madrid, exclude: true}
`)
		w.Start()
		defer w.Stop()
		frank := w.As("frank")
		gate := func() watchbill.Gate {
			g, err := frank.Gate(t.Context(), "checkout")
			require.NoError(t, err)
			return g
		}
		until(time.Date(2026, 11, 24, 2, 0, 1, 0, time.UTC))
		checkout.Fail(1)
		time.Sleep(5 * time.Minute)
		g := gate()
		require.Equal(t, "maintenance", kinds(g))
		require.Equal(t, "it is worked on: kernel updates until 2026-11-24T02:10:00Z", g.Reasons[0].Text)
		require.Equal(t, time.Date(2026, 11, 24, 2, 10, 0, 0, time.UTC), g.Reasons[0].Until)
		status, err := frank.Target(t.Context(), "checkout-requests")
		require.NoError(t, err)
		require.Equal(t, []string{"patching"}, status.Excluded)
		checkout.Fail(0)
		until(time.Date(2026, 11, 24, 2, 14, 0, 0, time.UTC))
		require.Empty(t, phone.Pages())
		g = gate()
		require.True(t, g.Open, kinds(g))
		status, err = frank.Target(t.Context(), "checkout-requests")
		require.NoError(t, err)
		require.InDelta(t, 1, *status.BudgetLeft, 1e-9, "five minutes of an outage cost nothing")

		checkout.Fail(1)
		time.Sleep(2 * time.Minute)
		require.Len(t, phone.Pages(), 1)
		require.Contains(t, kinds(gate()), "incident")
	})
}

// An alert that begins in maintenance and is still there when that ends pages
// then.
func TestMaintenanceThatEndsTooEarlyPages(t *testing.T) {
	pipenet.Warm(t.Context())
	synctest.Test(t, func(t *testing.T) {
		until(time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC))
		w, _, phone := shop(t, `
maintenance:
  - {name: move, services: [db], start: "2026-11-24 10:00", end: "2026-11-24 10:10", tz: Europe/Madrid}
`)
		w.Start()
		defer w.Stop()
		frank := w.As("frank")
		alert := func(service string) watchbill.Alert {
			return watchbill.Alert{
				Labels:   watchbill.Labels{"alertname": "Down", "service": service, "severity": "page"},
				StartsAt: time.Now(), EndsAt: time.Now().Add(2 * time.Hour),
			}
		}
		require.NoError(t, frank.PostAlerts(t.Context(), []watchbill.Alert{alert("db")}))
		synctest.Wait()
		require.Empty(t, phone.Pages())
		var x struct {
			Muted []string `json:"muted"`
		}
		require.NoError(t, frank.Explain(t.Context(), alert("db").Labels, time.Now(), &x))
		require.Equal(t, []string{"maintenance move"}, x.Muted)
		require.NoError(t, frank.PostAlerts(t.Context(), []watchbill.Alert{alert("payments")}))
		synctest.Wait()
		require.Len(t, phone.Pages(), 1, "nobody works on payments")
		until(time.Date(2026, 11, 24, 9, 9, 59, 0, time.UTC))
		before := len(phone.Pages())
		for _, p := range phone.Pages() {
			require.Equal(t, "payments", p.Labels["service"])
		}
		until(time.Date(2026, 11, 24, 9, 10, 0, 0, time.UTC))
		pages := phone.Pages()[before:]
		found := false
		for _, p := range pages {
			found = found || p.Labels["service"] == "db"
		}
		require.True(t, found, "%v", pages)
	})
}

// How long incidents take is measured, for targets to ask.
func TestResponseTimesAreMeasured(t *testing.T) {
	pipenet.Warm(t.Context())
	synctest.Test(t, func(t *testing.T) {
		until(time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC))
		w, _, _ := shop(t, "")
		w.Write("watchbill.yaml", strings.Replace(shopConfig, "self_monitoring: false", "self_monitoring: true", 1))
		w.Write("targets.yaml", `
apiVersion: watchbill/v1
kind: Target
service: checkout
name: taken
objective: 95
indicator: {response: {act: ack, within: 5m, severities: [sev1, sev2]}}
`)
		w.Start()
		defer w.Stop()
		frank := w.As("frank")
		raise := func(name, service string) {
			require.NoError(t, frank.PostAlerts(t.Context(), []watchbill.Alert{{
				Labels:   watchbill.Labels{"alertname": name, "service": service, "severity": "page"},
				StartsAt: time.Now(), EndsAt: time.Now().Add(7 * time.Minute),
			}}))
		}
		time.Sleep(2 * time.Minute)
		raise("Down", "checkout")
		time.Sleep(3 * time.Minute)
		_, err := frank.Acknowledge(t.Context(), 1, "")
		require.NoError(t, err)
		time.Sleep(time.Minute)
		_, err = frank.Acknowledge(t.Context(), 1, "again")
		require.NoError(t, err)
		raise("Strange", "nobody-knows")
		time.Sleep(5 * time.Minute)
		_, err = frank.Acknowledge(t.Context(), 2, "")
		require.NoError(t, err)
		time.Sleep(3 * time.Minute)
		g := &guarded{scene: &scene{t: t, frank: frank}}
		metrics := g.scrape()
		for _, line := range []string{
			`watchbill_incident_time_to_ack_seconds_bucket{service="checkout",severity="sev2",le="60"} 0`,
			`watchbill_incident_time_to_ack_seconds_bucket{service="checkout",severity="sev2",le="300"} 1`,
			`watchbill_incident_time_to_ack_seconds_sum{service="checkout",severity="sev2"} 180`,
			`watchbill_incident_time_to_ack_seconds_count{service="checkout",severity="sev1"} 0`,
			`watchbill_incident_time_to_ack_seconds_count{service="other",severity="sev2"} 1`,
			`watchbill_incident_time_to_resolve_seconds_bucket{service="checkout",severity="sev2",le="300"} 0`,
			`watchbill_incident_time_to_resolve_seconds_bucket{service="checkout",severity="sev2",le="600"} 1`,
			`watchbill_incident_time_to_resolve_seconds_sum{service="checkout",severity="sev2"} 420`,
		} {
			require.Contains(t, metrics, line+"\n")
		}
		status, err := frank.Target(t.Context(), "checkout-taken")
		require.NoError(t, err)
		require.True(t, status.Measured)
		require.Equal(t, 1.0, *status.Good)
	})
}
