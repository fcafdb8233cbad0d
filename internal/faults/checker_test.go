package faults_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"watchbill"
)

// evidence is everything that is known after a scenario: what was promised,
// what arrived, and what the store holds.
type evidence struct {
	now      time.Time // when the dump was taken
	alive    bool      // the daemon ran then, and had had time to settle
	accepted []accepted
	acks     []acknowledged
	receipts []receipt
	dump     dump
	downs    []span // when no daemon ran, from its death to its being ready again
	samples  []sample
}

// accepted is an alert that was answered 2xx.
type accepted struct {
	alert watchbill.Fingerprint
	at    time.Time // of the answer
}

// acknowledged is an acknowledgement that was answered 2xx.
type acknowledged struct {
	incident   watchbill.IncidentID
	generation int
	at         time.Time
}

// receipt is one request that reached a receiver.
type receipt struct {
	key      string
	attempt  int
	path     string
	at       time.Time // when the request began
	accepted bool      // the person was reached, whatever was answered
	pages    int       // that the message stands for
}

type span struct{ from, to time.Time }

// sample is what the process used at an instant.
type sample struct {
	at         time.Time
	goroutines int
	fds        int
	rss        int64 // bytes
}

// bounds are what a scenario allows. A zero field is not checked, apart from
// the duplicates.
type bounds struct {
	p99, max      time.Duration // of the lateness of first deliveries
	except        string        // the method whose lateness is not checked
	noReceivers   bool          // nothing was sent: compare with no receiver's log
	ambiguous     bool          // the receiver took pages and said that it did not: any number of duplicates
	duplicates    int           // allowed number
	share         float64       // allowed share of all deliveries, as well
	rss           int64
	moreRoutines  int // growth from the first to the last sample
	moreFiles     int
	growthChecked bool
}

// breach is an invariant that does not hold, and where it broke.
type breach struct{ invariant, text string }

func (b breach) String() string { return "invariant " + b.invariant + " broke: " + b.text }

const (
	// inHand is how many pages a receiver may be getting when the process dies:
	// what was delivered of them and not recorded comes again.
	inHand = 32

	early    = 100 * time.Millisecond
	afterAck = time.Second
	longest  = 5 * time.Minute // between two attempts
	ceiling  = time.Minute     // that anything due may wait while a daemon lives
	reported = 5               // breaches of one invariant that are told
)

// check holds the evidence against the invariants and returns what does not
// hold, each invariant named. It reads nothing else.
func check(e evidence, b bounds) []breach {
	c := checker{evidence: e, bounds: b, first: map[string]receipt{}, pages: map[string]pageRow{}, incidents: map[watchbill.IncidentID]incidentRow{}}
	for _, inc := range e.dump.incidents {
		c.incidents[inc.ID] = inc
	}
	for _, p := range e.dump.pages {
		c.pages[p.Key()] = p
	}
	slices.SortStableFunc(c.receipts, func(x, y receipt) int { return x.at.Compare(y.at) })
	for _, r := range c.receipts {
		if _, ok := c.first[r.key]; r.accepted && !ok {
			c.first[r.key] = r
		}
	}
	c.lost()        // I1
	c.steps()       // I2
	c.delivered()   // I2
	c.unique()      // I3
	c.lateness()    // I4
	c.twice()       // I5
	c.quiet()       // I6
	c.tooEarly()    // I7
	c.chains()      // I8
	c.consumption() // I9
	return c.found
}

type checker struct {
	evidence
	bounds
	first     map[string]receipt // of each key, the first accepted
	pages     map[string]pageRow
	incidents map[watchbill.IncidentID]incidentRow
	found     []breach
}

func (c *checker) breach(invariant, format string, args ...any) {
	c.found = append(c.found, breach{invariant, fmt.Sprintf(format, args...)})
}

// I1: every alert answered 2xx has an incident, or was muted with a reason.
func (c *checker) lost() {
	for _, a := range c.accepted {
		row, ok := c.dump.alerts[a.alert]
		_, exists := c.incidents[row.incident]
		switch {
		case !ok:
			c.breach("I1", "alert %s was answered 2xx at %s and is not in the store", a.alert, clock(a.at))
		case row.incident == 0 && row.muted == "" && !row.ended:
			c.breach("I1", "alert %s was answered 2xx at %s and has no incident", a.alert, clock(a.at))
		case row.incident != 0 && !exists:
			c.breach("I1", "alert %s belongs to %s, which does not exist", a.alert, row.incident)
		}
	}
}

// I2, first half: an incident that nobody answered has a next step, and every
// step before it has pages. The first step of one that was taken up again because
// its alert flaps has them from before.
func (c *checker) steps() {
	next := map[watchbill.IncidentID]watchbill.Timer{}
	ack := map[watchbill.IncidentID]bool{}
	for _, tm := range c.dump.timers {
		if tm.Kind == watchbill.TimerStep {
			next[tm.Incident] = tm
		}
		if tm.Kind == watchbill.TimerAck {
			ack[tm.Incident] = true
		}
		if c.alive && c.now.Sub(tm.Due) > ceiling {
			c.breach("I2", "the timer %s of %s is %s overdue", tm.Kind, tm.Incident, c.now.Sub(tm.Due))
		}
	}
	paged := map[string]bool{}
	for _, p := range c.dump.pages {
		paged[fmt.Sprintf("%d/%d/%d", p.Incident, p.Generation, p.Step)] = true
	}
	for _, inc := range c.dump.incidents {
		if inc.State == watchbill.StateAcknowledged && !ack[inc.ID] {
			c.breach("I2", "%s is acknowledged and has no deadline", inc.ID)
		}
		if inc.State != watchbill.StateOpen || inc.Severity > watchbill.Sev2 {
			continue
		}
		tm, ok := next[inc.ID]
		if !ok || tm.Generation != inc.Generation {
			c.breach("I2", "%s is open and has no next step: its path ended silently", inc.ID)
			continue
		}
		for n := range tm.Step {
			of := inc.Generation
			if n == 0 && strings.Contains(inc.PageReason, " flaps, it ended ") { // it goes on with the second step
				for of > 1 && !paged[fmt.Sprintf("%d/%d/0", inc.ID, of)] {
					of--
				}
			}
			if !paged[fmt.Sprintf("%d/%d/%d", inc.ID, of, n)] {
				c.breach("I2", "step %d of %s/%d was due and paged nobody", n, inc.ID, inc.Generation)
			}
		}
	}
}

// I2, second half: each page of an open incident reached its receiver, or is a
// row that is due within five minutes.
func (c *checker) delivered() {
	for _, p := range c.dump.pages {
		_, arrived := c.first[p.Key()]
		if p.State == "delivered" && !arrived && !c.noReceivers {
			c.breach("I2", "page %s is marked delivered and never reached its receiver", p.Key())
		}
		inc, ok := c.incidents[p.Incident]
		if !ok {
			c.breach("I2", "page %s belongs to no incident", p.Key())
			continue
		}
		if inc.State != watchbill.StateOpen || inc.Generation != p.Generation {
			continue
		}
		from := c.now
		if p.Due.After(from) {
			from = p.Due
		}
		switch {
		case p.State == "dropped":
			c.breach("I2", "page %s was given up while %s is open", p.Key(), inc.ID)
		case p.State == "pending" && p.next.Sub(from) > longest:
			c.breach("I2", "page %s is not due for %s", p.Key(), p.next.Sub(c.now))
		case p.State == "pending" && c.alive && !p.lease.After(c.now) && c.now.Sub(p.next) > ceiling:
			c.breach("I2", "page %s is %s overdue", p.Key(), c.now.Sub(p.next))
		}
	}
}

// generations are the events with which a new generation may begin.
var generations = []watchbill.EventKind{
	watchbill.EventReopened, watchbill.EventAckExpired, watchbill.EventSeverity, watchbill.EventResolved,
}

// I3: a page is one row, and a step fires once in a generation.
func (c *checker) unique() {
	rows := map[string]int{}
	for _, p := range c.dump.pages {
		rows[p.Key()]++
		if rows[p.Key()] == 2 {
			c.breach("I3", "page %s is more than one row of the outbox", p.Key())
		}
	}
	for _, inc := range c.dump.incidents {
		fired := map[string]bool{}
		for _, ev := range c.dump.events[inc.ID] {
			if slices.Contains(generations, ev.Kind) {
				clear(fired)
			}
			if ev.Kind != watchbill.EventStepFired {
				continue
			}
			step, _, _ := strings.Cut(ev.Text, " (")
			if fired[step] {
				c.breach("I3", "%s of %s fired twice: event %d", step, inc.ID, ev.Seq)
			}
			fired[step] = true
		}
	}
}

// late returns how late each page first arrived, sorted. What was due while no
// daemon ran counts from when one ran again.
func (c *checker) late() []time.Duration {
	var all []time.Duration
	for key, r := range c.first {
		p, ok := c.pages[key]
		if !ok || p.Method == c.except {
			continue
		}
		due := p.Due
		for _, d := range c.downs {
			if !due.After(d.to) && !r.at.Before(d.to) {
				due = d.to
			}
		}
		all = append(all, max(r.at.Sub(due), 0))
	}
	slices.Sort(all)
	return all
}

// I4: pages are on time.
func (c *checker) lateness() {
	all := c.late()
	if len(all) == 0 {
		return
	}
	if got := quantile(all, .99); c.p99 > 0 && got > c.p99 {
		c.breach("I4", "the 99th percentile of lateness over %d pages is %s, allowed are %s", len(all), got, c.p99)
	}
	if got := all[len(all)-1]; c.max > 0 && got > c.max {
		c.breach("I4", "a page was %s late, allowed are %s", got, c.max)
	}
}

// I5: nobody is paged twice for one page; where a crash makes it happen it has
// the same key, is rare, and each attempt has its own number.
func (c *checker) twice() {
	times, numbers := map[string]int{}, map[string]int{}
	total, more := 0, 0
	for _, r := range c.receipts {
		if last, ok := numbers[r.key]; ok && r.attempt <= last {
			c.breach("I5", "attempt %d of page %s came after attempt %d", r.attempt, r.key, last)
		}
		numbers[r.key] = max(numbers[r.key], r.attempt)
		if !r.accepted {
			continue
		}
		total++
		if times[r.key]++; times[r.key] > 1 {
			more++
		}
	}
	if allowed := max(c.duplicates, int(c.share*float64(total))); !c.ambiguous && more > allowed {
		c.breach("I5", "%d of %d deliveries were duplicates, allowed are %d", more, total, allowed)
	}
}

// I6: an acknowledgement that was answered is kept, and nothing of its
// generation begins to be sent after it.
func (c *checker) quiet() {
	for _, a := range c.acks {
		kept := slices.ContainsFunc(c.dump.events[a.incident], func(e watchbill.Event) bool { return e.Kind == watchbill.EventAcknowledged })
		if !kept {
			c.breach("I6", "the acknowledgement of %s was answered 2xx at %s and is not in the store", a.incident, clock(a.at))
		}
	}
	until := map[string]time.Time{}
	for _, a := range c.acks {
		until[fmt.Sprintf("%s/%d/", a.incident, a.generation)] = a.at
	}
	for _, r := range c.receipts {
		at, ok := until[generation(r.key)]
		if ok && r.at.Sub(at) > afterAck {
			c.breach("I6", "page %s, attempt %d, began %s after the acknowledgement", r.key, r.attempt, r.at.Sub(at))
		}
	}
}

// generation is the part of a key up to its generation: "INC-4/1/".
func generation(key string) string {
	parts := strings.SplitAfterN(key, "/", 3)
	if len(parts) < 3 {
		return key
	}
	return parts[0] + parts[1]
}

// I7: nothing arrives before it is due, unless a refusal hastened it.
func (c *checker) tooEarly() {
	for key, r := range c.first {
		p, ok := c.pages[key]
		if !ok {
			c.breach("I7", "page %s arrived and is not in the outbox", key)
			continue
		}
		if p.Due.Sub(r.at) > early && !c.dump.refused[p.Incident] {
			c.breach("I7", "page %s arrived %s before it was due", key, p.Due.Sub(r.at))
		}
	}
}

// I8: every chain of events verifies, and so does the file below them.
func (c *checker) chains() {
	if c.dump.integrity != "" && c.dump.integrity != "ok" {
		c.breach("I8", "the store is corrupt: %s", c.dump.integrity)
	}
	for _, inc := range c.dump.incidents {
		if err := watchbill.VerifyChain(c.dump.events[inc.ID], inc.head); err != nil {
			c.breach("I8", "%v", err)
		}
		if inc.head != inc.Head || inc.seq != inc.Seq {
			c.breach("I8", "the row of %s and its body end at different events", inc.ID)
		}
	}
}

// I9: the process does not grow.
func (c *checker) consumption() {
	if len(c.samples) == 0 {
		return
	}
	a, z := c.samples[0], c.samples[len(c.samples)-1]
	for _, s := range c.samples {
		if c.rss > 0 && s.rss > c.rss {
			c.breach("I9", "the process held %d MB at %s, allowed are %d MB", s.rss>>20, clock(s.at), c.rss>>20)
			break
		}
	}
	if !c.growthChecked {
		return
	}
	if z.goroutines-a.goroutines > c.moreRoutines {
		c.breach("I9", "goroutines grew from %d to %d", a.goroutines, z.goroutines)
	}
	if z.fds-a.fds > c.moreFiles {
		c.breach("I9", "open files grew from %d to %d", a.fds, z.fds)
	}
}

func clock(t time.Time) string {
	if t.IsZero() {
		return "an instant before the cut"
	}
	return t.Format("15:04:05.000")
}

// quantile of a sorted slice.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// must fails the test with the invariants that broke.
func must(t *testing.T, e evidence, b bounds) {
	t.Helper()
	told := map[string]int{}
	found := check(e, b)
	slices.SortStableFunc(found, func(x, y breach) int { return cmp.Compare(x.invariant, y.invariant) })
	for _, x := range found {
		if told[x.invariant]++; told[x.invariant] <= reported {
			t.Errorf("%s", x)
		}
	}
	for invariant, n := range told {
		if n > reported {
			t.Errorf("invariant %s broke %d times in all", invariant, n)
		}
	}
	if len(found) > 0 {
		t.FailNow()
	}
}

// summary says in one line what was checked.
func (e evidence) summary() string {
	c := checker{evidence: e, first: map[string]receipt{}, pages: map[string]pageRow{}}
	for _, p := range e.dump.pages {
		c.pages[p.Key()] = p
	}
	times := map[string]int{}
	total, more := 0, 0
	for _, r := range e.receipts {
		if !r.accepted {
			continue
		}
		total++
		if times[r.key]++; times[r.key] > 1 {
			more++
			continue
		}
		c.first[r.key] = r
	}
	late := c.late()
	if len(late) == 0 {
		late = []time.Duration{0}
	}
	return fmt.Sprintf("%d alerts and %d acknowledgements answered 2xx; %d incidents, %d pages; %d requests, %d deliveries, %d of them duplicates; lateness p50 %s p99 %s max %s",
		len(e.accepted), len(e.acks), len(e.dump.incidents), len(e.dump.pages), len(e.receipts), total, more,
		quantile(late, .5).Round(time.Millisecond), quantile(late, .99).Round(time.Millisecond), late[len(late)-1].Round(time.Millisecond))
}
