package daemon_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"

	"watchbill"
	"watchbill/internal/notify"
	"watchbill/internal/testkit"
	"watchbill/internal/web"
)

// get asks the daemon for something as nobody.
func (s *scene) get(method, address string, form url.Values) (int, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, address, strings.NewReader(form.Encode()))
	require.NoError(s.t, err)
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := s.frank.HTTP.Do(req)
	require.NoError(s.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(s.t, err)
	return resp.StatusCode, string(b)
}

// robot follows every link of a page on the daemon's own host and submits every form
// with the fields as they are given, as scanners of mails and chats do. It would run
// scripts, so it fails where there is one to run.
func (s *scene) robot(address string, seen map[string]bool) {
	s.t.Helper()
	if seen[address] || !strings.HasPrefix(address, "http://watchbill.test/") {
		return
	}
	seen[address] = true
	s.get(http.MethodHead, address, nil)
	_, body := s.get(http.MethodGet, address, nil)
	s.crawl(address, body, seen)
}

func (s *scene) crawl(address, body string, seen map[string]bool) {
	s.t.Helper()
	doc, err := html.Parse(strings.NewReader(body))
	require.NoError(s.t, err)
	base, err := url.Parse(address)
	require.NoError(s.t, err)
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		attr := map[string]string{}
		for _, a := range n.Attr {
			attr[a.Key] = a.Val
			require.False(s.t, strings.HasPrefix(a.Key, "on"), "%s would run", a.Key)
		}
		require.NotContains(s.t, []string{"script", "iframe", "object", "embed", "img", "link"}, n.Data)
		switch n.Data {
		case "a":
			next, err := base.Parse(attr["href"])
			require.NoError(s.t, err)
			s.robot(next.String(), seen)
		case "form":
			action, err := base.Parse(attr["action"])
			require.NoError(s.t, err)
			form := url.Values{}
			for f := range n.Descendants() {
				name, value := "", ""
				for _, a := range f.Attr {
					switch a.Key {
					case "name":
						name = a.Val
					case "value":
						value = a.Val
					}
				}
				if name != "" {
					form.Set(name, value)
				}
			}
			require.NotEmpty(s.t, form)
			_, answer := s.get(strings.ToUpper(attr["method"]), action.String(), form)
			if !seen["form "+action.String()] {
				seen["form "+action.String()] = true
				s.crawl(action.String(), answer, seen)
			}
		}
	}
}

// known returns what is known of a page.
func (s *scene) known(key string) web.PageKnown {
	s.t.Helper()
	for _, p := range show(s.t, s.frank, 1).Pages {
		if p.Key == key {
			return p.Known
		}
	}
	s.t.Fatalf("there is no page %s", key)
	return web.PageKnown{}
}

// A page carries a link and a code. Whoever follows the link reads, and only the code
// acts: a robot that follows and submits everything leaves the incident alone.
func TestActingFromAPage(t *testing.T) {
	t.Parallel()
	play(t, func(t *testing.T, s *scene) {
		s.post(disk(), 10*time.Hour)
		page := s.phone.Pages()[0]
		link, code := page.Annot["act_url"], page.Annot["code"]
		require.Regexp(t, `^http://watchbill\.test/act/\d+/[A-Za-z0-9_-]{16}$`, link)
		require.Regexp(t, `^\d{6}$`, code)
		require.Contains(t, page.Annot["actions"], "Acknowledge: open "+link+" and type the code "+code+", or: watchbill incident ack INC-1")
		require.NotContains(t, link, code)

		status, _ := s.get(http.MethodHead, link, nil)
		require.Equal(t, http.StatusOK, status)
		require.Zero(t, s.known(page.Key).Opened, "a head opens nothing")
		_, body := s.get(http.MethodGet, link, nil)
		require.Contains(t, body, "open: nobody has taken it")
		require.NotContains(t, body, code, "the code is in the message and nowhere else")
		s.sleep(time.Second)
		s.robot(link, map[string]bool{})
		v := show(t, s.frank, 1)
		require.Equal(t, watchbill.StateOpen, v.Incident.State)
		require.Equal(t, s.began, s.known(page.Key).Opened, "the first time counts")
		require.Zero(t, s.known(page.Key).Acknowledged)
		require.Equal(t, 1, strings.Count(v.Text(), "page_opened"), v.Text())

		status, _ = s.get(http.MethodGet, link[:len(link)-1]+"_", nil)
		require.Equal(t, http.StatusNotFound, status, "a link that is not the page's")
		status, _ = s.get(http.MethodPost, link, url.Values{"code": {"1234"}})
		require.Equal(t, http.StatusForbidden, status)
		status, body = s.get(http.MethodPost, link, url.Values{"code": {code[:3] + " " + code[3:]}, "note": {"on it"}})
		require.Equal(t, http.StatusOK, status)
		require.Contains(t, body, "INC-1 is yours until 03:30 UTC")
		v = show(t, s.frank, 1)
		require.Equal(t, watchbill.PersonID("ana"), v.Incident.AcknowledgedBy)
		require.Contains(t, v.Text(), "acknowledged until 03:30 UTC: on it")
		require.Equal(t, "page", v.Timeline[len(v.Timeline)-1].Via)
		require.Equal(t, web.PageKnown{Attempted: s.began, Accepted: s.began, Opened: s.began, Acknowledged: s.began.Add(time.Second)}, s.known(page.Key))
		why, err := s.frank.WhyIncident(t.Context(), 1, "ana")
		require.NoError(t, err)
		require.Contains(t, why.Text(), "attempted 03:00:00, accepted 03:00:00, opened 03:00:00, acknowledged 03:00:01")

		// Neither is in the store, nor is what they are made with.
		s.sleep(time.Minute)
		var stored []byte
		for _, name := range []string{"watchbill.db", "watchbill.db-wal"} {
			b, err := os.ReadFile(filepath.Join(s.Dir, name))
			require.NoError(t, err)
			stored = append(stored, b...)
		}
		require.True(t, bytes.Contains(stored, []byte(page.Key)))
		require.False(t, bytes.Contains(stored, []byte(code)))
		require.False(t, bytes.Contains(stored, []byte(link[strings.LastIndex(link, "/")+1:])))
		info, err := os.Stat(filepath.Join(s.Dir, "pages.key"))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode())

		// The same code after a restart.
		s.Stop()
		s.Start()
		status, body = s.get(http.MethodPost, link, url.Values{"code": {code}})
		require.Equal(t, http.StatusOK, status, body)
	})
}

// Five wrong codes lock their source out for a quarter of an hour; the right one is
// then not taken either, and the timeline says so.
func TestCodesCannotBeGuessed(t *testing.T) {
	t.Parallel()
	play(t, func(t *testing.T, s *scene) {
		s.post(disk(), 10*time.Hour)
		page := s.phone.Pages()[0]
		link, code := page.Annot["act_url"], page.Annot["code"]
		wrong := "000000"
		if code == wrong {
			wrong = "000001"
		}
		for i := range 5 {
			status, _ := s.get(http.MethodPost, link, url.Values{"code": {wrong}})
			require.Equal(t, []int{403, 403, 403, 403, 429}[i], status)
			s.sleep(time.Second)
		}
		status, body := s.get(http.MethodPost, link, url.Values{"code": {code}})
		require.Equal(t, http.StatusTooManyRequests, status)
		require.Contains(t, body, "too many wrong codes")
		require.Equal(t, watchbill.StateOpen, show(t, s.frank, 1).Incident.State)
		require.Contains(t, show(t, s.frank, 1).Text(), "too many wrong codes from ")
		s.sleep(15 * time.Minute)
		status, _ = s.get(http.MethodPost, link, url.Values{"code": {code}})
		require.Equal(t, http.StatusOK, status)
	})
}

// twilio is a provider of text messages that remembers.
type twilio struct {
	mu    sync.Mutex
	forms []url.Values
}

func (p *twilio) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	p.mu.Lock()
	p.forms = append(p.forms, r.PostForm)
	p.mu.Unlock()
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, `{"sid": "SM1"}`)
}

func (p *twilio) got() []url.Values {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]url.Values(nil), p.forms...)
}

func texting(s *scene, p *twilio) {
	s.Host("twilio.test", p)
	story := read(s.t, "testdata/story/watchbill.yaml")
	s.Write("watchbill.yaml", replace(story,
		"{receiver: ana-phone, after: 2m}]", `{receiver: sms, after: 2m}], phone: "+34600111222"`,
		"self_monitoring: false", `self_monitoring: false
sms: [{name: sms, url: 'http://twilio.test', account: AC1, token_file: token, from: "+15550100"}]`))
	s.Write("token", "s3cret")
}

// call is a callback of the provider.
func (s *scene) call(address, token string, form url.Values) (int, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, address, strings.NewReader(form.Encode()))
	require.NoError(s.t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if token != "" {
		req.Header.Set("X-Twilio-Signature", notify.Sign(token, address, form))
	}
	resp, err := s.frank.HTTP.Do(req)
	require.NoError(s.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(s.t, err)
	return resp.StatusCode, string(b)
}

// A text message is answered with its code. Only the provider's word counts, and only
// from the number of the person whom the page went to.
func TestAnsweringATextMessage(t *testing.T) {
	t.Parallel()
	p := &twilio{}
	playWith(t, func(s *scene) { texting(s, p) }, func(t *testing.T, s *scene) {
		s.post(disk(), 10*time.Hour)
		s.sleep(2 * time.Minute)
		require.Len(t, p.got(), 1)
		sms := p.got()[0]
		require.Equal(t, "+34600111222", sms.Get("To"))
		code := s.phone.Pages()[0].Annot["code"]
		require.Regexp(t, `^SEV2 db/prod: DiskFull is broken\. .* INC-1 Reply `+code+` to ack$`, sms.Get("Body"))
		const key = "INC-1/1/0/ana/sms"
		require.Equal(t, "http://watchbill.test/sms/sms/status?page="+url.QueryEscape(key), sms.Get("StatusCallback"))
		require.Zero(t, s.known(key).Delivered)

		status, _ := s.call(sms.Get("StatusCallback"), "forged", url.Values{"MessageStatus": {"delivered"}})
		require.Equal(t, http.StatusForbidden, status)
		require.Zero(t, s.known(key).Delivered)
		for _, state := range []string{"sent", "delivered", "delivered"} {
			status, _ = s.call(sms.Get("StatusCallback"), "s3cret", url.Values{"MessageStatus": {state}})
			require.Equal(t, http.StatusNoContent, status)
		}
		require.Equal(t, s.began.Add(2*time.Minute), s.known(key).Delivered)
		require.Equal(t, 1, strings.Count(show(t, s.frank, 1).Text(), "page_delivered"))

		const reply = "http://watchbill.test/sms/sms/reply"
		good := url.Values{"From": {"+34600111222"}, "Body": {"ACK " + code}, "MessageSid": {"SM9"}}
		for name, tc := range map[string]struct {
			token string
			form  url.Values
			want  int
		}{
			"unsigned":     {"", good, http.StatusForbidden},
			"forged":       {"guess", good, http.StatusForbidden},
			"foreign":      {"s3cret", url.Values{"From": {"+34999999999"}, "Body": {code}}, http.StatusOK},
			"another code": {"s3cret", url.Values{"From": {"+34600111222"}, "Body": {"ACK 00000" + code[:1]}}, http.StatusOK},
			"no code":      {"s3cret", url.Values{"From": {"+34600111222"}, "Body": {"who is this?"}}, http.StatusOK},
		} {
			status, body := s.call(reply, tc.token, tc.form)
			require.Equal(t, tc.want, status, name)
			require.Equal(t, watchbill.StateOpen, show(t, s.frank, 1).Incident.State, name)
			require.NotContains(t, body, "is yours", name)
			if name == "foreign" {
				require.Contains(t, body, "<Response></Response>", "a stranger learns nothing")
			}
		}
		status, body := s.call(reply, "s3cret", good)
		require.Equal(t, http.StatusOK, status)
		require.Contains(t, body, "<Message>INC-1 is yours until 03:32 UTC.</Message>")
		v := show(t, s.frank, 1)
		require.Equal(t, watchbill.PersonID("ana"), v.Incident.AcknowledgedBy)
		require.Equal(t, "sms", v.Timeline[len(v.Timeline)-1].Via)
		require.Equal(t, s.began.Add(2*time.Minute), s.known(key).Acknowledged)

		s.sleep(10 * time.Minute)
		_, again := s.call(reply, "s3cret", good)
		require.Equal(t, body, again, "a message that comes twice acts once")
		require.Equal(t, v.Incident.AckDeadline, show(t, s.frank, 1).Incident.AckDeadline)
	})
}

// What the provider could not deliver was accepted and reached nobody: the next method
// or step is due at once.
func TestATextMessageThatNeverArrives(t *testing.T) {
	t.Parallel()
	p := &twilio{}
	playWith(t, func(s *scene) { texting(s, p) }, func(t *testing.T, s *scene) {
		s.post(disk(), 10*time.Hour)
		s.sleep(2 * time.Minute)
		status, _ := s.call(p.got()[0].Get("StatusCallback"), "s3cret", url.Values{"MessageStatus": {"undelivered"}, "ErrorCode": {"30003"}})
		require.Equal(t, http.StatusNoContent, status)
		s.sleep(time.Second)
		require.Equal(t, []string{"ana", "carla"}, people(s.phone.Pages()), "the next step, three minutes early")
		require.Contains(t, show(t, s.frank, 1).Text(), "not delivered: ana by sms (INC-1/1/0/ana/sms): the provider could not deliver it, error 30003; nobody else of this step is left")
		k := s.known("INC-1/1/0/ana/sms")
		require.Equal(t, s.began.Add(2*time.Minute), k.Failed)
		require.Equal(t, s.began.Add(2*time.Minute), k.Accepted, "both are true")
	})
}

// unwatched is the story's configuration without what it scrapes, whose hours are
// dear.
func unwatched(t *testing.T) string {
	t.Helper()
	return replace(read(t, "testdata/story/watchbill.yaml"), `scrape_configs:
  - job_name: checkout
    static_configs: [{targets: ['checkout.test:80'], labels: {service: checkout, environment: prod}}]
targets: [targets.yaml, windows.yaml]
`, "")
}

// The first person's receiver answers 500 for an hour: their second method and the
// second person are paged on time, and when it recovers each key is delivered once.
func TestAReceiverThatFailsForAnHour(t *testing.T) {
	t.Parallel()
	playWith(t, func(s *scene) { s.Write("watchbill.yaml", unwatched(t)) }, func(t *testing.T, s *scene) {
		push := &testkit.Receiver{}
		push.Answer(http.StatusInternalServerError)
		s.Host("push.test", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/ana-push" {
				push.ServeHTTP(w, r)
				return
			}
			s.phone.ServeHTTP(w, r)
		}))
		s.post(disk(), 10*time.Hour)
		s.sleep(time.Hour)
		pages := s.phone.Pages()
		require.Equal(t, []string{"/ana-phone", "/carla-push"}, []string{pages[0].Path, pages[1].Path})
		require.Equal(t, s.began.Add(2*time.Minute), pages[0].At)
		require.Equal(t, s.began.Add(5*time.Minute), pages[1].At)
		require.Empty(t, push.Pages())

		push.Answer(0)
		s.sleep(14 * time.Minute) // the next repeat is due at 75 minutes
		keys := map[string]int{}
		for _, x := range push.Pages() {
			keys[x.Key]++
		}
		for _, v := range show(t, s.frank, 1).Pages {
			require.NotEqual(t, "pending", v.State, v.Key)
			if v.Page.Method == "ana-push" {
				require.Equal(t, 1, keys[v.Key], v.Key)
				delete(keys, v.Key)
				require.False(t, v.Known.Accepted.Before(s.began.Add(time.Hour)))
			}
		}
		require.Empty(t, keys)
	})
}

// With a token, Slack's message is edited when the incident is taken and when it is
// over, and no second one is posted.
func TestSlackFollowsTheIncident(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var calls []string
	playWith(t, func(s *scene) {
		s.HostTLS("slack.com", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var body struct {
				TS          string
				Attachments []struct{ Text, Color string }
			}
			_ = json.NewDecoder(r.Body).Decode(&body)
			first, _, _ := strings.Cut(body.Attachments[0].Text, "\n")
			mu.Lock()
			calls = append(calls, strings.Join([]string{r.URL.Path, body.TS, body.Attachments[0].Color, first}, " | "))
			mu.Unlock()
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"ok": true, "channel": "C1", "ts": "17.5"}`)
		}))
		story := read(s.t, "testdata/story/watchbill.yaml")
		s.Write("watchbill.yaml", replace(story, "{name: ana-push, webhook_configs: [{url: 'http://push.test/ana-push'}]}",
			"{name: ana-push, slack_configs: [{app_token: xoxb-1, app_url: 'https://slack.com/api/chat.postMessage', channel: '#ops', http_config: {tls_config: {insecure_skip_verify: true}}}]}"))
	}, func(t *testing.T, s *scene) {
		s.post(disk(), 10*time.Hour)
		_, err := s.As("ana").Acknowledge(t.Context(), 1, "")
		require.NoError(t, err)
		s.sleep(time.Minute)
		s.post(disk(), -time.Second)
		s.sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		require.Len(t, calls, 3, strings.Join(calls, "\n"))
		require.True(t, strings.HasPrefix(calls[0], "/api/chat.postMessage |  | danger | "), calls[0])
		require.Equal(t, "/api/chat.update | 17.5 | danger | *Now:* acknowledged by ana at 03:00 UTC, until 03:30 UTC", calls[1])
		require.Equal(t, "/api/chat.update | 17.5 | good | *Now:* resolved at 03:01 UTC", calls[2])
		require.NotContains(t, show(t, s.frank, 1).Text(), "edit")
	})
}

// Quiet hours put a sev3 off to their end, once, however often its path repeats; a
// sev2 is not asked.
func TestQuietHours(t *testing.T) {
	t.Parallel()
	playWith(t, func(s *scene) {
		s.Write("watchbill.yaml", replace(unwatched(t), "contact: [{receiver: ana-push}, {receiver: ana-phone, after: 2m}]}",
			`contact: [{receiver: ana-push}, {receiver: ana-phone, after: 2m, severities: [sev1, sev2]}], quiet_hours: {from: "22:00", to: "07:30"}}`))
	}, func(t *testing.T, s *scene) {
		s.post(watchbill.Labels{"alertname": "Slow", "service": "checkout", "environment": "prod", "severity": "warning"}, 20*time.Hour)
		s.sleep(3*time.Hour + 29*time.Minute)
		for _, p := range s.phone.Pages() {
			require.NotEqual(t, "ana", p.Person, "04:00 to 07:29 in Madrid is quiet")
		}
		require.Contains(t, people(s.phone.Pages()), "carla", "the path goes on")
		s.sleep(time.Minute)
		var mine []testkit.Page
		for _, p := range s.phone.Pages() {
			if p.Person == "ana" {
				mine = append(mine, p)
			}
		}
		require.NotEmpty(t, mine)
		require.Equal(t, "/ana-push", mine[0].Path)
		require.Equal(t, s.began.Add(3*time.Hour+30*time.Minute), mine[0].At)
		require.LessOrEqual(t, len(mine), 2, "what waited is one page, beside that of the step that fires now")

		before := len(s.phone.Pages())
		s.post(watchbill.Labels{"alertname": "Down", "service": "checkout", "environment": "prod", "severity": "critical", "signal": "security"}, 20*time.Hour)
		require.Greater(t, len(s.phone.Pages()), before)
	})
}

// What a person adds counts once they confirmed a test of it, over restarts and
// reloads, until they remove it.
func TestOwnContacts(t *testing.T) {
	t.Parallel()
	p := &twilio{}
	playWith(t, func(s *scene) { texting(s, p) }, func(t *testing.T, s *scene) {
		ana, ben, ctx := s.As("ana"), s.As("ben"), t.Context()
		for want, in := range map[string]web.ContactRequest{
			`receiver: there is no receiver "fax"`:              {Receiver: "fax"},
			`receiver: there is no receiver "terminal"`:         {Receiver: "terminal"},
			`address: "600" is not a phone number`:              {Receiver: "sms", Address: "600"},
			"address: it is somebody else's":                    {Receiver: "sms", Address: "+34600111222"},
			"address: the receiver ben-push has one of its own": {Receiver: "ben-push", Address: "+34600111223"},
			"after: 2h0m0s is not a delay":                      {Receiver: "ben-push", After: 2 * time.Hour},
			"severities: sev4":                                  {Receiver: "ben-push", Severities: []watchbill.Severity{watchbill.Sev4}},
		} {
			_, err := ben.AddContact(ctx, in)
			require.ErrorContains(t, err, want)
		}
		made, err := ana.AddContact(ctx, web.ContactRequest{Receiver: "sms", Address: "+34600999888", After: time.Minute})
		require.NoError(t, err)
		_, err = ana.AddContact(ctx, web.ContactRequest{Receiver: "sms", Address: "+34600999887"})
		require.ErrorContains(t, err, "you have a contact by sms of your own")
		_, err = ana.ConfirmContact(ctx, made.ID, "123456")
		require.ErrorContains(t, err, "no test was sent")
		_, err = ben.TestContact(ctx, made.ID)
		require.ErrorContains(t, err, "you have no contact")
		_, err = ana.TestContact(ctx, made.ID)
		require.NoError(t, err)
		s.sleep(time.Second)
		require.Len(t, p.got(), 1)
		require.Equal(t, "+34600999888", p.got()[0].Get("To"))
		code := p.got()[0].Get("Body")
		require.Regexp(t, `^SEV4 watchbill: This is a test of how you are reached\. Confirm it with its code\. Code \d{6}$`, code)
		code = code[len(code)-6:]
		_, err = ana.TestContact(ctx, made.ID)
		require.ErrorContains(t, err, "a test was sent just now")
		_, err = ana.ConfirmContact(ctx, made.ID, "x"+code)
		require.ErrorContains(t, err, "this is not the code")

		// Not confirmed: the configuration's number is the one that is used.
		s.post(disk(), 10*time.Hour)
		s.sleep(2 * time.Minute)
		require.Equal(t, "+34600111222", p.got()[1].Get("To"))
		_, err = ana.ConfirmContact(ctx, made.ID, code)
		require.NoError(t, err)
		_, err = ana.ConfirmContact(ctx, made.ID, code)
		require.ErrorContains(t, err, "no test was sent", "a code confirms once")
		require.NoError(t, s.frank.Reload(ctx))
		s.Stop()
		s.Start()
		ana = s.As("ana")
		s.post(watchbill.Labels{"alertname": "Other", "service": "other", "severity": "critical"}, 10*time.Hour)
		s.sleep(time.Minute)
		require.Equal(t, "+34600999888", p.got()[2].Get("To"), "a minute after the step, as it says")

		v, err := ana.Contacts(ctx, "")
		require.NoError(t, err)
		require.Contains(t, v.Text(), "ana-push")
		require.Contains(t, v.Text(), "sms +34600999888     after 1m0s; confirmed 2026-11-29T03:02:01Z")
		require.Len(t, v.Log, 3)
		require.NoError(t, ana.RemoveContact(ctx, made.ID))
		v, err = s.As("ben").Contacts(ctx, "ana")
		require.NoError(t, err)
		require.Empty(t, v.Own)
		require.Equal(t, "removed 1, by sms +34600999888", v.Log[0].What)
		require.Len(t, v.Configured, 2, "what the configuration says is in force again")
		_, err = ana.Contacts(ctx, "nobody")
		require.ErrorContains(t, err, "there is no person")
	})
}
