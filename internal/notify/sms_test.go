package notify

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"watchbill"
	"watchbill/internal/golden"
)

// provider is a Twilio-shaped server that keeps what it is asked to send.
type provider struct {
	*httptest.Server
	mu     sync.Mutex
	asked  []*http.Request
	forms  []url.Values
	status int
	body   string
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{status: http.StatusCreated, body: `{"sid": "SM1", "status": "queued"}`}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.asked, p.forms = append(p.asked, r), append(p.forms, r.PostForm)
		w.WriteHeader(p.status)
		_, _ = io.WriteString(w, p.body)
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *provider) notifier(t *testing.T, external string) *Notifier {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	writeFile(t, file, "s3cret-token\n")
	return newNotifier(t, Config{
		ExternalURL: external, People: []watchbill.Person{{ID: "ana", Phone: "+34600111222"}},
		SMS: []SMS{{Name: "sms", URL: p.URL, Account: "AC1", TokenFile: file, From: "+15550100"}},
	}, Options{})
}

func TestTextMessage(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	n := p.notifier(t, "https://watchbill.example.com")
	d := fullPage("sms")
	d.Page.Content.Code = "482913"
	result, detail := n.Send(t.Context(), d)
	require.Equal(t, watchbill.ResultDelivered, result, detail)
	require.Equal(t, "accepted by sms", detail)
	require.Equal(t, "/2010-04-01/Accounts/AC1/Messages.json", p.asked[0].URL.Path)
	user, password, _ := p.asked[0].BasicAuth()
	require.Equal(t, []string{"AC1", "s3cret-token"}, []string{user, password})
	b, err := json.MarshalIndent(p.forms[0], "", "  ")
	require.NoError(t, err)
	golden.Compare(t, "sms.json", string(b)+"\n")
	// Fields 1, 2, 5, the incident, and how to answer: the page spec for SMS.
	requireOrder(t, p.forms[0].Get("Body"), []string{"SEV1 checkout/prod", "7 % of payments fail", "Check the last deployment", "INC-142", "Reply 482913"})
	require.LessOrEqual(t, septets(p.forms[0].Get("Body")), smsSegment)

	result, detail = n.Send(t.Context(), func() watchbill.Delivery { d := fullPage("sms"); d.Page.Person = "ben"; return d }())
	require.Equal(t, watchbill.ResultRefused, result)
	require.Equal(t, "sms: ben has no phone", detail)

	local := newProvider(t)
	local.notifier(t, "http://127.0.0.1:9095").Send(t.Context(), fullPage("sms"))
	require.NotContains(t, local.forms[0], "StatusCallback", "nobody can call this machine back")
}

func TestWhatAProviderAnswers(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]watchbill.Result{
		200: watchbill.ResultDelivered, 201: watchbill.ResultDelivered, 302: watchbill.ResultRefused, 400: watchbill.ResultRefused,
		401: watchbill.ResultRefused, 404: watchbill.ResultRefused, 429: watchbill.ResultRetry, 500: watchbill.ResultRetry, 503: watchbill.ResultRetry,
	} {
		p := newProvider(t)
		p.status, p.body = status, `{"code": 21211, "message": "The 'To' number is not valid"}`
		result, detail := p.notifier(t, "https://watchbill.example.com").Send(t.Context(), fullPage("sms"))
		require.Equal(t, want, result, "%d: %s", status, detail)
		if want != watchbill.ResultDelivered {
			require.Contains(t, detail, "The 'To' number is not valid (21211)")
		}
		require.NotContains(t, detail, "s3cret")
	}
}

// The example in Twilio's documentation of its signatures.
func TestSignature(t *testing.T) {
	t.Parallel()
	form := url.Values{
		"CallSid": {"CA1234567890ABCDE"}, "Caller": {"+12349013030"}, "Digits": {"1234"}, "From": {"+12349013030"}, "To": {"+18005551212"},
	}
	require.Equal(t, "0/KCTR6DLpKmkAf8muzZqo1nDgQ=", Sign("12345", "https://mycompany.com/myapp.php?foo=1&bar=2", form))

	n := newProvider(t).notifier(t, "https://watchbill.example.com")
	good := Sign("s3cret-token", "https://watchbill.example.com/sms/sms/reply", form)
	require.NoError(t, n.VerifySMS("sms", "https://watchbill.example.com/sms/sms/reply", form, good))
	require.ErrorIs(t, n.VerifySMS("sms", "https://watchbill.example.com/sms/sms/status", form, good), ErrSignature)
	require.ErrorIs(t, n.VerifySMS("sms", "https://watchbill.example.com/sms/sms/reply", form, ""), ErrSignature)
	form.Set("Digits", "9")
	require.ErrorIs(t, n.VerifySMS("sms", "https://watchbill.example.com/sms/sms/reply", form, good), ErrSignature)
	form.Set("AccountSid", "AC2")
	require.ErrorIs(t, n.VerifySMS("sms", "https://w/x", form, Sign("s3cret-token", "https://w/x", form)), ErrSignature, "another account's")
	require.ErrorContains(t, n.VerifySMS("fax", "https://w/x", form, good), "there is no receiver of text messages")
}

// Whatever stands in a page, its text message is one segment that names the
// incident and the code.
func TestATextMessageIsOneSegment(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.OneOf(rapid.StringN(0, 300, -1), rapid.StringOfN(rapid.SampledFrom([]rune("abc {}^€日本łódźДа😀?")), 0, 300, -1))
		a := map[string]string{
			"severity": "sev1", "incident": "INC-123456", "code": "482913",
			"service": line(words.Draw(t, "service"), maxPlace), "environment": line(words.Draw(t, "environment"), maxPlace),
			"title": line(words.Draw(t, "title"), maxTitle), "first_action": line(words.Draw(t, "action"), maxLine),
		}
		got := smsText(a)
		size, room := utf16Units(got), ucs2Segment
		if gsm(got) == got {
			size, room = septets(got), smsSegment
		}
		require.LessOrEqual(t, size, room, got)
		require.True(t, strings.HasPrefix(got, "SEV1 "), got)
		require.True(t, strings.HasSuffix(got, " INC-123456 Reply 482913 to ack"), got)
	})
}

func TestTextMessagesInOtherScripts(t *testing.T) {
	t.Parallel()
	a := map[string]string{"severity": "sev1", "service": "касса", "environment": "prod", "title": "платежи не проходят", "incident": "INC-7", "code": "482913"}
	require.Equal(t, "SEV1 касса/prod: платежи не проходят. INC-7 Reply 482913 to ack", smsText(a))
	a["title"] = "платежи не проходят с ночи, и нигде"
	require.Equal(t, "SEV1 касса/prod: платежи не проходят с ночи… INC-7 Reply 482913 to ack", smsText(a))
	a["service"], a["title"] = "kasse", "Zahlungen schlagen fehl – überall"
	require.Equal(t, "SEV1 kasse/prod: Zahlungen schlagen fehl - überall. INC-7 Reply 482913 to ack", smsText(a))
}
