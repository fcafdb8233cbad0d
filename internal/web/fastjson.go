package web

import (
	"bytes"
	"encoding/json"
	"time"
	"unicode/utf8"
)

// readAlerts decodes a body of alerts. Sources write the same few fields in the
// same plain way thousands of times a second, and encoding/json spends more on
// it than all the rest of the intake does; so a small parser reads the plain
// form, and encoding/json whatever is not plain, mistakes included. The two
// agree wherever the small one has an answer, which a fuzz test holds.
func readAlerts(body []byte) ([]postableAlert, error) {
	if alerts, ok := plainAlerts(body); ok {
		return alerts, nil
	}
	var alerts []postableAlert
	err := decode(json.NewDecoder(bytes.NewReader(body)), &alerts)
	return alerts, err
}

// plain is a cursor over a JSON text. Each method reads one thing and reports
// whether it was there in its plain form.
type plain struct {
	b     []byte
	i     int
	names map[string]string // label names are the same in every alert: keep one of each
	stamp []byte            // the last instant that was read, and its value
	at    time.Time
}

// plainAlerts decodes an array of alerts with no other fields than ours, each at
// most once, no nulls, and valid UTF-8.
func plainAlerts(body []byte) ([]postableAlert, bool) {
	if !utf8.Valid(body) {
		return nil, false
	}
	p := &plain{b: body, names: map[string]string{}}
	if !p.next('[') {
		return nil, false
	}
	alerts := []postableAlert{}
	if p.next(']') {
		return alerts, p.end()
	}
	for {
		a, ok := p.alert()
		if !ok {
			return nil, false
		}
		alerts = append(alerts, a)
		if !p.next(',') {
			return alerts, p.next(']') && p.end()
		}
	}
}

func (p *plain) space() {
	for p.i < len(p.b) && (p.b[p.i] == ' ' || p.b[p.i] == '\n' || p.b[p.i] == '\t' || p.b[p.i] == '\r') {
		p.i++
	}
}

// next skips white space and, if it comes next, a character.
func (p *plain) next(c byte) bool {
	p.space()
	if p.i < len(p.b) && p.b[p.i] == c {
		p.i++
		return true
	}
	return false
}

func (p *plain) end() bool {
	p.space()
	return p.i == len(p.b)
}

// raw reads a string without escapes, and returns what is between its quotes.
func (p *plain) raw() ([]byte, bool) {
	if !p.next('"') {
		return nil, false
	}
	start := p.i
	for ; p.i < len(p.b); p.i++ {
		switch c := p.b[p.i]; {
		case c == '"':
			p.i++
			return p.b[start : p.i-1], true
		case c == '\\' || c < ' ':
			return nil, false
		}
	}
	return nil, false
}

// text reads a string, with escapes or without.
func (p *plain) text() (string, bool) {
	p.space()
	start := p.i
	if b, ok := p.raw(); ok {
		return string(b), true
	}
	// Escapes: find the end of the string and leave it to encoding/json.
	if start >= len(p.b) || p.b[start] != '"' {
		return "", false
	}
	for i := start + 1; i < len(p.b); i++ {
		switch p.b[i] {
		case '\\':
			i++
		case '"':
			var s string
			if json.Unmarshal(p.b[start:i+1], &s) != nil {
				return "", false
			}
			p.i = i + 1
			return s, true
		}
	}
	return "", false
}

func (p *plain) instant() (stamp, bool) {
	b, ok := p.raw()
	if !ok || len(b) == 0 {
		return stamp{}, false
	}
	if bytes.Equal(b, p.stamp) {
		return stamp{Time: p.at}, true
	}
	var t time.Time
	if t.UnmarshalText(b) != nil {
		return stamp{}, false
	}
	p.stamp, p.at = b, t.UTC()
	return stamp{Time: p.at}, true
}

func (p *plain) labels() (map[string]string, bool) {
	if !p.next('{') {
		return nil, false
	}
	m := make(map[string]string, 8)
	if p.next('}') {
		return m, true
	}
	for {
		b, ok := p.raw()
		if !ok {
			return nil, false
		}
		name, known := p.names[string(b)]
		if !known {
			name = string(b)
			p.names[name] = name
		}
		value, ok := "", p.next(':')
		if ok {
			value, ok = p.text()
		}
		if !ok {
			return nil, false
		}
		m[name] = value
		if !p.next(',') {
			return m, p.next('}')
		}
	}
}

func (p *plain) alert() (a postableAlert, ok bool) {
	if !p.next('{') {
		return a, false
	}
	if p.next('}') {
		return a, true
	}
	var seen [5]bool
	for {
		name, ok := p.raw()
		if !ok || !p.next(':') {
			return a, false
		}
		field := -1
		switch string(name) {
		case "labels":
			field = 0
			a.Labels, ok = p.labels()
		case "annotations":
			field = 1
			a.Annotations, ok = p.labels()
		case "startsAt":
			field = 2
			a.StartsAt, ok = p.instant()
		case "endsAt":
			field = 3
			a.EndsAt, ok = p.instant()
		case "generatorURL":
			field = 4
			a.GeneratorURL, ok = p.text()
		}
		if !ok || field < 0 || seen[field] {
			return a, false
		}
		seen[field] = true
		if !p.next(',') {
			return a, p.next('}')
		}
	}
}
