package collector

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// overError says which limit a request is over.
type overError struct{ reason, text string }

func (o overError) Error() string { return o.text }

// tally counts what a message would become in memory, without decoding it: two
// bytes of it may become a hundred.
type tally struct {
	cfg                       WriteSource
	series, samples, labels   int
	metadata, symbols, others int
}

// shape is where the parts of a message are: the numbers of fields in
// prompb/types.proto and prompb/io/prometheus/write/v2/types.proto of Prometheus.
// Zero is a field that the version does not have.
type shape struct {
	series, metadata, symbols          protowire.Number // of the message
	labels, samples, histos, exemplars protowire.Number // of a series
	exemplarLabels, negative, positive protowire.Number // of an exemplar, and the spans of a histogram
}

func shapeOf(v2 bool) shape {
	if v2 {
		return shape{series: 5, symbols: 4, samples: 2, histos: 3, exemplars: 4, negative: 8, positive: 11}
	}
	return shape{series: 1, metadata: 3, labels: 1, samples: 2, exemplars: 3, histos: 4, exemplarLabels: 1, negative: 8, positive: 11}
}

// scanWrite walks a decompressed message and returns how many samples it holds. It
// allocates nothing, however often a part is repeated.
func scanWrite(msg []byte, v2 bool, cfg WriteSource) (samples int, err error) {
	t, s := &tally{cfg: cfg}, shapeOf(v2)
	err = fields(msg, func(n protowire.Number, part []byte) error {
		switch n { //nolint:exhaustive // numbers, not kinds
		case s.series:
			t.series++
			if err := t.timeSeries(part, s); err != nil {
				return err
			}
		case s.metadata:
			t.metadata++
		case s.symbols:
			t.symbols++
		default:
			t.others++
		}
		return t.check()
	})
	return t.samples, err
}

func (t *tally) timeSeries(msg []byte, s shape) error {
	return fields(msg, func(n protowire.Number, part []byte) error {
		switch n { //nolint:exhaustive // numbers, not kinds
		case s.labels:
			t.labels++
		case s.samples:
			t.samples++
		case s.histos:
			t.samples++
			return t.inner(part, s.negative, s.positive)
		case s.exemplars:
			t.samples++
			return t.inner(part, s.exemplarLabels, 0)
		}
		return t.check()
	})
}

// inner counts the labels of an exemplar, or the spans of a histogram.
func (t *tally) inner(msg []byte, a, b protowire.Number) error {
	return fields(msg, func(n protowire.Number, _ []byte) error {
		if n == a || n == b {
			t.labels++
		}
		return t.check()
	})
}

// check bounds each kind of part by what a good request may need.
func (t *tally) check() error {
	most := t.cfg.Samples
	switch {
	case t.samples > most || t.series > most:
		return overError{refusedSamples, fmt.Sprintf("the request has more than %d samples or series: lower max_samples_per_send, or raise limits.samples", most)}
	case t.labels > most*t.cfg.SeriesLabels:
		return overError{refusedLabels, fmt.Sprintf("the request has more than %d labels", most*t.cfg.SeriesLabels)}
	case t.metadata > most || t.symbols > 8*most+64 || t.others > most:
		return overError{refusedSamples, fmt.Sprintf("the request has more metadata or symbols than %d samples need", most)}
	}
	return nil
}

var errNotProtobuf = errors.New("the body is not a remote-write message")

// fields calls f for each field that holds bytes, with them.
func fields(msg []byte, f func(protowire.Number, []byte) error) error {
	for len(msg) > 0 {
		number, kind, n := protowire.ConsumeTag(msg)
		if n < 0 {
			return errNotProtobuf
		}
		msg = msg[n:]
		if kind != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(number, kind, msg); n < 0 {
				return errNotProtobuf
			}
			msg = msg[n:]
			continue
		}
		part, n := protowire.ConsumeBytes(msg)
		if n < 0 {
			return errNotProtobuf
		}
		if err := f(number, part); err != nil {
			return err
		}
		msg = msg[n:]
	}
	return nil
}
