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

func (p plain) raw(s string) plain {
	p.b = append(p.b, s...)
	return p
}

func (p plain) int(n int64) plain {
	p.b = strconv.AppendInt(p.b, n, 10)
	return p
}

func (p plain) string(s string) plain {
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
	return p
}

func (p plain) time(t time.Time) plain {
	if y := t.Year(); y < 1 || y > 9999 {
		p.ok = false
		return p
	}
	if _, offset := t.Zone(); offset%60 != 0 || offset <= -24*3600 || offset >= 24*3600 {
		p.ok = false
	}
	p.b = append(t.AppendFormat(append(p.b, '"'), time.RFC3339Nano), '"')
	return p
}

func (p plain) labels(l Labels) plain {
	if l == nil {
		return p.raw("null")
	}
	var few [24]string
	names := few[:0]
	for name := range l {
		names = append(names, name)
	}
	slices.Sort(names)
	p = p.raw("{")
	for i, name := range names {
		if i > 0 {
			p = p.raw(",")
		}
		p = p.string(name)
		p = p.raw(":")
		p = p.string(l[name])
	}
	return p.raw("}")
}

// event writes an event without data.
func (p plain) event(e Event) plain {
	p.ok = len(e.Data) == 0
	p = p.raw(`{"incident":`)
	p = p.int(int64(e.Incident))
	p = p.raw(`,"seq":`)
	p = p.int(e.Seq)
	p = p.raw(`,"at":`)
	p = p.time(e.At)
	p = p.raw(`,"kind":`)
	p = p.string(string(e.Kind))
	p = p.raw(`,"actor":`)
	p = p.string(e.Actor)
	p = p.optional(`,"via":`, e.Via)
	p = p.raw(`,"text":`)
	p = p.string(e.Text)
	p = p.raw(`,"prev":`)
	p = p.string(e.Prev)
	p = p.raw(`,"hash":`)
	p = p.string(e.Hash)
	return p.raw("}")
}

func (p plain) optional(name, value string) plain {
	if value != "" {
		p = p.raw(name).string(value)
	}
	return p
}

func (p plain) alert(a Alert) plain {
	p.ok = true
	p = p.raw(`{"labels":`)
	p = p.labels(a.Labels)
	if len(a.Annotations) > 0 {
		p = p.raw(`,"annotations":`)
		p = p.labels(a.Annotations)
	}
	p = p.raw(`,"startsAt":`)
	p = p.time(a.StartsAt)
	p = p.raw(`,"endsAt":`)
	p = p.time(a.EndsAt)
	p = p.raw(`,"updatedAt":`)
	p = p.time(a.UpdatedAt)
	p = p.optional(`,"generatorURL":`, a.GeneratorURL)
	p = p.optional(`,"source":`, a.Source)
	return p.raw("}")
}

// JSON returns what json.Marshal does for the alert, sooner. The error is
// json.Marshal's: a time has a year beyond 9999.
func (a Alert) JSON() (string, error) {
	var room [1024]byte
	p := plain{b: room[:0]}.alert(a)
	if p.ok {
		return string(p.b), nil
	}
	b, err := json.Marshal(a)
	return string(b), err
}
