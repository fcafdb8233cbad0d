package config

import (
	"cmp"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Secrets never leave this package in a problem. What makes a value secret is
// the name of its key, or that it is an address: its path may be a
// token. On a source
// line it is blanked where it stands, from its first character to the next
// value, so that it does not matter how it is quoted; a blank is as wide as what
// it hides and the caret stays under its column. In the messages of libraries
// every secret value of the entry is blanked.

// secretKey matches the keys whose values nobody may see. A key that ends in
// _file names a file, which may be shown.
var secretKey = regexp.MustCompile(`(?i)pass|secret|token|credential|authorization|bearer|(^|_)key|(^|_)(values|url)$`)

// openKeys end in _url or _key and are no secrets.
var openKeys = []string{"external_url", "token_ttl", "runbook_url", "proxy_url", "token_url", "pagerduty_url", "opsgenie_api_url"}

// secretLine finds a secret's key in a line that could not be read as YAML.
var secretLine = regexp.MustCompile(`(?i)^(.*?(?:^|[\s{,"'_-])(?:password|passwd|passphrase|secrets?|token|token_id|credentials|key|authorization|values|url)["']?\s*:)(.*)$`)

// openAddress is the part of an address that is no secret.
var openAddress = regexp.MustCompile(`^["']?[A-Za-z][A-Za-z0-9+.-]*://[^/?#@\s"']*`)

// longAddress is an address with more than a host.
var longAddress = regexp.MustCompile(`://(?:[^/?#]*@|[^/?#]*[/?#].)`)

// openPart returns the part of a secret that may be shown: the scheme and the
// host of an address, unless a password stands before the host.
func openPart(value string) string {
	if strings.Contains(value, "@") {
		return ""
	}
	return openAddress.FindString(value)
}

var quoted = regexp.MustCompile("\"(?:[^\"\\\\]|\\\\.)*\"|`[^`]*`")

// isSecretKey tells by its name whether a key holds a secret. A mistyped name
// counts, because the mistake is going to be shown with its line.
func isSecretKey(key string) bool {
	if strings.HasSuffix(key, "_file") || slices.Contains(openKeys, key) {
		return false
	}
	if secretKey.MatchString(key) {
		return true
	}
	for part := range strings.SplitSeq(key, "_") {
		if nearest(part, []string{"password", "secret", "token", "credentials", "authorization"}) != "" {
			return true
		}
	}
	return false
}

// noteSecret remembers the values under a key that are secret.
func (l *loader) noteSecret(key string, value *yaml.Node) {
	switch value.Kind {
	case yaml.ScalarNode:
		u, err := url.Parse(value.Value)
		address := longAddress.MatchString(value.Value) && !slices.Contains(openKeys, key)
		if isSecretKey(key) && !isNull(value) || address || err == nil && u.User != nil || err != nil && strings.Contains(value.Value, "@") {
			l.secret[value] = true
		}
	case yaml.SequenceNode:
		for _, item := range value.Content {
			l.noteSecret(key, item)
		}
	case yaml.MappingNode:
		for k, v := range pairs(value) {
			if isSecretKey(key) && (k.Value == "" || v.Kind != yaml.MappingNode) {
				l.noteSecret(key, v)
			}
		}
	case yaml.DocumentNode, yaml.AliasNode:
	}
}

// hide blanks the secrets in the lines of a file.
func (l *loader) hide(src *source) {
	if !slices.ContainsFunc(slices.Collect(maps.Keys(l.secret)), func(n *yaml.Node) bool { return l.files[n] == src }) {
		return
	}
	var nodes []*yaml.Node
	for n, s := range l.files {
		if s == src {
			nodes = append(nodes, n)
		}
	}
	before := func(a, b *yaml.Node) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	}
	slices.SortFunc(nodes, before)
	for i, n := range nodes {
		if !l.secret[n] {
			continue
		}
		line, col := len(src.lines)+1, 1
		for _, next := range nodes[i+1:] {
			if before(next, n) > 0 {
				line, col = next.Line, next.Column
				break
			}
		}
		src.blank(n.Line, n.Column, line, col)
	}
}

// blank replaces the text from one place up to another by stars. The line and
// the column of the end are not blanked.
func (s *source) blank(line, col, endLine, endCol int) {
	for at := line; at <= min(endLine, len(s.lines)); at++ {
		text := []rune(s.lines[at-1])
		from, to := 0, len(text)
		if at == line {
			from = min(col-1, len(text))
			from += len([]rune(openPart(string(text[from:]))))
		}
		if at == endLine {
			to = max(from, min(endCol-1, len(text)))
			if at > line && strings.Trim(string(text[from:to]), " \t-?{[\"'") == "" {
				return // only what opens the next value
			}
		}
		s.lines[at-1] = string(text[:from]) + stars(string(text[from:to])) + string(text[to:])
	}
}

// stars replaces what could be a secret and keeps white space, and the
// punctuation that ends a value.
func stars(text string) string {
	body := strings.TrimRight(text, " \t,]}")
	end := text[len(body):]
	if at := strings.LastIndexAny(body, ",{"); at >= 0 && !strings.ContainsAny(body[at:], `"'`) && strings.HasSuffix(strings.TrimSpace(body[at:]), ":") {
		// The next key of a flow mapping is not part of the value.
		body, end = body[:at], body[at:]+end
	}
	out := []rune(body)
	for i, r := range out {
		if r != ' ' && r != '\t' {
			out[i] = '*'
		}
	}
	return string(out) + end
}

// hideUnread blanks what looks like a secret in a file that is not YAML.
func (s *source) hideUnread() {
	depth := -1 // indentation of the key whose block is blanked
	for i, line := range s.lines {
		indent := len(line) - len(strings.TrimLeft(line, " \t-"))
		if blank := strings.TrimSpace(line); blank == "" || blank[0] == '#' {
			continue
		}
		if depth >= 0 && indent > depth {
			s.lines[i] = stars(line)
			continue
		}
		depth = -1
		if m := secretLine.FindStringSubmatch(line); m != nil {
			s.lines[i] = m[1] + stars(m[2])
			depth = indent
		}
	}
}

// secretsUnder returns the secret values of a node and below.
func (l *loader) secretsUnder(n *yaml.Node) []string {
	if n == nil {
		return nil
	}
	if n.Kind == yaml.ScalarNode && l.secret[n] && n.Value != "" {
		return []string{n.Value}
	}
	var out []string
	for _, c := range n.Content {
		out = append(out, l.secretsUnder(c)...)
	}
	return out
}

// redact blanks the secrets of an entry in a library's message. If the message
// is about a secret, what it quotes of it goes too.
func (l *loader) redact(message string, entry, at *yaml.Node) string {
	if l.secret[at] {
		open := openPart(at.Value)
		message = quoted.ReplaceAllStringFunc(message, func(q string) string {
			part := q[1 : len(q)-1]
			if strings.Contains(at.Value, part) && !strings.Contains(open, part) {
				return "<secret>"
			}
			return q
		})
	}
	secrets := l.secretsUnder(entry)
	slices.SortFunc(secrets, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	for _, s := range secrets {
		q := strconv.Quote(s)
		message = strings.ReplaceAll(message, q[1:len(q)-1], "<secret>")
		message = strings.ReplaceAll(message, s, "<secret>")
	}
	return message
}
