package notify

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/golden"
)

// slack is Slack's API on loopback, under its own name.
type slack struct {
	mu    sync.Mutex
	paths []string
	sent  []string
}

func newSlack(t *testing.T) (*slack, *Notifier) {
	t.Helper()
	s := &slack{}
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.paths, s.sent = append(s.paths, r.Host+r.URL.Path+" "+r.Header.Get("Authorization")), append(s.sent, string(b))
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"ok": true, "channel": "C024BE91L", "ts": "1503435956.000247"}`)
	}))
	t.Cleanup(srv.Close)
	c := load(t, "receivers:\n- name: chat\n  slack_configs: [{app_token: xoxb-secret, app_url: 'https://slack.com/api/chat.postMessage', channel: '#ops', http_config: {tls_config: {insecure_skip_verify: true}}}]")
	return s, newNotifier(t, Config{Receivers: c.Receivers, ExternalURL: "https://watchbill.example.com"}, Options{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, srv.Listener.Addr().String())
		},
	})
}

// With a token, the message of a page is edited where it stands.
func TestSlackMessageIsEditedInPlace(t *testing.T) {
	t.Parallel()
	s, n := newSlack(t)
	d := fullPage("chat")
	o := n.Deliver(t.Context(), d)
	require.Equal(t, watchbill.ResultDelivered, o.Result, o.Detail)
	require.Equal(t, []watchbill.SentMessage{{Page: 7, Integration: "slack[0]", Channel: "C024BE91L", Stamp: "1503435956.000247"}}, o.Sent)

	d.ID, d.Page.Incident, d.Page.Edit = 8, 0, &o.Sent[0]
	d.Page.Content.Status = "acknowledged by ana at 03:20 UTC, until 03:35 UTC"
	o = n.Deliver(t.Context(), d)
	require.Equal(t, watchbill.ResultDelivered, o.Result, o.Detail)
	require.Empty(t, o.Sent, "an edit is no new message")
	d.Page.Content.Status, d.Page.Content.At = "resolved at 03:40 UTC", time.Now().Add(-time.Minute)
	require.Equal(t, watchbill.ResultDelivered, n.Deliver(t.Context(), d).Result)
	require.Equal(t, []string{
		"slack.com/api/chat.postMessage Bearer xoxb-secret", "slack.com/api/chat.update Bearer xoxb-secret", "slack.com/api/chat.update Bearer xoxb-secret",
	}, s.paths)
	requireOrder(t, s.sent[0], []string{"SEV1 checkout/prod", "7 % of payments fail", "customers cannot pay", "5xx 7.2 %", "Check the last deployment", "High error rate", "on duty for support", "Acknowledge", "INC-142"})
	golden.Compare(t, "slack_edit.json", indent(t, s.sent[1]))
	require.Contains(t, s.sent[2], `"color":"good"`)

	d.Page.Edit = &watchbill.SentMessage{Integration: "slack[3]"}
	require.Equal(t, watchbill.ResultDropped, n.Deliver(t.Context(), d).Result, "the integration is gone")
}
