package collector

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/rules"
	"github.com/stretchr/testify/require"

	"watchbill"
)

func TestScheduleSplitsMixedGroups(t *testing.T) {
	t.Parallel()
	rec := rulefmt.Rule{Record: "r", Expr: "up"}
	alert := rulefmt.Rule{Alert: "A", Expr: "up"}
	own := model.Duration(time.Minute)
	often := model.Duration(3 * time.Second)
	group := func(name string, every model.Duration, rs ...rulefmt.Rule) rulefmt.RuleGroup {
		return rulefmt.RuleGroup{Name: name, Interval: every, Limit: 7, Labels: map[string]string{"a": "b"}, Rules: rs}
	}
	got := schedule([]rulefmt.RuleGroup{
		group("rec", 0, rec), group("alerts", 0, alert), group("mixed", 0, alert, rec, alert),
		group("mixed alerts", own, alert, rec), group("empty", 0),
	}, 15*time.Second)
	require.Equal(t, []rulefmt.RuleGroup{
		group("rec", 0, rec), group("alerts", often, alert),
		group("mixed", 0, rec), group("mixed alerts alerts", often, alert, alert),
		group("mixed alerts", own, alert, rec), group("empty", 0),
	}, got)
}

func TestAlertInterval(t *testing.T) {
	t.Parallel()
	for every, want := range map[time.Duration]time.Duration{
		time.Minute:            12 * time.Second,
		15 * time.Second:       3 * time.Second,
		5 * time.Second:        time.Second,
		time.Second:            time.Second,
		500 * time.Millisecond: 500 * time.Millisecond,
	} {
		require.Equal(t, want, alertInterval(every), every)
	}
}

// BenchmarkHandOver measures the way of 1000 alerts from the rule manager to
// Notify.
func BenchmarkHandOver(b *testing.B) {
	s := newSender(func(context.Context, []watchbill.Alert) error { return nil }, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	alerts := make([]*rules.Alert, 1000)
	for i := range alerts {
		alerts[i] = &rules.Alert{Labels: labels.FromStrings("alertname", "A", "instance", fmt.Sprint(i)), FiredAt: time.Now()}
	}
	b.ReportAllocs()
	for b.Loop() {
		s.take(b.Context(), "up == 0", alerts...)
		require.True(b, s.round(b.Context(), false))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/alert")
}
