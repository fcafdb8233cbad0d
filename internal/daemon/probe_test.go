package daemon_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill/internal/testkit"
)

// A target that fails pages whoever is responsible, without a rule of the
// user's, and its incident ends when it answers again. The time is real: probers
// reach the kernel's network.
func TestAFailingProbePages(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if broken.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	t.Cleanup(srv.Close)
	w := testkit.New(t, t.TempDir())
	w.Write("blackbox.yml", "modules: {http_2xx: {prober: http, timeout: 900ms, http: {preferred_ip_protocol: ip4}}}\n")
	w.Write("watchbill.yaml", fmt.Sprintf(`external_url: https://watchbill.test
store: sqlite:data/watchbill.db
self_monitoring: false
global: {scrape_interval: 1s, evaluation_interval: 1s}
services: [{name: shop, environments: [prod]}]
roles: {preset: operations}
people: [{name: ana, roles: [manager, deployment, infrastructure, security, support], contact: [{receiver: ana-push}]}]
receivers: [{name: ana-push, webhook_configs: [{url: "http://push.test/ana-push"}]}]
probes:
  modules: blackbox.yml
  targets: [{name: home, module: http_2xx, target: %q, labels: {service: shop, environment: prod}}]
`, srv.URL))
	phone := &testkit.Receiver{}
	w.Host("push.test", phone)
	w.Start()
	defer w.Stop()
	ana := w.As("ana")

	time.Sleep(3 * time.Second) // good probes page nobody
	require.Empty(t, phone.Pages())
	broken.Store(true)
	begun := time.Now()
	require.Eventually(t, func() bool { return len(phone.Pages()) > 0 }, 20*time.Second, 20*time.Millisecond)
	t.Logf("paged %s after the target began to fail", time.Since(begun).Round(time.Millisecond))
	page := phone.Pages()[0]
	require.Equal(t, "sev2", page.Annot["severity"])
	require.Contains(t, page.Annot["title"], "The probe home of "+srv.URL+" fails")
	require.Contains(t, page.Annot["evidence"], "of the probes succeeded")
	inc := show(t, ana, 1).Incident
	require.Equal(t, "shop", inc.Service)
	require.Equal(t, "prod", inc.Environment)
	require.Equal(t, "ProbeFailed", inc.Labels["alertname"])

	broken.Store(false)
	require.Eventually(t, func() bool { return show(t, ana, 1).Incident.State == "resolved" }, 20*time.Second, 50*time.Millisecond)
	require.Len(t, show(t, ana, 1).Alerts, 1)
}
