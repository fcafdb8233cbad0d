package daemon

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"time"

	"watchbill"
	"watchbill/internal/notify"
	"watchbill/internal/store"
)

const (
	// stormWindow is the time in which the pages to one person are counted.
	stormWindow = time.Minute
	// maxBundle is how many pages one message stands for at most: as many as one
	// lease has time for. What is over goes with the next.
	maxBundle = 2000
	// bundleCommit is how many results of a bundle are written at once.
	bundleCommit = 256
	// maxNamed is how many of its pages a bundle names.
	maxNamed = 10
)

// stormAlert is the alertname of a bundle.
const stormAlert = "WatchbillStorm"

// storm counts the messages to each person. Claims reserve in the order of the
// store's writer, so two receivers of one person never share a place.
type storm struct {
	mu     sync.Mutex
	loaded bool
	sent   map[watchbill.PersonID][]time.Time
}

// recent returns the messages to a person within the last minute, oldest first.
func (s *storm) recent(p watchbill.PersonID, now time.Time) []time.Time {
	s.sent[p] = slices.DeleteFunc(s.sent[p], func(at time.Time) bool { return now.Sub(at) >= stormWindow })
	return s.sent[p]
}

// giveBack frees the place of a message that did not arrive.
func (s *storm) giveBack(p watchbill.PersonID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.sent[p]); n > 0 {
		s.sent[p] = s.sent[p][:n-1]
	}
}

// share is what becomes of a person's pages that are due.
type share struct {
	alone  []watchbill.Delivery // a message each
	bundle bool                 // the others, in one message
	until  time.Time            // the others wait until then, if they are not bundled
}

// divide says what becomes of pages that are due to one person by one method, when
// recent messages went to them within the last minute: sev1 goes alone whatever
// there was; the others as far as there is room, and the last place is the
// bundle's. It is pure.
func divide(due []watchbill.Delivery, recent []time.Time, limit int, now time.Time) share {
	var s share
	var others []watchbill.Delivery
	for _, d := range due {
		if d.Page.Content.Severity == watchbill.Sev1 {
			s.alone = append(s.alone, d)
		} else {
			others = append(others, d)
		}
	}
	room := limit - len(recent) - len(s.alone)
	switch {
	case len(others) <= room:
		s.alone = append(s.alone, others...)
	case room > 0:
		s.alone = append(s.alone, others[:room-1]...)
		s.bundle = true
	default:
		all := append(slices.Clone(recent), slices.Repeat([]time.Time{now}, len(s.alone))...)
		s.until = all[len(all)-limit].Add(stormWindow) // when the first place is free
	}
	return s
}

// claim leases due pages, bundled where a person would get too many. It runs in
// the store's writer.
func (o outbox) claim(tx *store.Tx, c store.Claim, reserved map[watchbill.PersonID]int) ([]watchbill.Delivery, error) {
	all, err := tx.ClaimPages(c)
	if err != nil {
		return nil, err
	}
	s := &o.storm
	s.mu.Lock()
	defer s.mu.Unlock()
	for p, n := range reserved { // of a run that is repeated
		s.sent[p] = s.sent[p][:max(len(s.sent[p])-n, 0)]
	}
	clear(reserved)
	if err := s.load(tx, c.Now); err != nil {
		return nil, err
	}
	var out []watchbill.Delivery
	of := map[[2]string][]watchbill.Delivery{}
	var order [][2]string
	for _, d := range all {
		if d.Page.Incident < 0 || edits(d) { // the self-test and edits page nobody
			out = append(out, d)
			continue
		}
		key := [2]string{string(d.Page.Person), d.Page.Method}
		if of[key] == nil {
			order = append(order, key)
		}
		of[key] = append(of[key], d)
	}
	limit := o.rooms.Load().pagesPerMinute
	for _, key := range order {
		person, due := watchbill.PersonID(key[0]), of[key]
		mine := c
		mine.Method, mine.Limit = key[1], maxBundle
		sh := divide(due, s.recent(person, c.Now), limit, c.Now)
		rest := due[:0:0]
		for _, d := range due {
			if !slices.ContainsFunc(sh.alone, func(x watchbill.Delivery) bool { return x.ID == d.ID }) {
				rest = append(rest, d)
			}
		}
		messages := sh.alone
		switch {
		case sh.bundle:
			more, err := tx.ClaimRest(mine, person)
			if err != nil {
				return nil, err
			}
			messages = append(messages, bundle(append(rest, more...), c.Now, limit))
		case !sh.until.IsZero():
			for _, d := range rest {
				if err := tx.PutOff(d, sh.until); err != nil {
					return nil, err
				}
			}
			if _, err := tx.PutOffRest(mine, person, sh.until); err != nil {
				return nil, err
			}
		}
		for range messages {
			s.sent[person] = append(s.sent[person], c.Now)
		}
		reserved[person] += len(messages)
		out = append(out, messages...)
	}
	return out, nil
}

// load reads what was sent before the process began.
func (s *storm) load(tx *store.Tx, now time.Time) error {
	if s.loaded {
		return nil
	}
	s.sent, s.loaded = map[watchbill.PersonID][]time.Time{}, true
	return tx.DeliveredSince(now.Add(-stormWindow), func(p watchbill.PersonID, at time.Time) { s.sent[p] = append(s.sent[p], at) })
}

// bundle is one message that stands for several pages. Its key is that of what it
// stands for, so that an attempt that is repeated has the same.
func bundle(pages []watchbill.Delivery, now time.Time, limit int) watchbill.Delivery {
	if len(pages) == 1 {
		return pages[0]
	}
	slices.SortStableFunc(pages, func(a, b watchbill.Delivery) int {
		return cmp.Or(cmp.Compare(a.Page.Content.Severity, b.Page.Content.Severity), a.Page.Due.Compare(b.Page.Due), cmp.Compare(a.ID, b.ID))
	})
	first := pages[0].Page
	h := fnv.New32a()
	incidents := map[watchbill.IncidentID]bool{}
	by := map[watchbill.Severity]int{}
	var named []string
	for _, d := range pages {
		_, _ = h.Write([]byte(d.Page.Key()))
		c := d.Page.Content
		by[c.Severity]++
		if !incidents[d.Page.Incident] && len(named) < maxNamed {
			named = append(named, strings.TrimSpace(fmt.Sprintf("%s %s %s/%s: %s", d.Page.Incident, c.Severity, c.Service, c.Environment, c.Title)))
		}
		incidents[d.Page.Incident] = true
	}
	if more := len(incidents) - len(named); more > 0 {
		named = append(named, fmt.Sprintf("and %d more", more))
	}
	var counts []string
	for sev := watchbill.Sev1; sev <= watchbill.Sev4; sev++ {
		if by[sev] > 0 {
			counts = append(counts, fmt.Sprintf("%d of %s", by[sev], sev))
		}
	}
	d := pages[0]
	d.Bundle = pages
	d.Page = watchbill.Page{
		Incident: notices, Generation: int(first.Due.Unix()), Step: int(h.Sum32()), Person: first.Person, Role: first.Role, Method: first.Method, Due: first.Due,
		Content: watchbill.PageContent{
			Severity: first.Content.Severity, Service: "storm",
			Title:  fmt.Sprintf("%d pages about %d incidents: %s", len(pages), len(incidents), strings.Join(counts, ", ")),
			Impact: strings.Join(named, "\n"), Since: first.Due, FirstAction: "List them and take the worst first",
			Why:     fmt.Sprintf("more than %d pages a minute are due to you, so these are one", limit),
			Actions: []watchbill.Action{{Name: "List", How: "watchbill incident list --state open"}},
			At:      now, LocalAt: first.Content.LocalAt, Reason: "bundled",
			To: first.Content.To, ToName: first.Content.ToName, ToEmail: first.Content.ToEmail,
			Labels: watchbill.Labels{"alertname": stormAlert, "pages": fmt.Sprint(len(pages)), "incidents": fmt.Sprint(len(incidents))},
		},
	}
	return d
}

// bundleNeeded reports whether any page of a bundle must still be sent.
func (o outbox) bundleNeeded(ctx context.Context, d watchbill.Delivery) (bool, string, error) {
	why := ""
	for _, x := range d.Bundle {
		needed, because, err := o.Needed(ctx, x)
		if needed || err != nil {
			return needed, because, err
		}
		why = because
	}
	return false, why, nil
}

// finishBundle records the result for each page that the message stood for.
func (o outbox) finishBundle(ctx context.Context, out watchbill.Outcome) error {
	for part := range slices.Chunk(out.Delivery.Bundle, bundleCommit) {
		unreached := ""
		err := o.update(ctx, func(w *work) error {
			unreached = ""
			for _, d := range part {
				one := out
				one.Delivery = d
				if out.Result == watchbill.ResultDelivered {
					one.Detail = strings.TrimSpace(fmt.Sprintf("in one message with %d others. %s", len(out.Delivery.Bundle)-1, out.Detail))
				}
				who, err := w.finish(one)
				if err != nil {
					return err
				}
				unreached = cmp.Or(unreached, who)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if unreached != "" {
			o.health.unreached(unreached)
		}
	}
	return nil
}

var _ notify.Outbox = outbox{}
