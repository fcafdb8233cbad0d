package logs

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/grafana/loki-client-go/pkg/backoff"
	"github.com/grafana/loki-client-go/pkg/labelutil"
	config_util "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
)

// retry is how a busy server is asked again.
var retry = backoff.BackoffConfig{MinBackoff: 250 * time.Millisecond, MaxBackoff: 5 * time.Second, MaxRetries: 5}

// maxMessage bounds what is shown of a server's error.
const maxMessage = 300

// client asks one source.
type client struct {
	http   *http.Client
	query  url.URL
	tenant string
}

func newClient(s Source, opts []config_util.HTTPClientOption) (*client, error) {
	h, err := config_util.NewClientFromConfig(s.HTTP, "logs_"+s.Name, opts...)
	if err != nil {
		return nil, fmt.Errorf("prepare the queries of %s: %w", s.Name, err)
	}
	return &client{http: h, query: *s.URL.JoinPath("loki/api/v1/query"), tenant: s.Tenant}, nil
}

// point is one series of a result.
type point struct {
	labels map[string]string
	value  float64
}

// again is an error after which it is worth to ask once more.
type again struct {
	error
	after time.Duration // at least
}

func (e again) Unwrap() error { return e.error }

// ask asks a query about an instant until it has an answer or ctx ends.
func (c *client) ask(ctx context.Context, expr string, at time.Time) ([]point, error) {
	b := backoff.New(ctx, retry)
	for {
		points, err := c.once(ctx, expr, at)
		var busy again
		if !errors.As(err, &busy) {
			return points, err
		}
		wait := max(b.NextDelay(), busy.after)
		if deadline, ok := ctx.Deadline(); !b.Ongoing() || ok && time.Until(deadline) <= wait {
			return nil, err // more telling than that the time is over
		}
		if !sleep(ctx, wait) {
			return nil, err
		}
	}
}

// sleep waits; it reports whether ctx did not end meanwhile.
func sleep(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// once sends one request.
func (c *client) once(ctx context.Context, expr string, at time.Time) ([]point, error) {
	u := c.query
	u.RawQuery = url.Values{"query": {expr}, "time": {strconv.FormatInt(at.UnixNano(), 10)}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	// The client of Prometheus' http_config does not ask for it by itself.
	req.Header.Set("Accept-Encoding", "gzip")
	req.Header.Set("Accept", "application/json")
	if c.tenant != "" {
		req.Header.Set("X-Scope-OrgID", c.tenant)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // without the address, in which a secret may stand
		}
		return nil, again{error: fmt.Errorf("no answer: %w", err)}
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := read(resp)
	switch {
	case resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500:
		return nil, again{error: statusError(resp, body), after: retryAfter(resp.Header.Get("Retry-After"), time.Now())}
	case resp.StatusCode != http.StatusOK:
		return nil, statusError(resp, body)
	case err != nil:
		return nil, err
	}
	return decode(body)
}

// read returns the decompressed body, up to the limit.
func read(resp *http.Response) ([]byte, error) {
	var r io.Reader = resp.Body
	if resp.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, fmt.Errorf("unpack the answer: %w", err)
		}
		r = z
	}
	body, err := io.ReadAll(io.LimitReader(r, MaxBody+1))
	if err != nil {
		return body, again{error: fmt.Errorf("read the answer: %w", err)}
	}
	if len(body) > MaxBody {
		return nil, fmt.Errorf("the answer is longer than %d MB", MaxBody>>20)
	}
	return body, nil
}

// statusError is what a server says about a request that it did not fulfil:
// plain text, or JSON with a message.
func statusError(resp *http.Response, body []byte) error {
	var said struct {
		Message string `json:"message"`
		Error   string `json:"error"`
	}
	text := string(body)
	if json.Unmarshal(body, &said) == nil && said.Message+said.Error != "" {
		text = said.Message
		if text == "" {
			text = said.Error
		}
	}
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "\uFFFD")), " ")
	if len(text) > maxMessage {
		text = strings.ToValidUTF8(text[:maxMessage], "") + "…"
	}
	if text == "" {
		return fmt.Errorf("the server answers %s", resp.Status)
	}
	return fmt.Errorf("the server answers %s: %s", resp.Status, text)
}

// retryAfter reads the header, in seconds or as a date.
func retryAfter(text string, now time.Time) time.Duration {
	if n, err := strconv.Atoi(text); err == nil && n >= 0 && n < 86400 {
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(text); err == nil {
		return max(0, t.Sub(now))
	}
	return 0
}

// answer is the body of a successful query, as Loki documents it.
type answer struct {
	Status string `json:"status"`
	Data   struct {
		ResultType string          `json:"resultType"`
		Result     json.RawMessage `json:"result"`
	} `json:"data"`
}

// decode reads the answer to an instant query and holds it to the limits.
func decode(body []byte) ([]point, error) {
	var a answer
	if err := json.Unmarshal(body, &a); err != nil {
		return nil, fmt.Errorf("the answer is not Loki's: %w", err)
	}
	if a.Status != "success" {
		return nil, fmt.Errorf("the answer has the status %q", a.Status)
	}
	switch a.Data.ResultType {
	case "scalar":
		var s model.Scalar
		if err := unmarshal(a.Data.Result, &s); err != nil {
			return nil, err
		}
		return []point{{value: float64(s.Value)}}, nil
	case "vector":
		var v model.Vector
		if err := unmarshal(a.Data.Result, &v); err != nil {
			return nil, err
		}
		return points(v)
	case "streams":
		return nil, errors.New("the query gives log lines, not numbers: count them, as in sum(count_over_time({…}[5m]))")
	case "matrix":
		return nil, errors.New("the query gives a range, not one number for a series: take it out of its range")
	}
	return nil, fmt.Errorf("the query gives a %q, not a vector or a scalar", a.Data.ResultType)
}

func unmarshal(result json.RawMessage, out any) error {
	if err := json.Unmarshal(result, out); err != nil {
		return fmt.Errorf("the result is not Loki's: %w", err)
	}
	return nil
}

// points holds a vector to the limits.
func points(v model.Vector) ([]point, error) {
	if len(v) > MaxSeries {
		return nil, fmt.Errorf("the query gives %d series, the limit is %d: aggregate more, with sum by (…)", len(v), MaxSeries)
	}
	out := make([]point, 0, len(v))
	for _, s := range v {
		if s == nil || s.Histogram != nil {
			return nil, errors.New("the result has something that is no number")
		}
		if len(s.Metric) > MaxLabels {
			return nil, fmt.Errorf("a series has %d labels, the limit is %d: aggregate with sum by (…)", len(s.Metric), MaxLabels)
		}
		for name, value := range s.Metric {
			switch {
			case len(name) > MaxName || len(value) > MaxValue:
				return nil, fmt.Errorf("the label %.40q is longer than %d bytes, or its value than %d", name, MaxName, MaxValue)
			case !model.UTF8Validation.IsValidLabelName(string(name)) || !value.IsValid():
				return nil, fmt.Errorf("the label %.40q or its value is not text", name)
			}
		}
		out = append(out, point{labels: labelutil.ModelLabelSetToMap(model.LabelSet(s.Metric)), value: float64(s.Value)})
	}
	return out, nil
}
