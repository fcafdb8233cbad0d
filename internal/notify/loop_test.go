package notify

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	amconfig "github.com/prometheus/alertmanager/config"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"watchbill"
)

// The loop takes a page of the self-test, counts nothing, and is no way to a
// person.
func TestTheLoopTakesPagesAndReachesNobody(t *testing.T) {
	t.Parallel()
	n, err := New(Config{}, Options{})
	require.NoError(t, err)
	require.NotContains(t, n.Receivers(), LoopReceiver)
	methods := n.Methods(watchbill.Person{ID: "ana", Contact: []watchbill.Contact{{Receiver: LoopReceiver}}}, watchbill.Sev1, time.Now())
	require.Len(t, methods, 1)
	require.Equal(t, TerminalReceiver, methods[0].Receiver)
	_, err = New(Config{Receivers: []amconfig.Receiver{{Name: LoopReceiver}}}, Options{})
	require.ErrorContains(t, err, "watchbill's own")
}

func TestQueuesBeatAndTheLoopIsNotCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, err := New(Config{}, Options{})
		require.NoError(t, err)
		o := newShelf()
		o.put(1, LoopReceiver, watchbill.Sev1, 0)
		reg := prometheus.NewRegistry()
		beats := make(chan time.Time, 1000)
		w := NewWorker(WorkerOptions{Outbox: o, Notifier: n, Registerer: reg, Beat: func() { beats <- time.Now() }})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- w.Run(ctx) }()
		time.Sleep(time.Minute)
		stop()
		require.NoError(t, <-ended)
		require.Len(t, o.outcomes, 1)
		require.Equal(t, watchbill.ResultDelivered, o.outcomes[0].Result)
		require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP watchbill_page_attempts_total Attempts to deliver a page, by how they ended.
# TYPE watchbill_page_attempts_total counter
watchbill_page_attempts_total{receiver="unknown",result="delivered"} 0
watchbill_page_attempts_total{receiver="unknown",result="dropped"} 0
watchbill_page_attempts_total{receiver="unknown",result="refused"} 0
watchbill_page_attempts_total{receiver="unknown",result="retry"} 0
`), "watchbill_page_attempts_total"))
		close(beats)
		last := time.Time{}
		for at := range beats {
			require.True(t, last.IsZero() || at.Sub(last) <= 10*time.Second)
			last = at
		}
		require.False(t, last.IsZero())
	})
}
