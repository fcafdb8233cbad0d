package config

import (
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"watchbill/internal/watchdog"
)

// alarmSection is the second notifier: how watchbill tells of its own failures.
type alarmSection struct {
	where
	Webhook     alarmWebhook `yaml:"webhook"`
	SMTP        alarmSMTP    `yaml:"smtp"`
	MinInterval duration     `yaml:"min_interval"`
	Test        alarmTest    `yaml:"test"`
}

type alarmWebhook struct {
	where
	URL       text `yaml:"url"`
	URLFile   text `yaml:"url_file"`
	TokenFile text `yaml:"token_file"`
	Format    text `yaml:"format"`
}

type alarmSMTP struct {
	where
	Host         text   `yaml:"host"`
	From         text   `yaml:"from"`
	To           []text `yaml:"to"`
	Username     text   `yaml:"username"`
	PasswordFile text   `yaml:"password_file"`
}

type alarmTest struct {
	At text `yaml:"at"`
	TZ text `yaml:"tz"`
}

type deadmanEntry struct {
	where
	URL      text     `yaml:"url"`
	URLFile  text     `yaml:"url_file"`
	Interval duration `yaml:"interval"`
	Timeout  duration `yaml:"timeout"`
	Fail     toggle   `yaml:"fail"`
}

// auditSection is where the head of the audit log is published.
type auditSection struct {
	where
	URL     text `yaml:"url"`
	URLFile text `yaml:"url_file"`
}

// testMinute is when the daily test of the alarm is sent.
const testMinute = 9 * 60

// Bounds of a ping's interval: a self-test may take half a minute, and no
// monitor waits for a day.
const (
	minPing = 10 * time.Second
	maxPing = 24 * time.Hour
)

// watch reads how watchbill watches itself.
func (b *builder) watch() {
	f, c := &b.file, b.cfg
	c.SelfMonitoring = f.SelfMonitoring.or(true)
	c.Watch.Alarm.MinInterval = b.positive(f.Alarm.MinInterval, "min_interval")
	c.Watch.Alarm.Test = watchdog.DailyTest{Minute: b.minutes(f.Alarm.Test.At, testMinute), Zone: b.zone(f.Alarm.Test.TZ)}
	if at := f.Alarm.Test.At; c.Watch.Alarm.Test.Minute == 24*60 {
		b.problem(at.n, `write "00:00"`, "a day has no 24:00 at which the test could be sent")
	}
	if w := f.Alarm.Webhook; w.Node != nil {
		hook := &watchdog.Webhook{URL: b.address(w.Node, w.URL, w.URLFile), Token: b.secretFile(w.TokenFile)}
		switch w.Format.or("text") {
		case "text":
		case "json":
			hook.JSON = true
		default:
			b.problem(w.Format.n, `write text, or json for a chat service that takes {"text": …}`, "there is no format %q", w.Format.v)
		}
		c.Watch.Alarm.Webhook = hook
	}
	if m := f.Alarm.SMTP; m.Node != nil {
		c.Watch.Alarm.SMTP = b.alarmMail(m)
	}
	if f.Audit.Node != nil {
		c.AuditURL = b.address(f.Audit.Node, f.Audit.URL, f.Audit.URLFile)
	}
	for _, e := range f.Deadman {
		p := watchdog.Ping{
			URL: b.address(e.Node, e.URL, e.URLFile), Fail: e.Fail.v,
			Interval: b.positive(e.Interval, "interval"), Timeout: b.positive(e.Timeout, "timeout"),
		}
		if e.Interval.given() && (p.Interval < minPing || p.Interval > maxPing) {
			b.problem(e.Interval.n, "write 60s, and give the other side a grace of a few minutes", "a ping's interval is between %s and %s", short(minPing), short(maxPing))
		}
		if e.Timeout.given() && e.Timeout.v > e.Interval.or(time.Minute) {
			b.problem(e.Timeout.n, "write 10s", "a ping's timeout is longer than its interval")
		}
		c.Watch.Deadman = append(c.Watch.Deadman, p)
	}
}

func (b *builder) alarmMail(m alarmSMTP) *watchdog.SMTP {
	out := &watchdog.SMTP{Host: m.Host.v, From: m.From.v, Username: m.Username.v, Password: b.secretFile(m.PasswordFile)}
	if _, port, err := net.SplitHostPort(m.Host.v); m.Host.given() && (err != nil || port == "") {
		b.problem(m.Host.n, "write smtp.example.com:587", "the mail server must be host:port, not %q", m.Host.v)
	}
	for _, k := range []struct {
		key   string
		value text
	}{{"host", m.Host}, {"from", m.From}} {
		if keyNode(m.Node, k.key) == nil {
			b.problem(m.Node, "add "+k.key+":", "mail for the alarm without %s", k.key)
		}
	}
	if len(m.To) == 0 {
		b.problem(m.Node, "add to: [NAME@EXAMPLE.COM]", "mail for the alarm without anybody who gets it")
	}
	for _, t := range append([]text{m.From}, m.To...) {
		if t.given() && (!strings.Contains(t.v, "@") || strings.ContainsAny(t.v, " <>,\r\n")) {
			b.problem(t.n, "write name@example.com", "%q is not an e-mail address", t.v)
		}
	}
	for _, t := range m.To {
		out.To = append(out.To, t.v)
	}
	if m.Username.given() != m.PasswordFile.given() {
		b.problem(m.Node, "write both, or neither", "username and password_file belong together")
	}
	return out
}

// address reads a secret address, written here or in a file.
func (b *builder) address(entry *yaml.Node, plain, file text) watchdog.Secret {
	switch {
	case plain.given() && file.given():
		b.problem(file.n, "remove one of the two", "url and url_file are both set")
		return watchdog.Secret{}
	case file.given():
		return b.secretFile(file)
	case !plain.given():
		if entry.Kind == yaml.MappingNode && keyNode(entry, "url") == nil && keyNode(entry, "url_file") == nil {
			b.problem(entry, "add url_file: FILE", "an entry without an address")
		}
		return watchdog.Secret{}
	}
	if u, err := url.Parse(plain.v); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		b.problem(plain.n, "write https://…", "url must be an http or https address")
	}
	return watchdog.NewSecret(plain.v)
}

// secretFile reads a secret from its file.
func (b *builder) secretFile(file text) watchdog.Secret {
	if !file.given() {
		return watchdog.Secret{}
	}
	return watchdog.NewSecret(b.secretText(file))
}

// secretText reads a secret from its file. One that is not there is a doubt,
// since a configuration is also checked where its secrets are not.
func (b *builder) secretText(file text) string {
	content, err := b.read(b.resolve(file.n, filepath.FromSlash(b.expandEnv(file.n))))
	if err != nil {
		b.warn(file.n, "make it before the daemon starts", "%s cannot be read: %v", file.v, err)
		return ""
	}
	secret := strings.TrimSpace(string(content))
	if secret == "" {
		b.warn(file.n, "write the secret into it", "%s is empty", file.v)
	}
	return secret
}
