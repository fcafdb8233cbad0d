package watchdog

import (
	"fmt"
	"log/slog"
	"time"
)

// Config is how watchbill's own failures are told.
type Config struct {
	Alarm   AlarmConfig
	Deadman []Ping
}

// AlarmConfig is the second notifier. With neither a webhook nor mail it writes
// to the log only.
type AlarmConfig struct {
	Webhook *Webhook
	SMTP    *SMTP
	// MinInterval is the least time between two messages. Default 1 m.
	MinInterval time.Duration
	Test        DailyTest
}

// Configured reports whether there is a way to tell anybody.
func (c AlarmConfig) Configured() bool { return c.Webhook != nil || c.SMTP != nil }

// Webhook is an address that takes messages by POST.
type Webhook struct {
	URL   Secret
	Token Secret // sent as a bearer token; may be empty
	// JSON sends {"text": "…"}, as chat services take it, instead of the bare
	// text.
	JSON bool
}

// SMTP is a mail server and who gets the mail.
type SMTP struct {
	Host     string // host:port; port 465 speaks TLS from the start
	From     string
	To       []string
	Username string // empty: no authentication
	Password Secret
}

// DailyTest is when the daily test is sent.
type DailyTest struct {
	Minute int            // of the day
	Zone   *time.Location // nil: UTC
}

// next returns the first time of the test after now.
func (d DailyTest) next(now time.Time) time.Time {
	zone := d.Zone
	if zone == nil {
		zone = time.UTC
	}
	local := now.In(zone)
	at := time.Date(local.Year(), local.Month(), local.Day(), 0, d.Minute, 0, 0, zone)
	if !at.After(now) {
		at = time.Date(local.Year(), local.Month(), local.Day()+1, 0, d.Minute, 0, 0, zone)
	}
	return at
}

// Ping is one monitor elsewhere that expects a sign of life.
type Ping struct {
	URL      Secret
	Interval time.Duration // default 60 s
	Timeout  time.Duration // of one attempt; default 10 s
	Fail     bool          // tell it of a failed self-test, at URL + "/fail"
}

const (
	defaultMinInterval  = time.Minute
	defaultPingInterval = time.Minute
	defaultPingTimeout  = 10 * time.Second
)

// Secret is a text that nobody may see: it prints, logs and encodes as
// "[redacted]".
//
// The text hangs on a pointer: what prints a structure with a Secret in an
// unexported field cannot call its methods, and shows an address.
type Secret struct{ text *string }

// NewSecret makes a secret of a text.
func NewSecret(text string) Secret { return Secret{&text} }

const redacted = "[redacted]"

// Empty reports whether there is no text.
func (s Secret) Empty() bool { return s.reveal() == "" }

func (s Secret) reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// String returns "[redacted]".
func (Secret) String() string { return redacted }

// Format writes "[redacted]", whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue returns "[redacted]".
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[redacted]".
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
