package logs

import (
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"time"

	"github.com/grafana/loki-client-go/pkg/urlutil"
	config_util "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
)

// The series that are written of each query, with its labels and [SourceLabel]
// and [RecordLabel].
const (
	UpMetric       = "watchbill_log_query_up"
	SeriesMetric   = "watchbill_log_query_series"
	DurationMetric = "watchbill_log_query_duration_seconds"
	SourceLabel    = "logs"
	RecordLabel    = "record"
)

// What one answer may bring.
const (
	MaxBody   = 4 << 20 // bytes, after decompression
	MaxSeries = 1000
	MaxLabels = 32
	MaxName   = 128  // bytes of a label's name
	MaxValue  = 1024 // bytes of a label's value
)

// Config is what is asked.
type Config struct {
	Sources []Source
	// Alerts has [Rules] made.
	Alerts bool
}

// Source is one Loki server, or one tenant of it.
type Source struct {
	Name    string // unique
	URL     urlutil.URLValue
	Tenant  string // header X-Scope-OrgID; empty for none
	HTTP    config_util.HTTPClientConfig
	Queries []Query
}

// Query is one LogQL metric query.
type Query struct {
	Record   string // name of the series
	Expr     string
	Interval time.Duration
	Offset   time.Duration // how long before now it is asked about
	Timeout  time.Duration // of a round, with all attempts
	Labels   map[string]string
	Severity string // label of its alerts
}

// ParseURL reads the address of a server.
func ParseURL(text string) (urlutil.URLValue, error) {
	var u urlutil.URLValue
	if err := u.Set(text); err != nil {
		return u, err
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return u, errors.New("it is no http or https address")
	}
	return u, nil
}

// own are the labels of the series about a query.
func (q Query) own(source string) map[string]string {
	l := maps.Clone(q.Labels)
	if l == nil {
		l = map[string]string{}
	}
	l[SourceLabel], l[RecordLabel] = source, q.Record
	return l
}

// shift is where in its interval a query is asked, so that not all are asked at
// once. It is the same after a restart.
func (q Query) shift(source string) time.Duration {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%q %q %q", source, q.Record, q.Expr)
	for _, name := range slices.Sorted(maps.Keys(q.Labels)) {
		_, _ = fmt.Fprintf(h, " %q %q", name, q.Labels[name])
	}
	return time.Duration(h.Sum64() % uint64(q.Interval))
}

// next is the first round after an instant, on the query's grid.
func (q Query) next(source string, after time.Time) time.Time {
	t := after.Truncate(q.Interval).Add(q.shift(source))
	if !t.After(after) {
		t = t.Add(q.Interval)
	}
	return t
}

func promDuration(d time.Duration) string { return model.Duration(d).String() }
