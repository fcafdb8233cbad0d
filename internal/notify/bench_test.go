package notify

import (
	"io"
	"testing"

	amconfig "github.com/prometheus/alertmanager/config"
	"github.com/stretchr/testify/require"
)

// BenchmarkRender measures what executing a receiver's templates before each
// page costs.
func BenchmarkRender(b *testing.B) {
	c, err := amconfig.Load(`route: {receiver: mail}
receivers:
- name: mail
  email_configs: [{to: x@example.com, from: y@example.com, smarthost: 'localhost:25'}]
- name: chat
  slack_configs: [{api_url: 'http://127.0.0.1:1', channel: x}]`)
	require.NoError(b, err)
	n, err := New(Config{Receivers: c.Receivers}, Options{Terminal: io.Discard})
	require.NoError(b, err)
	for _, name := range []string{"mail", "chat"} {
		b.Run(name, func(b *testing.B) {
			m := newMessage(fullPage(name))
			r := n.receivers[name]
			ctx := n.context(b.Context(), r, m)
			for b.Loop() {
				require.Empty(b, r.failures(ctx, n.tmpl, n.data(ctx, m)))
			}
		})
	}
}
