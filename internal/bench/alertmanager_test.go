package bench_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/api"
	amconfig "github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/config/receiver"
	"github.com/prometheus/alertmanager/dispatch"
	"github.com/prometheus/alertmanager/eventrecorder"
	"github.com/prometheus/alertmanager/featurecontrol"
	"github.com/prometheus/alertmanager/inhibit"
	"github.com/prometheus/alertmanager/marker"
	"github.com/prometheus/alertmanager/nflog"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/alertmanager/provider/mem"
	"github.com/prometheus/alertmanager/silence"
	"github.com/prometheus/alertmanager/template"
	"github.com/prometheus/alertmanager/timeinterval"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/route"
)

// The environment in which the test binary is the newest Alertmanager.
const (
	envConfig = "BENCH_ALERTMANAGER_CONFIG"
	envListen = "BENCH_ALERTMANAGER_LISTEN"
)

func TestMain(m *testing.M) {
	if file := os.Getenv(envConfig); file != "" {
		if err := runAlertmanager(file, os.Getenv(envListen)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// runAlertmanager serves Alertmanager's API over its own packages, wired as its
// own app package wires them, without a cluster.
func runAlertmanager(file, listen string) error {
	conf, err := amconfig.LoadFile(file)
	if err != nil {
		return err
	}
	log, reg, rec, flags := slog.New(slog.DiscardHandler), prometheus.NewRegistry(), eventrecorder.NopRecorder(), featurecontrol.NoopFlags{}
	data := filepath.Dir(file)
	notifications, err := nflog.New(nflog.Options{SnapshotFile: filepath.Join(data, "nflog"), Retention: 120 * time.Hour, Logger: log, Metrics: reg})
	if err != nil {
		return err
	}
	silences, err := silence.New(silence.Options{SnapshotFile: filepath.Join(data, "silences"), Retention: 120 * time.Hour, Logger: log, Metrics: reg, EventRecorder: rec})
	if err != nil {
		return err
	}
	silencer := silence.NewSilencer(silences, log, rec)
	alerts, err := mem.NewAlerts(context.Background(), 30*time.Minute, 0, silencer, log, rec, reg, flags)
	if err != nil {
		return err
	}
	groups := marker.NewGroupMarker()
	var dispatcher atomic.Pointer[dispatch.Dispatcher]
	a, err := api.New(api.Options{
		Alerts: alerts, Silences: silences, GroupMutedFunc: groups.Muted, Logger: log, Registry: reg,
		RequestDuration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "duration_seconds", Help: "As its own command has it."}, []string{"handler", "method", "code"}),
		GroupFunc: func(ctx context.Context, r func(*dispatch.Route) bool, f func(*alert.Alert, time.Time) bool) (dispatch.AlertGroups, map[model.Fingerprint][]string, error) {
			return dispatcher.Load().Groups(ctx, r, f)
		},
	})
	if err != nil {
		return err
	}
	tmpl, err := template.FromGlobs(nil)
	if err != nil {
		return err
	}
	tmpl.ExternalURL = &url.URL{Scheme: "http", Host: listen}
	receivers := map[string][]notify.Integration{}
	for _, rcv := range conf.Receivers {
		if receivers[rcv.Name], err = receiver.BuildReceiverIntegrations(rcv, tmpl, log); err != nil {
			return err
		}
	}
	inhibitor := inhibit.NewInhibitor(alerts, conf.InhibitRules, log, rec)
	pipeline := notify.NewPipelineBuilder(reg, flags, rec).New(receivers, func() time.Duration { return 0 }, inhibitor, silencer,
		timeinterval.NewIntervener(nil), groups, notifications, nil)
	a.Update(conf, func(ctx context.Context, labels model.LabelSet) {
		inhibitor.Mutes(ctx, labels)
		silencer.Mutes(ctx, labels)
	})
	timeout := func(d time.Duration) time.Duration { return max(d, notify.MinTimeout) }
	d := dispatch.NewDispatcher(alerts, dispatch.NewRoute(conf.Route, nil), pipeline, groups, timeout, 30*time.Second, nil, log, rec,
		dispatch.NewDispatcherMetrics(false, reg, flags), tmpl)
	dispatcher.Store(d)
	go inhibitor.Run()
	go d.Run(time.Now())
	d.WaitForLoading()
	router := route.New()
	return http.ListenAndServe(listen, a.Register(router, ""))
}
