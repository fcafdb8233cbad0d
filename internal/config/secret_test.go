package config

import (
	"bytes"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// canary stands wherever a secret can.
const canary = "canary-7d1f"

const secrets = `
global:
  scrape_interval: 15s
  smtp_smarthost: mail.example.com:25
  smtp_from: w@example.com
  smtp_auth_password: canary-7d1f
  slack_api_url: https://hooks.example.com/services/canary-7d1f
  opsgenie_api_key: "canary-7d1f"
scrape_configs:
  - job_name: a
    basic_auth: {username: u, password: canary-7d1f}
  - job_name: b
    authorization:
      credentials: >-
        canary-7d1f
        canary-7d1f
  - job_name: c
    http_headers: {X-Auth: {secrets: [canary-7d1f], values: ["canary-7d1f"]}}
    proxy_url: http://user:canary-7d1f@proxy.example.com
  - job_name: d
    oauth2: {client_id: i, client_secret: 'canary-7d1f', token_url: "https://user:canary-7d1f@token.example.com"}
    tls_config:
      key: |
        -----BEGIN-----
        canary-7d1f
      cert: c
receivers:
  - name: r
    webhook_configs: [{url: "https://push.example.com/canary-7d1f?x=canary-7d1f", http_config: {bearer_token: canary-7d1f}}]
    pagerduty_configs: [{routing_key: canary-7d1f}, {service_key: canary-7d1f}]
    telegram_configs: [{bot_token: "12:canary-7d1f", chat_id: 5}]
    pushover_configs: [{user_key: canary-7d1f, token: canary-7d1f}]
    discord_configs: [{webhook_url: "https://discord.example.com/api/canary-7d1f"}]
`

// shown returns everything that a person or a log could get to see.
func shown(t *testing.T, cfg *Config, problems Problems) string {
	t.Helper()
	var out bytes.Buffer
	problems.Print(&out)
	out.WriteString(problems.Error())
	fmt.Fprintf(&out, "%v %+v %#v", problems, problems, problems)
	if cfg != nil {
		fmt.Fprintf(&out, "%v %+v %#v %s %v %+v %#v", cfg, cfg, cfg, cfg, *cfg, *cfg, *cfg)
		slog.New(slog.NewTextHandler(&out, nil)).Info("configured", "config", cfg)
	}
	return out.String()
}

func TestSecretsStayInside(t *testing.T) {
	t.Parallel()
	path := filepath.Join(write(t, map[string]string{"watchbill.yaml": crew + secrets}), "watchbill.yaml")
	cfg, err := Load(path, noEnv)
	require.NoError(t, err)
	require.NotContains(t, shown(t, cfg, cfg.Warnings), canary)
	require.Contains(t, string(cfg.Collector.Prometheus), canary, "the scraper needs it")
}

// TestSecretsStayOutOfProblems breaks the configuration at every line in several
// ways, so that problems are shown with every line that holds a secret.
func TestSecretsStayOutOfProblems(t *testing.T) {
	t.Parallel()
	whole := crew + secrets
	lines := strings.SplitAfter(whole, "\n")
	breaks := map[string]func(string) string{
		"unknown key":   func(s string) string { return strings.Replace(s, ": ", "x: ", 1) },
		"wrong kind":    func(s string) string { return strings.Replace(s, ": ", ": &a !odd ", 1) },
		"not YAML":      func(s string) string { return strings.Replace(s, ": ", ": [", 1) },
		"indentation":   func(s string) string { return " " + s },
		"tab":           func(s string) string { return "\t" + s },
		"wrong value":   func(s string) string { return strings.Replace(s, canary, canary+" %zz::\\x", 1) },
		"list":          func(s string) string { return strings.Replace(s, ": ", ": [x]\n#", 1) },
		"second time":   func(s string) string { return s + s },
		"twice in flow": func(s string) string { return strings.Replace(s, canary, canary+", q: 1", 1) },
	}
	for name, change := range breaks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wrong := 0
			for i, line := range lines {
				if !strings.Contains(line, ":") && !strings.Contains(line, canary) {
					continue
				}
				broken := strings.Join(lines[:i], "") + change(line) + strings.Join(lines[i+1:], "")
				path := filepath.Join(write(t, map[string]string{"watchbill.yaml": broken}), "watchbill.yaml")
				cfg, err := Load(path, noEnv)
				if err == nil {
					require.NotContains(t, shown(t, cfg, cfg.Warnings), canary, "line %d: %s", i+1, line)
					continue
				}
				wrong++
				require.NotContains(t, shown(t, nil, Explain(path, err)), canary, "line %d: %s", i+1, line)
			}
			require.Positive(t, wrong)
		})
	}
}
