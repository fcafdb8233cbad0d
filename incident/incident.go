// Package incident is the life of an incident: what each happening does to its
// state, what is recorded, which timers run, and whether anybody is paged.
//
// # States
//
//	open ──ack──▶ acknowledged ──resolve──▶ resolved ──reopen window──▶ closed
//	  ▲              │  ack expires             │
//	  └──────────────┴──────── fires again ─────┘
//
// An incident opens with its first alert. Later alerts of its group join it. It
// resolves when the last alert ends or when a person says so; alerts that still
// fire are then held quiet until they clear or the quiet time ends. Firing again
// within the reopen window reopens it; after that window it closes, and the next
// alert opens a new incident that names the old one.
//
// # Paging
//
// Each generation of an incident walks its escalation path once, from step 0. A
// new generation begins only when somebody has to be told something new: the
// severity rose, it fired again, the acknowledgement expired. The reason is on
// every page of the generation.
//
// An acknowledgement is a promise with a deadline. Anything its owner or another
// person records on the incident renews it; when it expires, the path starts
// again at step 0, and whoever acknowledged is paged with it.
//
// # Shape
//
// Every method of [Life] is pure: it takes an incident and an instant and
// returns an [Effect], which the caller stores in one transaction.
package incident

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"watchbill"
)

// Life applies the timing of a configuration to incidents. It is immutable.
type Life struct {
	cfg Config
}

// New returns the life of incidents under a configuration; zero fields take
// their defaults.
func New(cfg Config) *Life {
	deadlines := map[watchbill.Severity]time.Duration{
		watchbill.Sev1: 15 * time.Minute, watchbill.Sev2: 30 * time.Minute,
		watchbill.Sev3: 2 * time.Hour, watchbill.Sev4: 24 * time.Hour,
	}
	maps.Copy(deadlines, cfg.AckDeadlines)
	cfg.AckDeadlines = deadlines
	if cfg.ReopenWindow == 0 {
		cfg.ReopenWindow = 30 * time.Minute
	}
	if cfg.Quiet == 0 {
		cfg.Quiet = time.Hour
	}
	cfg.Proof = cfg.Proof.WithDefaults()
	return &Life{cfg: cfg}
}

// Effect is what a happening does to an incident. The caller stores all of it
// in one transaction.
type Effect struct {
	Incident watchbill.Incident
	Events   []watchbill.Event // not yet numbered and chained
	Page     bool              // walk the path from step 0 for the new generation
	Stop     bool              // take its pages and steps back: nobody needs them now
	Later    *watchbill.Timer  // the step with which the path goes on instead, set after Stop
	Set      []watchbill.Timer
	Cancel   []watchbill.TimerKind
	Calls    []Call // pages beside the path
	blocked  string // why a step of the plan goes no further
}

// Opening is what a new incident starts with.
type Opening struct {
	Key         string
	Alert       watchbill.Alert
	Service     string
	Environment string
	Activity    watchbill.ActivityID
	Severity    watchbill.Severity
	Runbook     string
	Path        watchbill.Path
	Previous    watchbill.IncidentID // the closed incident of the same key
	Why         string               // activity and severity, with their reasons
}

// Actor is who did something, and by which means.
type Actor struct {
	Person watchbill.PersonID
	Via    string // "api", "cli", "console"
}

func self(now time.Time, kind watchbill.EventKind, format string, args ...any) watchbill.Event {
	return watchbill.Event{At: now, Kind: kind, Actor: watchbill.ActorSelf, Text: fmt.Sprintf(format, args...)}
}

func by(now time.Time, a Actor, kind watchbill.EventKind, text string) watchbill.Event {
	return watchbill.Event{At: now, Kind: kind, Actor: string(a.Person), Via: a.Via, Text: text}
}

// Title returns what is broken in at most 100 characters: the alert's summary,
// else its description, else its name.
func Title(a watchbill.Alert) string {
	title := a.Name()
	for _, name := range []string{"description", "summary"} {
		if s := strings.TrimSpace(a.Annotations[name]); s != "" {
			title = s
		}
	}
	title = strings.Join(strings.Fields(title), " ")
	if len(title) <= 100 { // bytes, of which no string has fewer than characters
		return title
	}
	if r := []rune(title); len(r) > 100 {
		title = string(r[:99]) + "…"
	}
	return title
}

// Open returns a new incident. Its id is given when it is stored.
func (l *Life) Open(now time.Time, o Opening) Effect {
	inc := watchbill.Incident{
		Key: o.Key, Generation: 1, State: watchbill.StateOpen, Severity: o.Severity,
		Service: o.Service, Environment: o.Environment, Activity: o.Activity,
		Title: Title(o.Alert), Labels: o.Alert.Labels, Annotations: o.Alert.Annotations,
		Runbook: o.Runbook, Path: o.Path, PageReason: "first page", PathBegan: now,
		OpenedAt: now, Previous: o.Previous,
	}
	text := fmt.Sprintf("opened as %s by %s %s; %s", o.Severity, o.Alert.Name(), o.Alert.Labels, o.Why)
	if o.Previous != 0 {
		text += fmt.Sprintf("; the last one was %s", o.Previous)
	}
	return Effect{Incident: inc, Events: []watchbill.Event{self(now, watchbill.EventOpened, "%s", text)}, Page: true}
}

// restart begins a new generation: the path is walked anew.
func restart(now time.Time, e *Effect, reason string) {
	inc := &e.Incident
	inc.Generation++
	inc.State = watchbill.StateOpen
	inc.PageReason, inc.PathBegan, inc.HeldBy, inc.Escalated = reason, now, "", ""
	inc.AckDeadline, inc.Acks, inc.Proof = time.Time{}, nil, nil
	inc.ResolvedAt, inc.ResolvedBy, inc.QuietUntil = time.Time{}, "", time.Time{}
	e.Stop, e.Page = true, true
	e.Cancel = append(e.Cancel, watchbill.TimerAck, watchbill.TimerClose, watchbill.TimerQuiet)
}

// Join adds an alert of the incident's group that began to fire.
func (l *Life) Join(now time.Time, inc watchbill.Incident, a watchbill.Alert, sev watchbill.Severity) Effect {
	e := Effect{Incident: inc, Events: []watchbill.Event{
		self(now, watchbill.EventAlertJoined, "%s joined as %s: %s", differing(a, inc), sev, Title(a)),
	}}
	rose := sev.HigherThan(inc.Severity)
	if rose {
		e.Events = append(e.Events, self(now, watchbill.EventSeverity, "severity rose from %s to %s", inc.Severity, sev))
		e.Incident.Severity = sev
		e.Incident.Title, e.Incident.Labels, e.Incident.Annotations = Title(a), a.Labels, a.Annotations
	}
	switch {
	case inc.State == watchbill.StateResolved && now.Before(inc.QuietUntil) && !rose:
		// A person resolved it and asked for quiet: the alert waits with the others.
		e.Cancel = append(e.Cancel, watchbill.TimerClose)
	case inc.State == watchbill.StateResolved:
		reason := fmt.Sprintf("reopened: firing again %s after it was resolved", now.Sub(inc.ResolvedAt).Round(time.Second))
		e.Events = append(e.Events, self(now, watchbill.EventReopened, "%s", reason))
		restart(now, &e, reason)
	case rose:
		restart(now, &e, fmt.Sprintf("re-paged: severity rose from %s to %s", inc.Severity, sev))
		l.forget(&e)
	}
	return e
}

// differing names an alert by what sets it apart from the one that the incident
// shows.
func differing(a watchbill.Alert, inc watchbill.Incident) string {
	own := a.Labels.Text(func(name, value string) bool { return name != "alertname" && inc.Labels[name] != value })
	if own == "{}" {
		return a.Name()
	}
	return a.Name() + " " + own
}

// AlertEnded records that an alert of the incident ended, with the number that
// still fire and the highest severity among them. The last one resolves the
// incident; before that its severity falls to what still fires, so that nobody
// is woken for the ticket that is left of a page.
func (l *Life) AlertEnded(now time.Time, inc watchbill.Incident, a watchbill.Alert, firing int, rest watchbill.Severity) Effect {
	e := Effect{Incident: inc, Events: []watchbill.Event{
		self(now, watchbill.EventAlertEnded, "%s ended; %d still firing", differing(a, inc), firing),
	}}
	if firing > 0 {
		if inc.State.Live() && inc.Severity.HigherThan(rest) && inc.SeverityBy == "" {
			l.fall(now, &e, rest)
		}
		return e
	}
	if inc.State.Live() {
		e.Incident.State, e.Incident.ResolvedAt, e.Incident.HeldBy = watchbill.StateResolved, now, ""
		e.Incident.Offered, e.Incident.Awaited, e.Incident.Escalated = "", nil, ""
		e.Events = append(e.Events, self(now, watchbill.EventResolved,
			"resolved: all alerts ended, %s after it opened", now.Sub(inc.OpenedAt).Round(time.Second)))
		e.Stop = true
	}
	if e.Incident.State == watchbill.StateResolved {
		e.Incident.QuietUntil = time.Time{}
		e.Cancel = append(e.Cancel, watchbill.TimerAck, watchbill.TimerQuiet)
		l.forget(&e)
		e.Set = append(e.Set, watchbill.Timer{Kind: watchbill.TimerClose, Generation: inc.Generation, Due: now.Add(l.cfg.ReopenWindow)})
	}
	return e
}

// fall lowers the severity. An acknowledgement gets the deadline of the new one.
func (l *Life) fall(now time.Time, e *Effect, to watchbill.Severity) {
	e.Events = append(e.Events, self(now, watchbill.EventSeverity, "severity fell from %s to %s: that is what still fires", e.Incident.Severity, to))
	e.Incident.Severity = to
	if e.Incident.State == watchbill.StateAcknowledged {
		l.promise(now, e, e.Incident.AcknowledgedBy)
	}
}

// Acknowledge records that a person takes the incident, until a deadline. paged
// says whether they had been paged for it; note is their own words, if any.
func (l *Life) Acknowledge(now time.Time, inc watchbill.Incident, who Actor, paged bool, note string) (Effect, error) {
	if !inc.State.Live() {
		return Effect{}, watchbill.Errorf(watchbill.CodeConflict, "show it with: watchbill incident show "+inc.ID.String(),
			"%s is %s: there is nothing to acknowledge", inc.ID, inc.State)
	}
	if wanted := inc.Path.Acks; wanted > 1 && inc.State == watchbill.StateOpen {
		e, all := l.oneOfMany(now, inc, who, note)
		if !all {
			return e, nil
		}
		inc = e.Incident
	}
	e := Effect{Incident: inc, Stop: true}
	text, owner := "acknowledged", who.Person
	switch {
	case inc.State == watchbill.StateAcknowledged && inc.AcknowledgedBy == who.Person:
		text = "acknowledged again"
	case inc.State == watchbill.StateAcknowledged:
		text = fmt.Sprintf("took over from %s", inc.AcknowledgedBy)
		inc.Acks, e.Incident.Acks = nil, nil
	case !paged:
		text += " without having been paged"
	}
	if n := len(inc.Acks); n > 1 { // whoever was first has it
		owner, text = inc.Acks[0], fmt.Sprintf("%s, the last of %d; %s has it", text, n, inc.Acks[0])
	}
	l.promise(now, &e, owner)
	text += " until " + e.Incident.AckDeadline.UTC().Format("15:04 UTC")
	if note != "" {
		text += ": " + note
	}
	e.Incident.State, e.Incident.HeldBy, e.Incident.Escalated = watchbill.StateAcknowledged, "", ""
	if answers(&e.Incident, who.Person); e.Incident.Offered == who.Person {
		e.Incident.Offered = ""
	}
	e.Events = append(e.Events, by(now, who, watchbill.EventAcknowledged, text))
	switch {
	case inc.Drill != nil:
		drilled(now, &e, who)
	case inc.State == watchbill.StateOpen:
		l.remind(now, &e)
	}
	return e, nil
}

// oneOfMany records one acknowledgement of an incident whose path wants several.
// It reports whether this one is the last that was wanted; before that the path
// goes on, and pages who has acknowledged no more.
func (l *Life) oneOfMany(now time.Time, inc watchbill.Incident, who Actor, note string) (Effect, bool) {
	e := Effect{Incident: inc}
	if slices.Contains(inc.Acks, who.Person) { // again: it counts once
		return e, false
	}
	e.Incident.Acks = append(slices.Clone(inc.Acks), who.Person)
	if len(e.Incident.Acks) >= inc.Path.Acks {
		return e, true
	}
	text := fmt.Sprintf("acknowledged, %d of the %d people that the path wants; it goes on", len(e.Incident.Acks), inc.Path.Acks)
	if note != "" {
		text += ": " + note
	}
	e.Events = append(e.Events, by(now, who, watchbill.EventAcknowledged, text))
	return e, false
}

// promise sets who holds the acknowledgement and when it expires.
func (l *Life) promise(now time.Time, e *Effect, who watchbill.PersonID) {
	inc := &e.Incident
	inc.AcknowledgedBy, inc.AcknowledgedAt = who, now
	inc.AckDeadline = now.Add(l.cfg.AckDeadlines[inc.Severity])
	e.Set = append(e.Set, watchbill.Timer{Kind: watchbill.TimerAck, Generation: inc.Generation, Due: inc.AckDeadline})
}

// AckExpired ends an acknowledgement whose deadline passed without anything
// being recorded.
func (l *Life) AckExpired(now time.Time, inc watchbill.Incident) Effect {
	e := Effect{Incident: inc}
	reason := fmt.Sprintf("re-paged: the acknowledgement by %s expired", inc.AcknowledgedBy)
	e.Events = append(e.Events, self(now, watchbill.EventAckExpired,
		"the acknowledgement by %s expired: nothing was recorded since %s", inc.AcknowledgedBy, inc.AcknowledgedAt.UTC().Format("15:04 UTC")))
	restart(now, &e, reason)
	l.forget(&e)
	return e
}

// Note records a person's words. On an acknowledged incident it renews the
// deadline of the acknowledgement.
func (l *Life) Note(now time.Time, inc watchbill.Incident, who Actor, text string) (Effect, error) {
	if strings.TrimSpace(text) == "" {
		return Effect{}, watchbill.Invalidf("write what you saw or did", "text: is empty")
	}
	e := Effect{Incident: inc, Events: []watchbill.Event{by(now, who, watchbill.EventNote, text)}}
	answers(&e.Incident, who.Person)
	if inc.State == watchbill.StateAcknowledged {
		l.promise(now, &e, inc.AcknowledgedBy)
	}
	return e, nil
}

// Resolve records that a person holds the incident for resolved, with the
// number of alerts that still fire. Those are held quiet until quiet, or, when
// it is zero, for the configured time.
func (l *Life) Resolve(now time.Time, inc watchbill.Incident, r Resolution) (Effect, error) {
	if !inc.State.Live() {
		return Effect{}, watchbill.Errorf(watchbill.CodeConflict, "show it with: watchbill incident show "+inc.ID.String(),
			"%s is %s already", inc.ID, inc.State)
	}
	if strings.TrimSpace(r.Reason) == "" {
		return Effect{}, watchbill.Invalidf("say how you know that it is over", "reason: is empty")
	}
	e := Effect{Incident: inc, Stop: true, Cancel: []watchbill.TimerKind{watchbill.TimerAck}}
	e.Incident.State, e.Incident.ResolvedAt, e.Incident.ResolvedBy = watchbill.StateResolved, now, r.By.Person
	e.Incident.HeldBy = ""
	e.Incident.Offered, e.Incident.Awaited, e.Incident.Escalated = "", nil, ""
	text := "resolved: " + r.Reason
	if r.Proof.Cause != "" || r.Proof.Verdict != "" {
		e.Incident.Proof = merge(nil, r.Proof, r.By.Person, now)
		text += "; " + said(*e.Incident.Proof)
	}
	if r.Firing > 0 {
		until := r.Quiet
		if until.IsZero() {
			until = now.Add(l.cfg.Quiet)
		}
		if !until.After(now) {
			return Effect{}, watchbill.Invalidf("name a time in the future, or none", "quiet_until: %s has passed", until.Format(time.RFC3339))
		}
		e.Incident.QuietUntil = until
		e.Set = append(e.Set, watchbill.Timer{Kind: watchbill.TimerQuiet, Generation: inc.Generation, Due: until})
		text += fmt.Sprintf("; %d still firing, held quiet until %s", r.Firing, until.UTC().Format("2006-01-02 15:04 UTC"))
	} else {
		e.Set = append(e.Set, watchbill.Timer{Kind: watchbill.TimerClose, Generation: inc.Generation, Due: now.Add(l.cfg.ReopenWindow)})
	}
	l.forget(&e)
	e.Events = append(e.Events, by(now, r.By, watchbill.EventResolved, text))
	return e, nil
}

// Resolution is a person's word that an incident is over.
type Resolution struct {
	By     Actor
	Reason string
	Firing int       // alerts that still fire
	Quiet  time.Time // until when they are held quiet
	Proof  watchbill.Proof
}

// QuietEnded reopens an incident that a person resolved while its alerts fired,
// when they still do at the end of the quiet time.
func (l *Life) QuietEnded(now time.Time, inc watchbill.Incident, firing int) Effect {
	e := Effect{Incident: inc}
	reason := fmt.Sprintf("reopened: %d alerts still fire at the end of the quiet time that %s asked for", firing, inc.ResolvedBy)
	e.Events = append(e.Events, self(now, watchbill.EventReopened, "%s", reason))
	restart(now, &e, reason)
	return e
}

// Close ends an incident whose reopen window has passed.
func (l *Life) Close(now time.Time, inc watchbill.Incident) Effect {
	e := Effect{Incident: inc}
	e.Events = append(e.Events, self(now, watchbill.EventClosed, "closed: it stayed quiet for %s", now.Sub(inc.ResolvedAt).Round(time.Second)))
	l.shut(now, &e)
	return e
}
