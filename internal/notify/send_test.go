package notify

import (
	"encoding/json"
	"errors"
	"io"
	"net/textproto"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	amconfig "github.com/prometheus/alertmanager/config"
	amnotify "github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"gopkg.in/telebot.v3"

	"watchbill"
)

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}

func TestStatusCodes(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]watchbill.Result{
		200: watchbill.ResultDelivered,
		204: watchbill.ResultDelivered,
		401: watchbill.ResultRefused,
		404: watchbill.ResultRefused,
		410: watchbill.ResultRefused,
		429: watchbill.ResultRetry,
		500: watchbill.ResultRetry,
		503: watchbill.ResultRetry,
	} {
		h := newHook(t, always(status, ""))
		c := load(t, "receivers:\n- name: hook\n  webhook_configs: [{url: '"+h.URL+"'}]")
		result, detail := newNotifier(t, Config{Receivers: c.Receivers}, Options{}).Send(t.Context(), fullPage("hook"))
		require.Equal(t, want, result, "%d: %s", status, detail)
	}
}

func TestMayPass(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		retry bool
		err   error
		want  bool
	}{
		"smtp permanent":     {true, &textproto.Error{Code: 535, Msg: "auth"}, false},
		"smtp temporary":     {true, &textproto.Error{Code: 421, Msg: "later"}, true},
		"telegram forbidden": {true, telebot.ErrBlockedByUser, false},
		"telegram server":    {true, &telebot.Error{Code: 502}, true},
		"rate limited":       {false, amnotify.NewErrorWithReason(amnotify.RateLimitedReason, errors.New("429")), true},
		"network":            {true, &url.Error{Op: "Post", URL: "x", Err: io.ErrUnexpectedEOF}, true},
		"template":           {false, errors.New("template"), false},
	} {
		require.Equal(t, tc.want, mayPass(tc.retry, tc.err), name)
	}
}

func TestSecretsStayOutOfDetails(t *testing.T) {
	t.Parallel()
	const secret = "T0KENsup3rs3cret"
	h := newHook(t, always(500, "denied for /hook/"+secret+" and Bearer "+secret+"\r\n\x1b[2J"))
	c := load(t, "receivers:\n- name: hook\n  webhook_configs: [{url: '"+h.URL+"/hook/"+secret+"?t="+secret+"', http_config: {authorization: {credentials: "+secret+"}}}]\n"+
		"- name: dead\n  webhook_configs: [{url: 'http://127.0.0.1:1/hook/"+secret+"'}]\n"+
		"- name: templated\n  webhook_configs: [{url: 'http://127.0.0.1:1/hook/"+secret+"/{{ .CommonLabels.person }}'}]\n"+
		"- name: chat\n  slack_configs: [{api_url: 'http://127.0.0.1:1/"+secret+"', channel: x}]\n"+
		"- name: bot\n  telegram_configs: [{api_url: 'http://127.0.0.1:1', bot_token: "+secret+", chat_id: 5}]")
	n := newNotifier(t, Config{Receivers: c.Receivers}, Options{})
	for _, name := range []string{"hook", "dead", "templated", "chat", "bot"} {
		result, detail := n.Send(t.Context(), fullPage(name))
		require.Equal(t, watchbill.ResultRetry, result, detail)
		require.NotContains(t, detail, secret, name)
		require.NotContains(t, detail, "\x1b")
		require.LessOrEqual(t, runes(detail), maxDetail)
	}
}

// Whoever reads an error must not learn a URL's path from it, even when nothing
// in the configuration says that it is secret.
func TestRedactorKnowsURLs(t *testing.T) {
	t.Parallel()
	r := newRedactor(nil)
	require.Equal(t, `Post "https://api.telegram.org/<redacted>": EOF`, r.clean(`Post "https://api.telegram.org/bot1:abc/sendMessage": EOF`))
	require.Equal(t, "https://host:9/<redacted> and http://plain.example", r.clean("https://u:p@host:9 and http://plain.example"))
}

const brokenReceivers = `receivers:
- name: chat
  slack_configs:
  - api_url: 'URL/slack'
    channel: '#ops'
    title: '{{ template "no.such.template" . }}'
    text: '{{ .CommonAnnotations.title | noSuchFunction }}'
    color: '{{ index .Alerts 7 }}'
- name: hook
  webhook_configs:
  - url: 'URL/hook'
    payload:
      to: '{{ .CommonAnnotations.to }}'
      body: '{{ (index .Alerts 3).Labels.x }}'
      nested: [{summary: '{{ reReplaceAll "(" "" "x" }}'}]
- name: good
  webhook_configs: [{url: 'URL/good'}]
- name: address
  webhook_configs: [{url: 'URL/{{ index .Alerts 9 }}'}]
- name: blank
  slack_configs: [{api_url: 'URL/slack', channel: '{{ .CommonLabels.nobody }}'}]`

func TestBrokenTemplatesFallBackToPlainText(t *testing.T) {
	t.Parallel()
	h := newHook(t, always(200, "ok"))
	c := load(t, strings.ReplaceAll(brokenReceivers, "URL", h.URL))
	reg := prometheus.NewRegistry()
	n := newNotifier(t, Config{Receivers: c.Receivers}, Options{Registerer: reg})

	d := fullPage("chat")
	d.Page.Content.Related = "<!here> {{ .Evil }}"
	result, detail := n.Send(t.Context(), d)
	require.Equal(t, watchbill.ResultDelivered, result, detail)
	var slack struct {
		Attachments []struct{ Title, Text, Color string }
	}
	require.Len(t, h.got(), 1)
	require.NoError(t, json.Unmarshal([]byte(h.got()[0]), &slack))
	require.Equal(t, Subject(d.Page.Content), slack.Attachments[0].Title)
	require.Contains(t, slack.Attachments[0].Text, "Evidence: 5xx 7.2 %")
	require.Contains(t, slack.Attachments[0].Text, "&lt;!here&gt; {{ .Evil }}")
	require.Empty(t, slack.Attachments[0].Color)

	result, detail = n.Send(t.Context(), fullPage("hook"))
	require.Equal(t, watchbill.ResultDelivered, result, detail)
	var hook struct {
		To, Body string
		Nested   []struct{ Summary string }
	}
	require.NoError(t, json.Unmarshal([]byte(h.got()[1]), &hook), h.got()[1])
	require.Equal(t, "ana", hook.To)
	require.Contains(t, hook.Body, "5xx 7.2 %")
	require.Equal(t, "SEV1 checkout/prod:\u00a07 % of payments fail [INC-142]", hook.Nested[0].Summary)

	result, _ = n.Send(t.Context(), fullPage("good"))
	require.Equal(t, watchbill.ResultDelivered, result)

	result, detail = n.Send(t.Context(), fullPage("address"))
	require.Equal(t, watchbill.ResultRefused, result)
	require.Contains(t, detail, "no address: template webhook_configs[0].url")
	result, detail = n.Send(t.Context(), fullPage("blank"))
	require.Equal(t, watchbill.ResultRefused, result)
	require.Contains(t, detail, "slack_configs[0].channel: it is empty for this page")
	require.Len(t, h.got(), 3)

	require.InEpsilon(t, 1, testutil.ToFloat64(n.fallbacks.WithLabelValues("chat")), 0)
	require.InEpsilon(t, 1, testutil.ToFloat64(n.fallbacks.WithLabelValues("hook")), 0)
	require.Zero(t, testutil.ToFloat64(n.fallbacks.WithLabelValues("good")))
}

func TestCheckTemplates(t *testing.T) {
	t.Parallel()
	c := load(t, strings.ReplaceAll(brokenReceivers, "URL", "http://127.0.0.1:1"))
	var got []string
	for _, err := range newNotifier(t, Config{Receivers: c.Receivers}, Options{}).CheckTemplates() {
		got = append(got, err.Error())
	}
	all := strings.Join(got, "\n")
	require.Len(t, got, 7, all)
	for _, want := range []string{
		"receiver chat, slack_configs[0].title:", "receiver chat, slack_configs[0].text:", "receiver chat, slack_configs[0].color:",
		"receiver hook, webhook_configs[0].payload.body:", "receiver hook, webhook_configs[0].payload.nested[0].summary:",
		"receiver address, webhook_configs[0].url:", "receiver blank, slack_configs[0].channel:", "until then pages will be refused",
	} {
		require.Contains(t, all, want)
	}
}

// A user's template file replaces ours, by name, and a mistake in it falls back.
func TestUserTemplates(t *testing.T) {
	t.Parallel()
	h := newHook(t, always(200, "ok"))
	dir := t.TempDir()
	writeFile(t, dir+"/own.tmpl", `{{ define "slack.default.title" }}{{ .CommonLabels.alertname }}: {{ .CommonAnnotations.title }}{{ end }}
{{ define "slack.default.text" }}{{ template "gone" . }}{{ end }}`)
	c := load(t, "receivers:\n- name: chat\n  slack_configs: [{api_url: '"+h.URL+"', channel: x}]")
	n := newNotifier(t, Config{Receivers: c.Receivers, Templates: []string{dir + "/*.tmpl"}}, Options{})
	require.Len(t, n.CheckTemplates(), 1)
	result, detail := n.Send(t.Context(), fullPage("chat"))
	require.Equal(t, watchbill.ResultDelivered, result, detail)
	require.Contains(t, h.got()[0], `"title":"CheckoutErrors: 7 % of payments fail"`)
	require.Contains(t, h.got()[0], "Evidence: 5xx 7.2 %")
}

func TestRunawayTemplates(t *testing.T) {
	t.Parallel()
	h := newHook(t, always(200, "ok"))
	c := load(t, "receivers:\n- name: chat\n  slack_configs: [{api_url: '"+h.URL+"', channel: x, "+
		`title: '{{ printf "%0100000d" 1 }}', text: '{{ define "loop" }}{{ template "loop" . }}{{ end }}{{ template "loop" . }}'}]`)
	n := newNotifier(t, Config{Receivers: c.Receivers}, Options{})
	result, detail := n.Send(t.Context(), fullPage("chat"))
	require.Equal(t, watchbill.ResultDelivered, result, detail)
	require.Contains(t, h.got()[0], `"title":"SEV1 checkout/prod: 7 % of payments fail [INC-142]"`)
	require.Contains(t, h.got()[0], "Evidence: 5xx 7.2 %")
}

// Every integration that Alertmanager has builds with our templates, and its
// defaults render without an error against a full page and against a bare one.
func TestAllIntegrationsRenderTheirDefaults(t *testing.T) {
	t.Parallel()
	c := load(t, `receivers:
- name: all
  webhook_configs: [{url: 'http://127.0.0.1:1'}]
  email_configs: [{to: x@example.com, from: y@example.com, smarthost: 'localhost:25'}]
  pagerduty_configs: [{routing_key: k}]
  opsgenie_configs: [{api_key: k}]
  wechat_configs: [{api_secret: s, corp_id: c}]
  slack_configs: [{api_url: 'http://127.0.0.1:1', channel: x}]
  victorops_configs: [{api_key: k, routing_key: r}]
  pushover_configs: [{user_key: u, token: t}, {user_key: u, token: t, html: true}]
  sns_configs: [{topic_arn: a, sigv4: {region: eu-west-1}}, {phone_number: '+34600000000', sigv4: {region: eu-west-1}}]
  telegram_configs: [{bot_token: t, chat_id: 5}, {bot_token: t, chat_id: 5, parse_mode: ''}]
  discord_configs: [{webhook_url: 'http://127.0.0.1:1'}]
  webex_configs: [{room_id: r, http_config: {authorization: {credentials: c}}}]
  msteams_configs: [{webhook_url: 'http://127.0.0.1:1'}]
  msteamsv2_configs: [{webhook_url: 'http://127.0.0.1:1'}]
  jira_configs: [{api_url: 'http://127.0.0.1:1/rest/api/2', project: P, issue_type: Bug}, {api_url: 'http://127.0.0.1:1/rest/api/3', project: P, issue_type: Bug}]
  incidentio_configs: [{url: 'http://127.0.0.1:1', alert_source_token: t}]
  rocketchat_configs: [{token_id: i, token: t}]
  mattermost_configs: [{webhook_url: 'http://127.0.0.1:1'}]`)
	n := newNotifier(t, Config{Receivers: c.Receivers}, Options{})
	require.Empty(t, n.CheckTemplates())
	r := n.receivers["all"]
	require.Len(t, r.normal, 22)

	bare := watchbill.Delivery{Attempt: 1, Page: watchbill.Page{Incident: 1, Person: "p", Method: "all"}}
	for _, d := range []watchbill.Delivery{fullPage("all"), bare} {
		m := newMessage(d)
		ctx := n.context(t.Context(), r, m)
		require.Empty(t, r.failures(ctx, n.tmpl, n.data(ctx, m)))
	}

	// Where a body belongs, the body is there.
	m := newMessage(fullPage("all"))
	ctx := n.context(t.Context(), r, m)
	data := n.data(ctx, m)
	rendered := map[string]string{}
	for _, s := range r.slots {
		out, err := r.execute(ctx, n.tmpl, s, data)
		require.NoError(t, err)
		rendered[s.Path] = out
	}
	for _, path := range []string{
		"email_configs[0].html", "email_configs[0].text", "opsgenie_configs[0].description", "wechat_configs[0].message", "slack_configs[0].text",
		"victorops_configs[0].state_message", "pushover_configs[0].message", "pushover_configs[1].message", "sns_configs[0].message",
		"telegram_configs[0].message", "telegram_configs[1].message", "discord_configs[0].message", "webex_configs[0].message",
		"msteams_configs[0].text", "msteamsv2_configs[0].text", "jira_configs[0].description.template", "jira_configs[1].description.template",
		"rocketchat_configs[0].text", "mattermost_configs[0].text",
	} {
		requireOrder(t, strings.NewReplacer("\\", "", "&#34;", `"`).Replace(rendered[path]), []string{"5xx 7.2 %", "Check the last deployment", "on duty for support", "INC-142"})
	}
	require.True(t, json.Valid([]byte(rendered["jira_configs[1].description.template"])))
	require.Equal(t, Short(fullPage("all").Page.Content), rendered["sns_configs[1].message"])
	require.Contains(t, rendered["pagerduty_configs[0].details.firing"], "Check the last deployment")
	for path, want := range map[string]string{
		"pagerduty_configs[0].description": Subject(fullPage("all").Page.Content),
		"opsgenie_configs[0].message":      Subject(fullPage("all").Page.Content),
		"discord_configs[0].title":         `SEV1 checkout/prod: 7 % of payments fail \[INC-142\]`,
		"jira_configs[0].priority":         "High",
	} {
		require.Equal(t, want, rendered[path], path)
	}
}

func TestAdaptLeavesTheCallersReceiverAlone(t *testing.T) {
	t.Parallel()
	c := load(t, "receivers:\n- name: m\n  email_configs: [{to: x@example.com, from: y@example.com, smarthost: 'localhost:25', headers: {Subject: mine, Message-Id: own}}]")
	before := *c.Receivers[0].EmailConfigs[0]
	n := newNotifier(t, Config{Receivers: c.Receivers}, Options{})
	require.Equal(t, before, *c.Receivers[0].EmailConfigs[0])
	require.Equal(t, map[string]string{"Subject": "mine", "Message-Id": "own"}, c.Receivers[0].EmailConfigs[0].Headers)
	ours := n.receivers["m"].config.EmailConfigs[0]
	require.Equal(t, "own", ours.Headers["Message-Id"])
	require.NotEmpty(t, ours.Headers["References"])
}

func TestSeveralIntegrations(t *testing.T) {
	t.Parallel()
	good := newHook(t, always(200, ""))
	flaky := newHook(t, func(n int) (int, string) {
		if n == 1 {
			return 503, ""
		}
		return 200, ""
	})
	down := newHook(t, func(n int) (int, string) {
		if n <= 2 {
			return 503, ""
		}
		return 200, ""
	})
	gone := newHook(t, always(410, ""))
	c := load(t, "receivers:\n"+
		"- name: flaky\n  webhook_configs: [{url: '"+good.URL+"'}, {url: '"+flaky.URL+"'}]\n"+
		"- name: down\n  webhook_configs: [{url: '"+good.URL+"'}, {url: '"+down.URL+"'}]\n"+
		"- name: gone\n  webhook_configs: [{url: '"+good.URL+"'}, {url: '"+gone.URL+"'}]")
	n := newNotifier(t, Config{Receivers: c.Receivers}, Options{})

	// The one that failed is tried again within the attempt, the other is not.
	result, detail := n.Send(t.Context(), fullPage("flaky"))
	require.Equal(t, watchbill.ResultDelivered, result, detail)
	require.Len(t, good.got(), 1)
	require.Len(t, flaky.got(), 2)

	// A later attempt remembers who accepted.
	result, detail = n.Send(t.Context(), fullPage("down"))
	require.Equal(t, watchbill.ResultRetry, result)
	require.Equal(t, "webhook[1]: unexpected status code 503", detail)
	result, detail = n.Send(t.Context(), fullPage("down"))
	require.Equal(t, watchbill.ResultDelivered, result, detail)
	require.Len(t, good.got(), 2)
	require.Len(t, down.got(), 3)

	// A part that refuses makes the page refused, so that the next method is used.
	result, detail = n.Send(t.Context(), fullPage("gone"))
	require.Equal(t, watchbill.ResultRefused, result)
	require.Equal(t, "webhook[1]: unexpected status code 410", detail)
	require.Len(t, good.got(), 3)
	n.Send(t.Context(), fullPage("gone"))
	require.Len(t, good.got(), 3)

	// What is remembered is forgotten once the page is delivered.
	require.Empty(t, n.receivers["down"].accepted)
	require.Empty(t, n.receivers["flaky"].accepted)
}

func TestTimeoutIsRetried(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	h := newHook(t, func(int) (int, string) { <-release; return 200, "" })
	t.Cleanup(func() { close(release) })
	c := load(t, "receivers:\n- name: hook\n  webhook_configs: [{url: '"+h.URL+"'}]")
	n := newNotifier(t, Config{Receivers: c.Receivers, SendTimeout: 30 * time.Millisecond}, Options{})
	result, detail := n.Send(t.Context(), fullPage("hook"))
	require.Equal(t, watchbill.ResultRetry, result)
	require.Contains(t, detail, "no answer within 30ms")
}

func TestRewriteKeepsSecretsAndSharesNothing(t *testing.T) {
	t.Parallel()
	c := load(t, "receivers:\n- name: x\n  webhook_configs: [{url: 'http://h.example/s', payload: {a: [b, {c: d}], n: 5}}]\n"+
		"  pagerduty_configs: [{routing_key: k3y, details: {x: why}}]")
	r := c.Receivers[0]
	var seen []string
	out := rewrite(r, func(path, text string) string {
		seen = append(seen, path+"="+text)
		return text + "!"
	})
	require.Contains(t, seen, "webhook_configs[0].payload.a[1].c=d")
	require.NotContains(t, strings.Join(seen, "\n"), "k3y")
	require.Equal(t, "k3y", string(out.PagerdutyConfigs[0].RoutingKey))
	require.Equal(t, "why", r.PagerdutyConfigs[0].Details["x"])
	require.Equal(t, "why!", out.PagerdutyConfigs[0].Details["x"])
	require.Equal(t, "x", out.Name)
	require.Equal(t, amconfig.Receiver{Name: "e"}, rewrite(amconfig.Receiver{Name: "e"}, func(_, s string) string { return s }))
}
