package daemon

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"watchbill"
	"watchbill/internal/store"
)

// stats are the daemon's own metrics. None carries a label taken from an alert.
type stats struct {
	received     prometheus.Counter
	commits      prometheus.Histogram
	lateness     prometheus.Histogram
	timerErrors  prometheus.Counter
	reloaded     prometheus.Gauge
	reloadTime   prometheus.Gauge
	audited      prometheus.Gauge
	broken       prometheus.Gauge
	auditSeq     prometheus.Gauge
	auditHead    prometheus.Gauge
	published    prometheus.Gauge
	bookCover    *prometheus.GaugeVec
	staleBooks   prometheus.Gauge
	expiring     prometheus.Gauge
	gaps         prometheus.Gauge
	firstGap     prometheus.Gauge
	notifyErrors prometheus.Counter
	batches      prometheus.Histogram
	rejected     *prometheus.CounterVec
	acks         *prometheus.CounterVec
	leases       prometheus.Counter
	responses    *responses
}

func newStats(reg prometheus.Registerer, version string) *stats {
	f := promauto.With(reg)
	f.NewGauge(prometheus.GaugeOpts{
		Name: "watchbill_build_info", Help: "Always 1; the label is the version.",
		ConstLabels: prometheus.Labels{"version": version},
	}).Set(1)
	return &stats{
		responses: newResponses(reg),
		received:  f.NewCounter(prometheus.CounterOpts{Name: "watchbill_alerts_received_total", Help: "Alerts taken in and committed."}),
		commits: f.NewHistogram(prometheus.HistogramOpts{
			Name: "watchbill_commit_seconds", Help: "Time from the start of a transaction to its being on disk.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 9),
		}),
		lateness: f.NewHistogram(prometheus.HistogramOpts{
			Name: "watchbill_timer_lateness_seconds", Help: "How long after its due time a timer was acted on.",
			Buckets: []float64{.005, .02, .1, .25, .5, 1, 5, 30, 60, 300},
		}),
		timerErrors: f.NewCounter(prometheus.CounterOpts{Name: "watchbill_timer_errors_total", Help: "Rounds of the timer loop that failed and were tried again."}),
		reloaded:    f.NewGauge(prometheus.GaugeOpts{Name: "watchbill_config_last_reload_success", Help: "Whether the last reload of the configuration took effect."}),
		reloadTime:  f.NewGauge(prometheus.GaugeOpts{Name: "watchbill_config_last_reload_success_timestamp_seconds", Help: "When the configuration in force was loaded."}),
		audited:     f.NewGauge(prometheus.GaugeOpts{Name: "watchbill_audit_verified_timestamp_seconds", Help: "When all event chains were last verified."}),
		broken:      f.NewGauge(prometheus.GaugeOpts{Name: "watchbill_audit_broken_chains", Help: "Things that are wrong with the record: chains of events, checkpoints, the audit log."}),
		auditSeq:    f.NewGauge(prometheus.GaugeOpts{Name: "watchbill_audit_entries", Help: "Entries of the audit log when it was last sealed."}),
		auditHead:   f.NewGauge(prometheus.GaugeOpts{Name: "watchbill_audit_head", Help: "The first 52 bits of the hash of the audit log's last entry when it was last sealed."}),
		published:   f.NewGauge(prometheus.GaugeOpts{Name: "watchbill_audit_published_timestamp_seconds", Help: "When the audit log was last sealed and its head published."}),
		bookCover: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "watchbill_runbook_coverage",
			Help: "Alerts that the configuration can bring about, and activities, by what finds their runbook: runbook_url, labels, activity (the last resort) or nothing.",
		}, []string{"found_by"}),
		staleBooks:   f.NewGauge(prometheus.GaugeOpts{Name: "watchbill_runbooks_stale", Help: "Runbooks that nobody reviewed for too long."}),
		expiring:     f.NewGauge(prometheus.GaugeOpts{Name: "watchbill_tokens_expiring", Help: "Tokens that are in use and end within 14 days."}),
		gaps:         f.NewGauge(prometheus.GaugeOpts{Name: "watchbill_coverage_gaps", Help: "Gaps in the rosters in the days that coverage: looks ahead."}),
		firstGap:     f.NewGauge(prometheus.GaugeOpts{Name: "watchbill_coverage_first_gap_timestamp_seconds", Help: "When the first of these gaps begins; 0 when there is none."}),
		notifyErrors: f.NewCounter(prometheus.CounterOpts{Name: "watchbill_intake_errors_total", Help: "Alerts of the rule engine that could not be stored and were kept for another try."}),
		batches: f.NewHistogram(prometheus.HistogramOpts{
			Name: "watchbill_group_commit_batch_size", Help: "Writes that shared a transaction and its fsync.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 10),
		}),
		rejected: f.NewCounterVec(prometheus.CounterOpts{Name: "watchbill_alerts_rejected_total", Help: "Alerts that were not taken in, by the code of the answer."}, []string{"reason"}),
		acks:     f.NewCounterVec(prometheus.CounterOpts{Name: "watchbill_acks_total", Help: "Acknowledgements, by the means by which they came."}, []string{"via"}),
		leases:   f.NewCounter(prometheus.CounterOpts{Name: "watchbill_lease_expired_total", Help: "Pages that were in hand when watchbill ended: they are sent again under the same key."}),
	}
}

// dutyStats count who is on duty when they are scraped.
type dutyStats struct {
	rooms  func() *rooms
	people *prometheus.Desc
}

func newDutyStats(r func() *rooms) dutyStats {
	return dutyStats{r, prometheus.NewDesc("watchbill_on_duty_people",
		"People on duty for a role now, without those who only read along; 0: nobody, its pages go to the manager.", []string{"role"}, nil)}
}

// Describe implements [prometheus.Collector].
func (c dutyStats) Describe(ch chan<- *prometheus.Desc) { ch <- c.people }

// Collect implements [prometheus.Collector].
func (c dutyStats) Collect(ch chan<- prometheus.Metric) {
	r, now := c.rooms(), time.Now()
	for _, role := range r.matrix.Roles {
		ch <- prometheus.MustNewConstMetric(c.people, prometheus.GaugeValue, float64(r.planner.Watch(role.ID, now).Strength()), string(role.ID))
	}
}

// storeStats reads gauges from the store when they are scraped.
type storeStats struct {
	store                         *store.Store
	incidents, size, wal, ballast *prometheus.Desc
}

func newStoreStats(s *store.Store) *storeStats {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &storeStats{
		store:     s,
		incidents: desc("watchbill_incidents", "Incidents that are not closed.", "state", "severity"),
		size:      desc("watchbill_store_bytes", "Size of the store's file."),
		wal:       desc("watchbill_wal_bytes", "Size of the store's write-ahead log."),
		ballast:   desc("watchbill_store_ballast_bytes", "Room kept back on the store's disk; 0 once it was given up."),
	}
}

// Describe implements [prometheus.Collector].
func (c *storeStats) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.incidents, c.size, c.wal, c.ballast} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *storeStats) Collect(ch chan<- prometheus.Metric) {
	disk := c.store.Disk()
	for d, bytes := range map[*prometheus.Desc]int64{c.size: disk.Store, c.wal: disk.WAL, c.ballast: disk.Ballast} {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(bytes))
	}
	err := c.store.View(context.Background(), func(tx *store.Tx) error {
		return tx.CountIncidents(func(state watchbill.State, sev watchbill.Severity, n int) {
			if sev == 0 { // the self-test's
				return
			}
			ch <- prometheus.MustNewConstMetric(c.incidents, prometheus.GaugeValue, float64(n), string(state), sev.String())
		})
	})
	if err != nil {
		ch <- prometheus.NewInvalidMetric(c.incidents, err)
	}
}
