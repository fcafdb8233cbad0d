// Package mail takes mails in by SMTP and reads them: what a client writes to an
// address of the support opens a case.
//
// The listener is meant for the mail server that already receives the
// organisation's mail, and hands this address on: it speaks no TLS, knows no
// passwords, relays nothing, and takes mail for configured recipients only, from
// the networks that may connect. A mail is answered 250 once its case is on disk;
// when that cannot be done now it is answered 451, and the mail server tries again.
package mail

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-message"
	_ "github.com/emersion/go-message/charset" // has go-message read every charset
	gomail "github.com/emersion/go-message/mail"
	"golang.org/x/net/html"

	"watchbill"
)

// Limits on one mail, whose size is limited where it is read.
const (
	maxParts       = 100
	maxTextBytes   = 64 << 10 // of its text
	maxHeader      = 500      // bytes of a subject, of a sender
	maxAttachments = 20       // whose names are kept
	maxIDs         = 200      // of the mails before it
)

// Message is what a mail says.
type Message struct {
	From        string // its author, as "Name <address>"
	Subject     string
	Text        string    // without markup, at most 64 KB
	Date        time.Time // zero if it does not say
	ID          string    // its own id; empty if it has none
	Thread      string    // the id of the mail that began the exchange; its own if it did
	Attachments []string  // their names; what is in them is not kept
	Automatic   bool      // a program wrote it in answer: an absence note, a bounce
}

// Read reads a mail in the format of RFC 5322, with MIME. What can be read of a mail
// that is not quite right is taken; an error is a [watchbill.Error].
func Read(r io.Reader) (Message, error) {
	in, err := gomail.CreateReader(r)
	if in == nil || err != nil && !message.IsUnknownCharset(err) {
		return Message{}, watchbill.Invalidf("send it as RFC 5322 has it", "the mail is not valid: %v", err)
	}
	m := head(in.Header)
	var plain, marked strings.Builder
	for range maxParts {
		part, err := in.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if part == nil || err != nil && !message.IsUnknownCharset(err) {
			// A truncated mail still says something, and nobody sends it again.
			break
		}
		if err := m.take(part, &plain, &marked); err != nil {
			break
		}
	}
	m.Text = strings.TrimSpace(clean(plain.String(), maxTextBytes))
	if m.Text == "" {
		m.Text = strings.TrimSpace(clean(textOf(marked.String()), maxTextBytes))
	}
	return m, nil
}

// take reads a part: text is kept, of anything else the name.
func (m *Message) take(part *gomail.Part, plain, marked *strings.Builder) error {
	switch h := part.Header.(type) {
	case *gomail.InlineHeader:
		kind, _, _ := h.ContentType() // of a broken one, what could be read
		into := plain
		if kind == "text/html" {
			into = marked
		}
		if room := maxTextBytes - into.Len(); room > 0 && (kind == "" || strings.HasPrefix(kind, "text/")) {
			if into.Len() > 0 {
				into.WriteByte('\n')
			}
			_, err := io.Copy(into, io.LimitReader(part.Body, int64(room)))
			return err
		}
	case *gomail.AttachmentHeader:
		if len(m.Attachments) < maxAttachments {
			name, err := h.Filename()
			if err != nil || name == "" {
				name, _, _ = h.ContentType() // likewise
			}
			m.Attachments = append(m.Attachments, line(name))
		}
	}
	return nil
}

// head reads the header.
func head(h gomail.Header) Message {
	m := Message{}
	if from, err := h.AddressList("From"); err == nil && len(from) > 0 {
		m.From = line(from[0].Address)
		if from[0].Name != "" {
			m.From = line(fmt.Sprintf("%s <%s>", from[0].Name, from[0].Address))
		}
	} else {
		m.From = line(h.Get("From"))
	}
	if subject, err := h.Subject(); err == nil {
		m.Subject = line(subject)
	} else {
		m.Subject = line(h.Get("Subject"))
	}
	if date, err := h.Date(); err == nil {
		m.Date = date.UTC()
	}
	m.ID, _ = h.MessageID() // without one it begins its own exchange
	m.Thread = m.ID
	for _, name := range []string{"In-Reply-To", "References"} {
		// The first of References is the oldest one.
		if ids, err := h.MsgIDList(name); err == nil && len(ids) > 0 && len(ids) <= maxIDs {
			m.Thread = ids[0]
		}
	}
	auto := strings.ToLower(strings.TrimSpace(h.Get("Auto-Submitted")))
	m.Automatic = strings.HasPrefix(auto, "auto-replied") || slices.Contains([]string{"auto_reply", "bulk", "junk"}, strings.ToLower(strings.TrimSpace(h.Get("Precedence")))) ||
		h.Get("X-Autoreply") != "" || strings.HasPrefix(strings.ToLower(h.Get("Content-Type")), "multipart/report")
	return m
}

// line makes one short line of a text.
func line(s string) string { return clean(strings.Join(strings.Fields(s), " "), maxHeader) }

// clean cuts a text and takes what steers terminals out of it.
func clean(s string, most int) string {
	if len(s) > most {
		s = s[:most]
	}
	s = strings.ReplaceAll(strings.ToValidUTF8(s, ""), "\r\n", "\n")
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || r >= ' ' && r != 0x7f && (r < 0x80 || r > 0x9f) {
			return r
		}
		return -1
	}, s)
}

// textOf returns the text of an HTML document, lines kept apart.
func textOf(document string) string {
	var b strings.Builder
	hidden := 0
	for z := html.NewTokenizer(strings.NewReader(document)); ; {
		kind := z.Next()
		if kind == html.ErrorToken { // the end, also of what is broken
			return b.String()
		}
		tag, _ := z.TagName()
		switch name := string(tag); {
		case kind == html.StartTagToken && (name == "script" || name == "style" || name == "title"):
			hidden++
		case kind == html.EndTagToken && (name == "script" || name == "style" || name == "title"):
			hidden = max(hidden-1, 0)
		case kind == html.TextToken && hidden == 0:
			if words := strings.Join(strings.Fields(html.UnescapeString(string(z.Text()))), " "); words != "" {
				b.WriteString(words + " ")
			}
		case slices.Contains([]string{"br", "p", "div", "tr", "li", "h1", "h2", "h3"}, name):
			b.WriteByte('\n')
		}
	}
}
