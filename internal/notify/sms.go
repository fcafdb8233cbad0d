package notify

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // the provider's signatures are made with it
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"unicode/utf16"

	"github.com/prometheus/alertmanager/alert"
	amnotify "github.com/prometheus/alertmanager/notify"

	"watchbill"
)

// DefaultSMSURL is where text messages are sent unless configured: Twilio.
const DefaultSMSURL = "https://api.twilio.com"

// ucs2Segment is how many UTF-16 units one text message holds that has a character
// outside of GSM-7.
const ucs2Segment = 70

// SMS is a receiver that sends text messages through Twilio's API, or through one
// that has its form. Each goes to the phone of the person who is paged.
type SMS struct {
	Name      string
	URL       string // without a slash at the end; empty is [DefaultSMSURL]
	Account   string
	TokenFile string // read for each message, so that it can be exchanged
	From      string // a number, a name, or the id of a messaging service
}

// token reads the secret with which messages are sent and callbacks are signed.
func (s SMS) token() (string, error) {
	b, err := os.ReadFile(s.TokenFile)
	if err != nil {
		return "", fmt.Errorf("read token_file: %w", err)
	}
	token := strings.TrimSpace(string(b))
	if token == "" {
		return "", errors.New("token_file is empty")
	}
	return token, nil
}

// texter sends text messages for one receiver.
type texter struct {
	sms    SMS
	phones map[string]string // by person
	status string            // where the provider tells what became of a message; empty: nowhere
	client *http.Client
}

// newTexter returns the receiver of a configured SMS.
func newTexter(s SMS, cfg Config, o Options) *receiver {
	t := &texter{sms: s, phones: map[string]string{}, client: &http.Client{
		Transport: &http.Transport{DialContext: o.DialContext, Proxy: http.ProxyFromEnvironment, MaxIdleConns: 4},
		// A redirect would carry the message and its code elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if t.sms.URL == "" {
		t.sms.URL = DefaultSMSURL
	}
	for _, p := range cfg.People {
		t.phones[string(p.ID)] = p.Phone
	}
	if reachable(cfg.ExternalURL) {
		t.status = cfg.ExternalURL + StatusPath(s.Name)
	}
	return &receiver{
		name: s.Name, redact: newRedactor(nil), accepted: map[string]map[string]bool{}, hanging: make([]atomic.Int32, 1),
		normal: []integration{{name: "sms", send: t.send}},
	}
}

// StatusPath is where the provider tells what became of a message.
func StatusPath(receiver string) string { return "/sms/" + url.PathEscape(receiver) + "/status" }

// reachable reports whether a provider could call back: not where a host is this
// machine for everybody.
func reachable(external string) bool {
	u, err := url.Parse(external)
	if err != nil || u.Host == "" {
		return false
	}
	if addr, err := netip.ParseAddr(u.Hostname()); err == nil {
		return !addr.IsLoopback()
	}
	return u.Hostname() != "localhost"
}

func (t *texter) send(ctx context.Context, a *alert.Alert) (retry bool, err error) {
	person := string(a.Labels["person"])
	phone := cmp.Or(string(a.Annotations["to_phone"]), t.phones[person])
	if phone == "" {
		return false, fmt.Errorf("%s has no phone", person)
	}
	token, err := t.sms.token()
	if err != nil {
		return true, err
	}
	notes := make(map[string]string, len(a.Annotations))
	for name, value := range a.Annotations {
		notes[string(name)] = string(value)
	}
	form := url.Values{"To": {phone}, "Body": {smsText(notes)}}
	if strings.HasPrefix(t.sms.From, "MG") && len(t.sms.From) == 34 {
		form.Set("MessagingServiceSid", t.sms.From)
	} else {
		form.Set("From", t.sms.From)
	}
	if key := string(a.Labels["page_key"]); t.status != "" && key != "" {
		form.Set("StatusCallback", t.status+"?"+url.Values{"page": {key}}.Encode())
	}
	address := t.sms.URL + "/2010-04-01/Accounts/" + url.PathEscape(t.sms.Account) + "/Messages.json"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return false, err
	}
	req.SetBasicAuth(t.sms.Account, token)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := t.client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return true, amnotify.RedactURL(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return true, fmt.Errorf("read the answer: %w", err)
	}
	return judgeText(resp.StatusCode, body)
}

// judgeText reads the provider's answer: 2xx is accepted, 429 and 5xx may pass, and
// anything else is final.
func judgeText(status int, body []byte) (retry bool, err error) {
	if status/100 == 2 {
		return false, nil
	}
	var answer struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}
	said := ""
	if json.Unmarshal(body, &answer) == nil && answer.Message != "" {
		said = fmt.Sprintf(": %s (%d)", answer.Message, answer.Code)
	}
	return status == http.StatusTooManyRequests || status/100 == 5, fmt.Errorf("the provider answered %d%s", status, said)
}

// ErrSignature is a callback that does not come from the provider.
var ErrSignature = errors.New("the signature does not match")

// VerifySMS checks that a form was sent by the provider of a receiver: that it was
// signed with the receiver's token for the address to which it was sent.
func (n *Notifier) VerifySMS(receiver, address string, form url.Values, signature string) error {
	i := slices.IndexFunc(n.sms, func(s SMS) bool { return s.Name == receiver })
	if i < 0 {
		return watchbill.Errorf(watchbill.CodeNotFound, "use the name of an entry of sms: in the configuration", "there is no receiver of text messages %q", receiver)
	}
	token, err := n.sms[i].token()
	if err != nil {
		return err
	}
	if !hmac.Equal([]byte(Sign(token, address, form)), []byte(signature)) {
		return ErrSignature
	}
	if account := form.Get("AccountSid"); account != "" && account != n.sms[i].Account {
		return ErrSignature
	}
	return nil
}

// Sign returns the provider's signature of a form that is sent to an address:
// HMAC-SHA1, under the token, of the address and of every field's name and values
// in the order of the names.
func Sign(token, address string, form url.Values) string {
	h := hmac.New(sha1.New, []byte(token))
	_, _ = io.WriteString(h, address)
	names := make([]string, 0, len(form))
	for name := range form {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		values := slices.Sorted(slices.Values(form[name]))
		for _, value := range slices.Compact(values) {
			_, _ = io.WriteString(h, name+value)
		}
	}
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// smsText is the page as one text message: severity and place, what is broken, the
// first action, the incident, and the code to answer with. It is written in GSM-7
// where that loses nothing that matters, else in UCS-2, which has less room.
func smsText(a map[string]string) string {
	tail := ""
	if id := a["incident"]; id != "" {
		tail = " " + gsm(id)
	}
	if code := a["code"]; code != "" && a["incident"] == "" {
		tail += " Code " + gsm(code)
	} else if code != "" {
		tail += " Reply " + gsm(code) + " to ack"
	}
	if plain := gsm(a["title"] + a["service"] + a["environment"]); strings.Count(plain, "?") == strings.Count(a["title"]+a["service"]+a["environment"], "?") {
		return oneText(a, tail, measure{septets, septetClip, gsm, smsSegment, 50})
	}
	return oneText(a, tail, measure{utf16Units, utf16Clip, func(s string) string { return s }, ucs2Segment, 20})
}

// measure is an alphabet of text messages: how long a text is, how it is cut and
// written, and how much room there is for all of it and for its head.
type measure struct {
	size  func(string) int
	clip  func(string, int) string
	write func(string) string
	room  int
	head  int
}

func oneText(a map[string]string, tail string, m measure) string {
	head := m.clip(m.write(strings.ToUpper(a["severity"])+" "+place(a)), m.head) + ": "
	room := m.room - m.size(head) - m.size(tail)
	title, action := sentence(m.write(a["title"])), sentence(m.write(a["first_action"]))
	if action == "" || m.size(title)+8 > room {
		return head + m.clip(title, room) + tail
	}
	if m.size(title)+1+m.size(action) > room {
		title = m.clip(title, max(room-1-m.size(action), room*6/10))
		action = m.clip(action, room-1-m.size(title))
	}
	return head + title + " " + action + tail
}

func utf16Units(s string) int { return len(utf16.Encode([]rune(s))) }

func utf16Clip(s string, limit int) string {
	if utf16Units(s) <= limit {
		return s
	}
	n := 0
	for i, r := range s {
		if n += max(utf16.RuneLen(r), 1); n > limit-1 {
			return strings.TrimRight(s[:i], " .,") + "…"
		}
	}
	return s
}
