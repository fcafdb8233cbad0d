package notify

import (
	"cmp"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"

	amconfig "github.com/prometheus/alertmanager/config"
	amcommoncfg "github.com/prometheus/alertmanager/config/common"
	commoncfg "github.com/prometheus/common/config"
)

// slot is a string in a receiver's configuration that Alertmanager executes as a
// template.
type slot struct {
	Path string // as in the YAML: email_configs[0].html
	Text string
	HTML bool // executed as HTML, with escaping
}

// kind is the path without indices and map keys' positions: email_configs.html.
func (s slot) kind() string {
	var b strings.Builder
	depth := 0
	for _, r := range s.Path {
		switch r {
		case '[':
			depth++
		case ']':
			depth--
		default:
			if depth == 0 {
				b.WriteRune(r)
			}
		}
	}
	return b.String()
}

// slots lists the templated strings of a receiver in the order of its fields.
func slots(r amconfig.Receiver) []slot {
	var all []slot
	rewrite(r, func(path, text string) string {
		if strings.Contains(text, "{{") {
			all = append(all, slot{Path: path, Text: text, HTML: executesHTML(r, path)})
		}
		return text
	})
	return all
}

// executesHTML says whether an integration executes a field as HTML.
func executesHTML(r amconfig.Receiver, path string) bool {
	var i int
	if _, err := fmt.Sscanf(path, "telegram_configs[%d].message", &i); err == nil {
		return r.TelegramConfigs[i].ParseMode == "HTML"
	}
	if _, err := fmt.Sscanf(path, "pushover_configs[%d].message", &i); err == nil {
		return r.PushoverConfigs[i].HTML && strings.HasSuffix(path, ".message")
	}
	return strings.HasPrefix(path, "email_configs[") && strings.HasSuffix(path, "].html")
}

// rewrite returns a copy of a receiver in which every string of its
// integrations' settings went through fn. Nothing that the copy can change is
// shared with the original; HTTP settings, addresses and secrets are shared,
// because fn never sees them, except a webhook's URL, which is a template.
func rewrite(r amconfig.Receiver, fn func(path, text string) string) amconfig.Receiver {
	v := reflect.ValueOf(&r).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Slice {
			f.Set(rewriteValue(f, yamlName(v.Type().Field(i)), fn))
		}
	}
	return r
}

func rewriteValue(v reflect.Value, path string, fn func(path, text string) string) reflect.Value {
	switch v.Kind() { //nolint:exhaustive // the other kinds hold no text
	case reflect.String:
		if v.Type() != reflect.TypeFor[string]() && v.Type() != reflect.TypeFor[amcommoncfg.SecretTemplateURL]() {
			return v
		}
		return reflect.ValueOf(fn(path, v.String())).Convert(v.Type())
	case reflect.Pointer, reflect.Interface:
		return rewriteElem(v, path, fn)
	case reflect.Slice:
		if v.IsNil() {
			return v
		}
		out := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		for i := range v.Len() {
			out.Index(i).Set(rewriteValue(v.Index(i), fmt.Sprintf("%s[%d]", path, i), fn))
		}
		return out
	case reflect.Map:
		return rewriteMap(v, path, fn)
	case reflect.Struct:
		return rewriteStruct(v, path, fn)
	default:
		return v
	}
}

func rewriteElem(v reflect.Value, path string, fn func(path, text string) string) reflect.Value {
	if v.IsNil() {
		return v
	}
	elem := rewriteValue(v.Elem(), path, fn)
	if v.Kind() == reflect.Interface {
		return elem
	}
	out := reflect.New(v.Type().Elem())
	out.Elem().Set(elem)
	return out
}

func rewriteMap(v reflect.Value, path string, fn func(path, text string) string) reflect.Value {
	if v.IsNil() {
		return v
	}
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	out := reflect.MakeMapWithSize(v.Type(), v.Len())
	for _, k := range keys {
		out.SetMapIndex(k, rewriteValue(v.MapIndex(k), fmt.Sprintf("%s.%v", path, k), fn))
	}
	return out
}

func rewriteStruct(v reflect.Value, path string, fn func(path, text string) string) reflect.Value {
	t := v.Type()
	if !strings.HasPrefix(t.PkgPath(), "github.com/prometheus/alertmanager/") || t.PkgPath() == "github.com/prometheus/alertmanager/config/common" {
		return v
	}
	out := reflect.New(t).Elem()
	out.Set(v)
	for i := range t.NumField() {
		if f := t.Field(i); f.IsExported() && !f.Anonymous {
			out.Field(i).Set(rewriteValue(v.Field(i), path+"."+yamlName(f), fn))
		}
	}
	return out
}

func yamlName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	return cmp.Or(name, strings.ToLower(f.Name))
}

// secretsOf collects what must never be shown of a receiver's settings:
// passwords, tokens, and whole URLs, because many carry a token.
func secretsOf(r amconfig.Receiver) []string {
	found := map[string]bool{}
	add := func(s string) {
		if len(s) >= 4 {
			for _, form := range []string{s, url.QueryEscape(s), url.PathEscape(s)} {
				found[form] = true
			}
		}
	}
	collectSecrets(reflect.ValueOf(r), add)
	all := make([]string, 0, len(found))
	for s := range found {
		all = append(all, s)
	}
	// The longest first, so that a secret which contains another goes as a whole.
	slices.SortFunc(all, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	return all
}

func collectSecrets(v reflect.Value, add func(string)) {
	switch v.Kind() { //nolint:exhaustive // the other kinds hold no secret
	case reflect.String:
		if v.Type() == reflect.TypeFor[commoncfg.Secret]() || v.Type() == reflect.TypeFor[amcommoncfg.SecretTemplateURL]() {
			add(v.String())
		}
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			collectSecrets(v.Elem(), add)
		}
	case reflect.Slice:
		for i := range v.Len() {
			collectSecrets(v.Index(i), add)
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			collectSecrets(v.MapIndex(k), add)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[url.URL]() {
			addURL(v, add)
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				collectSecrets(v.Field(i), add)
			}
		}
	default:
	}
}

// addURL adds the parts of an address that may be secret. Its host is not: an
// operator needs it to understand the error.
func addURL(v reflect.Value, add func(string)) {
	u, ok := reflect.TypeAssert[url.URL](v)
	if !ok {
		return
	}
	if strings.Trim(u.Path, "/") != "" {
		add(u.EscapedPath())
		add(u.Path)
	}
	add(u.RawQuery)
	if password, set := u.User.Password(); set {
		add(password)
	}
}
