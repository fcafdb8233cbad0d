package notify

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"watchbill"
)

// smsSegment is how many septets one text message holds. A longer text is sent,
// paid for, and sometimes delivered in the wrong order, in parts.
const smsSegment = 160

// The characters of GSM 03.38's default alphabet. Those of the extension table
// take two septets.
const (
	gsmBasic = "@£$¥èéùìòÇØøÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡" +
		"ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
	gsmExtended = "^{}\\[~]|€"
)

// Short returns the page as one text message of at most 160 GSM-7 characters:
// severity and place, what is broken, the first action, and the incident's
// number, which is always there.
func Short(c watchbill.PageContent) string { return short(notes(c)) }

func short(a map[string]string) string {
	tail := " " + gsm(a["incident"])
	head := septetClip(gsm(strings.ToUpper(a["severity"])+" "+place(a)), 50) + ": "
	room := smsSegment - septets(head) - septets(tail)
	title, action := sentence(gsm(a["title"])), sentence(gsm(a["first_action"]))
	if action == "" {
		return head + septetClip(title, room) + tail
	}
	if septets(title)+1+septets(action) > room {
		// What is broken matters more than what to do about it: it gets what the
		// action leaves over, and never less than 6 parts in 10.
		title = septetClip(title, max(room-1-septets(action), room*6/10))
		action = septetClip(action, room-1-septets(title))
	}
	return head + title + " " + action + tail
}

// sentence ends s with a full stop.
func sentence(s string) string {
	if s == "" || strings.HasSuffix(s, ".") || strings.HasSuffix(s, "!") || strings.HasSuffix(s, "?") {
		return s
	}
	return s + "."
}

// gsm writes s in the characters that every phone's text messages have. Letters
// lose accents that the alphabet lacks, typographic marks become plain ones, and
// what is left becomes a question mark.
func gsm(s string) string {
	var b strings.Builder
	for _, r := range typography().Replace(s) {
		b.WriteString(gsmRune(r))
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func gsmRune(r rune) string {
	switch {
	case strings.ContainsRune(gsmBasic, r), strings.ContainsRune(gsmExtended, r):
		return string(r)
	case unicode.IsSpace(r):
		return " "
	case unicode.Is(unicode.Mn, r), unicode.IsControl(r), unicode.Is(unicode.Cf, r):
		return ""
	}
	if b := base(r); strings.ContainsRune(gsmBasic, b) {
		return string(b)
	}
	return "?"
}

// base returns the ASCII letter that a letter with marks is made from, or a
// question mark.
func base(r rune) rune {
	if b := norm.NFKD.String(string(r))[0]; b > ' ' && b < unicode.MaxASCII {
		return rune(b)
	}
	return '?'
}

func typography() *strings.Replacer {
	return strings.NewReplacer(
		"“", `"`, "”", `"`, "„", `"`, "«", `"`, "»", `"`, "‘", "'", "’", "'", "`", "'",
		"–", "-", "—", "-", "−", "-", "‑", "-", "·", "-", "•", "-", "…", "...",
		"→", "->", "←", "<-", "≥", ">=", "≤", "<=", "≠", "!=", "×", "x", "µ", "u", "μ", "u",
		"ç", "c", "Ł", "L", "ł", "l", "Đ", "D", "đ", "d", "\u00a0", " ",
	)
}

// septets is the length of a text in GSM-7, which must be written in it.
func septets(s string) int {
	n := 0
	for _, r := range s {
		n++
		if strings.ContainsRune(gsmExtended, r) {
			n++
		}
	}
	return n
}

// septetClip cuts a text to a number of septets and marks the cut with dots.
func septetClip(s string, limit int) string {
	if septets(s) <= limit {
		return s
	}
	const dots = "..."
	if limit <= len(dots) {
		return dots[:max(limit, 0)]
	}
	n := 0
	for i, r := range s {
		if n += septets(string(r)); n > limit-len(dots) {
			return strings.TrimRight(s[:i], " .,") + dots
		}
	}
	return s
}

// ascii writes s for channels that accept nothing else.
func ascii(s string) string {
	return strings.Map(func(r rune) rune {
		if r > unicode.MaxASCII {
			return base(r)
		}
		return r
	}, gsm(s))
}
