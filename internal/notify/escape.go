package notify

import (
	"encoding/json"
	"strings"
	"unicode"
	"unicode/utf8"
)

// wordJoiner is invisible and keeps "@here" from being a mention.
const wordJoiner = "\u2060"

// mrkdwn writes text for Slack. The three characters that begin Slack's control
// sequences are escaped, so no text can mention a channel or hide a link, and
// neither can one that names a group with a bare @.
func mrkdwn(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(mentions(s))
}

// mentions breaks the words that call a whole channel in chats that read them in
// running text.
func mentions(s string) string {
	if !strings.Contains(s, "@") {
		return s
	}
	var b strings.Builder
	rest := s
	for {
		i := strings.IndexByte(rest, '@')
		if i < 0 {
			b.WriteString(rest)
			return b.String()
		}
		b.WriteString(rest[:i+1])
		rest = rest[i+1:]
		for _, word := range []string{"channel", "here", "everyone", "all", "group", "team"} {
			if len(rest) >= len(word) && strings.EqualFold(rest[:len(word)], word) {
				b.WriteString(wordJoiner)
				break
			}
		}
	}
}

// markdown writes text for chats that read Markdown: what would begin a format,
// a link, a heading or a tag is escaped, mentions of a whole channel are broken.
func markdown(s string) string {
	var b strings.Builder
	for _, r := range mentions(s) {
		if strings.ContainsRune("\\`*_{}[]<>#|~", r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// payload writes text as one string of a webhook's own payload. Alertmanager
// reads every rendered string of a payload as YAML once more, so that "a: b"
// would arrive as an object; a no-break space after the colon looks the same and
// stays a string.
func payload(s string) string {
	return strings.NewReplacer(": ", ":\u00a0", ":\n", ":\u00a0\n").Replace(s)
}

// clipHTML cuts text to a number of runes counted as they are after HTML
// escaping, for channels that count so.
func clipHTML(limit int, s string) string {
	n := 0
	for i, r := range s {
		cost := 1
		if strings.ContainsRune(`&<>"'+`, r) {
			cost = len("&quot;")
		}
		if n += cost; n > limit {
			return strings.TrimRightFunc(s[:i], unicode.IsSpace) + "…"
		}
	}
	return s
}

// adf writes text as a document in Atlassian's format, which version 3 of Jira's
// API takes instead of text.
func adf(s string) (string, error) {
	type node struct {
		Type    string `json:"type"`
		Version int    `json:"version,omitempty"`
		Text    string `json:"text,omitempty"`
		Content []node `json:"content,omitempty"`
	}
	doc := node{Type: "doc", Version: 1}
	for l := range strings.SplitSeq(s, "\n") {
		if l == "" {
			continue
		}
		doc.Content = append(doc.Content, node{Type: "paragraph", Content: []node{{Type: "text", Text: l}}})
	}
	b, err := json.Marshal(doc)
	return string(b), err
}

// runes counts characters as the channels do that limit them.
func runes(s string) int { return utf8.RuneCountInString(s) }
