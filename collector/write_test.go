package collector_test

import (
	"bytes"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gogo/protobuf/proto"
	"github.com/klauspost/compress/snappy"
	remoteapi "github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/stretchr/testify/require"

	"watchbill/collector"
)

// intake is a collector that two sources write to.
type intake struct {
	*collector.Collector
	t   testing.TB
	reg *prometheus.Registry
}

func sources() []collector.WriteSource {
	return []collector.WriteSource{
		{Name: "madrid", Labels: map[string]string{"site": "madrid", "env": "prod"}, Series: 5, Samples: 20, Rate: 10, SeriesLabels: 3, LabelBytes: 64},
		{Name: "berlin", Labels: map[string]string{"site": "berlin", "env": "prod"}},
	}
}

func takingIn(t testing.TB) *intake {
	t.Helper()
	reg := prometheus.NewRegistry()
	c, err := collector.New(collector.Config{
		Prometheus: []byte("global: {scrape_interval: 15s, evaluation_interval: 15s}"), Sources: sources(),
	}, collector.Options{Dir: t.TempDir(), Notify: newInbox().notify, Registerer: reg})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return &intake{Collector: c, t: t, reg: reg}
}

// one is a series of one sample for the version 1.0.
func one(at time.Time, value float64, labels ...string) prompb.TimeSeries {
	ts := prompb.TimeSeries{Samples: []prompb.Sample{{Timestamp: at.UnixMilli(), Value: value}}}
	for i := 0; i < len(labels); i += 2 {
		ts.Labels = append(ts.Labels, prompb.Label{Name: labels[i], Value: labels[i+1]})
	}
	return ts
}

func v1Body(t testing.TB, series ...prompb.TimeSeries) []byte {
	t.Helper()
	msg, err := proto.Marshal(&prompb.WriteRequest{Timeseries: series})
	require.NoError(t, err)
	return snappy.Encode(nil, msg)
}

const v2Type = "application/x-protobuf;proto=io.prometheus.write.v2.Request"

func (i *intake) post(source, contentType string, body []byte) *httptest.ResponseRecorder {
	req := httptest.NewRequestWithContext(i.t.Context(), http.MethodPost, "/api/v1/write", bytes.NewReader(body))
	req.Header.Set("Content-Type", contentType)
	rec := httptest.NewRecorder()
	i.Write(rec, req, source)
	return rec
}

func (i *intake) v1(source string, series ...prompb.TimeSeries) *httptest.ResponseRecorder {
	i.t.Helper()
	return i.post(source, "application/x-protobuf", v1Body(i.t, series...))
}

// stored returns what an expression finds, as text.
func (i *intake) stored(expr string) []string {
	i.t.Helper()
	v, err := i.Query(i.t.Context(), expr, time.Now())
	require.NoError(i.t, err)
	var all []string
	for _, s := range v {
		all = append(all, fmt.Sprintf("%s %v", s.Labels, s.Value))
	}
	return all
}

func (i *intake) refused(reason string) float64 {
	i.t.Helper()
	families, err := i.reg.Gather()
	require.NoError(i.t, err)
	for _, f := range families {
		if f.GetName() != "watchbill_remote_write_refused_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			if l := m.GetLabel(); l[0].GetValue() == reason && l[1].GetValue() == "madrid" { // by name: reason, source
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// Of a request of version 1.0 the good samples are stored and the bad ones are
// answered 400, which a sender does not try again.
func TestWriteVersion1(t *testing.T) {
	t.Parallel()
	i := takingIn(t)
	now := time.Now()
	rec := i.v1("madrid", one(now, 1, "__name__", "up", "job", "shop"), one(now, 7, "__name__", "load", "site", "madrid"))
	require.Equal(t, http.StatusNoContent, rec.Code, rec.Body)
	require.Equal(t, []string{`{__name__="up", env="prod", job="shop", site="madrid"} 1`}, i.stored("up"))
	require.Equal(t, []string{`{__name__="load", env="prod", site="madrid"} 7`}, i.stored("load"))

	for _, x := range []struct {
		series prompb.TimeSeries
		reason string
		said   string
	}{
		{one(now, 1, "__name__", "watchbill_alerts_received_total"), "reserved_name", "names that begin with watchbill_ are watchbill's own"},
		{one(now, 1, "__name__", "a", "site", "berlin"), "foreign_label", `the label site is "madrid" for the source madrid, not "berlin"`},
		{one(now, 1, "__name__", "a", "b", strings.Repeat("x", 65)), "labels", "longer than 64 bytes"},
		{one(now, 1, "__name__", "a", "b", "1", "c", "1", "d", "1"), "labels", "has 4 labels; 3 are allowed"},
		{one(now, 2, "__name__", "up", "job", "shop"), "out_of_order", "duplicate sample for timestamp"},
		{one(now.Add(-3*time.Hour), 2, "__name__", "up", "job", "shop"), "out_of_order", "too old"},
	} {
		before := i.refused(x.reason)
		good := one(time.Now(), 1, "__name__", "good")
		rec = i.v1("madrid", x.series, good)
		require.Equal(t, http.StatusBadRequest, rec.Code, x.said)
		require.Contains(t, rec.Body.String(), "1 samples were refused and 1 stored; the first: ")
		require.Contains(t, rec.Body.String(), x.said)
		require.InDelta(t, before+1, i.refused(x.reason), 0, x.reason)
		time.Sleep(2 * time.Millisecond) // the good one's time is its own
	}
	require.Len(t, i.stored("good"), 1)
	require.Empty(t, i.stored(`{__name__=~"watchbill_.*"}`))
	require.Equal(t, []string{`{__name__="up", env="prod", job="shop", site="madrid"} 1`}, i.stored(`up`), "the past is as it was")

	// An edge that could not reach us sends what it kept, newer series first.
	require.Equal(t, http.StatusNoContent, i.v1("madrid", one(now.Add(-100*time.Minute), 3, "__name__", "up", "job", "shop")).Code)
	require.Len(t, i.stored(`up offset 100m == 3`), 1)

	require.Equal(t, http.StatusForbidden, i.v1("paris", one(now, 1, "__name__", "up")).Code)
}

// One source cannot pass for another by a label that only the other has.
func TestWriteAnothersLabel(t *testing.T) {
	t.Parallel()
	i := takingIn(t)
	require.NoError(t, i.Reload(collector.Config{
		Prometheus: []byte("global: {scrape_interval: 15s, evaluation_interval: 15s}"),
		Sources:    []collector.WriteSource{{Name: "a", Labels: map[string]string{"site": "madrid"}}, {Name: "b", Labels: map[string]string{"edge": "b"}}},
	}))
	rec := i.v1("b", one(time.Now(), 1, "__name__", "up", "site", "madrid"))
	require.Equal(t, http.StatusBadRequest, rec.Code)
	require.Contains(t, rec.Body.String(), `the label site="madrid" is another source's`)
	require.Equal(t, http.StatusNoContent, i.v1("b", one(time.Now(), 1, "__name__", "up", "site", "lisbon")).Code)
	require.Equal(t, http.StatusForbidden, i.v1("madrid", one(time.Now(), 1, "__name__", "up")).Code, "a reload takes a source away")
}

// The client that Prometheus uses for version 2.0 works, and learns what was
// stored of a request that is partly bad.
func TestWriteVersion2(t *testing.T) {
	t.Parallel()
	i := takingIn(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { i.Write(w, r, "madrid") }))
	defer server.Close()
	client, err := remoteapi.NewAPI(server.URL)
	require.NoError(t, err)
	now := time.Now()
	request := func(names ...string) *writev2.Request {
		symbols := writev2.NewSymbolTable()
		req := &writev2.Request{}
		for n, name := range names {
			req.Timeseries = append(req.Timeseries, writev2.TimeSeries{
				LabelsRefs: []uint32{symbols.Symbolize("__name__"), symbols.Symbolize(name), symbols.Symbolize("job"), symbols.Symbolize("edge")},
				Samples:    []writev2.Sample{{Timestamp: now.UnixMilli(), Value: float64(n)}},
				Metadata:   writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_GAUGE, HelpRef: symbols.Symbolize(strings.Repeat("help ", 100))},
			})
		}
		req.Symbols = symbols.Symbols()
		return req
	}
	stats, err := client.Write(t.Context(), remoteapi.WriteV2MessageType, request("a", "b"))
	require.NoError(t, err)
	require.Equal(t, 2, stats.Samples)
	require.Equal(t, []string{`{__name__="b", env="prod", job="edge", site="madrid"} 1`}, i.stored("b"))

	stats, err = client.Write(t.Context(), remoteapi.WriteV2MessageType, request("c", "watchbill_x", "d"))
	require.ErrorContains(t, err, "watchbill's own")
	require.Equal(t, 2, stats.Samples, "the good ones are stored")
	require.Len(t, i.stored("d"), 1)

	histogram := request("h")
	histogram.Timeseries[0].Samples = nil
	histogram.Timeseries[0].Histograms = []writev2.Histogram{{
		Timestamp: now.UnixMilli(), Count: &writev2.Histogram_CountInt{CountInt: 3}, Sum: 4, Schema: 0,
		PositiveSpans: []writev2.BucketSpan{{Offset: 0, Length: 2}}, PositiveDeltas: []int64{1, 1}, ZeroCount: &writev2.Histogram_ZeroCountInt{},
	}}
	stats, err = client.Write(t.Context(), remoteapi.WriteV2MessageType, histogram)
	require.NoError(t, err)
	require.Equal(t, 1, stats.Histograms)
	require.Len(t, i.stored("histogram_count(h) == 3"), 1)
}

// Each limit has its status, its reason and its count, and none of them is tried
// again but the rate.
func TestWriteLimits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := takingIn(t)
		many := func(n int, series string) (all []prompb.TimeSeries) {
			for k := range n {
				all = append(all, one(time.Now(), 1, "__name__", fmt.Sprintf(series, k)))
			}
			return all
		}
		rec := i.v1("madrid", many(8, "s%d")...)
		require.Equal(t, http.StatusBadRequest, rec.Code)
		require.Contains(t, rec.Body.String(), "3 samples were refused and 5 stored; the first: madrid wrote 5 series within an hour")
		require.InDelta(t, 3, i.refused("series"), 0)
		require.InDelta(t, 5, testutil.ToFloat64(gaugeOf(t, i.reg, "watchbill_remote_write_series")), 0)
		time.Sleep(time.Minute)
		require.Equal(t, http.StatusNoContent, i.v1("madrid", many(5, "s%d")...).Code, "those that it has go on")
		time.Sleep(62 * time.Minute)
		require.Equal(t, http.StatusNoContent, i.v1("madrid", many(5, "t%d")...).Code, "others once the old ones are gone")

		rec = i.v1("madrid", many(21, "u%d")...)
		require.Equal(t, http.StatusRequestEntityTooLarge, rec.Code)
		require.Contains(t, rec.Body.String(), "more than 20 samples")
		require.InDelta(t, 1, i.refused("samples"), 0)

		time.Sleep(time.Minute)
		for range 5 { // 100 at once, 10 a second
			time.Sleep(time.Millisecond)
			require.Equal(t, http.StatusNoContent, i.v1("madrid", spread(20)).Code)
		}
		rec = i.v1("madrid", spread(20))
		require.Equal(t, http.StatusTooManyRequests, rec.Code)
		require.Equal(t, "2", rec.Header().Get("Retry-After"))
		require.Contains(t, rec.Body.String(), "retry_on_http_429")
		time.Sleep(2 * time.Second)
		require.Equal(t, http.StatusNoContent, i.v1("madrid", spread(20)).Code)

		// What would become gigabytes is not decoded.
		for name, x := range map[string]struct {
			contentType string
			body        []byte
			code        int
		}{
			"large":          {"application/x-protobuf", make([]byte, 4<<20+1), http.StatusRequestEntityTooLarge},
			"bomb":           {"application/x-protobuf", snappy.Encode(nil, make([]byte, 17<<20)), http.StatusRequestEntityTooLarge},
			"empty series":   {"application/x-protobuf", snappy.Encode(nil, bytes.Repeat([]byte{1<<3 | 2, 0}, 1<<20)), http.StatusRequestEntityTooLarge},
			"empty labels":   {"application/x-protobuf", snappy.Encode(nil, nested(1, bytes.Repeat([]byte{1<<3 | 2, 0}, 1000))), http.StatusRequestEntityTooLarge},
			"empty metadata": {"application/x-protobuf", snappy.Encode(nil, bytes.Repeat([]byte{3<<3 | 2, 0}, 1000)), http.StatusRequestEntityTooLarge},
			"empty symbols":  {v2Type, snappy.Encode(nil, bytes.Repeat([]byte{4<<3 | 2, 0}, 1000)), http.StatusRequestEntityTooLarge},
			"plain":          {"application/x-protobuf", []byte("up 1\n"), http.StatusBadRequest},
			"nonsense":       {v2Type, snappy.Encode(nil, []byte("nonsense")), http.StatusBadRequest},
			"nothing":        {"application/x-protobuf", nil, http.StatusBadRequest},
			"json":           {"application/json", []byte("{}"), http.StatusUnsupportedMediaType},
		} {
			rec := i.post("madrid", x.contentType, x.body)
			require.Equal(t, x.code, rec.Code, "%s: %s", name, rec.Body)
			require.NotEmpty(t, rec.Body.String(), name)
			require.LessOrEqual(t, rec.Body.Len(), 3000, name)
		}
	})
}

// nested is a message in a field.
func nested(number byte, msg []byte) []byte {
	return append(append([]byte{number<<3 | 2}, uvarint(len(msg))...), msg...)
}

func uvarint(n int) (out []byte) {
	for n >= 0x80 {
		out, n = append(out, byte(n)|0x80), n>>7
	}
	return append(out, byte(n))
}

// spread is one series with samples up to now, of which none was written before.
func spread(n int) prompb.TimeSeries {
	ts := one(time.Now(), 1, "__name__", "t0")
	for k := 1; k < n; k++ {
		ts.Samples = append(ts.Samples, prompb.Sample{Timestamp: time.Now().UnixMilli(), Value: 1})
	}
	return ts
}

func gaugeOf(t *testing.T, reg *prometheus.Registry, name string) prometheus.Collector {
	t.Helper()
	families, err := reg.Gather()
	require.NoError(t, err)
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name})
	for _, f := range families {
		if f.GetName() == name {
			g.Set(f.GetMetric()[len(f.GetMetric())-1].GetGauge().GetValue())
		}
	}
	return g
}

// FuzzWrite has whatever was sent answered, in bounded memory; what is stored has
// the labels of its source.
func FuzzWrite(f *testing.F) {
	now := time.Now()
	v1 := func(series ...prompb.TimeSeries) []byte {
		msg, err := snappy.Decode(nil, v1Body(f, series...))
		require.NoError(f, err)
		return msg
	}
	f.Add(v1(one(now, 1, "__name__", "up", "job", "shop")), false, true)
	f.Add(v1(one(now, math.NaN(), "job", "shop"), one(now.Add(time.Hour), 1, "__name__", "up", "site", "x", "job", "a", "job", "b")), false, true)
	msg, err := (&writev2.Request{Symbols: []string{"", "__name__", "up"}, Timeseries: []writev2.TimeSeries{
		{LabelsRefs: []uint32{1, 2}, Samples: []writev2.Sample{{Value: 1, Timestamp: now.UnixMilli()}}, Exemplars: []writev2.Exemplar{{LabelsRefs: []uint32{9}}}},
		{LabelsRefs: []uint32{7, 7, 7}, Histograms: []writev2.Histogram{{Schema: 99, PositiveSpans: []writev2.BucketSpan{{Offset: -1, Length: 1 << 31}}}}},
	}}).Marshal()
	require.NoError(f, err)
	f.Add(msg, true, true)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f}, false, false)
	i := takingIn(f)
	f.Fuzz(func(t *testing.T, body []byte, v2, compress bool) {
		if compress {
			body = snappy.Encode(nil, body)
		}
		contentType := "application/x-protobuf"
		if v2 {
			contentType = v2Type
		}
		in := *i
		in.t = t
		rec := in.post("berlin", contentType, body)
		require.Contains(t, []int{204, 400, 413, 429}, rec.Code, rec.Body)
		for _, s := range in.stored(`{__name__=~".+", site!="berlin"} or {__name__=~".+", env!="prod"} or {__name__=~"watchbill_.*"}`) {
			t.Fatal(s)
		}
	})
}
