package scenario

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"watchbill"
	"watchbill/internal/daemon"
)

// timeline is everything that was done, decided and sent, in order.
func (p *player) timeline(ctx context.Context) ([]Entry, error) {
	rec, err := p.stage.daemon.Record(ctx)
	if err != nil {
		return nil, fmt.Errorf("read what happened: %w", err)
	}
	all := slices.Clone(p.acts)
	for i, d := range rec.Muted {
		phase := p.phaseOf(func(m daemon.Mark) bool { return i < m.Muted })
		all = append(all, Entry{At: d.At, Kind: KindMute, Text: mutedText(d), Alert: d.Alert, of: d.Alert, phase: phase})
	}
	groups := map[watchbill.IncidentID]string{}
	for _, inc := range rec.Incidents {
		groups[inc.ID] = inc.Key
		for _, e := range inc.Events {
			if text := eventText(inc, e); text != "" {
				phase := p.phaseOf(func(m daemon.Mark) bool { return e.Seq <= m.Events[inc.ID] })
				d, _ := inc.Decision(e)
				all = append(all, Entry{At: e.At, Kind: KindIncident, Text: text, Alert: d.Alert, Incident: inc.ID, order: int(e.Seq), phase: phase})
			}
		}
	}
	p.mu.Lock()
	all = append(all, p.pages...)
	p.mu.Unlock()
	for i := range all {
		all[i].At, all[i].Group = all[i].At.UTC(), groups[all[i].Incident]
	}
	slices.SortStableFunc(all, func(a, b Entry) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.phase, b.phase), cmp.Compare(rank(a.Kind), rank(b.Kind)), cmp.Compare(a.of, b.of), cmp.Compare(a.Incident, b.Incident),
			cmp.Compare(a.order, b.order), cmp.Compare(a.Person, b.Person), cmp.Compare(a.Method, b.Method), cmp.Compare(a.Key, b.Key))
	})
	return append(all, p.ending(rec)...), nil
}

// phaseOf returns how many steps had begun when something happened, by the first
// mark that knows of it. A closed incident is not in a mark, so the answer may be
// too late for its events; they are then told from others by their time.
func (p *player) phaseOf(known func(daemon.Mark) bool) int {
	for i, m := range p.marks {
		if known(m) {
			return i
		}
	}
	return len(p.marks)
}

func rank(k Kind) int {
	return slices.Index([]Kind{KindAct, KindMute, KindIncident, KindPage, KindEnd}, k)
}

// ending says how everything stands at the end.
func (p *player) ending(rec daemon.Record) []Entry {
	var all []Entry
	add := func(text string) { all = append(all, Entry{At: p.script.End, Kind: KindEnd, Text: "= " + text}) }
	for _, inc := range rec.Incidents {
		text := fmt.Sprintf("%s is %s", inc.ID, inc.State)
		if inc.State == watchbill.StateAcknowledged {
			text += " by " + string(inc.AcknowledgedBy)
		}
		add(text + ", " + inc.Severity.String())
	}
	if len(rec.Incidents) == 0 {
		add("there was no incident")
	}
	for _, doubt := range rec.Doubts {
		add("the auditor found: " + doubt)
	}
	return all
}

func mutedText(d watchbill.Decision) string {
	if d.Ruling == watchbill.RulingEnded {
		return d.Labels["alertname"] + " ended without an incident"
	}
	why := make([]string, len(d.Mutes))
	for i, m := range d.Mutes {
		why[i] = m.Why
	}
	return fmt.Sprintf("%s is muted: %s", d.Labels["alertname"], strings.Join(why, "; "))
}

// eventText is an event as a timeline tells it; empty for what the pages tell.
// Places in the configuration are left out, so that a line that is added at its
// top changes no timeline.
func eventText(inc daemon.RecordedIncident, e watchbill.Event) string {
	switch e.Kind {
	case watchbill.EventStepFired, watchbill.EventPageSent, watchbill.EventPageFailed, watchbill.EventPageDropped:
		return ""
	case watchbill.EventOpened:
		d, _ := inc.Decision(e)
		text := fmt.Sprintf("%s opened as %s: service %s, environment %s, %s for %s",
			inc.ID, d.Severity, cmp.Or(d.Service, "(none)"), d.Environment, d.Activity, watchbill.JoinRoles(d.Roles, "the manager, as no role is marked"))
		if inc.Previous != 0 {
			text += fmt.Sprintf("; the last one was %s", inc.Previous)
		}
		return text
	case watchbill.EventAlertJoined:
		d, _ := inc.Decision(e)
		texts := []string{fmt.Sprintf("%s %s", inc.ID, e.Text)}
		for _, m := range d.Mutes {
			texts = append(texts, m.Why)
		}
		return strings.Join(texts, "; ")
	case watchbill.EventAcknowledged, watchbill.EventNote, watchbill.EventResolved, watchbill.EventEscalated, watchbill.EventHandedOver,
		watchbill.EventRerouted, watchbill.EventSnoozed, watchbill.EventCalled,
		watchbill.EventStatus, watchbill.EventPlanned, watchbill.EventReminded, watchbill.EventPlan,
		watchbill.EventAction, watchbill.EventAssigned:
		if e.Actor != watchbill.ActorSelf {
			return fmt.Sprintf("%s %s: %s", inc.ID, e.Actor, e.Text)
		}
	case watchbill.EventAlertEnded, watchbill.EventSeverity, watchbill.EventAckExpired, watchbill.EventReopened, watchbill.EventClosed, watchbill.EventQueued, watchbill.EventChange,
		watchbill.EventPageDelivered, watchbill.EventPageOpened, watchbill.EventCodeLocked:
	}
	return fmt.Sprintf("%s %s", inc.ID, e.Text)
}
