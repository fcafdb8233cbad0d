package config

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	promconfig "github.com/prometheus/prometheus/config"
	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/escalation"
)

const (
	header  = "external_url: https://watchbill.example.com\n"
	runbook = "---\nowner: support\nreviewed: 2026-11-01\n---\n# A\n\n## Quick reference\n\n- Look.\n"
	crew    = header + "roles: {preset: operations}\n" +
		"people: [{name: me, roles: [manager, deployment, infrastructure, security, support], contact: [{receiver: terminal}]}]\n"
)

// write makes a folder of files and returns its path.
func write(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
	}
	return dir
}

// load reads a configuration that must be right.
func load(t *testing.T, files map[string]string) *Config {
	t.Helper()
	cfg, err := Load(filepath.Join(write(t, files), "watchbill.yaml"), noEnv)
	require.NoError(t, err)
	return cfg
}

// mistakes reads a configuration that must be wrong.
func mistakes(t *testing.T, files map[string]string) Problems {
	t.Helper()
	path := filepath.Join(write(t, files), "watchbill.yaml")
	cfg, err := Load(path, noEnv)
	require.Nil(t, cfg)
	return Explain(path, err)
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	cfg := load(t, map[string]string{"watchbill.yaml": crew})
	dir := filepath.Dir(cfg.Path)
	require.Empty(t, cfg.Warnings)
	require.Equal(t, "https://watchbill.example.com", cfg.ExternalURL)
	require.Equal(t, "127.0.0.1:9095", cfg.Listen)
	require.Equal(t, filepath.Join(dir, "data", "watchbill.db"), cfg.Store)
	require.Equal(t, filepath.Join(dir, "data"), cfg.DataDir)
	require.Equal(t, 72*time.Hour, cfg.Collector.Retention)
	require.Equal(t, 5*time.Minute, cfg.Router.ResolveTimeout)
	require.Equal(t, map[string]watchbill.Severity{
		"page": watchbill.Sev2, "critical": watchbill.Sev2, "ticket": watchbill.Sev3, "warning": watchbill.Sev3, "info": watchbill.Sev4,
		"sev1": watchbill.Sev1, "sev2": watchbill.Sev2, "sev3": watchbill.Sev3, "sev4": watchbill.Sev4,
	}, cfg.Router.Severities)
	require.NotNil(t, cfg.Notify.Global)
	_, err := promconfig.Load(string(cfg.Collector.Prometheus), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
}

func TestBuiltInRules(t *testing.T) {
	t.Parallel()
	cfg := load(t, map[string]string{"watchbill.yaml": crew + `
activities:
  - {match: ['team="db"', 'env!="dev"'], activity: states}
inhibit_rules:
  - {name: own, source_matchers: ['a="b"'], target_matchers: ['c="d"'], equal: [x]}
`})
	var rules []string
	for _, r := range cfg.Router.Activities {
		rules = append(rules, fmt.Sprintf("%s %s %s", r.Line, r.Match, r.Activity))
	}
	require.Equal(t, []string{
		`watchbill.yaml:6 {team="db",env!="dev"} states`,
		`built-in {st!=""} performance`,
		`built-in {signal="security"} security`,
	}, rules)
	var inhibit []string
	for _, r := range cfg.Router.InhibitRules {
		inhibit = append(inhibit, fmt.Sprintf("%s: %s > %s %v", r.Name, r.SourceMatchers, r.TargetMatchers, r.Equal))
	}
	require.Len(t, inhibit, 4)
	require.True(t, strings.HasPrefix(inhibit[0], "own: "))
	for i, want := range []string{"page_slow|ticket_fast|ticket_slow", "ticket_fast|ticket_slow", "ticket_slow"} {
		r := cfg.Router.InhibitRules[i+1]
		require.Equal(t, want, r.TargetMatchers[0].Value)
		require.Equal(t, []string{"st"}, r.Equal)
		require.False(t, r.TargetMatchers[0].Matches(r.SourceMatchers[0].Value), "a tier must not mute itself")
	}
}

func TestEverySectionReachesItsRoom(t *testing.T) {
	t.Parallel()
	cfg := load(t, map[string]string{
		"watchbill.yaml": crew + `
listen: 0.0.0.0:80
store: sqlite:/var/lib/watchbill.db
retention: {series: 40d}
matrix: {security: {support: no, manager: first}, cost: {manager: yes}}
severities: {info: sev3, urgent: sev1}
rosters:
  - role: support
    people: [me]
    start: 2026-01-05
    handover: friday 17:30
    tz: Europe/Madrid
    hours: [{weekdays: [friday:monday], from: "09:00", to: "24:00"}]
incidents: {ack_deadlines: {sev1: 10m}, reopen_window: 1h, quiet: 2h}
escalation: {second: 1m, manager: 2m, everyone: 3m, repeat: 4m}
runbooks: {dir: books}
auth: {token_ttl: 30d}
templates: [mail.tmpl]
receivers:
  - name: push
    webhook_configs: [{url_file: secrets/push}]
time_intervals:
  - {name: nights, time_intervals: [{times: [{start_time: "22:00", end_time: "24:00"}]}]}
global: {resolve_timeout: 7m, scrape_interval: 5s, evaluation_interval: 5s}
`,
		"books/a.md": runbook, "mail.tmpl": `{{ define "mail" }}x{{ end }}`, "secrets/push": "https://push.example.com/x",
	})
	dir := filepath.Dir(cfg.Path)
	require.Empty(t, cfg.Warnings)
	require.Equal(t, "0.0.0.0:80", cfg.Listen)
	require.Equal(t, "/var/lib/watchbill.db", cfg.Store)
	require.Equal(t, 40*24*time.Hour, cfg.Collector.Retention)
	require.Equal(t, 40*24*time.Hour, cfg.Targets.Retention)
	require.Equal(t, []watchbill.RoleID{"manager", "security"}, cfg.Matrix.Responsible("security"))
	require.Equal(t, []watchbill.RoleID{"manager"}, cfg.Matrix.Responsible("cost"))
	require.Equal(t, cfg.Matrix, cfg.Router.Matrix)
	require.Equal(t, cfg.Matrix, cfg.Escalation.Matrix)
	require.Equal(t, watchbill.Sev1, cfg.Router.Severities["urgent"])
	require.Equal(t, watchbill.Sev3, cfg.Router.Severities["info"])
	require.Equal(t, 7*time.Minute, cfg.Router.ResolveTimeout)
	require.Contains(t, cfg.Router.TimeIntervals, "nights")
	madrid, err := time.LoadLocation("Europe/Madrid")
	require.NoError(t, err)
	require.Equal(t, []escalation.Roster{{
		Role: "support", People: []watchbill.PersonID{"me"}, Zone: madrid, Line: "watchbill.yaml:11",
		Start:    time.Date(2026, 1, 5, 12, 0, 0, 0, madrid),
		Handover: escalation.Handover{Weekday: time.Friday, Hour: 17, Minute: 30},
		Hours: []escalation.Hours{{
			Weekdays: []time.Weekday{time.Friday, time.Saturday, time.Sunday, time.Monday}, From: 9 * 60, To: 24 * 60,
		}},
	}}, cfg.Escalation.Rosters)
	require.Equal(t, map[watchbill.Severity]time.Duration{watchbill.Sev1: 10 * time.Minute}, cfg.Incident.AckDeadlines)
	require.Equal(t, time.Hour, cfg.Incident.ReopenWindow)
	require.Equal(t, 2*time.Hour, cfg.Incident.Quiet)
	require.Equal(t, escalation.Timing{Second: time.Minute, Manager: 2 * time.Minute, Everyone: 3 * time.Minute, Repeat: 4 * time.Minute}, cfg.Escalation.Timing)
	require.Equal(t, filepath.Join(dir, "books"), cfg.Runbooks.Dir)
	require.Equal(t, 30*24*time.Hour, cfg.Auth.TokenTTL)
	require.Equal(t, []string{filepath.Join(dir, "mail.tmpl")}, cfg.Notify.Templates)
	require.Len(t, cfg.Notify.Receivers, 1)
	require.Equal(t, filepath.Join(dir, "secrets", "push"), cfg.Notify.Receivers[0].WebhookConfigs[0].URLFile)
	require.Equal(t, "https://watchbill.example.com", cfg.Notify.ExternalURL)
}

func TestPaths(t *testing.T) {
	t.Parallel()
	cfg := load(t, map[string]string{
		"watchbill.yaml": crew + `
include: [conf.d/*.yaml]
global:
  external_labels: {my_file: stays, site: "a $$x"}
`,
		"conf.d/scrape.yaml": `
scrape_configs:
  - job_name: files
    file_sd_configs: [{files: [sd/*.json]}]
    basic_auth: {username: u, password_file: pw}
    static_configs: [{targets: [a:1], labels: {ca_file: stays}}]
rule_files: [rules/*.yaml]
`,
		"conf.d/pw": "secret", "conf.d/rules/a.yaml": "groups: []\n",
	})
	dir := filepath.Join(filepath.Dir(cfg.Path), "conf.d")
	prom, err := promconfig.Load(string(cfg.Collector.Prometheus), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	require.Equal(t, "stays", prom.GlobalConfig.ExternalLabels.Get("my_file"))
	require.Equal(t, "a $x", prom.GlobalConfig.ExternalLabels.Get("site"))
	scrapes, err := prom.GetScrapeConfigs()
	require.NoError(t, err)
	require.Equal(t, filepath.Join(dir, "pw"), scrapes[0].HTTPClientConfig.BasicAuth.PasswordFile)
	require.Contains(t, string(cfg.Collector.Prometheus), filepath.Join(dir, "sd", "*.json"))
	require.Contains(t, string(cfg.Collector.Prometheus), "\"ca_file\"\n:\n\"stays\"")
	require.Len(t, cfg.Collector.Rules, 1)
	require.Equal(t, filepath.Join(dir, "rules", "a.yaml"), cfg.Collector.Rules[0].Name)
}

func TestEnvironment(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{"watchbill.yaml": crew + `
global:
  external_labels: {site: "${SITE}"}
  smtp_smarthost: smtp.example.com:587
  smtp_from: me@example.com
  smtp_auth_password_file: ${CREDENTIALS_DIRECTORY}/smtp
receivers:
  - {name: mail, email_configs: [{to: me@example.com, text: "${SITE} stays"}]}
`})
	env := func(name string) string {
		return map[string]string{"SITE": "madrid", "CREDENTIALS_DIRECTORY": "/run/credentials"}[name]
	}
	cfg, err := Load(filepath.Join(dir, "watchbill.yaml"), env)
	require.NoError(t, err)
	prom, err := promconfig.Load(string(cfg.Collector.Prometheus), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	require.Equal(t, "madrid", prom.GlobalConfig.ExternalLabels.Get("site"))
	require.Equal(t, "/run/credentials/smtp", cfg.Notify.Global.SMTPAuthPasswordFile)
	require.Equal(t, "/run/credentials/smtp", cfg.Notify.Receivers[0].EmailConfigs[0].AuthPasswordFile)
	require.Equal(t, "${SITE} stays", cfg.Notify.Receivers[0].EmailConfigs[0].Text)
}

func TestIncludesMerge(t *testing.T) {
	t.Parallel()
	cfg := load(t, map[string]string{
		"watchbill.yaml": header + "include: [conf.d/*.yaml, conf.d/a.yaml]\nroles: {preset: operations}\n" +
			"matrix: {security: {support: no}}\nglobal: {scrape_interval: 15s}\n",
		"conf.d/a.yaml": "people: [{name: ana, roles: [support, manager], contact: [{receiver: terminal}]}]\n" +
			"matrix: {security: {manager: yes}}\nglobal: {resolve_timeout: 9m}\nservices:\n",
		"conf.d/b.yaml": "people:\n  - {name: ben, roles: [deployment, infrastructure, security], contact: [{receiver: terminal}]}\n",
		"conf.d/c.yaml": "# nothing\n",
	})
	require.Empty(t, cfg.Warnings)
	require.Len(t, cfg.People, 2)
	require.Equal(t, []watchbill.RoleID{"security", "manager"}, append(cfg.Matrix.FirstRoles("security"), cfg.Matrix.Responsible("security")[1:]...))
	require.Equal(t, 9*time.Minute, cfg.Router.ResolveTimeout)
	require.Equal(t, "conf.d/b.yaml:2", cfg.Line("people.ben"))
	require.Equal(t, "conf.d/a.yaml:1", cfg.Line("people.0.contact.0.receiver"))
	require.Equal(t, "conf.d/a.yaml:2", cfg.Line("matrix.security.manager"))
	require.Equal(t, "watchbill.yaml:1", cfg.Line("external_url"))
	require.Empty(t, cfg.Line("people.nobody.tz"))
	require.Empty(t, cfg.Line(""))
}

func TestContactsThatAreNotWritten(t *testing.T) {
	t.Parallel()
	people := "people:\n  - {name: me, roles: [manager, deployment, infrastructure, security, support], email: me@example.com}\n"
	for name, tc := range map[string]struct {
		global, want string
		warnings     int
	}{
		"e-mail if there is a mail server": {"global: {smtp_smarthost: 'mail:25', smtp_from: w@example.com}\n", "email", 0},
		"else the terminal, with a doubt":  {"", "terminal", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := load(t, map[string]string{"watchbill.yaml": header + "roles: {preset: operations}\n" + tc.global + people})
			require.Equal(t, []watchbill.Contact{{Receiver: tc.want}}, cfg.People[0].Contact)
			require.Len(t, cfg.Warnings, tc.warnings)
		})
	}
}

func TestOwnRoles(t *testing.T) {
	t.Parallel()
	cfg := load(t, map[string]string{"watchbill.yaml": header + `
roles: [{id: boss, title: The Boss, manager: true}, {id: ops}]
matrix:
  change-production: {ops: first}
  deploy-platform: {ops: yes}
  raise-alerts: {ops: yes, boss: yes}
  performance: {ops: yes}
  security: {ops: yes}
  states: {ops: yes}
  first-line: {ops: yes}
people: [{name: me, roles: [boss, ops], contact: [{receiver: terminal}]}]
`})
	require.Empty(t, cfg.Warnings)
	require.Equal(t, watchbill.RoleID("boss"), cfg.Matrix.Manager)
	require.Equal(t, []watchbill.Role{{ID: "boss", Title: "The Boss"}, {ID: "ops", Title: "ops"}}, cfg.Matrix.Roles)
	require.Len(t, cfg.Matrix.Activities, 7)
}

func TestInitThenLoad(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new", "folder")
	require.NoError(t, Init(dir))
	path := filepath.Join(dir, "watchbill.yaml")
	cfg, err := Load(path, noEnv)
	require.NoError(t, err)
	require.Empty(t, cfg.Warnings)
	require.Len(t, cfg.Targets.Targets, 1)
	require.Greater(t, cfg.Collector.Retention, 30*24*time.Hour)
	require.Len(t, cfg.Collector.Rules, 2)

	require.NoError(t, os.WriteFile(path, []byte("mine"), 0o644))
	require.NoError(t, os.Remove(filepath.Join(dir, "rules", "example.yaml")))
	require.ErrorContains(t, Init(dir), "is there already")
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "mine", string(content))
	require.NoFileExists(t, filepath.Join(dir, "rules", "example.yaml"), "it writes all files or none")
}

// TestCommentedExamplesOfInit uncomments the examples of the starting
// configuration: they must work too.
func TestCommentedExamplesOfInit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, Init(dir))
	path := filepath.Join(dir, "watchbill.yaml")
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	var out []string
	for line := range strings.Lines(string(content)) {
		bare := strings.TrimLeft(line, " ")
		code, isComment := strings.CutPrefix(bare, "# ")
		key, _, _ := strings.Cut(code, ":")
		if isComment && (strings.HasPrefix(code, "- ") || strings.HasPrefix(code, "  ") && strings.Contains(code, ": ") || idPattern.MatchString(key) && !strings.Contains(key, ".")) && strings.Contains(code, ":") {
			line = line[:len(line)-len(bare)] + code
		}
		out = append(out, line)
	}
	text := strings.Join(out, "")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "secrets"), 0o755))
	for _, name := range []string{"smtp-password", "ana-push-url"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "secrets", name), []byte("x"), 0o600))
	}
	cfg, err := Load(path, noEnv)
	require.NoError(t, err, text)
	require.Len(t, cfg.People, 2, text)
	require.Len(t, cfg.Escalation.Rosters, 1, text)
	require.Len(t, cfg.Router.Activities, 3, text)
	require.Len(t, cfg.Notify.Receivers, 1, text)
}

func TestFileThatIsTooLargeOrMissing(t *testing.T) {
	t.Parallel()
	require.ErrorContains(t, mistakes(t, map[string]string{"watchbill.yaml": strings.Repeat("#\n", maxFileSize/2+1)}), "larger than 4 MB")
	require.ErrorContains(t, mistakes(t, map[string]string{"other.yaml": ""}), "no such file")
	require.ErrorContains(t, mistakes(t, map[string]string{"watchbill.yaml/x": ""}), "folder")
}

func TestAliasesCannotExhaustTheMachine(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(header + "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := range 12 {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i), 10), ", "))
	}
	require.ErrorContains(t, mistakes(t, map[string]string{"watchbill.yaml": b.String()}), "too large from here on")
}

func TestMergeKeys(t *testing.T) {
	t.Parallel()
	cfg := load(t, map[string]string{"watchbill.yaml": crew + `
services:
  - &base {name: a, tier: 2, owner: support, environments: [prod]}
  - {<<: *base, name: b, tier: 3}
  - {name: c, <<: [*base, {tier: 9}]}
`})
	require.Equal(t, []watchbill.Service{
		{Name: "a", Tier: 2, Owner: "support", Environments: []string{"prod"}},
		{Name: "b", Tier: 3, Owner: "support", Environments: []string{"prod"}},
		{Name: "c", Tier: 2, Owner: "support", Environments: []string{"prod"}},
	}, cfg.Services)
}

func TestProblemsPrint(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	Problems{
		{File: "a.yaml", Line: 2, Col: 3, Message: "wrong", Advice: "right", Source: "\té: x"},
		{File: "b.yaml", Message: "missing", Warning: true},
	}.Print(&out)
	require.Equal(t, "a.yaml:2:3: wrong\n  \té: x\n  \t ^\n  advice: right\n\nb.yaml: warning: missing\n", out.String())
}

func TestNearest(t *testing.T) {
	t.Parallel()
	known := []string{"support", "security", "manager"}
	for got, want := range map[string]string{
		"supprt": "support", "Support": "support", "securty": "security", "x": "", "": "", "deployment": "", "mnager": "manager",
	} {
		require.Equal(t, want, nearest(got, known), got)
	}
	require.Equal(t, 1, distance("ab", "ba"))
	require.Equal(t, 3, distance("kitten", "sitting"))
}
