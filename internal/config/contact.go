package config

import (
	"net/url"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"watchbill"
	"watchbill/internal/notify"
)

// smsEntry is a receiver that sends text messages.
type smsEntry struct {
	where
	Name      text `yaml:"name"`
	URL       text `yaml:"url"`
	Account   text `yaml:"account"`
	TokenFile text `yaml:"token_file"`
	From      text `yaml:"from"`
}

// quietSection are the hours in which a person's sev3 pages wait.
type quietSection struct {
	where
	From text `yaml:"from"`
	To   text `yaml:"to"`
}

// phoneForm is a number as every network understands it.
var phoneForm = regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`)

// IsPhone reports whether a text is a number to which text messages can be sent.
func IsPhone(s string) bool { return phoneForm.MatchString(s) }

// senderForm is what a text message may come from: a number, a short code, a name,
// or the id of a messaging service.
var senderForm = regexp.MustCompile(`^(\+[1-9][0-9]{6,14}|[0-9]{3,8}|MG[0-9a-f]{32}|[A-Za-z0-9 ]{2,11})$`)

// accountForm keeps an account from becoming another path.
var accountForm = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// sms reads the receivers of text messages.
func (b *builder) sms() {
	seen := map[string]*yaml.Node{}
	for _, e := range b.file.SMS {
		if !b.name(e.Name, e.Node, "receiver of text messages", seen) {
			b.anyReceiver = true
			continue
		}
		if slices.Contains(b.receivers, e.Name.v) {
			b.problem(e.Name.n, "choose another name", "there is a receiver %q already", e.Name.v)
		}
		s := notify.SMS{Name: e.Name.v, URL: strings.TrimRight(e.URL.v, "/"), Account: e.Account.v, From: e.From.v}
		if e.URL.given() {
			if u, err := url.Parse(e.URL.v); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" {
				b.problem(e.URL.n, "write the address without /2010-04-01, as in "+notify.DefaultSMSURL, "the address of the provider cannot be used")
			}
		}
		for _, k := range []struct {
			key, advice string
			value       text
		}{
			{"account", "add account: with the provider's id of your account, AC…", e.Account},
			{"token_file", "add token_file: with the name of a file that holds the account's token", e.TokenFile},
			{"from", "add from: with the number that you send from, as in +34600111222", e.From},
		} {
			if keyNode(e.Node, k.key) == nil {
				b.problem(e.Node, k.advice, "the receiver of text messages %q has no %s", e.Name.v, k.key)
			}
		}
		if e.Account.given() && !accountForm.MatchString(e.Account.v) {
			b.problem(e.Account.n, "write the id as the provider shows it, AC…", "%q is not the id of an account", e.Account.v)
		}
		if e.From.given() && !senderForm.MatchString(e.From.v) {
			b.problem(e.From.n, "write a number like +34600111222, a name of up to 11 letters, or MG… of a messaging service", "text messages cannot come from %q", e.From.v)
		}
		if e.TokenFile.given() {
			s.TokenFile = b.absolute(e.TokenFile.n, e.TokenFile.v)
			b.secretFiles(e.Node)
		}
		b.cfg.Notify.SMS = append(b.cfg.Notify.SMS, s)
		b.texting = append(b.texting, e.Name.v)
		b.receivers = append(b.receivers, e.Name.v)
		b.ownReceivers = append(b.ownReceivers, e.Name.v)
	}
}

// phone reads a number, which must be one person's own: an answer to a text message
// is known by it.
func (b *builder) phone(t text) string {
	if !t.given() {
		return ""
	}
	if !phoneForm.MatchString(t.v) {
		b.problem(t.n, "write it with the country and without spaces, as in \"+34600111222\"", "%q is not a phone number", t.v)
		return ""
	}
	if i := slices.IndexFunc(b.cfg.People, func(p watchbill.Person) bool { return p.Phone == t.v }); i >= 0 {
		b.problem(t.n, "give each their own: an answer to a text message is known by its number", "%s has the phone %s already", b.cfg.People[i].ID, t.v)
	}
	return t.v
}

// quietHours reads when a person's sev3 pages wait.
func (b *builder) quietHours(q quietSection) *watchbill.QuietHours {
	if q.Node == nil {
		return nil
	}
	for _, k := range []struct {
		key   string
		value text
	}{{"from", q.From}, {"to", q.To}} {
		if q.Node.Kind == yaml.MappingNode && keyNode(q.Node, k.key) == nil {
			b.problem(q.Node, `write {from: "22:00", to: "07:00"}`, "quiet_hours without %s", k.key)
			return nil
		}
	}
	out := &watchbill.QuietHours{From: b.minutes(q.From, 0), To: b.minutes(q.To, 0)}
	if out.From == 24*60 {
		b.problem(q.From.n, `write "00:00"`, "a day has no 24:00 from which it could be quiet")
	}
	if q.From.given() && q.To.given() && out.From == out.To {
		b.problem(q.To.n, "leave quiet_hours out, or write another hour", "quiet_hours end when they begin")
	}
	return out
}

// contactSeverities reads for which severities a contact is used.
func (b *builder) contactSeverities(c contactEntry) []watchbill.Severity {
	var out []watchbill.Severity
	if keyNode(c.Node, "severities") != nil && len(c.Severities) == 0 {
		if v := valueNode(c.Node, "severities"); v.Kind == yaml.SequenceNode {
			b.problem(v, "write [sev1, sev2], or leave it out for all", "a contact that is for no severity")
		}
	}
	for _, t := range c.Severities {
		if !t.given() {
			continue
		}
		sev, err := watchbill.ParseSeverity(t.v)
		switch {
		case err != nil:
			b.problem(t.n, "write sev1, sev2 or sev3", "%q is not a severity", t.v)
		case sev == watchbill.Sev4:
			b.problem(t.n, "remove it", "sev4 is recorded and pages nobody")
		case slices.Contains(out, sev):
			b.problem(t.n, "remove one of the two", "%s is there twice", sev)
		default:
			out = append(out, sev)
		}
	}
	return out
}

// everySeverity checks that a person's contacts leave no severity out.
func (b *builder) everySeverity(e personEntry, contacts []watchbill.Contact) {
	if len(contacts) == 0 || len(contacts) != len(e.Contact) {
		return
	}
	for sev := watchbill.Sev1; sev <= watchbill.Sev3; sev++ {
		if !slices.ContainsFunc(contacts, func(c watchbill.Contact) bool { return c.For(sev) }) {
			b.problem(keyNode(e.Node, "contact"), "add a contact for it, or leave severities: out of one", "%s cannot be reached for %s", e.Name.v, sev)
		}
	}
}
