package probe

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"maps"
	"net/http/httptrace"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// RulesName is the name of the rule file that [Rules] makes.
const RulesName = "(built in) alerts of probes"

const (
	// seen is how many of the last probes count, and needed how many of them must
	// succeed.
	seen   = 5
	needed = 3
	// lastPart is the part of a certificate's lifetime in which it is told that it
	// ends, and the next two bound that; unknownLife is for a lifetime that is not
	// known.
	lastPart    = "0.2"
	mostNotice  = 30 * 24 * time.Hour
	unknownLife = 14 * 24 * time.Hour
)

type ruleFile struct {
	Groups []ruleGroup `json:"groups"`
}

type ruleGroup struct {
	Name     string `json:"name"`
	Interval string `json:"interval"`
	Rules    []rule `json:"rules"`
}

type rule struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	For         string            `json:"for,omitempty"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// Rules returns the alert rules of the targets as a rule file, in JSON, which is
// YAML too: ProbeFailed when fewer than three of the last five probes succeeded,
// ProbeMissing when there are none, ProbeCertificateExpires when a fifth of a
// certificate's lifetime is left, at most 30 days (14 days when the lifetime is
// not known, which it is for https alone). The alerts carry the labels of the
// target's series.
func Rules(targets []Target) ([]byte, error) {
	var f ruleFile
	for _, t := range targets {
		f.Groups = append(f.Groups, ruleGroup{Name: "probe " + t.Name, Interval: promDuration(max(t.Interval/5, time.Second)), Rules: t.rules()})
	}
	b, err := json.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("write the rules of probes: %w", err)
	}
	return b, nil
}

func (t Target) rules() []rule {
	series, window := t.selector(), promDuration(seen*t.Interval)
	last := fmt.Sprintf("%d of the last %d probes", needed, seen)
	name := escape(t.Name)
	return []rule{
		{
			Alert: "ProbeFailed",
			Expr: fmt.Sprintf("avg_over_time(probe_success%s[%s]) < %g and count_over_time(probe_success%s[%s]) >= %d",
				series, window, float64(needed)/seen, series, window, needed),
			Labels: map[string]string{"severity": t.Severity},
			Annotations: map[string]string{
				"summary": fmt.Sprintf("The probe %s of %s fails", name, escape(t.Instance())),
				"impact":  "whoever uses it from outside is likely to fail too",
				"value":   "{{ $value | humanizePercentage }} of the probes succeeded", "target": "at least " + last, "window": window,
				"first_action": fmt.Sprintf("Ask for it yourself, and read why: GET /probe?module=%s&target=…&debug=true.", escape(t.Module)),
			},
		},
		{
			Alert: "ProbeMissing", Expr: fmt.Sprintf("absent_over_time(probe_success%s[%s])", series, window), For: promDuration(2 * t.Interval),
			Labels: map[string]string{"severity": t.Severity},
			Annotations: map[string]string{
				"summary": fmt.Sprintf("The probe %s gives no result", name),
				"impact":  "nobody would see it if what it watches failed",
				"value":   "no probe in " + window, "target": "one every " + promDuration(t.Interval),
				"first_action": "Read in watchbill's log why, and look at up and scrape_duration_seconds of the job " + escape(t.Job()) + ".",
			},
		},
		{
			Alert: "ProbeCertificateExpires", For: "10m",
			Expr: fmt.Sprintf("probe_ssl_earliest_cert_expiry%[1]s - time() < clamp_max(%[2]s * %[3]s%[1]s, %[4]d)"+
				" or (probe_ssl_earliest_cert_expiry%[1]s - time() < %[5]d) unless %[3]s%[1]s",
				series, lastPart, lifetimeMetric, int(mostNotice.Seconds()), int(unknownLife.Seconds())),
			Labels: map[string]string{"severity": "warning"},
			Annotations: map[string]string{
				"summary": fmt.Sprintf("A certificate of %s ends soon", escape(t.Instance())),
				"impact":  "clients refuse it once it has ended",
				"value":   "{{ $value | humanizeDuration }} left", "target": "renewed before the last fifth of its lifetime",
				"first_action": "Renew the certificate, or find out why that does not happen by itself.",
			},
		},
	}
}

// selector selects the target's series by all labels that are known, so that an
// alert about a series that is not there has them too.
func (t Target) selector() string {
	l := t.SeriesLabels()
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(l)) {
		if l[name] != "" { // the same as no label
			parts = append(parts, name+"="+strconv.Quote(l[name]))
		}
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// escape keeps a text from being read as a template.
func escape(s string) string { return strings.ReplaceAll(s, "{{", "{ {") }

// lifetimeMetric is how long the certificate of probe_ssl_earliest_cert_expiry is
// valid altogether.
const lifetimeMetric = "watchbill_probe_certificate_lifetime_seconds"

// certificate sees the certificate of the last TLS handshake of an http probe.
type certificate struct {
	mu       sync.Mutex
	lifetime time.Duration
}

// watch has the handshakes of requests under a context seen.
func (c *certificate) watch(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{TLSHandshakeDone: func(state tls.ConnectionState, err error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.lifetime = 0
		if err != nil {
			return
		}
		var earliest time.Time
		for _, x := range state.PeerCertificates {
			if earliest.IsZero() || x.NotAfter.Before(earliest) {
				earliest, c.lifetime = x.NotAfter, x.NotAfter.Sub(x.NotBefore)
			}
		}
	}})
}

// Gather implements [prometheus.Gatherer]; without a certificate it has nothing.
func (c *certificate) Gather() ([]*dto.MetricFamily, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lifetime == 0 {
		return nil, nil
	}
	reg := prometheus.NewRegistry()
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: lifetimeMetric, Help: "How long the certificate that ends first is valid altogether."})
	g.Set(c.lifetime.Seconds())
	if err := reg.Register(g); err != nil {
		return nil, err
	}
	return reg.Gather()
}
