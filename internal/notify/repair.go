package notify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	amconfig "github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/template"
)

// Limits on rendering one field. A template runs on what an alert's sender
// wrote, so both its time and its output are foreign.
const (
	renderTimeout   = time.Second
	maxRendered     = 64 << 10
	maxTelegramHTML = 4096 // above it Alertmanager sends an apology instead of the page
	maxStray        = 4    // templates of a receiver that may still run after their time
)

// part says what a field of a receiver is for, and so what stands in for it
// when its template fails.
type part int

// The parts of a message.
const (
	body    part = iota // what the person reads: the page as plain text
	title               // one line of it: the subject
	address             // where it goes: nothing can stand in
	trim                // colours, icons, links: left out
)

// partOf classifies a field by its path. What is not known is a title, the form
// that fits nearly every field.
func partOf(s slot) part {
	kind := s.kind()
	if isAddress(kind) {
		return address
	}
	name := kind[strings.LastIndexByte(kind, '.')+1:]
	if name == "template" { // jira's summary and description are objects
		parent := strings.TrimSuffix(kind, ".template")
		name = parent[strings.LastIndexByte(parent, '.')+1:]
	}
	switch name {
	case "text", "body", "html", "state_message", "details", "content", "comment", "note", "markdown":
		return body
	case "message":
		if strings.HasPrefix(kind, "opsgenie_configs") {
			return title
		}
		return body
	case "description":
		if strings.HasPrefix(kind, "pagerduty_configs") {
			return title
		}
		return body
	case "color", "icon_emoji", "icon_url", "image_url", "thumb_url", "footer", "footer_icon", "callback_id", "emoji", "sound",
		"priority", "tags", "title_link", "url", "url_title", "client_url", "href", "src", "alt", "author_link", "author_icon", "card", "type":
		return trim
	default:
		return title
	}
}

func isAddress(kind string) bool {
	integration, name, _ := strings.Cut(kind, ".")
	switch integration {
	case "webhook_configs":
		return name == "url"
	case "email_configs":
		return slices.Contains([]string{"to", "from", "smarthost", "hello", "auth_username", "auth_identity"}, name) ||
			strings.HasPrefix(name, "headers.") && name != "headers.Subject"
	case "sns_configs":
		return slices.Contains([]string{"api_url", "topic_arn", "phone_number", "target_arn"}, name)
	case "wechat_configs":
		return slices.Contains([]string{"to_user", "to_party", "to_tag", "agent_id", "corp_id"}, name)
	case "jira_configs":
		return name == "project" || name == "issue_type"
	case "opsgenie_configs":
		return strings.HasPrefix(name, "responders")
	default:
		return slices.Contains([]string{"channel", "room_id", "routing_key", "device"}, name)
	}
}

// mustNotBeBlank says whether an address that renders to nothing is a mistake:
// without it the page would go to whoever the receiver's default is.
func mustNotBeBlank(kind string) bool {
	return isAddress(kind) && !strings.HasPrefix(kind, "wechat_configs") &&
		!strings.HasPrefix(kind, "opsgenie_configs") && !strings.HasPrefix(kind, "email_configs.headers")
}

// standIn returns a template that cannot fail and says the same in plain text.
func standIn(s slot, r amconfig.Receiver) string {
	integration, _, _ := strings.Cut(s.kind(), ".")
	note := noteSubject
	switch partOf(s) {
	case trim, address:
		return ""
	case body:
		note = noteText
	case title:
	}
	value := ".CommonAnnotations." + note
	switch {
	case s.HTML && integration == "email_configs":
		return "<pre>{{ " + value + " }}</pre>"
	case s.HTML:
		return "{{ " + value + " | clipHTML 4000 }}"
	}
	switch integration {
	case "slack_configs":
		return "{{ " + value + " | mrkdwn }}"
	case "discord_configs", "webex_configs", "msteams_configs", "msteamsv2_configs", "rocketchat_configs", "mattermost_configs":
		return "{{ " + value + " | markdown }}"
	case "webhook_configs":
		return "{{ " + value + " | payload }}"
	case "jira_configs":
		if note == noteText && jiraWantsADF(r, s.Path) {
			return "{{ " + value + " | adf }}"
		}
	}
	return "{{ " + value + " }}"
}

// failure is a template that cannot be used for a page.
type failure struct {
	slot slot
	err  error
}

// errSlow is a template that did not finish in its time. Its cause may be the
// machine, so it may pass.
var errSlow = errors.New("it did not finish in its time")

// failures executes every template of a receiver against a page and returns
// those that fail, take too long, write too much, or leave an address empty.
// Doing so before the page is sent is what keeps half a message from leaving:
// some integrations open the message first and execute their templates then,
// and Slack's posts what is left when one fails.
func (r *receiver) failures(ctx context.Context, tmpl *template.Template, data *template.Data) []failure {
	var failed []failure
	for _, s := range r.slots {
		out, err := r.execute(ctx, tmpl, s, data)
		switch {
		case err != nil:
		case len(out) > maxRendered:
			err = fmt.Errorf("it writes %d bytes, more than %d", len(out), maxRendered)
		case s.HTML && strings.HasPrefix(s.Path, "telegram_configs") && runes(out) > maxTelegramHTML:
			err = fmt.Errorf("it writes %d characters, Telegram takes %d", runes(out), maxTelegramHTML)
		case strings.TrimSpace(out) == "" && mustNotBeBlank(s.kind()):
			err = errors.New("it is empty for this page")
		}
		if err != nil {
			failed = append(failed, failure{s, err})
		}
	}
	return failed
}

// execute runs one template. A template cannot be stopped; one that runs out of
// its time is left behind, and while too many of a receiver are left behind none
// is started.
func (r *receiver) execute(ctx context.Context, tmpl *template.Template, s slot, data *template.Data) (string, error) {
	type result struct {
		out string
		err error
	}
	if r.stray.Load() >= maxStray {
		return "", fmt.Errorf("%w: earlier ones are still running", errSlow)
	}
	done := make(chan result, 1)
	go func() {
		var res result
		defer func() {
			if p := recover(); p != nil {
				res.err = fmt.Errorf("it panicked: %v", p)
			}
			done <- res
		}()
		if s.HTML {
			res.out, res.err = tmpl.ExecuteHTMLString(s.Text, data)
		} else {
			res.out, res.err = tmpl.ExecuteTextString(s.Text, data)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, renderTimeout)
	defer cancel()
	select {
	case res := <-done:
		return res.out, res.err
	case <-ctx.Done():
		r.stray.Add(1)
		go func() {
			<-done
			r.stray.Add(-1)
		}()
		return "", errSlow
	}
}
