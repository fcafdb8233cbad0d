package watchbill

import (
	"encoding/json"
	"slices"
	"strconv"
	"time"
)

// plain writes JSON as encoding/json does, byte for byte, in a quarter of the
// time: a storm has it written for every alert and every event. What it cannot be
// trusted with, such as characters that encoding/json escapes, makes it not ok,
// and is left to encoding/json.
type plain struct {
	b  []byte
	ok bool
}

func (p *plain) raw(s string) { p.b = append(p.b, s...) }

func (p *plain) int(n int64) { p.b = strconv.AppendInt(p.b, n, 10) }

func (p *plain) string(s string) {
	p.b = append(p.b, '"')
	from := 0
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			p.b = append(append(p.b, s[from:i]...), '\\')
			from = i
		case c < ' ' || c > '~' || c == '<' || c == '>' || c == '&':
			p.ok = false
		}
	}
	p.b = append(append(p.b, s[from:]...), '"')
}

func (p *plain) time(t time.Time) {
	if y := t.Year(); y < 1 || y > 9999 {
		p.ok = false
		return
	}
	if _, offset := t.Zone(); offset%60 != 0 || offset <= -24*3600 || offset >= 24*3600 {
		p.ok = false
	}
	p.b = append(t.AppendFormat(append(p.b, '"'), time.RFC3339Nano), '"')
}

func (p *plain) labels(l Labels) {
	if l == nil {
		p.raw("null")
		return
	}
	var few [24]string
	names := few[:0]
	for name := range l {
		names = append(names, name)
	}
	slices.Sort(names)
	p.raw("{")
	for i, name := range names {
		if i > 0 {
			p.raw(",")
		}
		p.string(name)
		p.raw(":")
		p.string(l[name])
	}
	p.raw("}")
}

// event writes an event without data.
func (p *plain) event(e Event) {
	p.ok = len(e.Data) == 0
	p.raw(`{"incident":`)
	p.int(int64(e.Incident))
	p.raw(`,"seq":`)
	p.int(e.Seq)
	p.raw(`,"at":`)
	p.time(e.At)
	p.raw(`,"kind":`)
	p.string(string(e.Kind))
	p.raw(`,"actor":`)
	p.string(e.Actor)
	p.optional(`,"via":`, e.Via)
	p.raw(`,"text":`)
	p.string(e.Text)
	p.raw(`,"prev":`)
	p.string(e.Prev)
	p.raw(`,"hash":`)
	p.string(e.Hash)
	p.raw("}")
}

func (p *plain) optional(name, value string) {
	if value != "" {
		p.raw(name)
		p.string(value)
	}
}

func (p *plain) alert(a Alert) {
	p.ok = true
	p.raw(`{"labels":`)
	p.labels(a.Labels)
	if len(a.Annotations) > 0 {
		p.raw(`,"annotations":`)
		p.labels(a.Annotations)
	}
	p.raw(`,"startsAt":`)
	p.time(a.StartsAt)
	p.raw(`,"endsAt":`)
	p.time(a.EndsAt)
	p.raw(`,"updatedAt":`)
	p.time(a.UpdatedAt)
	p.optional(`,"generatorURL":`, a.GeneratorURL)
	p.optional(`,"source":`, a.Source)
	p.raw("}")
}

// JSON returns what json.Marshal does for the alert, sooner. The error is
// json.Marshal's: a time has a year beyond 9999.
func (a Alert) JSON() (string, error) {
	var room [1024]byte
	p := plain{b: room[:0]}
	if p.alert(a); p.ok {
		return string(p.b), nil
	}
	b, err := json.Marshal(a)
	return string(b), err
}
