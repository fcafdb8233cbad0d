package web_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/golden"
	"watchbill/internal/web"
)

func (w *world) PageAct(_ context.Context, page int64, token string, opened bool) (web.ActView, error) {
	if token == "wrong" {
		return web.ActView{}, watchbill.Errorf(watchbill.CodeNotFound, "open the link as it stands in the page", "there is no such page")
	}
	inc := incidentOne()
	inc.State = watchbill.StateOpen
	v := web.ActView{Incident: inc, To: "ana", Heading: "SEV2 checkout/prod: Customers cannot pay", Fields: []web.ActField{
		{Name: "Impact", Lines: []string{"nobody can pay <script>alert(1)</script>"}},
		{Name: "Runbook", Lines: []string{"High error rate"}, Link: "https://watchbill.example.com/runbooks/error-rate"},
	}}
	if opened {
		v.Fields = append(v.Fields, web.ActField{Name: "Opened", Lines: []string{"now"}})
	}
	return v, w.failing()
}

func (w *world) ActFromPage(ctx context.Context, page int64, token string, a web.PageAct) (web.ActView, error) {
	v, err := w.PageAct(ctx, page, token, false)
	switch {
	case err != nil:
		return v, err
	case a.As.Person == "" && a.Code == "":
		return v, watchbill.Invalidf("type it", "the code is missing")
	case a.As.Person == "" && a.Code != "482913":
		return v, &watchbill.Error{Code: watchbill.CodeTooMany, Message: "too many wrong codes", Hint: "wait", RetryAfter: time.Minute}
	}
	v.Incident.State, v.Said = watchbill.StateAcknowledged, "INC-1 is yours until 03:46 UTC"
	return v, w.act("ack page %d as %q from %s: %s", page, a.As.Person, a.Source, a.Note)
}

func (w *world) TextReply(_ context.Context, c web.TextCallback) (string, error) {
	if c.Signature == "" {
		return "", w.failing()
	}
	return "INC-1 is yours <&>", w.act("reply %s %s %s", c.Receiver, c.Path, c.Form.Get("Body"))
}

func (w *world) TextStatus(_ context.Context, c web.TextCallback) error {
	if c.Signature == "" {
		return w.failing()
	}
	return w.act("status %s %s %s", c.Receiver, c.Page, c.Form.Get("MessageStatus"))
}

func (w *world) form(caller, path string, form url.Values) *httptest.ResponseRecorder {
	req := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("X-Twilio-Signature", "s")
	if caller != "" {
		req.Header.Set("Authorization", w.headers[caller])
	}
	rec := httptest.NewRecorder()
	w.server.Handler().ServeHTTP(rec, req)
	return rec
}

// The page behind a link loads nothing and runs nothing, whatever stands in the
// alert.
func TestThePageBehindALink(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	rec := w.call("nobody", http.MethodGet, "/act/7/tok", "")
	require.Equal(t, http.StatusOK, rec.Code)
	html := rec.Body.String()
	require.Equal(t, "text/html; charset=utf-8", rec.Header().Get("Content-Type"))
	require.Equal(t, "same-origin", rec.Header().Get("Referrer-Policy"))
	require.Contains(t, html, "Opened")
	require.NotContains(t, html, "<script")
	require.NotRegexp(t, regexp.MustCompile(`(?i)\son[a-z]+=|\ssrc=|url\(|@import|<link|<iframe|<img`), html)
	golden.Compare(t, "act.html", html)
	require.NotContains(t, w.call("nobody", http.MethodHead, "/act/7/tok", "").Body.String(), "Opened", "asking for the head opens nothing")

	rec = w.call("nobody", http.MethodGet, "/act/7/wrong", "")
	require.Equal(t, http.StatusNotFound, rec.Code)
	require.Contains(t, rec.Body.String(), "there is no such page")
	require.NotContains(t, rec.Body.String(), "<form")
	require.Equal(t, http.StatusNotFound, w.call("nobody", http.MethodGet, "/act/x/tok", "").Code)

	w.fail = watchbill.Errorf(watchbill.CodeInternal, "", "secret detail")
	rec = w.call("nobody", http.MethodGet, "/act/7/tok", "")
	require.Equal(t, http.StatusServiceUnavailable, rec.Code)
	require.NotContains(t, rec.Body.String(), "secret detail")
	require.Empty(t, w.done())
}

func TestActingFromAPage(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	rec := w.form("", "/act/7/tok", url.Values{"code": {""}, "note": {""}})
	require.Equal(t, http.StatusBadRequest, rec.Code)
	require.Contains(t, rec.Body.String(), "the code is missing")
	rec = w.form("", "/act/7/tok", url.Values{"code": {"111111"}})
	require.Equal(t, http.StatusTooManyRequests, rec.Code)
	require.Equal(t, "60", rec.Header().Get("Retry-After"))
	require.Empty(t, w.done())

	rec = w.form("", "/act/7/tok", url.Values{"code": {"482913"}, "note": {"on it"}})
	require.Equal(t, http.StatusOK, rec.Code)
	require.Contains(t, rec.Body.String(), "INC-1 is yours until 03:46 UTC")
	require.NotContains(t, rec.Body.String(), "<form")
	require.Equal(t, http.StatusOK, w.form("support", "/act/7/tok", nil).Code, "a person's token needs no code")
	require.Equal(t, http.StatusBadRequest, w.form("roleless", "/act/7/tok", nil).Code)
	require.Equal(t, http.StatusRequestEntityTooLarge, w.form("", "/act/7/tok", url.Values{"code": {"482913"}, "note": {strings.Repeat("x", 20<<10)}}).Code)
	require.Equal(t, http.StatusBadRequest, w.form("", "/act/7/tok", url.Values{"note": {strings.Repeat("x", 200<<10)}}).Code)
	require.Equal(t, []string{`ack page 7 as "" from 192.0.2.1: on it`, `ack page 7 as "support" from 192.0.2.1: `}, w.done())
}

func TestCallbacksOfTextMessages(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	rec := w.form("", "/sms/sms/reply?x=1", url.Values{"Body": {"ACK 482913"}})
	require.Equal(t, "text/xml; charset=utf-8", rec.Header().Get("Content-Type"))
	require.Equal(t, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Message>INC-1 is yours &lt;&amp;&gt;</Message></Response>", rec.Body.String())
	rec = w.form("", "/sms/sms/status?page=INC-1/1/0/ana/sms", url.Values{"MessageStatus": {"delivered"}})
	require.Equal(t, http.StatusNoContent, rec.Code)
	require.Equal(t, []string{"reply sms /sms/sms/reply?x=1 ACK 482913", "status sms INC-1/1/0/ana/sms delivered"}, w.done())
	w.fail = watchbill.Errorf(watchbill.CodeDenied, "look", "the signature does not match")
	require.Equal(t, http.StatusForbidden, w.form("", "/sms/sms/reply", nil).Code)
	require.Equal(t, http.StatusForbidden, w.form("", "/sms/sms/status", nil).Code)
}

func (w *world) Contacts(_ context.Context, person watchbill.PersonID) (web.ContactsView, error) {
	return web.ContactsView{Person: person, Own: []watchbill.OwnContact{{ID: 3, Receiver: "sms", Address: "+34600111222", After: 2 * time.Minute, Severities: []watchbill.Severity{watchbill.Sev1}}}}, w.failing()
}

func (w *world) AddContact(_ context.Context, who web.Actor, c web.ContactRequest) (watchbill.OwnContact, error) {
	return watchbill.OwnContact{ID: 3}, w.act("contact %s %s %s %s %v", who.Person, c.Receiver, c.Address, c.After, c.Severities)
}

func (w *world) TestContact(_ context.Context, who web.Actor, id int64) (watchbill.OwnContact, error) {
	return watchbill.OwnContact{ID: id}, w.act("test %d by %s", id, who.Person)
}

func (w *world) ConfirmContact(_ context.Context, who web.Actor, id int64, code string) (watchbill.OwnContact, error) {
	return watchbill.OwnContact{ID: id}, w.act("confirm %d by %s: %s", id, who.Person, code)
}

func (w *world) RemoveContact(_ context.Context, who web.Actor, id int64) error {
	return w.act("remove %d by %s", id, who.Person)
}

func TestContacts(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	rec := w.call("support", http.MethodPost, "/api/ops/v1/contacts", `{"receiver": "sms", "address": "+34600111222", "after": "2m", "severities": ["sev1", "sev2"]}`)
	require.Equal(t, http.StatusCreated, rec.Code, rec.Body)
	for body, want := range map[string]string{
		`{"receiver": "sms", "after": "soon"}`:          `after: "soon" is not a duration`,
		`{"receiver": "sms", "severities": ["urgent"]}`: `severities: "urgent" is not a severity`,
	} {
		rec := w.call("support", http.MethodPost, "/api/ops/v1/contacts", body)
		_, message, hint := problem(t, rec)
		require.Equal(t, want, message)
		require.NotEmpty(t, hint)
	}
	require.Equal(t, http.StatusBadRequest, w.call("support", http.MethodDelete, "/api/ops/v1/contacts/x", "").Code)
	require.Equal(t, http.StatusNoContent, w.call("support", http.MethodDelete, "/api/ops/v1/contacts/3", "").Code)
	require.Equal(t, []string{"contact support sms +34600111222 2m0s [sev1 sev2]", "remove 3 by support"}, w.done())
	v, err := w.Contacts(t.Context(), "ana")
	require.NoError(t, err)
	require.Equal(t, "3    sms +34600111222     after 2m0s, for sev1; not confirmed: it reaches nobody yet\n", v.Text())
	require.Equal(t, "no contact\n", web.ContactsView{}.Text())
}

// A browser that carries credentials along cannot be made to act by the page of
// somebody else.
func TestOtherOriginsCannotAct(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	for header, value := range map[string]string{"Origin": "https://evil.example.com", "Sec-Fetch-Site": "cross-site"} {
		req := httptest.NewRequest(http.MethodPost, "/api/ops/v1/incidents/INC-1/ack", nil)
		req.Header.Set("Authorization", w.headers["support"])
		req.Header.Set(header, value)
		rec := httptest.NewRecorder()
		w.server.Handler().ServeHTTP(rec, req)
		require.Equal(t, http.StatusForbidden, rec.Code, header)
	}
	require.Empty(t, w.done())
}
