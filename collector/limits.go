package collector

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/alecthomas/units"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/storage"
)

// The limits of a scrape config that states none, here or in global. They are
// Prometheus' own keys: body_size_limit (after decompression), sample_limit,
// target_limit, label_limit, label_name_length_limit and
// label_value_length_limit.
const (
	DefaultBodySizeLimit         = 64 * units.MiB
	DefaultSampleLimit           = 200_000
	DefaultTargetLimit           = 5_000
	DefaultLabelLimit            = 64
	DefaultLabelNameLengthLimit  = 256
	DefaultLabelValueLengthLimit = 4096
	// DefaultSeriesPerJob is how many series all targets of a job may have at once.
	DefaultSeriesPerJob = 1_000_000
)

// Limits bounds what scrapes may bring, beside the limits of the scrape configs.
type Limits struct {
	// SeriesPerJob is how many series all targets of a job may have at once.
	// Default one million.
	SeriesPerJob int
}

// limited gives limits to the scrape configs that have none. The global section
// gets them too, as the files of scrape_config_files are read later.
func limited(prom *config.Config) {
	g := &prom.GlobalConfig
	fill := func(body *units.Base2Bytes, counts map[*uint]uint) {
		if *body == 0 {
			*body = DefaultBodySizeLimit
		}
		for n, v := range counts {
			if *n == 0 {
				*n = v
			}
		}
	}
	fill(&g.BodySizeLimit, map[*uint]uint{
		&g.SampleLimit: DefaultSampleLimit, &g.TargetLimit: DefaultTargetLimit, &g.LabelLimit: DefaultLabelLimit,
		&g.LabelNameLengthLimit: DefaultLabelNameLengthLimit, &g.LabelValueLengthLimit: DefaultLabelValueLengthLimit,
	})
	for _, job := range prom.ScrapeConfigs {
		fill(&job.BodySizeLimit, map[*uint]uint{
			&job.SampleLimit: g.SampleLimit, &job.TargetLimit: g.TargetLimit, &job.LabelLimit: g.LabelLimit,
			&job.LabelNameLengthLimit: g.LabelNameLengthLimit, &job.LabelValueLengthLimit: g.LabelValueLengthLimit,
		})
	}
}

// jobLimit is the storage of scrapes. It counts the series of each job, and
// refuses a scrape that would make them too many: the target is down then, as
// with Prometheus' own limits.
type jobLimit struct {
	next     storage.AppendableV2
	exceeded prometheus.Counter

	mu   sync.Mutex
	most int
	jobs map[string]map[uint64]held // by job and target
}

// held is how many series a target had at its last scrape.
type held struct {
	series int
	at     time.Time
}

func newJobLimit(next storage.AppendableV2, reg prometheus.Registerer) (*jobLimit, error) {
	l := &jobLimit{next: next, most: DefaultSeriesPerJob, jobs: map[string]map[uint64]held{}, exceeded: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "watchbill_scrapes_exceeded_series_limit_total",
		Help: "Scrapes that were refused because their job has too many series.",
	})}
	if err := reg.Register(l.exceeded); err != nil {
		return nil, fmt.Errorf("register metrics of the limits: %w", err)
	}
	return l, nil
}

// set changes how many series a job may have.
func (l *jobLimit) set(most int) {
	if most <= 0 {
		most = DefaultSeriesPerJob
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.most = most
}

// room is how many series a target may bring. What a target had counts until
// its series are out of sight.
func (l *jobLimit) room(job string, target uint64, now time.Time) (room, most int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	room = l.most
	for t, h := range l.jobs[job] {
		switch {
		case now.Sub(h.at) > lookback:
			delete(l.jobs[job], t)
		case t != target:
			room -= h.series
		}
	}
	return room, l.most
}

func (l *jobLimit) hold(job string, target uint64, h held) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.jobs[job] == nil {
		l.jobs[job] = map[uint64]held{}
	}
	l.jobs[job][target] = h
}

// AppenderV2 returns an appender for one scrape.
func (l *jobLimit) AppenderV2(ctx context.Context) storage.AppenderV2 {
	a := &jobAppender{AppenderV2: l.next.AppenderV2(ctx), limit: l, now: time.Now()}
	if t, ok := scrape.TargetFromContext(ctx); ok {
		a.job = t.GetValue(model.JobLabel)
		a.target = t.Labels(labels.NewBuilder(labels.EmptyLabels())).Hash()
	}
	a.room, a.most = l.room(a.job, a.target, a.now)
	return a
}

// jobAppender counts the series of one scrape.
type jobAppender struct {
	storage.AppenderV2
	limit        *jobLimit
	job          string
	target       uint64
	now          time.Time
	series, room int
	most         int // series of the job
}

// count refuses a series beyond the limit, but not what the scrape loop itself
// reports.
func (a *jobAppender) count(l labels.Labels) error {
	a.series++
	if a.series <= a.room {
		return nil
	}
	if name := l.Get(model.MetricNameLabel); name == "up" || strings.HasPrefix(name, "scrape_") {
		return nil
	}
	a.limit.exceeded.Inc()
	return fmt.Errorf("series limit exceeded: the job %s has more than %d series", a.job, a.most)
}

// Append adds a sample or a native histogram.
//
//nolint:revive // the arguments are those of Prometheus' interface
func (a *jobAppender) Append(ref storage.SeriesRef, l labels.Labels, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, o storage.AOptions) (storage.SeriesRef, error) {
	stale := value.IsStaleNaN(v) || h != nil && value.IsStaleNaN(h.Sum) || fh != nil && value.IsStaleNaN(fh.Sum)
	if !stale {
		if err := a.count(l); err != nil {
			return 0, err
		}
	}
	return a.AppenderV2.Append(ref, l, st, t, v, h, fh, o)
}

// Commit writes the scrape.
func (a *jobAppender) Commit() error {
	a.limit.hold(a.job, a.target, held{series: a.series, at: a.now})
	return a.AppenderV2.Commit()
}
