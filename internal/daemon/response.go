package daemon

import (
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"watchbill"
	"watchbill/internal/store"
	"watchbill/targets"
)

// responses are the histograms of how long incidents took to be acknowledged and
// resolved, by service and severity, which targets of the kind response measure.
// A service that the configuration does not know is "other", so that no alert
// makes labels here.
type responses struct {
	ack, resolve *prometheus.HistogramVec

	mu       sync.Mutex
	services map[string]bool
}

func newResponses(reg prometheus.Registerer) *responses {
	var bounds []float64
	for _, d := range targets.ResponseBounds() {
		bounds = append(bounds, d.Seconds())
	}
	vec := func(name, help string) *prometheus.HistogramVec {
		return promauto.With(reg).NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: bounds}, []string{"service", "severity"})
	}
	return &responses{
		ack:     vec(targets.AckHistogram, "How long after the first page of a path was due an incident was acknowledged."),
		resolve: vec(targets.ResolveHistogram, "How long after it opened an incident was resolved."),
	}
}

// configure takes the services of a configuration. The series of those with a
// target of this kind are there from the beginning, at nothing: the first
// incident of a counter that begins with it would not be seen.
func (r *responses) configure(cfg targets.Config, services []watchbill.Service) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.services = map[string]bool{}
	for _, s := range services {
		r.services[s.Name] = true
	}
	for _, t := range cfg.Targets {
		r.services[t.Service] = true
		if t.SLI.Kind != targets.KindResponse {
			continue
		}
		for s := watchbill.Sev1; s <= watchbill.Sev4; s++ {
			r.ack.WithLabelValues(t.Service, s.String())
			r.resolve.WithLabelValues(t.Service, s.String())
		}
	}
}

func (r *responses) observe(all *prometheus.HistogramVec, inc watchbill.Incident, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	service := inc.Service
	if !r.services[service] {
		service = "other"
	}
	all.WithLabelValues(service, inc.Severity.String()).Observe(max(took, 0).Seconds())
}

// acknowledged counts an incident that somebody took who had not been taken.
func (r *responses) acknowledged(inc watchbill.Incident) {
	r.observe(r.ack, inc, inc.AcknowledgedAt.Sub(inc.PathBegan))
}

// resolved counts an incident that is over.
func (r *responses) resolved(inc watchbill.Incident) {
	r.observe(r.resolve, inc, inc.ResolvedAt.Sub(inc.OpenedAt))
}

// answered counts an incident that was resolved, once that is on disk.
func (w *work) answered(inc watchbill.Incident, events []watchbill.Event) {
	over := slices.ContainsFunc(events, func(e watchbill.Event) bool { return e.Kind == watchbill.EventResolved })
	if over && inc.Drill == nil && inc.ID != store.SelfTestID {
		w.tx.OnCommit(func() { w.responses.resolved(inc) })
	}
}
