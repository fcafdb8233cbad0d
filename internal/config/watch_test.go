package config

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill/internal/watchdog"
)

func TestWatchSections(t *testing.T) {
	t.Parallel()
	cfg := load(t, map[string]string{"watchbill.yaml": crew})
	require.False(t, cfg.Watch.Alarm.Configured())
	require.True(t, cfg.SelfMonitoring)
	require.Empty(t, cfg.Watch.Deadman)

	cfg = load(t, map[string]string{
		"watchbill.yaml": crew + `
alarm:
  webhook: {url_file: secrets/alarm, token_file: secrets/token, format: json}
  smtp: {host: "mail.example.com:587", from: w@example.com, to: [a@example.com, b@example.com], username: w, password_file: secrets/password}
  min_interval: 2m
  test: {at: "07:30", tz: Europe/Madrid}
deadman:
  - {url: "https://one.example.com/` + canary + `", interval: 30s, timeout: 5s, fail: true}
  - {url_file: secrets/two}
self_monitoring: false
`,
		"secrets/alarm": "https://alarm.example.com/" + canary + "\n", "secrets/token": canary, "secrets/password": canary,
		"secrets/two": "https://two.example.com/" + canary,
	})
	require.Empty(t, cfg.Warnings)
	require.NoError(t, cfg.Watch.Validate())
	require.False(t, cfg.SelfMonitoring)
	a := cfg.Watch.Alarm
	require.True(t, a.Webhook.JSON)
	require.False(t, a.Webhook.Token.Empty())
	require.Equal(t, []string{"a@example.com", "b@example.com"}, a.SMTP.To)
	require.Equal(t, 2*time.Minute, a.MinInterval)
	require.Equal(t, 450, a.Test.Minute)
	require.Equal(t, "Europe/Madrid", a.Test.Zone.String())
	require.Len(t, cfg.Watch.Deadman, 2)
	require.Equal(t, 30*time.Second, cfg.Watch.Deadman[0].Interval)
	require.True(t, cfg.Watch.Deadman[0].Fail)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		require.NotContains(t, fmt.Sprintf(verb, cfg.Watch), canary)
		require.NotContains(t, fmt.Sprintf(verb, *a.Webhook), canary)
		require.NotContains(t, fmt.Sprintf(verb, cfg.Watch.Deadman), canary)
	}
}

func TestWatchMistakes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"alarm: {webhook: {}}":                                             "an entry without an address",
		"alarm: {webhook: {url: 'ftp://x'}}":                               "url must be an http or https address",
		"alarm: {webhook: {url: 'http://x', url_file: f}}":                 "url and url_file are both set",
		"alarm: {webhook: {url: 'http://x', format: xml}}":                 `there is no format "xml"`,
		"alarm: {smtp: {host: mail, from: a@b, to: [c@d]}}":                "the mail server must be host:port",
		"alarm: {smtp: {from: a@b, to: [c@d]}}":                            "mail for the alarm without host",
		"alarm: {smtp: {host: 'm:25', from: a@b}}":                         "without anybody who gets it",
		"alarm: {smtp: {host: 'm:25', from: ab, to: [c@d]}}":               `"ab" is not an e-mail address`,
		"alarm: {smtp: {host: 'm:25', from: a@b, to: [c@d], username: u}}": "username and password_file belong together",
		"alarm: {test: {at: noon}}":                                        `"noon" is not a time of day`,
		"alarm: {test: {at: '24:00'}}":                                     "a day has no 24:00",
		"alarm: {test: {tz: Mars/Base}}":                                   `there is no time zone "Mars/Base"`,
		"alarm: {min_interval: 0s}":                                        "min_interval must be longer than nothing",
		"deadman: [{interval: 60s}]":                                       "an entry without an address",
		"deadman: [{url: 'http://x', interval: 1s}]":                       "a ping's interval is between 10s and 24h",
		"deadman: [{url: 'http://x', timeout: 2m}]":                        "a ping's timeout is longer than its interval",
		"self_monitoring: maybe":                                           "self_monitoring is true or false",
	} {
		problems := mistakes(t, map[string]string{"watchbill.yaml": crew + text + "\n"})
		require.Contains(t, problems.Error(), want, text)
	}
}

// A configuration may be checked where its secrets are not; the daemon does not
// start without them.
func TestSecretsOfTheWatchMayComeLater(t *testing.T) {
	t.Parallel()
	cfg, err := Load(filepath.Join(write(t, map[string]string{"watchbill.yaml": crew + `
alarm: {webhook: {url_file: secrets/alarm}}
`}), "watchbill.yaml"), noEnv)
	require.NoError(t, err)
	require.Len(t, cfg.Warnings, 1)
	require.Contains(t, cfg.Warnings.Error(), "secrets/alarm cannot be read")
	require.ErrorContains(t, cfg.Watch.Validate(), "alarm: webhook: has no address")

	require.ErrorContains(t, watchdog.Config{Deadman: []watchdog.Ping{{}}}.Validate(), "entry 1 of deadman:")
	mail := watchdog.AlarmConfig{SMTP: &watchdog.SMTP{Username: "u"}}
	require.ErrorContains(t, watchdog.Config{Alarm: mail}.Validate(), "no password")
}
