package notify

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/prometheus/alertmanager/alert"
	amconfig "github.com/prometheus/alertmanager/config"
	amcommoncfg "github.com/prometheus/alertmanager/config/common"
)

// maxHanging is how many sends of one integration may still hang after their
// time before further ones are put off. Mail and Telegram cannot be cancelled.
const maxHanging = 4

// maxAccepted bounds the memory of half-delivered pages.
const maxAccepted = 4096

// sender hands one page to one integration. It reports whether a failure may
// pass.
type sender func(ctx context.Context, a *alert.Alert) (retry bool, err error)

// integration is one entry of a receiver.
type integration struct {
	name string // webhook[0]
	send sender
}

// receiver is one way to reach people: a name and what it stands for.
type receiver struct {
	name    string
	config  amconfig.Receiver // adapted; empty for the terminal
	slots   []slot            // its templates
	redact  redactor
	build   func(amconfig.Receiver) ([]integration, error)
	normal  []integration
	hanging []atomic.Int32 // per integration: sends that did not return in time
	stray   atomic.Int32   // templates that did not return in time

	mu       sync.Mutex
	repaired map[string][]integration   // by the paths of the templates replaced
	accepted map[string]map[string]bool // page key -> integrations that took it while another failed
}

func newReceiver(config amconfig.Receiver, build func(amconfig.Receiver) ([]integration, error)) (*receiver, error) {
	r := &receiver{
		name:     config.Name,
		config:   config,
		slots:    slots(config),
		redact:   newRedactor(secretsOf(config)),
		build:    build,
		repaired: map[string][]integration{},
		accepted: map[string]map[string]bool{},
	}
	var err error
	if r.normal, err = build(config); err != nil {
		// Not wrapped: the cause may hold a secret.
		return nil, fmt.Errorf("build receiver %s: %s", config.Name, r.redact.clean(err.Error()))
	}
	r.hanging = make([]atomic.Int32, len(r.normal))
	return r, nil
}

// without returns the receiver's integrations with stand-ins for the templates
// that fail.
func (r *receiver) without(failed []failure) ([]integration, error) {
	if len(failed) == 0 {
		return r.normal, nil
	}
	standIns := make(map[string]string, len(failed))
	for _, f := range failed {
		standIns[f.slot.Path] = standIn(f.slot, r.config)
	}
	key := strings.Join(slices.Sorted(maps.Keys(standIns)), "\n")
	r.mu.Lock()
	defer r.mu.Unlock()
	if built, ok := r.repaired[key]; ok {
		return built, nil
	}
	built, err := r.build(rewrite(r.config, func(path, text string) string {
		if s, ok := standIns[path]; ok {
			return s
		}
		return text
	}))
	if err != nil {
		return nil, fmt.Errorf("build receiver %s with plain texts: %w", r.name, err)
	}
	r.repaired[key] = built
	return built, nil
}

// took reports which integrations have accepted the page in an earlier attempt.
func (r *receiver) took(key string) map[string]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.accepted[key])
}

// remember keeps which integrations accepted a page that must be sent again for
// the sake of the others, or forgets the page when names is empty.
func (r *receiver) remember(key string, names map[string]bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(names) == 0 {
		delete(r.accepted, key)
		return
	}
	if len(r.accepted) >= maxAccepted {
		clear(r.accepted) // a duplicate is better than a leak
	}
	r.accepted[key] = names
}

// terminal is the built-in receiver that prints pages.
func terminal(w io.Writer) *receiver {
	var mu sync.Mutex
	r := &receiver{
		name:     TerminalReceiver,
		redact:   newRedactor(nil),
		accepted: map[string]map[string]bool{},
		hanging:  make([]atomic.Int32, 1),
	}
	r.normal = []integration{{name: TerminalReceiver, send: func(_ context.Context, a *alert.Alert) (bool, error) {
		notes := make(map[string]string, len(a.Annotations))
		for name, value := range a.Annotations {
			notes[string(name)] = string(value)
		}
		mu.Lock()
		defer mu.Unlock()
		_, err := io.WriteString(w, box(notes, string(a.Labels["attempt"])))
		return true, err
	}}}
	return r
}

// box frames the page's text, with its reader at the top. Lines are not wrapped
// and not closed on the right, so that links and commands can be copied.
func box(a map[string]string, attempt string) string {
	const width = 78
	to := a["to_name"]
	if to == "" {
		to = a["to"]
	}
	head := "─ PAGE to " + to + " "
	if attempt != "" && attempt != "1" {
		head += "· attempt " + attempt + " "
	}
	var b strings.Builder
	b.WriteString("┌" + head + strings.Repeat("─", max(width-1-runes(head), 1)) + "\n")
	for l := range strings.SplitSeq(strings.TrimRight(text(a), "\n"), "\n") {
		b.WriteString(strings.TrimRight("│ "+l, " ") + "\n")
	}
	b.WriteString("└" + strings.Repeat("─", width-1) + "\n")
	return b.String()
}

// builtinEmail is the receiver that mails a person at their own address, or
// false if the global section names no mail server.
func builtinEmail(g *amconfig.GlobalConfig) (amconfig.Receiver, bool) {
	if g == nil || g.SMTPSmarthost.String() == "" || g.SMTPFrom == "" {
		return amconfig.Receiver{}, false
	}
	requireTLS := g.SMTPRequireTLS
	return amconfig.Receiver{
		Name: EmailReceiver,
		EmailConfigs: []*amconfig.EmailConfig{{
			NotifierConfig:   amcommoncfg.NotifierConfig{},
			To:               "{{ .CommonAnnotations.to_email }}",
			From:             g.SMTPFrom,
			Hello:            g.SMTPHello,
			Smarthost:        g.SMTPSmarthost,
			AuthUsername:     g.SMTPAuthUsername,
			AuthPassword:     g.SMTPAuthPassword,
			AuthPasswordFile: g.SMTPAuthPasswordFile,
			AuthSecret:       g.SMTPAuthSecret,
			AuthSecretFile:   g.SMTPAuthSecretFile,
			AuthIdentity:     g.SMTPAuthIdentity,
			HTML:             amconfig.DefaultEmailConfig.HTML,
			RequireTLS:       &requireTLS,
			TLSConfig:        g.SMTPTLSConfig,
			ForceImplicitTLS: g.SMTPForceImplicitTLS,
		}},
	}, true
}

// adapt returns a copy of a receiver that shows a page well without further
// configuration: mails have a plain text part and thread by incident, a text
// message is one segment, and Jira's version 3 API gets its own format.
func adapt(r amconfig.Receiver) amconfig.Receiver {
	r = rewrite(r, func(_, text string) string { return text })
	for _, c := range r.EmailConfigs {
		adaptEmail(c)
	}
	for _, c := range r.SNSConfigs {
		if c.PhoneNumber != "" && c.Message == amconfig.DefaultSNSConfig.Message {
			c.Message = `{{ template "watchbill.short" . }}`
		}
	}
	for _, c := range r.SlackConfigs {
		if c.APIURL != nil && c.APIURL.String() == slackPost { // with a token: then its messages can be edited
			c.UpdateMessage = true
		}
	}
	for i, c := range r.JiraConfigs {
		if jiraWantsADF(r, fmt.Sprintf("jira_configs[%d]", i)) && c.Description.Template == `{{ template "jira.default.description" . }}` {
			c.Description.Template = `{{ template "watchbill.adf" . }}`
		}
	}
	return r
}

// slackPost is where Slack takes the messages of those who have a token, and the one
// address for which Alertmanager's integration can edit them.
const slackPost = "https://slack.com/api/chat.postMessage"

func adaptEmail(c *amconfig.EmailConfig) {
	if c.Text == "" {
		c.Text = `{{ template "watchbill.text" . }}`
	}
	if c.Headers == nil {
		c.Headers = map[string]string{}
	}
	preset := map[string]string{
		// The same page has the same id in every attempt: mail stores drop the second.
		"Message-Id": `<{{ .CommonLabels.page_key | digest }}@watchbill>`,
	}
	if !c.Threading.Enabled {
		thread := `<{{ .CommonAnnotations.incident | toLower }}@watchbill>`
		preset["References"], preset["In-Reply-To"] = thread, thread
	}
	for name, value := range preset {
		if _, ok := c.Headers[name]; !ok {
			c.Headers[name] = value
		}
	}
}

// jiraWantsADF reports whether a setting belongs to an entry that talks to
// version 3 of Jira's API.
func jiraWantsADF(r amconfig.Receiver, path string) bool {
	var i int
	if _, err := fmt.Sscanf(path, "jira_configs[%d]", &i); err != nil || r.JiraConfigs[i].APIURL == nil {
		return false
	}
	return strings.HasSuffix(strings.TrimRight(r.JiraConfigs[i].APIURL.Path, "/"), "/3")
}
