package collector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	config_util "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/model/rulefmt"

	"watchbill"
	"watchbill/collector/logs"
	"watchbill/collector/probe"
)

// prepared is a configuration that was checked as a whole.
type prepared struct {
	prom        *config.Config
	discovery   map[string]discovery.Configs
	files       []string
	groups      map[string]*rulefmt.RuleGroups
	local       map[string]bool // rule files that are evaluated here in any case
	generated   map[string]bool // rule files made from service targets
	retention   time.Duration
	externalURL *url.URL
	self        bool
	probes      probe.Config
	query       QueryConfig
	sources     []WriteSource
	limits      Limits
	scrapes     []*config.ScrapeConfig
	logs        logs.Config
	remote      *remote
}

// prepare checks everything about a configuration without touching anything.
func prepare(cfg Config, httpOpts []config_util.HTTPClientOption) (prepared, error) {
	p := prepared{sources: cfg.Sources, self: cfg.Self, probes: cfg.Probes, query: cfg.Query.withDefaults(), retention: cfg.Retention, groups: map[string]*rulefmt.RuleGroups{}, local: map[string]bool{}, generated: map[string]bool{}}
	if p.retention <= 0 {
		p.retention = defaultRetention
	}
	var err error
	if p.externalURL, err = url.Parse(strings.TrimRight(cfg.ExternalURL, "/")); err != nil {
		return p, watchbill.Invalidf("write external_url as https://watchbill.example.com", "read the external URL: %v", err)
	}
	if p.prom, err = loadPrometheus(cfg.Prometheus); err != nil {
		return p, err
	}
	p.prom.SetDirectory(cfg.Dir)
	limited(p.prom)
	p.limits = cfg.Limits
	if p.discovery, err = discoveries(p.prom, httpOpts); err != nil {
		return p, err
	}
	p.logs = cfg.Logs
	if err := logs.Check(cfg.Logs, httpOpts); err != nil {
		return p, watchbill.Invalidf("check the files of its http_config", "%v", err)
	}
	if p.remote, err = newRemote(cfg, httpOpts); err != nil {
		return p, err
	}
	files, err := p.ruleFiles(cfg)
	if err != nil {
		return p, err
	}
	every := time.Duration(p.prom.GlobalConfig.EvaluationInterval)
	var errs []error
	for _, f := range files {
		if slices.Contains(p.files, f.Name) {
			errs = append(errs, watchbill.Invalidf("name each rule file once", "the rule file %s is there twice", f.Name))
			continue
		}
		groups, problems := parseRules(f)
		for _, problem := range problems {
			errs = append(errs, watchbill.Invalidf("correct the rule", "%s:%d:%d: %s", f.Name, problem.Line, problem.Col, problem.Message))
		}
		if groups != nil {
			p.files = append(p.files, f.Name)
			p.local[f.Name], p.generated[f.Name] = f.here(), f.Generated
			p.groups[f.Name] = &rulefmt.RuleGroups{Groups: schedule(groups.Groups, every)}
		}
	}
	return p, errors.Join(errs...)
}

// ruleFiles are the rule files of a configuration, with those that are made here.
func (p *prepared) ruleFiles(cfg Config) ([]RuleFile, error) {
	var err error
	if p.scrapes, err = p.prom.GetScrapeConfigs(); err != nil {
		return nil, watchbill.Invalidf("check scrape_config_files", "read scrape_configs: %v", err)
	}
	files := slices.Clone(cfg.Rules)
	if cfg.Vanishing.Alerts && len(p.scrapes) > 0 {
		f, err := vanishFile(cfg.Vanishing, p.scrapes, cfg.Rules)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// loadPrometheus reads scrape configurations.
func loadPrometheus(text []byte) (*config.Config, error) {
	prom, err := config.Load(string(text), slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, watchbill.Invalidf("compare with Prometheus' documentation of scrape_configs", "read scrape_configs: %v", err)
	}
	for _, k := range []struct {
		key     string
		present bool
	}{
		{"alerting", len(prom.AlertingConfig.AlertmanagerConfigs)+len(prom.AlertingConfig.AlertRelabelConfigs) > 0},
		{"remote_read", len(prom.RemoteReadConfigs) > 0},
		{"remote_write", len(prom.RemoteWriteConfigs) > 0},
		{"rule_files", len(prom.RuleFiles) > 0},
		{"global.query_log_file", prom.GlobalConfig.QueryLogFile != ""},
	} {
		if k.present {
			return nil, watchbill.Invalidf("remove the key: only global and scrape_configs are used", "%s has no meaning here", k.key)
		}
	}
	if prom.GlobalConfig.EvaluationInterval <= 0 {
		return nil, watchbill.Invalidf("write evaluation_interval: 15s", "the evaluation interval is not positive")
	}
	return prom, nil
}

// discoveries are the discovery configurations by job. The HTTP client of each
// job is made once to see whether its files can be read.
func discoveries(prom *config.Config, opts []config_util.HTTPClientOption) (map[string]discovery.Configs, error) {
	jobs, err := prom.GetScrapeConfigs()
	if err != nil {
		return nil, watchbill.Invalidf("check scrape_config_files", "read scrape_configs: %v", err)
	}
	out := map[string]discovery.Configs{}
	var errs []error
	for _, job := range jobs {
		client, err := config_util.NewClientFromConfig(job.HTTPClientConfig, job.JobName, opts...)
		if err != nil {
			errs = append(errs, watchbill.Invalidf("check the files of its tls_config and authorization", "prepare the scrapes of job %s: %v", job.JobName, err))
			continue
		}
		client.CloseIdleConnections()
		out[job.JobName] = job.ServiceDiscoveryConfigs
	}
	return out, errors.Join(errs...)
}

// window is how far back samples are taken.
func (p prepared) window() time.Duration {
	if len(p.sources) == 0 {
		return 0
	}
	return WriteWindow
}

// lookingUp is held while a scrape manager looks up the name of this host, as it
// does with every configuration. The resolver has those who ask for the same name
// at once share one answer, and testing/synctest ends a process in which two
// bubbles share anything. A process has one collector, or it is a test.
var lookingUp sync.Mutex

func (c *Collector) scrapeWith(cfg *config.Config) error {
	lookingUp.Lock()
	defer lookingUp.Unlock()
	return c.scrape.ApplyConfig(cfg)
}

// apply makes a checked configuration the running one.
func (c *Collector) apply(p prepared) error {
	retention := config.TSDBRetentionConfig{Time: model.Duration(p.retention)}
	p.prom.StorageConfig.TSDBConfig = &config.TSDBConfig{Retention: &retention, OutOfOrderTimeWindow: p.window().Milliseconds()}
	if err := c.db.ApplyConfig(p.prom); err != nil {
		return fmt.Errorf("apply retention: %w", err)
	}
	if err := c.scrapeWith(p.prom); err != nil {
		return fmt.Errorf("apply scrape_configs: %w", err)
	}
	if err := c.discovery.ApplyConfig(p.discovery); err != nil {
		return fmt.Errorf("apply discovery: %w", err)
	}
	global := p.prom.GlobalConfig
	c.probes.Set(p.probes)
	c.intake.set(p.sources)
	if err := c.logs.Set(p.logs); err != nil {
		return fmt.Errorf("apply logs: %w", err)
	}
	c.remote.set(p.remote)
	c.limits.set(p.limits.SeriesPerJob)
	c.jobs.set(context.Background(), p.scrapes, time.Now())
	c.selfOn.Store(p.self)
	c.generated.Store(&p.generated)
	c.selfEvery.Store(int64(global.ScrapeInterval))
	c.offset.Store(int64(global.RuleQueryOffset))
	c.sender.origin.Store(&origin{externalURL: p.externalURL.String(), labels: global.ExternalLabels.Map()})
	c.loader.set(p.groups, p.local, time.Duration(global.EvaluationInterval))
	if err := c.rules.Update(time.Duration(global.EvaluationInterval), p.files, global.ExternalLabels, p.externalURL.String(), c.evaluate); err != nil {
		return fmt.Errorf("apply rules: %w", err)
	}
	if old := c.api.Load(); old == nil || old.cfg != p.query || c.current.externalURL.String() != p.externalURL.String() {
		c.api.Store(c.newQueryAPI(p.query, p.externalURL))
	}
	c.current = p
	return nil
}

// Reload takes a new configuration. An error leaves the old one running.
func (c *Collector) Reload(cfg Config) error {
	p, err := prepare(cfg, c.http)
	if err != nil {
		return fmt.Errorf("reload collector: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errors.New("reload collector: it is closed")
	}
	if err := c.apply(p); err != nil {
		return errors.Join(fmt.Errorf("reload collector: %w", err), c.apply(c.current))
	}
	return nil
}
