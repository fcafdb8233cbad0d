package probe

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"time"

	bbconfig "github.com/prometheus/blackbox_exporter/config"
	"github.com/prometheus/common/model"
)

// Host is the host name under which targets of the configuration are scraped. It
// is reached by [Prober.DialContext] only.
const Host = "probes.watchbill.invalid"

// Offset is taken off the timeout that a scraper announces, so that an answer
// still arrives in time; blackbox_exporter's default.
const Offset = 500 * time.Millisecond

// Config is what is probed, how, and what may be.
type Config struct {
	// Modules are blackbox_exporter's, by name.
	Modules map[string]bbconfig.Module
	// Allow is what else may be probed, by [ParseAllow].
	Allow []Allow
	// Targets are probed by the daemon itself.
	Targets []Target
	// Alerts has [Rules] made for the targets.
	Alerts bool
}

// Target is one thing that is probed on an interval.
type Target struct {
	Name     string // label probe; unique
	Module   string
	Target   string
	Hostname string // Host header and TLS server name, as ?hostname= of /probe
	Interval time.Duration
	Timeout  time.Duration // of the probe itself
	Severity string        // label of the alert that it fails
	Labels   map[string]string
}

// Job is the value of the label job of a target's series.
func (t Target) Job() string { return "probe/" + t.Module }

// Instance is the value of the label instance: the target without a password.
func (t Target) Instance() string {
	u, err := url.Parse(t.Target)
	if err != nil || u.User == nil {
		return t.Target
	}
	u.User = nil
	return u.String()
}

// SeriesLabels are the labels of each of a target's series.
func (t Target) SeriesLabels() map[string]string {
	l := maps.Clone(t.Labels)
	if l == nil {
		l = map[string]string{}
	}
	l[model.JobLabel], l[model.InstanceLabel], l["probe"] = t.Job(), t.Instance(), t.Name
	return l
}

// scrapeTimeout is what the scrape of a probe may take. It leaves the probe its
// own timeout, if the interval does.
func (t Target) scrapeTimeout() time.Duration { return min(t.Timeout+Offset, t.Interval) }

type scrapeConfig struct {
	JobName     string              `json:"job_name"`
	Interval    string              `json:"scrape_interval"`
	Timeout     string              `json:"scrape_timeout"`
	MetricsPath string              `json:"metrics_path"`
	Params      map[string][]string `json:"params"`
	SampleLimit int                 `json:"sample_limit"`
	Static      []staticConfig      `json:"static_configs"`
}

type staticConfig struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// mostSamples is how many samples one probe may give.
const mostSamples = 2000

// ScrapeConfigs returns the scrape_configs of the targets, as a JSON list, which
// is YAML too.
func ScrapeConfigs(targets []Target) ([]byte, error) {
	jobs := make([]scrapeConfig, len(targets))
	for i, t := range targets {
		jobs[i] = scrapeConfig{
			JobName: "probe of " + t.Name, Interval: promDuration(t.Interval), Timeout: promDuration(t.scrapeTimeout()),
			MetricsPath: "/", Params: map[string][]string{"name": {t.Name}}, SampleLimit: mostSamples,
			Static: []staticConfig{{Targets: []string{Host + ":80"}, Labels: t.SeriesLabels()}},
		}
	}
	b, err := json.Marshal(jobs)
	if err != nil {
		return nil, fmt.Errorf("write the scrape configs of probes: %w", err)
	}
	return b, nil
}

func promDuration(d time.Duration) string { return model.Duration(d).String() }
