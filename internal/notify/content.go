package notify

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"watchbill"
)

// Limits on what a page carries, in runes. A label is as long as its sender
// likes; a page must stay readable and every channel must accept it.
const (
	maxLine  = 500  // a field of one line
	maxBlock = 2000 // a field of several lines
	maxTitle = 100  // the spec's limit for what is broken
	maxPlace = 80   // service and environment, each
	maxURL   = 2000
)

// The names of the annotations that hold a rendering instead of a field.
const (
	noteText    = "text"
	noteSubject = "subject"
	noteShort   = "short"
)

// Field is a named part of a page, in the form in which every rendering starts:
// plain, cleaned text, and a link that is known to be http or https.
type Field struct {
	Name  string
	Value string
	Link  string
}

// Lines returns the value line by line.
func (f Field) Lines() []string {
	if f.Value == "" {
		return nil
	}
	return strings.Split(f.Value, "\n")
}

// Many reports whether the value has several lines, which then all stand under
// the name.
func (f Field) Many() bool { return strings.Contains(f.Value, "\n") }

// notes turns the content into annotations: every field that is not empty under
// its JSON name, cleaned and bounded. All renderings are made from them, so what
// a person reads and what a program receives cannot differ.
func notes(c watchbill.PageContent) map[string]string {
	actions := make([]string, len(c.Actions))
	for i, a := range c.Actions {
		actions[i] = line(a.Name, maxLine) + ": " + line(a.How, maxLine)
	}
	a := map[string]string{
		"severity":        c.Severity.String(),
		"service":         line(c.Service, maxPlace),
		"environment":     line(c.Environment, maxPlace),
		"title":           line(c.Title, maxTitle),
		"impact":          block(c.Impact),
		"since":           stamp(c.Since),
		"evidence":        block(c.Evidence),
		"evidence_url":    line(c.EvidenceURL, maxURL),
		"first_action":    line(c.FirstAction, maxLine),
		"runbook":         line(c.Runbook, maxLine),
		"runbook_url":     line(c.RunbookURL, maxURL),
		"runbook_state":   line(c.RunbookState, maxLine),
		"quick_reference": block(c.QuickReference),
		"changes":         block(c.Changes),
		"related":         block(c.Related),
		"why":             line(c.Why, maxLine),
		"also_told":       line(c.AlsoTold, maxLine),
		"next":            line(c.Next, maxLine),
		"actions":         strings.Join(actions, "\n"),
		"incident":        c.Incident.String(),
		"url":             line(c.URL, maxURL),
		"at":              stamp(c.At),
		"local_at":        line(c.LocalAt, maxLine),
		"reason":          line(c.Reason, maxLine),
		"to":              line(string(c.To), maxPlace),
		"to_name":         line(c.ToName, maxPlace),
		"to_email":        line(c.ToEmail, maxLine),
		"to_phone":        line(c.ToPhone, maxPlace),
		"status":          line(c.Status, maxLine),
		"code":            line(c.Code, maxPlace),
		"act_url":         line(c.ActURL, maxURL),
	}
	if c.Incident == 0 { // a notice belongs to none
		a["incident"] = ""
	}
	for name, value := range a {
		if value == "" {
			delete(a, name)
		}
	}
	return a
}

// Subject returns the line that stands for the whole page: severity, service
// and environment in the first characters, what is broken, and the incident.
func Subject(c watchbill.PageContent) string { return subject(notes(c)) }

func subject(a map[string]string) string {
	return heading(a) + " [" + a["incident"] + "]"
}

// heading is fields 1 and 2.
func heading(a map[string]string) string {
	title := a["title"]
	if title == "" {
		title = "no description"
	}
	return strings.ToUpper(a["severity"]) + " " + place(a) + ": " + title
}

func place(a map[string]string) string {
	switch service, env := a["service"], a["environment"]; {
	case service == "" && env == "":
		return "unknown service"
	case env == "":
		return service
	case service == "":
		return env
	default:
		return service + "/" + env
	}
}

// Text returns the page as plain text: the eleven fields in the order in which
// a half-awake reader needs them, the empty ones left out.
func Text(c watchbill.PageContent) string { return text(notes(c)) }

// Fields returns fields 3 to 11 of a page in their order.
func Fields(c watchbill.PageContent) []Field { return fields(notes(c)) }

// Heading returns fields 1 and 2.
func Heading(c watchbill.PageContent) string { return heading(notes(c)) }

func text(a map[string]string) string {
	var b strings.Builder
	b.WriteString(heading(a))
	b.WriteString("\n\n")
	for _, f := range fields(a) {
		b.WriteString(f.Name)
		b.WriteByte(':')
		for i, l := range f.Lines() {
			if i > 0 || f.Many() {
				b.WriteString("\n ")
			}
			b.WriteByte(' ')
			b.WriteString(l)
		}
		if f.Link != "" {
			if f.Value != "" {
				b.WriteString("\n ")
			}
			b.WriteByte(' ')
			b.WriteString(f.Link)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// fields returns fields 3 to 11 in their order; 1 and 2 are the heading.
func fields(a map[string]string) []Field {
	runbook := a["runbook"]
	if state := a["runbook_state"]; state != "" {
		runbook = strings.TrimSpace(runbook + " (" + state + ")")
	}
	all := []Field{
		{Name: "Now", Value: a["status"]},
		{Name: "Impact", Value: joinNonEmpty("; ", a["impact"], since(a))},
		linked("Evidence", a["evidence"], a["evidence_url"]),
		{Name: "First action", Value: a["first_action"]},
		linked("Runbook", runbook, a["runbook_url"]),
		{Name: "Quick reference", Value: a["quick_reference"]},
		{Name: "Changed", Value: a["changes"]},
		{Name: "Related", Value: a["related"]},
		{Name: "Why now", Value: a["reason"]},
		{Name: "Why you", Value: a["why"]},
		{Name: "Also told", Value: a["also_told"]},
		{Name: "Next", Value: a["next"]},
		{Name: "You can", Value: a["actions"]},
		linked("Incident", joinNonEmpty(" · ", a["incident"], a["local_at"], clock(a["at"], "2006-01-02 15:04 UTC")), a["url"]),
	}
	return slices.DeleteFunc(all, func(f Field) bool { return f.Value == "" && f.Link == "" })
}

// linked makes a field of a text and a link. What is not a web address is shown
// as text, because a link may only lead where its reader expects.
func linked(name, value, link string) Field {
	if web := webURL(link); web != "" {
		return Field{Name: name, Value: value, Link: web}
	}
	return Field{Name: name, Value: joinNonEmpty("\n", value, link)}
}

func since(a map[string]string) string {
	start, err := time.Parse(time.RFC3339, a["since"])
	if err != nil {
		return ""
	}
	s := "since " + start.Format("2006-01-02 15:04 UTC")
	at, err := time.Parse(time.RFC3339, a["at"])
	if d := at.Sub(start).Truncate(time.Minute); err == nil && d >= time.Minute {
		s += " (" + minutes(d) + ")"
	}
	return s
}

// minutes writes a duration as people do: "24m", "3h 5m", "2d 1h".
func minutes(d time.Duration) string {
	days, hours, mins := int(d.Hours())/24, int(d.Hours())%24, int(d.Minutes())%60
	switch {
	case days > 0:
		return fmt.Sprintf("%dd %dh", days, hours)
	case hours > 0:
		return fmt.Sprintf("%dh %dm", hours, mins)
	default:
		return fmt.Sprintf("%dm", mins)
	}
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func clock(stamp, layout string) string {
	t, err := time.Parse(time.RFC3339, stamp)
	if err != nil {
		return ""
	}
	return t.Format(layout)
}

func joinNonEmpty(sep string, parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), sep)
}

// line returns s as one line of at most limit runes.
func line(s string, limit int) string {
	return clip(strings.Join(strings.Fields(clean(s)), " "), limit)
}

// block returns s with its lines kept and the rest cleaned.
func block(s string) string {
	lines := strings.Split(clean(s), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " ")
	}
	return clip(strings.Trim(strings.Join(lines, "\n"), "\n"), maxBlock)
}

// clean removes what a reader cannot see but a terminal, a mail client or a chat
// acts on: control characters, escape sequences, and the marks that reorder text
// so that it reads differently from what it is. Tabs become spaces.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case r == '\t', r == '\u2028', r == '\u2029':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r), r == '\ufeff':
			return -1
		default:
			return r
		}
	}, strings.ToValidUTF8(strings.ReplaceAll(s, "\r\n", "\n"), "\uFFFD"))
}

// clip returns s, or as much of it as fits in limit runes with an ellipsis.
func clip(s string, limit int) string {
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	r := []rune(s)[:max(limit-1, 0)]
	return strings.TrimRight(string(r), " \n") + "…"
}

// webURL returns a link that is safe to offer, normalised, or "": http or https,
// without a password, and without a character that could end the link, or begin
// a format, in any of the channels.
func webURL(s string) string {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil || !hostLike(u.Hostname()) {
		return ""
	}
	base := u.Scheme + "://" + u.Host
	rest := strings.TrimPrefix(u.String(), base)
	if strings.ContainsFunc(rest, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("<>\"`\\{}|^", r) }) {
		return ""
	}
	return base + strings.NewReplacer("[", "%5B", "]", "%5D", "(", "%28", ")", "%29", "*", "%2A", "'", "%27").Replace(rest)
}

// hostLike reports whether a host is an address or a plain name.
func hostLike(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Zone() == ""
	}
	return host != "" && !strings.ContainsFunc(host, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '-' && r != '_'
	})
}
