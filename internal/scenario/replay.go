package scenario

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"watchbill"
	"watchbill/internal/daemon"
)

// PastAlert is one time that an alert fired.
type PastAlert struct {
	Labels      watchbill.Labels
	Annotations watchbill.Labels
	From, Until time.Time            // Until is zero while it fires
	Incident    watchbill.IncidentID // of which it was a part; 0: none
	Paged       []watchbill.PersonID // by that incident, while it fired
}

// Past is what happened.
type Past struct {
	Since, Until time.Time
	Alerts       []PastAlert
	// Acts are what people did: to an incident of the past, or silences, in the order
	// in which they were made.
	Acts []Step
}

// Difference is a time that an alert fired, and would page others.
type Difference struct {
	Labels   watchbill.Labels     `json:"labels"`
	From     time.Time            `json:"from"`
	Until    time.Time            `json:"until,omitzero"`
	Incident watchbill.IncidentID `json:"incident,omitempty"`
	Was      []watchbill.PersonID `json:"was"`     // paged
	Would    []watchbill.PersonID `json:"would"`   // be paged
	Because  string               `json:"because"` // what is decided about it
}

// Replayed is what a replay found.
type Replayed struct {
	Since       time.Time    `json:"since"`
	Until       time.Time    `json:"until"`
	Alerts      int          `json:"alerts"` // times that one fired
	Differences []Difference `json:"differences"`
}

// maxPast bounds the alerts of a replay.
const maxPast = 20_000

// Replay plays what happened against another configuration and says for which
// alerts somebody else would have been paged.
func Replay(ctx context.Context, past Past, config string, start Start) (Replayed, error) {
	r := Replayed{Since: past.Since, Until: past.Until, Alerts: len(past.Alerts), Differences: []Difference{}}
	if len(past.Alerts) > maxPast {
		return r, watchbill.Errorf(watchbill.CodeTooLarge, "ask for less time", "%d alerts fired in this time, and %d can be replayed", len(past.Alerts), maxPast)
	}
	if len(past.Alerts) == 0 {
		return r, nil
	}
	script, err := past.script(config)
	if err != nil {
		return r, err
	}
	all, err := playAll(ctx, []Script{script}, start, 1)
	if err != nil {
		return r, err
	}
	if p := all[0]; len(p.Problems) > 0 {
		return r, p.Problems
	} else if p.Error != "" {
		return r, fmt.Errorf("replay: %s", p.Error)
	}
	r.Differences = past.differences(all[0].Entries)
	return r, nil
}

// script is what happened as acts. An alert that began long before the time that
// is asked for begins a day before it.
func (p Past) script(config string) (Script, error) {
	path, err := filepath.Abs(config)
	if err != nil {
		return Script{}, fmt.Errorf("find the configuration: %w", err)
	}
	s := Script{Name: "replay", Config: path, End: p.Until, Loose: true}
	earliest := p.Since.AddDate(0, 0, -1)
	for _, a := range p.Alerts {
		from := latest(a.From, earliest)
		s.Steps = append(s.Steps, Step{At: from, Verb: Fire, Labels: a.Labels, Annotations: a.Annotations})
		if !a.Until.IsZero() {
			s.Steps = append(s.Steps, Step{At: latest(a.Until, from), Verb: Resolve, Labels: a.Labels, Exact: true})
		}
	}
	for _, act := range p.Acts {
		if act.Incident != 0 {
			i := slices.IndexFunc(p.Alerts, func(a PastAlert) bool { return a.Incident == act.Incident && !a.From.After(act.At) })
			if i < 0 {
				continue
			}
			act.Incident, act.Of = 0, p.Alerts[i].Labels
		}
		act.At = latest(act.At, earliest)
		s.Steps = append(s.Steps, act)
	}
	for i := range s.Steps {
		s.Steps[i].At = s.Steps[i].At.UTC()
		s.Steps[i].Text = string(s.Steps[i].Verb)
	}
	// What ends at an instant ends before it begins again; an act comes after both.
	order := func(s Step) int {
		switch {
		case s.Exact:
			return 0
		case s.Verb == Fire:
			return 1
		}
		return 2
	}
	slices.SortStableFunc(s.Steps, func(a, b Step) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(order(a), order(b))) })
	s.Start = s.Steps[0].At
	s.End = latest(s.End, s.Steps[len(s.Steps)-1].At)
	return s, nil
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// differences compares who was paged with who is, alert by alert.
func (p Past) differences(entries []Entry) []Difference {
	of := map[watchbill.Fingerprint][]Entry{}
	pages := map[watchbill.IncidentID][]Entry{}
	for _, e := range entries {
		if e.Alert != "" {
			of[e.Alert] = append(of[e.Alert], e)
		}
		if e.Kind == KindPage && e.Delivered {
			for _, id := range append([]watchbill.IncidentID{e.Incident}, e.Also...) {
				pages[id] = append(pages[id], e)
			}
		}
	}
	all := []Difference{}
	for _, a := range p.Alerts {
		until := p.Until
		if !a.Until.IsZero() {
			until = a.Until
		}
		d := Difference{Labels: a.Labels, From: a.From, Until: a.Until, Incident: a.Incident, Was: people(a.Paged), Because: "nothing is decided about it"}
		var paged []watchbill.PersonID
		for _, e := range of[a.Labels.Fingerprint()] {
			if e.At.Before(a.From) && !a.From.Before(p.Since.AddDate(0, 0, -1)) || e.At.After(until) {
				continue
			}
			d.Because = e.Text
			if e.Incident == 0 {
				continue
			}
			for _, page := range pages[e.Incident] {
				if !page.At.Before(e.At) && !page.At.After(until.Add(daemon.AfterEnd)) {
					paged = append(paged, page.Person)
				}
			}
			break
		}
		if d.Would = people(paged); !slices.Equal(d.Was, d.Would) {
			all = append(all, d)
		}
	}
	return all
}

// people are the different ones, sorted.
func people(some []watchbill.PersonID) []watchbill.PersonID {
	all := append([]watchbill.PersonID{}, some...)
	slices.Sort(all)
	return slices.Compact(all)
}
