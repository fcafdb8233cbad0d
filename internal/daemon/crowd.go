package daemon

import (
	"fmt"
	"time"

	"watchbill"
)

// lately are the messages that went to a person within the minute before an instant.
func (s *storm) lately(p watchbill.PersonID, now time.Time) []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []time.Time
	for _, at := range s.sent[p] {
		if now.Sub(at) < stormWindow {
			all = append(all, at)
		}
	}
	return all
}

// crowded says of the pages of an explanation which come after so many others to
// the same person that they may go together with others, up to a minute later. What
// went to people lately is counted too.
func (r *rooms) crowded(x *Explanation, lately func(watchbill.PersonID) []time.Time) {
	if r.pagesPerMinute == 0 || x.Severity == watchbill.Sev1 {
		return
	}
	sent := map[watchbill.PersonID][]time.Time{}
	for i, p := range x.Pages {
		if _, known := sent[p.Person]; !known {
			sent[p.Person] = lately(p.Person)
		}
		n := 0
		for _, at := range sent[p.Person] {
			if p.At.Sub(at) < stormWindow {
				n++
			}
		}
		if n >= r.pagesPerMinute {
			x.Pages[i].Reason += fmt.Sprintf("; beyond %d messages a minute to %s: it may go together with others, up to a minute later", r.pagesPerMinute, p.Person)
		}
		sent[p.Person] = append(sent[p.Person], p.At)
	}
}
