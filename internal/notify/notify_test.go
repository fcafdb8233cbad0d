package notify

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	amconfig "github.com/prometheus/alertmanager/config"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/golden"
)

// fullPage is a page with every field, for receiver method.
func fullPage(method string) watchbill.Delivery {
	p := samplePage()
	p.Method = method
	p.Content.Related = "3 alerts grouped, 2 suppressed (cause: payments)"
	p.Content.Changes = "02:40 deploy checkout 4.7.1 by ci"
	p.Content.Reason = "escalated: not acknowledged in 5m"
	p.Content.AlsoTold = "ben (support) at 04:10"
	p.Content.Actions = []watchbill.Action{
		{Name: "Acknowledge", How: "watchbill incident ack INC-142"},
		{Name: "Escalate now", How: "https://watchbill.example.com/incidents/142"},
	}
	return watchbill.Delivery{ID: 7, Attempt: 1, Page: p}
}

// elevenFields are what must be found in every channel that carries a whole page.
func elevenFields() []string {
	return []string{
		"SEV1 checkout/prod", "7 % of payments fail", "customers cannot pay", "5xx 7.2 %, target 0.1 %, 5 min",
		"Check the last deployment and roll it back.", "High error rate (reviewed 12 d ago)", "02:40 deploy checkout 4.7.1 by ci",
		"3 alerts grouped", "you are on duty for support", "Acknowledge", "INC-142",
	}
}

// requireOrder checks that the parts stand in text one after the other.
func requireOrder(t *testing.T, text string, parts []string) {
	t.Helper()
	at := 0
	for _, p := range parts {
		i := strings.Index(text[at:], p)
		require.GreaterOrEqual(t, i, 0, "%q is missing, or too early, in:\n%s", p, text)
		at += i + len(p)
	}
}

// load reads receivers as the daemon does, with Alertmanager's own defaults.
func load(t *testing.T, receivers string) *amconfig.Config {
	t.Helper()
	c, err := amconfig.Load("route: {receiver: none}\n" + receivers + "\n- name: none\n")
	require.NoError(t, err)
	return c
}

func newNotifier(t *testing.T, cfg Config, o Options) *Notifier {
	t.Helper()
	n, err := New(cfg, o)
	require.NoError(t, err)
	return n
}

// hook is a receiver on loopback that keeps what it is sent.
type hook struct {
	*httptest.Server
	mu     sync.Mutex
	bodies []string
	answer func(n int) (status int, body string)
}

func newHook(t *testing.T, answer func(n int) (int, string)) *hook {
	t.Helper()
	h := &hook{answer: answer}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		h.mu.Lock()
		h.bodies = append(h.bodies, string(b))
		status, text := h.answer(len(h.bodies))
		h.mu.Unlock()
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(h.Close)
	return h
}

func always(status int, body string) func(int) (int, string) {
	return func(int) (int, string) { return status, body }
}

func (h *hook) got() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.bodies...)
}

func TestTextHasElevenFieldsInOrder(t *testing.T) {
	t.Parallel()
	c := fullPage("x").Page.Content
	requireOrder(t, Text(c), elevenFields())
	golden.Compare(t, "text.txt", Text(c))
	require.Equal(t, "SEV1 checkout/prod: 7 % of payments fail [INC-142]", Subject(c))

	bare := watchbill.PageContent{Severity: watchbill.Sev3, Service: "db", Title: "disk is filling", Incident: 3, Why: "you are on duty", Reason: "first page"}
	golden.Compare(t, "text_bare.txt", Text(bare))
}

func TestShort(t *testing.T) {
	t.Parallel()
	c := fullPage("x").Page.Content
	require.Equal(t, "SEV1 checkout/prod: 7 % of payments fail. Check the last deployment and roll it back. INC-142", Short(c))

	c.Title = strings.Repeat("a very long title ", 10)
	c.FirstAction = strings.Repeat("do this and then that ", 10)
	long := Short(c)
	require.LessOrEqual(t, septets(long), 160)
	require.True(t, strings.HasPrefix(long, "SEV1 checkout/prod: a very long"), long)
	require.Contains(t, long, "do this")
	require.True(t, strings.HasSuffix(long, " INC-142"), long)

	c.Title, c.FirstAction = "Fehlerrate über 5 % – „kaputt“ łódź 日本", ""
	require.Equal(t, `SEV1 checkout/prod: Fehlerrate über 5 % - "kaputt" lodz ?? INC-142`, Short(c))

	c.Title = strings.Repeat("{", 200) // every one of them takes two septets
	require.LessOrEqual(t, septets(Short(c)), 160)
}

func TestCleaning(t *testing.T) {
	t.Parallel()
	c := fullPage("x").Page.Content
	c.Title = "up\x1b[2Jdown\r\nBcc: x\u202egpj.exe\x00"
	c.Impact = "one\r\ntwo\x1b]0;x\x07"
	require.Equal(t, "SEV1 checkout/prod: up[2Jdown Bcc: xgpj.exe [INC-142]", Subject(c))
	require.Contains(t, Text(c), "Impact:\n  one\n  two]0;x; since")

	c.Title = strings.Repeat("é", 200)
	require.Equal(t, 100, runes(notes(c)["title"]))
}

func TestWebURL(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"https://a.example/x?y=1&z=2":        "https://a.example/x?y=1&z=2",
		"http://[::1]:9090/g":                "http://[::1]:9090/g",
		"https://a.example/[x](http://evil)": "https://a.example/%5Bx%5D%28http://evil%29",
		"javascript:alert(1)":                "",
		"//evil.example/x":                   "",
		"https://user:pw@a.example/":         "",
		"https://a.example/<!channel>":       "https://a.example/%3C%21channel%3E",
		"data:text/html,x":                   "",
		"":                                   "",
		"https://":                           "",
		"http://a*b/":                        "",
		"http://[:*]/":                       "",
	} {
		if got := webURL(in); in == "https://a.example/<!channel>" {
			require.NotContains(t, got, "<", in)
		} else {
			require.Equal(t, want, got, in)
		}
	}
}

func TestTerminal(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	n := newNotifier(t, Config{}, Options{Terminal: &out})
	result, detail := n.Send(t.Context(), fullPage(TerminalReceiver))
	require.Equal(t, watchbill.ResultDelivered, result, detail)
	requireOrder(t, out.String(), elevenFields())
	golden.Compare(t, "terminal.txt", out.String())

	d := fullPage(TerminalReceiver)
	d.Attempt = 3
	out.Reset()
	n.Send(t.Context(), d)
	require.Contains(t, out.String(), "PAGE to Ana · attempt 3")
}

func TestTerminalMissing(t *testing.T) {
	t.Parallel()
	result, detail := newNotifier(t, Config{}, Options{}).Send(t.Context(), fullPage(TerminalReceiver))
	require.Equal(t, watchbill.ResultRefused, result)
	require.Equal(t, `receiver "terminal" is not configured`, detail)
}

func TestWebhook(t *testing.T) {
	t.Parallel()
	h := newHook(t, always(200, ""))
	c := load(t, "receivers:\n- name: hook\n  webhook_configs: [{url: '"+h.URL+"/page'}]")
	n := newNotifier(t, Config{Receivers: c.Receivers, ExternalURL: "https://watchbill.example.com"}, Options{})
	d := fullPage("hook")
	result, detail := n.Send(t.Context(), d)
	require.Equal(t, watchbill.ResultDelivered, result, detail)
	require.Equal(t, "accepted by webhook[0]", detail)

	var body struct {
		GroupKey string
		Alerts   []struct{ Labels, Annotations map[string]string }
	}
	require.NoError(t, json.Unmarshal([]byte(h.got()[0]), &body))
	require.Equal(t, d.Page.Key(), body.GroupKey)
	a := body.Alerts[0]
	require.Equal(t, d.Page.Key(), a.Labels["page_key"])
	require.Equal(t, "1", a.Labels["attempt"])
	require.Equal(t, "sev1", a.Labels["severity"], "ours wins over the alert's own")
	requireOrder(t, a.Annotations["text"], elevenFields())
	golden.Compare(t, "webhook.json", indent(t, h.got()[0]))
}

// Every field of the content has an annotation of its JSON name, so that a
// field which somebody adds later cannot be forgotten here.
func TestAnnotationsAreComplete(t *testing.T) {
	t.Parallel()
	d := fullPage("x")
	b, err := json.Marshal(d.Page.Content)
	require.NoError(t, err)
	var fields map[string]any
	require.NoError(t, json.Unmarshal(b, &fields))
	a := newMessage(d).notes
	for name := range fields {
		if name != "labels" {
			require.NotEmpty(t, a[name], name)
		}
	}
}

func TestLabelsAreBounded(t *testing.T) {
	t.Parallel()
	d := fullPage("x")
	d.Page.Content.Labels = watchbill.Labels{"person": "mallory", "page_key": "forged"}
	for i := range 1000 {
		d.Page.Content.Labels[fmt.Sprintf("l%04d", i)] = strings.Repeat("x", 5000)
	}
	m := newMessage(d)
	require.LessOrEqual(t, len(m.alert.Labels), maxLabels+9)
	require.LessOrEqual(t, len(m.alert.Labels["l0000"]), maxLabelValue+3)
	require.Equal(t, "ana", string(m.alert.Labels["person"]))
	require.Equal(t, d.Page.Key(), string(m.alert.Labels["page_key"]))
}

func TestSlack(t *testing.T) {
	t.Parallel()
	h := newHook(t, always(200, "ok"))
	c := load(t, "receivers:\n- name: chat\n  slack_configs: [{api_url: '"+h.URL+"/services/T0/B0/XYZ', channel: '#ops'}]")
	n := newNotifier(t, Config{Receivers: c.Receivers, ExternalURL: "https://watchbill.example.com"}, Options{})
	d := fullPage("chat")
	d.Page.Content.Related = "<!channel> & <https://evil.example|runbook> @here"
	result, detail := n.Send(t.Context(), d)
	require.Equal(t, watchbill.ResultDelivered, result, detail)

	var body struct {
		Attachments []struct{ Title, Text, Fallback string }
	}
	require.NoError(t, json.Unmarshal([]byte(h.got()[0]), &body))
	a := body.Attachments[0]
	requireOrder(t, a.Title+a.Text, []string{
		"SEV1 checkout/prod", "7 % of payments fail", "customers cannot pay", "5xx 7.2 %", "Check the last", "High error rate",
		"02:40 deploy", "&lt;!channel&gt; &amp; &lt;https://evil.example|runbook&gt; @\u2060here", "on duty for support", "Acknowledge", "INC-142",
	})
	golden.Compare(t, "slack.json", indent(t, h.got()[0]))
}

func indent(t *testing.T, body string) string {
	t.Helper()
	var v any
	require.NoError(t, json.Unmarshal([]byte(body), &v))
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	require.NoError(t, e.Encode(v))
	return b.String()
}

// mailbox is an SMTP server on loopback. refuse answers RCPT with its code.
type mailbox struct {
	addr   string
	refuse string
	mu     sync.Mutex
	mails  []string
	rcpts  []string
}

func newMailbox(t *testing.T, refuse string) *mailbox {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	m := &mailbox{addr: ln.Addr().String(), refuse: refuse}
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { m.serve(conn) })
		}
	})
	return m
}

func (m *mailbox) serve(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	say := func(s string) { _, _ = io.WriteString(conn, s+"\r\n") }
	say("220 test")
	for {
		cmd, err := r.ReadString('\n')
		if err != nil {
			return
		}
		switch verb := strings.ToUpper(strings.Fields(cmd + " x")[0]); verb {
		case "RCPT":
			if m.refuse != "" {
				say(m.refuse)
				continue
			}
			m.mu.Lock()
			m.rcpts = append(m.rcpts, strings.TrimSpace(cmd))
			m.mu.Unlock()
			say("250 ok")
		case "DATA":
			say("354 go")
			var b strings.Builder
			for {
				l, err := r.ReadString('\n')
				if err != nil || l == ".\r\n" {
					break
				}
				b.WriteString(strings.TrimPrefix(l, "."))
			}
			m.mu.Lock()
			m.mails = append(m.mails, b.String())
			m.mu.Unlock()
			say("250 queued")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

func (m *mailbox) got() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.mails...)
}

func (m *mailbox) global(t *testing.T) *amconfig.GlobalConfig {
	t.Helper()
	c := load(t, "global: {smtp_smarthost: '"+m.addr+"', smtp_from: 'watchbill@example.com', smtp_require_tls: false}\nreceivers:")
	return c.Global
}

// readMail returns a mail's headers, and its parts in order.
func readMail(t *testing.T, raw string) (header mail.Header, parts, kinds []string) {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(raw))
	require.NoError(t, err)
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	require.NoError(t, err)
	mr := multipart.NewReader(m.Body, params["boundary"])
	for {
		p, err := mr.NextRawPart()
		if errors.Is(err, io.EOF) {
			return m.Header, parts, kinds
		}
		require.NoError(t, err)
		b, err := io.ReadAll(quotedprintable.NewReader(p))
		require.NoError(t, err)
		parts = append(parts, strings.ReplaceAll(string(b), "\r\n", "\n"))
		kinds = append(kinds, p.Header.Get("Content-Type"))
	}
}

func TestEmail(t *testing.T) {
	t.Parallel()
	box := newMailbox(t, "")
	n := newNotifier(t, Config{Global: box.global(t), ExternalURL: "https://watchbill.example.com"}, Options{})
	d := fullPage(EmailReceiver)
	d.Page.Content.Related = `<script>alert(1)</script><a href="javascript:x">& 3 alerts`
	result, detail := n.Send(t.Context(), d)
	require.Equal(t, watchbill.ResultDelivered, result, detail)
	require.Equal(t, []string{"RCPT TO:<ana@example.com>"}, box.rcpts)

	header, parts, kinds := readMail(t, box.got()[0])
	require.Equal(t, []string{"text/plain; charset=UTF-8", "text/html; charset=UTF-8"}, kinds, "the plain text comes first")
	want := elevenFields()
	want[7] = "3 alerts"
	requireOrder(t, parts[0], want)
	requireOrder(t, parts[1], want)
	require.NotContains(t, parts[1], "<script>alert")
	var b strings.Builder
	for _, name := range []string{"From", "To", "Subject", "Message-Id", "References", "In-Reply-To"} {
		value, err := new(mime.WordDecoder).DecodeHeader(header.Get(name))
		require.NoError(t, err)
		fmt.Fprintf(&b, "%s: %s\n", name, value)
	}
	golden.Compare(t, "email.txt", b.String()+"\n"+strings.Join(parts, "\n--- html ---\n"))

	// The same page in a second attempt has the same id, another page of the same
	// incident only the same thread.
	d.Attempt = 2
	n.Send(t.Context(), d)
	d.Page.Step = 1
	n.Send(t.Context(), d)
	second, _, _ := readMail(t, box.got()[1])
	third, _, _ := readMail(t, box.got()[2])
	require.Equal(t, header.Get("Message-Id"), second.Get("Message-Id"))
	require.NotEqual(t, header.Get("Message-Id"), third.Get("Message-Id"))
	require.Equal(t, header.Get("References"), third.Get("References"))
}

func TestEmailWithoutAddressIsRefused(t *testing.T) {
	t.Parallel()
	box := newMailbox(t, "")
	n := newNotifier(t, Config{Global: box.global(t)}, Options{})
	d := fullPage(EmailReceiver)
	d.Page.Content.ToEmail = ""
	result, detail := n.Send(t.Context(), d)
	require.Equal(t, watchbill.ResultRefused, result)
	require.Contains(t, detail, "no address: template email_configs[0].to: it is empty for this page")
	require.Empty(t, box.got())
}

func TestEmailPermanentAndTemporary(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]watchbill.Result{
		"550 no such user":       watchbill.ResultRefused,
		"451 greylisted, return": watchbill.ResultRetry,
	} {
		box := newMailbox(t, answer)
		result, detail := newNotifier(t, Config{Global: box.global(t)}, Options{}).Send(t.Context(), fullPage(EmailReceiver))
		require.Equal(t, want, result, detail)
		require.Contains(t, detail, answer[:3])
	}
}

func TestHangingMailServerIsLeftBehind(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0") // accepts in the kernel, never greets
	require.NoError(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	box := &mailbox{addr: ln.Addr().String()}
	n := newNotifier(t, Config{Global: box.global(t), SendTimeout: 500 * time.Millisecond}, Options{})
	for range maxHanging {
		result, detail := n.Send(t.Context(), fullPage(EmailReceiver))
		require.Equal(t, watchbill.ResultRetry, result)
		require.Equal(t, "email[0]: no answer within 500ms", detail)
	}
	result, detail := n.Send(t.Context(), fullPage(EmailReceiver))
	require.Equal(t, watchbill.ResultRetry, result)
	require.Equal(t, "email[0]: 4 earlier sends still hang", detail)
}

func TestConfiguredReceiversReplaceBuiltIns(t *testing.T) {
	t.Parallel()
	h := newHook(t, always(200, ""))
	c := load(t, "receivers:\n- name: email\n  webhook_configs: [{url: '"+h.URL+"'}]\n- name: terminal\n  webhook_configs: [{url: '"+h.URL+"'}]")
	box := newMailbox(t, "")
	n := newNotifier(t, Config{Global: box.global(t), Receivers: c.Receivers}, Options{Terminal: io.Discard})
	for _, name := range []string{EmailReceiver, TerminalReceiver} {
		result, detail := n.Send(t.Context(), fullPage(name))
		require.Equal(t, watchbill.ResultDelivered, result, detail)
	}
	require.Len(t, h.got(), 2)
	require.Equal(t, []string{"email", "none", "terminal"}, n.Receivers())
}

func TestMethods(t *testing.T) {
	t.Parallel()
	h := newHook(t, always(200, ""))
	fired := time.Date(2026, 11, 29, 3, 15, 0, 0, time.UTC)
	c := load(t, "receivers:\n- name: push\n  webhook_configs: [{url: '"+h.URL+"'}]\n- name: phone\n  webhook_configs: [{url: '"+h.URL+"'}]")
	box := newMailbox(t, "")
	with := newNotifier(t, Config{Global: box.global(t), Receivers: c.Receivers}, Options{Terminal: io.Discard})
	without := newNotifier(t, Config{}, Options{Terminal: io.Discard})
	list := []watchbill.Contact{{Receiver: "push"}, {Receiver: "phone", After: 2 * time.Minute}}
	for name, tc := range map[string]struct {
		n      *Notifier
		person watchbill.Person
		want   []Method
	}{
		"contact list": {with, watchbill.Person{ID: "ana", Contact: list}, []Method{
			{"push", fired, "ana's contact list, at once", 0, "", false},
			{"phone", fired.Add(2 * time.Minute), "ana's contact list, after 2m", 1, "", false},
		}},
		"receiver that is gone": {with, watchbill.Person{ID: "ana", Contact: append([]watchbill.Contact{{Receiver: "fax"}}, list[:1]...)}, []Method{
			{"push", fired, "ana's contact list, at once", 1, "", false},
		}},
		"only receivers that are gone": {with, watchbill.Person{ID: "ana", Email: "a@example.com", Contact: []watchbill.Contact{{Receiver: "fax"}}}, []Method{
			{"email", fired, "ana's contact list names no receiver that exists (fax): mail to their address", -1, "", false},
		}},
		"address only": {with, watchbill.Person{ID: "ben", Email: "b@example.com"}, []Method{
			{"email", fired, "ben has no contact list: mail to their address", -1, "", false},
		}},
		"nothing": {with, watchbill.Person{ID: "cyd"}, []Method{
			{"terminal", fired, "cyd has no contact list and no email address: the daemon's terminal is the last resort", -1, "", false},
		}},
		"address but no mail server": {without, watchbill.Person{ID: "ben", Email: "b@example.com"}, []Method{
			{"terminal", fired, "ben has no contact list and there is no email receiver: the daemon's terminal is the last resort", -1, "", false},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tc.want, tc.n.Methods(tc.person, watchbill.Sev1, fired))
		})
	}
}

func TestRegisteringTwiceSharesMetrics(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	a := newNotifier(t, Config{}, Options{Registerer: reg})
	b := newNotifier(t, Config{}, Options{Registerer: reg, Logger: slog.New(slog.DiscardHandler)})
	require.Same(t, a.fallbacks, b.fallbacks)
}

func TestNewRefusesBadInput(t *testing.T) {
	t.Parallel()
	_, err := New(Config{ExternalURL: "http://[bad"}, Options{})
	require.ErrorContains(t, err, "external_url")
	dir := t.TempDir()
	writeFile(t, dir+"/bad.tmpl", `{{ define "x" }}{{ .Unclosed `)
	_, err = New(Config{Templates: []string{dir + "/*.tmpl"}}, Options{})
	require.ErrorContains(t, err, "bad.tmpl")
	require.ErrorContains(t, err, "correct the file")
}
