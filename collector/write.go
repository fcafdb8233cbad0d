package collector

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/snappy"
	remoteapi "github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/client_golang/prometheus"
	promremote "github.com/prometheus/prometheus/storage/remote"
)

// Defaults and bounds of what a source may write.
const (
	DefaultWriteSeries     = 50_000
	DefaultWriteSamples    = 10_000
	DefaultWriteRate       = 20_000
	DefaultWriteLabels     = 40
	DefaultWriteLabelBytes = 2048

	// maxWriteBody and maxWriteDecoded bound a request, compressed and not, in bytes.
	maxWriteBody    = 4 << 20
	maxWriteDecoded = 16 << 20
	// maxWriters is how many requests are decoded at once; with the bounds above it
	// is what bounds the memory that they take.
	maxWriters = 4
	// maxWriteReason bounds the reason in an answer, in bytes.
	maxWriteReason = 2 << 10
)

// WriteWindow is how far back a source may write: what an edge site kept while it
// could not reach us. Without sources, samples come in order or not at all.
const WriteWindow = 2 * time.Hour

// WriteSource is somebody who may write series. What is zero has its default.
type WriteSource struct {
	// Name is that of the token.
	Name string
	// Labels are added to each of its series. A series that has one of them with
	// another value is refused, and so is one with a label of another source.
	Labels map[string]string
	// Series bounds the series that it wrote within an hour. Default 50,000.
	Series int
	// Samples bounds the samples of a request. Default 10,000.
	Samples int
	// Rate bounds the samples of a second, on average. Default 20,000.
	Rate int
	// SeriesLabels bounds the labels of a series. Default 40.
	SeriesLabels int
	// LabelBytes bounds a label's name and its value, in bytes. Default 2,048.
	LabelBytes int
}

func (s WriteSource) withDefaults() WriteSource {
	s.Series = cmp.Or(s.Series, DefaultWriteSeries)
	s.Samples = cmp.Or(s.Samples, DefaultWriteSamples)
	s.Rate = cmp.Or(s.Rate, DefaultWriteRate)
	s.SeriesLabels = cmp.Or(s.SeriesLabels, DefaultWriteLabels)
	s.LabelBytes = cmp.Or(s.LabelBytes, DefaultWriteLabelBytes)
	return s
}

// The reasons for which something of a request is refused.
const (
	refusedOrder    = "out_of_order" // or too old, or a second value for an instant
	refusedSeries   = "series"
	refusedSamples  = "samples"
	refusedRate     = "rate"
	refusedLabels   = "labels" // too many, or too long
	refusedForeign  = "foreign_label"
	refusedReserved = "reserved_name"
	refusedBody     = "body" // too large, or not readable
)

type writeStats struct {
	requests *prometheus.CounterVec
	samples  *prometheus.CounterVec
	refused  *prometheus.CounterVec
	series   *prometheus.GaugeVec
	last     *prometheus.GaugeVec
}

func newWriteStats(reg prometheus.Registerer) (*writeStats, error) {
	s := &writeStats{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "watchbill_remote_write_requests_total", Help: "Remote-write requests of a source, by the status of the answer.",
		}, []string{"source", "code"}),
		samples: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "watchbill_remote_write_samples_total", Help: "Samples of a source that were stored.",
		}, []string{"source"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "watchbill_remote_write_refused_total", Help: "Samples of a source that were refused, and requests that were refused whole, by the limit or rule.",
		}, []string{"source", "reason"}),
		series: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "watchbill_remote_write_series", Help: "Series that a source wrote within the last hour.",
		}, []string{"source"}),
		last: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "watchbill_remote_write_last_success_timestamp_seconds", Help: "When a request of a source was last stored whole; before the first, since when it is expected.",
		}, []string{"source"}),
	}
	for _, m := range []prometheus.Collector{s.requests, s.samples, s.refused, s.series, s.last} {
		if err := reg.Register(m); err != nil {
			return nil, fmt.Errorf("register metrics of remote write: %w", err)
		}
	}
	return s, nil
}

// begin expects a source. What a rate is taken of begins at zero.
func (s *writeStats) begin(source string) {
	s.series.WithLabelValues(source).Set(0)
	s.samples.WithLabelValues(source)
	s.last.WithLabelValues(source).SetToCurrentTime()
	for _, reason := range []string{
		refusedOrder, refusedSeries, refusedSamples, refusedRate, refusedLabels, refusedForeign, refusedReserved, refusedBody,
	} {
		s.refused.WithLabelValues(source, reason)
	}
}

// drop forgets a source.
func (s *writeStats) drop(source string) {
	l := prometheus.Labels{"source": source}
	s.requests.DeletePartialMatch(l)
	s.samples.DeletePartialMatch(l)
	s.refused.DeletePartialMatch(l)
	s.series.DeletePartialMatch(l)
	s.last.DeletePartialMatch(l)
}

// intake takes remote-write requests: it bounds and filters what Prometheus' own
// handler decodes and stores.
type intake struct {
	c       *Collector
	handler http.Handler
	slots   chan struct{}
	stats   *writeStats
	sources atomic.Pointer[map[string]*writer]
}

func newIntake(c *Collector, reg prometheus.Registerer) (*intake, error) {
	stats, err := newWriteStats(reg)
	if err != nil {
		return nil, err
	}
	i := &intake{c: c, slots: make(chan struct{}, maxWriters), stats: stats}
	i.sources.Store(&map[string]*writer{})
	// It logs each sample that it refuses, which is for the sender to know: the
	// answer says it, and a metric counts it.
	i.handler = promremote.NewWriteHandler(slog.New(slog.DiscardHandler), reg, filtered{c.db},
		remoteapi.MessageTypes{remoteapi.WriteV1MessageType, remoteapi.WriteV2MessageType}, false, false, false)
	return i, nil
}

// set puts other sources in force. What is known of one that stays is kept.
func (i *intake) set(cfg []WriteSource) {
	old, now := *i.sources.Load(), map[string]*writer{}
	for _, s := range cfg {
		known := old[s.Name]
		if known == nil {
			known = &writer{seen: map[uint64]int64{}}
			i.stats.begin(s.Name)
		}
		known.set(s.withDefaults(), cfg)
		now[s.Name] = known
	}
	i.sources.Store(&now)
	for name := range old {
		if now[name] == nil {
			i.stats.drop(name)
		}
	}
}

// Write answers POST /api/v1/write of a source: Prometheus' remote write 1.0 and
// 2.0. What is over a limit is refused with a status that the sender does not try
// again (400, 413), but for the rate (429 with Retry-After). Of a request with bad
// samples the good ones are stored, and the answer is 400, as both versions of the
// specification say.
func (c *Collector) Write(w http.ResponseWriter, r *http.Request, name string) {
	i := c.intake
	s := (*i.sources.Load())[name]
	if s == nil {
		http.Error(w, fmt.Sprintf("%q is not one of the sources: add it under sources: with the name of its token", name), http.StatusForbidden)
		return
	}
	cut := &shortened{ResponseWriter: w, code: http.StatusOK}
	select {
	case i.slots <- struct{}{}:
		defer func() { <-i.slots }()
		i.serve(cut, r, s)
	case <-r.Context().Done():
		return
	}
	i.stats.requests.WithLabelValues(name, strconv.Itoa(cut.code)).Inc()
	if cut.code/100 == 2 {
		i.stats.last.WithLabelValues(name).SetToCurrentTime()
	}
}

// serve checks a request whole before Prometheus' handler decodes it.
func (i *intake) serve(w *shortened, r *http.Request, s *writer) {
	cfg := s.config()
	refuse := func(code int, reason, format string, args ...any) {
		i.stats.refused.WithLabelValues(cfg.Name, reason).Inc()
		http.Error(w, fmt.Sprintf(format, args...), code)
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxWriteBody+1))
	_, large := errors.AsType[*http.MaxBytesError](err)
	switch {
	case large || len(body) > maxWriteBody:
		refuse(http.StatusRequestEntityTooLarge, refusedBody, "the body is over %d MB: lower max_samples_per_send", maxWriteBody>>20)
		return
	case err != nil:
		refuse(http.StatusBadRequest, refusedBody, "the body broke off: %v", err)
		return
	}
	kind, err := remoteapi.ParseProtoMsg(contentType(r))
	if err != nil {
		refuse(http.StatusUnsupportedMediaType, refusedBody, "%v", err)
		return
	}
	n, err := measure(body, kind == remoteapi.WriteV2MessageType, cfg)
	if err != nil {
		code := http.StatusBadRequest
		reason := refusedBody
		if over, ok := errors.AsType[overError](err); ok {
			code, reason = http.StatusRequestEntityTooLarge, over.reason
		}
		refuse(code, reason, "%v", err)
		return
	}
	if wait := s.throttle(time.Now(), n); wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
		refuse(http.StatusTooManyRequests, refusedRate, "%s writes more than %d samples a second: set queue_config: {retry_on_http_429: true}, or raise limits.rate", cfg.Name, cfg.Rate)
		return
	}
	b := &batch{intake: i, source: s, cfg: cfg, v1: kind == remoteapi.WriteV1MessageType, now: time.Now()}
	again := r.Clone(context.WithValue(r.Context(), batchKey{}, b))
	again.Body = io.NopCloser(bytes.NewReader(body))
	i.handler.ServeHTTP(w, again)
	b.count()
}

func contentType(r *http.Request) string {
	if t := r.Header.Get("Content-Type"); t != "" {
		return t
	}
	return "application/x-protobuf"
}

// measure decompresses a body and returns how many samples it holds. An error is
// about what must not be decoded, such as a few bytes that become gigabytes.
func measure(body []byte, v2 bool, cfg WriteSource) (samples int, err error) {
	size, err := snappy.DecodedLen(body)
	if err != nil {
		return 0, fmt.Errorf("the body is not compressed with snappy: %w", err)
	}
	if size > maxWriteDecoded {
		return 0, overError{refusedBody, fmt.Sprintf("the body is over %d MB when decompressed: lower max_samples_per_send", maxWriteDecoded>>20)}
	}
	text, err := snappy.Decode(nil, body)
	if err != nil {
		return 0, fmt.Errorf("the body is not compressed with snappy: %w", err)
	}
	return scanWrite(text, v2, cfg)
}

// shortened cuts the reason of a refusal to what a log line can hold.
type shortened struct {
	http.ResponseWriter

	code    int
	written int
}

// WriteHeader implements [http.ResponseWriter].
func (s *shortened) WriteHeader(code int) {
	s.code = code
	s.ResponseWriter.WriteHeader(code)
}

// Write implements [http.ResponseWriter].
func (s *shortened) Write(b []byte) (int, error) {
	if room := maxWriteReason - s.written; s.code/100 != 2 && len(b) > room {
		s.written += len(b)
		if room <= 0 {
			return len(b), nil
		}
		_, err := s.ResponseWriter.Write([]byte(strings.ToValidUTF8(string(b[:room]), "") + "…\n"))
		return len(b), err
	}
	s.written += len(b)
	return s.ResponseWriter.Write(b)
}
