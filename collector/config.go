package collector

import (
	"time"

	"watchbill/collector/logs"
	"watchbill/collector/probe"
)

// Config is what the collector scrapes and evaluates.
type Config struct {
	// Prometheus is a configuration in Prometheus' own format with the keys
	// global and scrape_configs, as text: the library cannot be handed a
	// configuration made in Go.
	Prometheus []byte
	// Dir is the folder that relative file names in Prometheus start from.
	// Empty is the working directory.
	Dir string
	// Rules are rule files in Prometheus' format: the user's rule_files, and the
	// rules generated from service targets.
	Rules []RuleFile
	// Retention is how long samples are kept. Default 3 d, and more if a
	// service target's window is longer.
	Retention time.Duration
	// Self has the process' own metrics kept, if Options.Self gives them.
	Self bool
	// Probes is what is probed, and what may be. The scrape configs and the rules of
	// its targets are part of Prometheus and Rules already.
	Probes probe.Config
	// Query bounds what the query API may use.
	Query QueryConfig
	// Sources are those who may write series.
	Sources []WriteSource
	// Logs are the log queries. The rules about them are part of Rules already.
	Logs logs.Config
	// Server is an existing Prometheus server on which rules are evaluated.
	Server Server
	// Vanishing has alerts made about signals that are not there any more.
	Vanishing Vanishing
	// Limits bounds what scrapes may bring.
	Limits Limits
	// ExternalURL is the daemon's own address, for the links of alerts.
	ExternalURL string
}

// RuleFile is one rule file: its name for messages and its content.
type RuleFile struct {
	Name    string
	Content []byte
	// Watch has series that vanish while alert rules of the file read them told, if
	// Config.Vanishing is on.
	Watch bool
	// Here has the rules evaluated over the series here, also with Config.Server.
	Here bool
	// Generated is set for one of possibly thousands of files, each made from a
	// service target. Of what the process tells about each of their groups,
	// Config.Self keeps how often evaluating failed.
	Generated bool
}

// QueryConfig bounds what the query API may use. What is zero has its default.
type QueryConfig struct {
	// Timeout ends a query, with the time it waited for others. Default 10 s.
	Timeout time.Duration
	// MaxSamples is how many samples a query may hold in memory at once, at 16
	// bytes each and more for histograms. Default 5 million.
	MaxSamples int
	// MaxConcurrency is how many queries run at once; others wait. Default 4.
	MaxConcurrency int
}
