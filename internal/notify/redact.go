package notify

import (
	"net/url"
	"regexp"
	"strings"
)

// maxDetail bounds what is kept of a receiver's answer.
const maxDetail = 300

// redactor takes secrets out of error texts. Integrations name the URL that
// failed, and for many services the URL is the secret.
type redactor struct {
	secrets *strings.Replacer
	urls    *regexp.Regexp
}

func newRedactor(secrets []string) redactor {
	pairs := make([]string, 0, 2*len(secrets))
	for _, s := range secrets {
		pairs = append(pairs, s, "<redacted>")
	}
	return redactor{
		secrets: strings.NewReplacer(pairs...),
		urls:    regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^\s"'<>]+`),
	}
}

// clean returns text without secrets and control characters, on one line, and
// not longer than fits a timeline.
func (r redactor) clean(text string) string {
	text = r.urls.ReplaceAllStringFunc(text, func(found string) string {
		u, err := url.Parse(strings.TrimRight(found, ".,:;)"))
		if err != nil || u.Host == "" {
			return "<redacted>"
		}
		if u.User == nil && strings.Trim(u.Path, "/") == "" && u.RawQuery == "" {
			return found
		}
		return u.Scheme + "://" + u.Host + "/<redacted>"
	})
	return line(r.secrets.Replace(text), maxDetail)
}
