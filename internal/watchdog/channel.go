package watchdog

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/smtp"
	"net/url"
	"strings"
	"time"
)

// channelTimeout bounds one message on one channel, connection and all.
const channelTimeout = 10 * time.Second

type dialer func(ctx context.Context, network, address string) (net.Conn, error)

// channel is one way to tell somebody.
type channel struct {
	name    string
	secrets []Secret
	deliver func(ctx context.Context, subject, text string) error
}

func channelsOf(cfg AlarmConfig, dial dialer) []channel {
	if dial == nil {
		dial = (&net.Dialer{Timeout: channelTimeout}).DialContext
	}
	var out []channel
	if w := cfg.Webhook; w != nil {
		out = append(out, channel{"webhook", []Secret{w.URL, w.Token}, func(ctx context.Context, _, text string) error { return w.post(ctx, dial, text) }})
	}
	if m := cfg.SMTP; m != nil {
		out = append(out, channel{"smtp", []Secret{m.Password}, func(ctx context.Context, subject, text string) error { return m.mail(ctx, dial, subject, text) }})
	}
	return out
}

// send delivers within the time that a channel has. Its error holds no secret.
func (c channel) send(ctx context.Context, subject, text string) error {
	ctx, cancel := context.WithTimeout(ctx, channelTimeout)
	defer cancel()
	return clean(c.deliver(ctx, subject, text), c.secrets...)
}

// clean takes secrets out of an error: an address may be one, and the HTTP
// client's errors begin with it.
func clean(err error, secrets ...Secret) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	text := err.Error()
	for _, s := range secrets {
		for _, form := range []string{s.reveal(), url.QueryEscape(s.reveal()), url.PathEscape(s.reveal())} {
			if form != "" {
				text = strings.ReplaceAll(text, form, redacted)
			}
		}
		if u, perr := url.Parse(s.reveal()); perr == nil && u.Host != "" {
			for _, part := range []string{u.RequestURI(), u.Path} {
				if len(part) > 1 {
					text = strings.ReplaceAll(text, part, "/"+redacted)
				}
			}
		}
	}
	return errors.New(oneLine(text))
}

// client is an HTTP client for one request: nothing is shared or kept, and no
// redirect is followed, since it could lead a secret elsewhere.
func client(dial dialer) (*http.Client, func()) {
	t := &http.Transport{DialContext: dial, TLSHandshakeTimeout: channelTimeout, DisableKeepAlives: true}
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, t.CloseIdleConnections
}

func (w *Webhook) post(ctx context.Context, dial dialer, text string) error {
	p := post{address: w.URL, token: w.Token, body: []byte(text)}
	if w.JSON {
		b, err := json.Marshal(map[string]string{"text": text})
		if err != nil {
			return fmt.Errorf("encode the message: %w", err)
		}
		p.body, p.kind = b, "application/json"
	}
	return request(ctx, dial, p)
}

// post is what is posted: kind is the body's media type, plain text if empty.
type post struct {
	address, token Secret
	kind           string
	body           []byte
}

// request posts a body and wants an answer of success.
func request(ctx context.Context, dial dialer, p post) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.address.reveal(), bytes.NewReader(p.body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", cmp.Or(p.kind, "text/plain; charset=utf-8"))
	req.Header.Set("User-Agent", "watchbill")
	if !p.token.Empty() {
		req.Header.Set("Authorization", "Bearer "+p.token.reveal())
	}
	c, done := client(dial)
	defer done()
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // the status is the answer
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s answered %s", req.URL.Host, resp.Status)
	}
	return nil
}

func (m *SMTP) mail(ctx context.Context, dial dialer, subject, text string) (err error) {
	host, port, err := net.SplitHostPort(m.Host)
	if err != nil {
		return err
	}
	conn, err := dial(ctx, "tcp", m.Host)
	if err != nil {
		return err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	if port == "465" {
		conn = tls.Client(conn, &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12})
	}
	c, err := smtp.NewClient(conn, host)
	if err != nil {
		return err
	}
	if ok, _ := c.Extension("STARTTLS"); ok {
		if err := c.StartTLS(&tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}); err != nil {
			return err
		}
	}
	if m.Username != "" { // net/smtp refuses to send it in the clear to anything but localhost
		if err := c.Auth(smtp.PlainAuth("", m.Username, m.Password.reveal(), host)); err != nil {
			return err
		}
	}
	if err := c.Mail(m.From); err != nil {
		return err
	}
	for _, to := range m.To {
		if err := c.Rcpt(to); err != nil {
			return err
		}
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(m.message(subject, text, time.Now())); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	_ = c.Quit() // the server has taken the message
	return nil
}

// message is the mail as it is sent.
func (m *SMTP) message(subject, text string, now time.Time) []byte {
	var b bytes.Buffer
	domain := m.From
	if at := strings.LastIndexByte(domain, '@'); at >= 0 {
		domain = domain[at+1:]
	}
	fmt.Fprintf(&b, "From: %s\r\nTo: %s\r\nSubject: %s\r\nDate: %s\r\nMessage-Id: <alarm.%d@%s>\r\n",
		m.From, strings.Join(m.To, ", "), mime.QEncoding.Encode("utf-8", oneLine(subject)), now.Format(time.RFC1123Z), now.UnixNano(), cmp.Or(domain, "watchbill"))
	b.WriteString("Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n")
	q := quotedprintable.NewWriter(&b)
	_, _ = q.Write([]byte(strings.ReplaceAll(text, "\n", "\r\n"))) // into memory
	_ = q.Close()
	return b.Bytes()
}
