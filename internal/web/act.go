package web

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed" // the page
	"encoding/base64"
	"encoding/xml"
	"errors"
	"html/template"
	"net"
	"net/http"
	"net/url"
	"strconv"

	"watchbill"
)

// Pages is what people do from a page that they got.
type Pages interface {
	// PageAct shows a page to whoever has its link.
	PageAct(ctx context.Context, page int64, token string, opened bool) (ActView, error)
	// ActFromPage acknowledges the incident of a page.
	ActFromPage(ctx context.Context, page int64, token string, a PageAct) (ActView, error)
}

// PageAct is one act from a page.
type PageAct struct {
	Code   string // as typed
	Note   string
	Source string // the address from which it comes, for counting wrong codes
	As     Actor  // who, if they said so; then no code is asked
}

// ActView is a page as its link shows it.
type ActView struct {
	Incident watchbill.Incident
	To       watchbill.PersonID
	Heading  string
	Fields   []ActField
	Said     string             // what was done
	As       watchbill.PersonID // who is signed in and may act without a code
	Problem  string             // why nothing was done
	Hint     string
}

// ActField is one field of the page.
type ActField struct {
	Name  string
	Lines []string
	Link  string
}

// Live reports whether there is anything to acknowledge.
func (v ActView) Live() bool { return v.Said == "" && v.Incident.State.Live() }

// State says how the incident stands.
func (v ActView) State() string {
	inc := v.Incident
	switch inc.State {
	case watchbill.StateOpen:
		return "open: nobody has taken it"
	case watchbill.StateAcknowledged:
		return string(inc.AcknowledgedBy) + " has it until " + inc.AckDeadline.UTC().Format("15:04 UTC")
	case watchbill.StateResolved, watchbill.StateClosed:
	}
	return "over: " + string(inc.State)
}

// Button is what taking it means.
func (v ActView) Button() string {
	if v.Incident.State == watchbill.StateAcknowledged {
		return "Take over"
	}
	return "Acknowledge"
}

// Texts is what a provider of text messages tells.
type Texts interface {
	// TextReply takes an answer, and returns what its sender is told; empty: nothing.
	TextReply(ctx context.Context, c TextCallback) (string, error)
	// TextStatus takes what became of a message.
	TextStatus(ctx context.Context, c TextCallback) error
}

// TextCallback is a request of a provider of text messages.
type TextCallback struct {
	Receiver  string
	Path      string // with the query, as it was asked for
	Page      string // key of the page that it is about
	Form      url.Values
	Signature string
}

func (s *Server) actRoutes() []Route {
	open := Need{Open: true}
	return []Route{
		{"GET", "/act/{page}/{token}", open, "A page as its link shows it; it changes nothing", s.showPage},
		{"POST", "/act/{page}/{token}", open, "Acknowledge from a page: the form's field code, or a person's token", s.actFromPage},
		{"POST", "/sms/{receiver}/reply", open, "An answer to a text message, signed by the provider", s.textReply},
		{"POST", "/sms/{receiver}/status", open, "What became of a text message, signed by the provider", s.textStatus},
	}
}

//go:embed act.html
var actPage string

//go:embed act.css
var actStyle string

// htmlPage is a page, and what a browser may load for it: the style that stands in
// it, and nothing else. There is no script, and none would run.
func htmlPage(name, page, style string) (*template.Template, string) {
	sum := sha256.Sum256([]byte(style))
	policy := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
	t := template.Must(template.New(name).Funcs(template.FuncMap{
		"style": func() template.CSS { return template.CSS(style) }, //nolint:gosec // it is our own
	}).Parse(page))
	return t, policy
}

// render shows the page with the status that an error has.
func (s *Server) render(w http.ResponseWriter, c call, v ActView, err error) error {
	code := http.StatusOK
	if err != nil {
		e, ok := errors.AsType[*watchbill.Error](err)
		if !ok || e.Code == watchbill.CodeInternal || e.Code == watchbill.CodeUnavailable {
			s.o.Logger.ErrorContext(c.Context(), "request failed", "method", c.Method, "path", "/act/…", "err", err)
			e = &watchbill.Error{Code: watchbill.CodeUnavailable, Message: "this did not work", Hint: "try again, or use: watchbill incident ack"}
		}
		v.Problem, v.Hint, code = e.Message, e.Hint, status(e.Code)
		if e.Code == watchbill.CodeTooMany {
			retryAfter(w, err)
		}
	}
	t, policy := htmlPage("act", actPage, actStyle)
	var b bytes.Buffer
	if err := t.Execute(&b, v); err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy)
	h.Set("Referrer-Policy", "same-origin") // the address is a secret; a browser's own check needs its origin
	h.Set("X-Robots-Tag", "noindex, nofollow")
	w.WriteHeader(code)
	_, err = w.Write(b.Bytes())
	return err
}

func (s *Server) pageOf(c call) (int64, string, error) {
	page, err := strconv.ParseInt(c.PathValue("page"), 10, 64)
	if err != nil {
		return 0, "", watchbill.Errorf(watchbill.CodeNotFound, "open the link as it stands in the page", "there is no such page")
	}
	return page, c.PathValue("token"), nil
}

func (s *Server) showPage(w http.ResponseWriter, c call) error {
	page, token, err := s.pageOf(c)
	var v ActView
	if err == nil {
		v, err = s.o.Pages.PageAct(c.Context(), page, token, c.Method == http.MethodGet)
	}
	if s.cookie(c.Request, sessionCookie) != "" && s.admit(&c, Need{Activity: watchbill.ActivityRaiseAlerts}) == nil {
		v.As = c.id.Person.ID
	}
	return s.render(w, c, v, err)
}

// maxForm bounds the form of a page and the callbacks of providers, in bytes.
const maxForm = 64 << 10

func (s *Server) actFromPage(w http.ResponseWriter, c call) error {
	page, token, err := s.pageOf(c)
	var v ActView
	if err == nil {
		v, err = s.actOn(w, c, page, token)
	}
	return s.render(w, c, v, err)
}

func (s *Server) actOn(w http.ResponseWriter, c call, page int64, token string) (ActView, error) {
	c.Body = http.MaxBytesReader(w, c.Body, maxForm)
	if err := c.ParseForm(); err != nil {
		return ActView{}, watchbill.Invalidf("send the form of the page", "the form is not valid")
	}
	a := PageAct{Code: c.PostForm.Get("code"), Note: c.PostForm.Get("note"), Source: source(c.Request)}
	if err := checkText("note", a.Note); err != nil {
		return ActView{}, err
	}
	if (c.Header.Get("Authorization") != "" || s.cookie(c.Request, sessionCookie) != "") && s.admit(&c, Need{Activity: watchbill.ActivityRaiseAlerts}) == nil {
		a.As = c.actor() // whoever may not act by who they are may still have the code
	}
	return s.o.Pages.ActFromPage(c.Context(), page, token, a)
}

// source is where a request comes from. What a proxy says of it is not believed:
// anybody can say it.
func source(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

func callback(w http.ResponseWriter, c call) (TextCallback, error) {
	c.Body = http.MaxBytesReader(w, c.Body, maxForm)
	if err := c.ParseForm(); err != nil {
		return TextCallback{}, watchbill.Invalidf("send a form", "the form is not valid")
	}
	return TextCallback{
		Receiver: c.PathValue("receiver"), Path: c.URL.RequestURI(), Page: c.URL.Query().Get("page"),
		Form: c.PostForm, Signature: c.Header.Get("X-Twilio-Signature"),
	}, nil
}

// twiml is the answer to a text message, in the provider's format.
type twiml struct {
	XMLName xml.Name `xml:"Response"`
	Message string   `xml:"Message,omitempty"`
}

func (s *Server) textReply(w http.ResponseWriter, c call) error {
	in, err := callback(w, c)
	if err != nil {
		return err
	}
	said, err := s.o.Texts.TextReply(c.Context(), in)
	if err != nil {
		return err
	}
	b, err := xml.Marshal(twiml{Message: said})
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	_, err = w.Write(append([]byte(xml.Header), b...))
	return err
}

func (s *Server) textStatus(w http.ResponseWriter, c call) error {
	in, err := callback(w, c)
	if err != nil {
		return err
	}
	if err := s.o.Texts.TextStatus(c.Context(), in); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
