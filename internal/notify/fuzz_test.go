package notify

import (
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"

	"watchbill"
)

// hostile are texts that try to leave the place they are put in.
func hostile() []string {
	return []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `'><svg/onload=alert(1)>`, `</title><script>`, `</td></table><h1>`,
		`javascript:alert(1)`, `data:text/html,<script>`, `https://a.example/"onmouseover="x`, `https://a.example/<!channel>`,
		`<!channel>`, `<!here|x>`, `<@U123>`, `<https://evil.example|runbook>`, `&lt;!channel&gt;`, `@here @channel @everyone @ALL`,
		`[runbook](https://evil.example)`, "`code` *bold* _it_ ~x~ # h", `https://a.example/[x](https://evil.example)`,
		"a\r\nBcc: everyone@example.com", "\x1b]0;title\x07\x1b[2J", "\u202etxt.exe\u202c", "{{ .Alerts }}{{ template \"x\" }}", "\xff\xfe",
		strings.Repeat("W", 5000), strings.Repeat("{", 300), "", " ", "\n\n", "日本語 €€€ ÄÖÜ",
	}
}

// everywhere puts a text into every field of a page.
func everywhere(s string) watchbill.Delivery {
	d := fullPage("x")
	c := &d.Page.Content
	for _, field := range []*string{
		&c.Service, &c.Environment, &c.Title, &c.Impact, &c.Evidence, &c.EvidenceURL, &c.FirstAction, &c.Runbook, &c.RunbookURL, &c.RunbookState,
		&c.QuickReference, &c.Changes, &c.Related, &c.Why, &c.AlsoTold, &c.Next, &c.URL, &c.LocalAt, &c.Reason, &c.ToName, &c.ToEmail,
	} {
		*field = s
	}
	c.Actions = []watchbill.Action{{Name: s, How: s}}
	c.Labels = watchbill.Labels{"alertname": s, "x": s, s: s}
	return d
}

func FuzzShort(f *testing.F) {
	for _, s := range hostile() {
		f.Add(s, "roll back", "checkout")
		f.Add("it is down", s, s)
	}
	f.Fuzz(func(t *testing.T, title, action, service string) {
		c := fullPage("x").Page.Content
		c.Title, c.FirstAction, c.Service = title, action, service
		s := Short(c)
		require.LessOrEqual(t, septets(s), smsSegment)
		require.True(t, strings.HasPrefix(s, "SEV1 "), s)
		require.True(t, strings.HasSuffix(s, " INC-142"), s)
		for _, r := range s {
			require.True(t, r != '\n' && r != '\r' && strings.ContainsRune(gsmBasic+gsmExtended, r), "%q in %q", r, s)
		}
	})
}

func FuzzRenderings(f *testing.F) {
	for _, s := range hostile() {
		f.Add(s)
	}
	n, err := New(Config{ExternalURL: "https://watchbill.example.com"}, Options{Terminal: io.Discard})
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, s string) {
		m := newMessage(everywhere(s))
		ctx := n.context(t.Context(), n.receivers[TerminalReceiver], m)
		data := n.data(ctx, m)
		render := func(name string) string {
			out, err := n.tmpl.ExecuteTextString(`{{ template "`+name+`" . }}`, data)
			require.NoError(t, err)
			return out
		}
		checkPlain(t, text(m.notes))
		checkPlain(t, m.notes[noteSubject])
		require.NotContains(t, m.notes[noteSubject], "\n")
		for _, name := range []string{"slack.default.title", "slack.default.text", "slack.default.fallback"} {
			checkSlack(t, render(name))
		}
		checkMarkdown(t, render("watchbill.markdown"))
		checkMarkdown(t, render("discord.default.title"))
		page, err := n.tmpl.ExecuteHTMLString(`{{ template "email.default.html" . }}`, data)
		require.NoError(t, err)
		checkHTML(t, page)
		telegram, err := n.tmpl.ExecuteHTMLString(`{{ template "telegram.default.message" . }}`, data)
		require.NoError(t, err)
		require.LessOrEqual(t, runes(telegram), maxTelegramHTML)
		require.NotContains(t, telegram, "<")
	})
}

// checkPlain: no control character reaches a terminal, and no text begins a line
// of its own, where it could pass for a field of the page.
func checkPlain(t *testing.T, s string) {
	t.Helper()
	for i, l := range strings.Split(strings.TrimRight(s, "\n"), "\n") {
		require.False(t, strings.ContainsFunc(l, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }), "%q", l)
		if i < 2 || strings.HasPrefix(l, " ") {
			continue
		}
		name, _, _ := strings.Cut(l, ":")
		require.Contains(t, []string{
			"Impact", "Evidence", "First action", "Runbook", "Quick reference", "Changed", "Related", "Why now", "Why you", "Also told", "Next", "You can", "Incident",
		}, name)
	}
}

// checkSlack: Slack's control sequences begin with <, and an entity is all that &
// may begin.
func checkSlack(t *testing.T, s string) {
	t.Helper()
	require.NotContains(t, s, "<")
	require.NotContains(t, s, ">")
	rest := strings.NewReplacer("&amp;", "", "&lt;", "", "&gt;", "").Replace(s)
	require.NotContains(t, rest, "&")
	require.NotRegexp(t, regexp.MustCompile(`(?i)@(here|channel|everyone|all)`), s)
}

// checkMarkdown: outside of our own bold names, no character that begins a
// format, a link or a tag is left unescaped.
func checkMarkdown(t *testing.T, s string) {
	t.Helper()
	require.NotRegexp(t, regexp.MustCompile(`(?i)@(here|channel|everyone|all)`), s)
	s = regexp.MustCompile(`(?m)^\*\*[A-Z][A-Za-z ]*:\*\*`).ReplaceAllString(s, "")
	s = regexp.MustCompile(`https?://\[[0-9a-fA-F:.]+\]`).ReplaceAllString(s, "")
	s = regexp.MustCompile(`\\.`).ReplaceAllString(s, "")
	s = regexp.MustCompile(`https?://[^\s<>\[\]()*`+"`"+`]+`).ReplaceAllString(s, "")
	require.False(t, strings.ContainsAny(s, "[]<>*`"), "%q", s)
}

// checkHTML: only our own elements and attributes, and links to web addresses.
func checkHTML(t *testing.T, page string) {
	t.Helper()
	z := html.NewTokenizer(strings.NewReader(page))
	for {
		switch z.Next() {
		case html.ErrorToken:
			require.ErrorIs(t, z.Err(), io.EOF)
			return
		case html.StartTagToken, html.SelfClosingTagToken:
			tok := z.Token()
			require.True(t, slices.Contains([]string{"html", "head", "meta", "title", "body", "h1", "table", "tr", "th", "td", "br", "a"}, tok.Data), tok.Data)
			for _, a := range tok.Attr {
				require.True(t, slices.Contains([]string{"lang", "charset", "style", "role", "scope", "href"}, a.Key), a.Key)
				if a.Key == "href" {
					require.Regexp(t, `^https?://`, a.Val)
				}
			}
		case html.CommentToken:
			t.Fatal("a comment in the mail")
		case html.TextToken, html.EndTagToken, html.DoctypeToken:
		}
	}
}
