package daemon_test

import (
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/pipenet"
	"watchbill/internal/testkit"
	"watchbill/internal/web"
)

// published is a place elsewhere that keeps heads.
type published struct {
	mu    sync.Mutex
	heads []watchbill.AuditHead
}

func (p *published) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var h watchbill.AuditHead
	_ = json.Unmarshal(body, &h)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heads = append(p.heads, h)
}

func (p *published) all() []watchbill.AuditHead {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.heads
}

// Every hour the heads of the timelines that changed are sealed, and the head of the
// audit log is published. A refusal is recorded once a minute.
func TestTheAuditLogIsSealedAndPublished(t *testing.T) {
	t.Parallel()
	pipenet.Warm(t.Context())
	synctest.Test(t, func(t *testing.T) {
		until(time.Date(2026, 12, 1, 10, 0, 0, 0, time.UTC))
		w := testkit.New(t, t.TempDir())
		w.Write("watchbill.yaml", whyConfig+"audit: {url: 'http://audit.test/heads'}\n")
		w.Host("push.test", &testkit.Receiver{})
		elsewhere := &published{}
		w.Host("audit.test", elsewhere)
		w.Start()
		defer w.Stop()
		ana, eve := w.As("ana"), w.As("eve")
		log := func() web.AuditPage {
			page, err := eve.AuditLog(t.Context(), web.AuditQuery{Oldest: true, Limit: 1000})
			require.NoError(t, err)
			return page
		}
		time.Sleep(time.Second)
		require.Len(t, elsewhere.all(), 1, "at the start")

		require.NoError(t, ana.PostAlerts(t.Context(), []watchbill.Alert{{Labels: watchbill.Labels{"alertname": "A", "service": "db", "severity": "critical"}, EndsAt: time.Now().Add(30 * time.Minute)}}))
		for range 100 {
			require.Error(t, ana.Reload(t.Context()))
		}
		time.Sleep(2 * time.Hour)
		page := log()
		var kinds []watchbill.AuditKind
		var v watchbill.AuditVerifier
		for _, e := range page.Entries {
			require.NoError(t, v.Check(e))
			kinds = append(kinds, e.Kind)
			if e.Kind == watchbill.AuditSeal {
				heads, err := watchbill.SealIn(e)
				require.NoError(t, err)
				require.Len(t, heads, 1)
				require.EqualValues(t, 1, heads[0].Incident)
			}
		}
		require.Equal(t, []watchbill.AuditKind{"started", "token_created", "token_created", "refused", "seal", "seal"}, kinds, "it ended in the first hour and closed in the second")
		require.Equal(t, v.Head(), page.Head)
		got := elsewhere.all()
		require.Len(t, got, 3)
		require.Positive(t, got[0].Seq)
		require.Equal(t, page.Head, got[2])

		time.Sleep(time.Hour)
		require.Equal(t, page.Head, log().Head, "what changed nothing is not sealed again")
	})
}
