package watchbill

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Labels is a set of names and values, for labels and for annotations.
type Labels map[string]string

// Labels that watchbill sets and nobody else can.
const (
	LabelSource = "watchbill_source" // the name of the source that pushed it
	LabelDedup  = "watchbill_dedup"  // the source's own key, of an alert that is told once and not sent again
	LabelCase   = "watchbill_case"   // such a key too; each value has an incident of its own
)

// ReservedLabels are the names of the labels that nobody else can set.
func ReservedLabels() []string { return []string{LabelSource, LabelDedup, LabelCase} }

// Fingerprint identifies a label set: 16 hexadecimal digits.
type Fingerprint string

// Fingerprint returns the identity of the set: FNV-1a over the sorted names and
// values, each followed by the byte 0xff, as Prometheus' model.LabelSet does,
// so that it is the id that Alertmanager's API and its clients show.
func (l Labels) Fingerprint() Fingerprint {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	add := func(s string) {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * prime
		}
		h = (h ^ 0xff) * prime
	}
	var few [24]string // on the stack: this is asked for every alert that comes in
	names := few[:0]
	for name := range l {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		add(name)
		add(l[name])
	}
	const digits = "0123456789abcdef"
	var text [16]byte
	for i := range text {
		text[i] = digits[h>>(60-4*i)&0xf]
	}
	return Fingerprint(text[:])
}

// String returns the set in Prometheus' notation, names sorted:
// {job="db", severity="page"}.
func (l Labels) String() string {
	return l.Text(nil)
}

// Holds reports whether the set has all labels of another, with the same values.
func (l Labels) Holds(some Labels) bool {
	for name, value := range some {
		if l[name] != value {
			return false
		}
	}
	return true
}

// Text is String of the labels for which keep reports true; of all for nil.
func (l Labels) Text(keep func(name, value string) bool) string {
	var few [24]string
	var room [512]byte
	names, b := few[:0], append(room[:0], '{')
	for name, value := range l {
		if keep == nil || keep(name, value) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for i, name := range names {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = strconv.AppendQuote(append(append(b, name...), '='), l[name])
	}
	return string(append(b, '}'))
}

// Alert is one thing that is wrong, in Prometheus' data model. Its identity is
// its label set.
type Alert struct {
	Labels       Labels    `json:"labels"`
	Annotations  Labels    `json:"annotations,omitempty"`
	StartsAt     time.Time `json:"startsAt"`
	EndsAt       time.Time `json:"endsAt"` // in the future while it fires
	UpdatedAt    time.Time `json:"updatedAt"`
	GeneratorURL string    `json:"generatorURL,omitempty"`
	Source       string    `json:"source,omitempty"` // who pushed it: the token's name, or "rules"
	Flap         Flap      `json:"flap,omitzero"`
}

// Flap is what is known of an alert that ends and fires again.
type Flap struct {
	Ends     []time.Time `json:"ends,omitempty"`     // lately, oldest first
	Clearing bool        `json:"clearing,omitempty"` // it ended, and flaps: its end does not count yet
}

// IsZero reports whether nothing is known.
func (f Flap) IsZero() bool { return len(f.Ends) == 0 && !f.Clearing }

// Fingerprint is the identity of the alert.
func (a Alert) Fingerprint() Fingerprint { return a.Labels.Fingerprint() }

// Resolved reports whether the alert has ended at now.
func (a Alert) Resolved(now time.Time) bool { return !a.EndsAt.IsZero() && !a.EndsAt.After(now) }

// ToldOnce reports whether whoever raised the alert does not send it again: its
// end is told by a key, by a person, or by nobody.
func (a Alert) ToldOnce() bool { return a.Labels[LabelDedup] != "" || a.Labels[LabelCase] != "" }

// Name is the alert's alertname label.
func (a Alert) Name() string { return a.Labels["alertname"] }

// Matcher compares one label with a value, as in Alertmanager's silences.
type Matcher struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	IsRegex bool   `json:"isRegex"`
	IsEqual bool   `json:"isEqual"`
}

// String returns the matcher as it is written: name="value", name=~"regex".
func (m Matcher) String() string {
	op := "="
	switch {
	case m.IsRegex && !m.IsEqual:
		op = "!~"
	case m.IsRegex:
		op = "=~"
	case !m.IsEqual:
		op = "!="
	}
	return fmt.Sprintf("%s%s%q", m.Name, op, m.Value)
}

// Silence mutes the alerts that all of its matchers match, from StartsAt until
// EndsAt. CreatedBy is the authenticated author.
type Silence struct {
	ID        string    `json:"id"`
	Matchers  []Matcher `json:"matchers"`
	StartsAt  time.Time `json:"startsAt"`
	EndsAt    time.Time `json:"endsAt"`
	CreatedBy string    `json:"createdBy"`
	Comment   string    `json:"comment"`
	UpdatedAt time.Time `json:"updatedAt"`

	// NeedsApproval says why a second person must agree; until ApprovedBy is set
	// the silence then mutes nothing.
	NeedsApproval string    `json:"needsApproval,omitempty"`
	ApprovedBy    string    `json:"approvedBy,omitempty"`
	ApprovedAt    time.Time `json:"approvedAt,omitzero"`
	// Reach is what it would have muted when it was made.
	Reach *SilenceReach `json:"reach,omitempty"`
	// Reminded reports that its author was told that it ends soon.
	Reminded bool `json:"reminded,omitempty"`
}

// SilenceReach is how much a silence mutes: distinct alerts, by their labels.
type SilenceReach struct {
	Now      int      `json:"now"`      // that fire
	Week     int      `json:"week"`     // that fired at some time in the last 7 days, those that fire included
	Security int      `json:"security"` // of these, those of the activity security
	Examples []string `json:"examples,omitempty"`
}

// Active reports whether the silence mutes at now.
func (s Silence) Active(now time.Time) bool {
	return s.Waits() == "" && !s.StartsAt.After(now) && s.EndsAt.After(now)
}

// Waits says why the silence waits for a second person; empty if it does not.
func (s Silence) Waits() string {
	if s.ApprovedBy != "" {
		return ""
	}
	return s.NeedsApproval
}
