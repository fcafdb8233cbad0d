package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"watchbill"
	"watchbill/internal/notify"
)

// servicesSection reads the services and checks what they depend on.
func (b *builder) servicesSection() {
	seen := map[string]*yaml.Node{}
	for _, e := range b.file.Services {
		if !b.name(e.Name, e.Node, "service", seen) {
			continue
		}
		b.services = append(b.services, e.Name.v)
		b.knownRole(e.Owner)
		if e.Tier.given() && e.Tier.v < 0 {
			b.problem(e.Tier.n, "write 1 for the most important services, 2 for the next", "a tier cannot be negative")
		}
		b.cfg.Services = append(b.cfg.Services, watchbill.Service{
			Name: e.Name.v, Tier: e.Tier.v, Owner: watchbill.RoleID(e.Owner.v),
			DependsOn: values(e.DependsOn), Environments: values(e.Environments),
		})
	}
	for _, e := range b.file.Services {
		for _, d := range e.DependsOn {
			b.known(d, "service", b.services)
		}
	}
	b.cycles()
}

// cycles finds services that depend on themselves, each cycle once.
func (b *builder) cycles() {
	next := map[string][]text{}
	for _, e := range b.file.Services {
		next[e.Name.v] = append(next[e.Name.v], e.DependsOn...)
	}
	done := map[string]bool{}
	var walk func(name string, path []string)
	walk = func(name string, path []string) {
		path = append(path, name)
		for _, d := range next[name] {
			if i := slices.Index(path, d.v); i >= 0 {
				b.problem(d.n, "remove one of these dependencies", "services depend on each other in a circle: %s",
					strings.Join(append(slices.Clone(path[i:]), d.v), " → "))
				continue
			}
			if !done[d.v] {
				walk(d.v, path)
			}
		}
		done[name] = true
	}
	for _, e := range b.file.Services {
		if e.Name.given() && !done[e.Name.v] {
			walk(e.Name.v, nil)
		}
	}
}

// values returns the texts that were written.
func values(texts []text) []string {
	var out []string
	for _, t := range texts {
		if t.given() {
			out = append(out, t.v)
		}
	}
	return out
}

// peopleSection reads the people, and checks that every role has somebody.
func (b *builder) peopleSection() {
	seen := map[string]*yaml.Node{}
	for _, e := range b.file.People {
		if b.name(e.Name, e.Node, "person", seen) {
			b.people = append(b.people, e.Name.v)
		}
	}
	for _, e := range b.file.People {
		if e.Name.given() {
			b.person(e)
		}
	}
	b.sameAs()
	if b.untrusted || b.guessing {
		return
	}
	at := keyNode(b.root, "people")
	if at == nil {
		at = b.root
	}
	m := b.cfg.Matrix
	for _, r := range m.Roles {
		if slices.ContainsFunc(b.cfg.People, func(p watchbill.Person) bool { return p.Holds(r.ID) }) {
			continue
		}
		if r.ID == m.Manager {
			b.problem(at, fmt.Sprintf("add roles: [%s] to somebody", r.ID), "nobody holds the role %s: nobody would be paged at the end of an escalation", r.ID)
			continue
		}
		b.warn(at, fmt.Sprintf("add roles: [%s] to somebody; until then its pages go to the manager", r.ID), "nobody holds the role %s", r.ID)
	}
}

// person reads one person.
func (b *builder) person(e personEntry) {
	p := watchbill.Person{
		ID: watchbill.PersonID(e.Name.v), Name: e.FullName.or(e.Name.v), Location: e.Location.v,
		TZ: e.TZ.v, Email: e.Email.v, Deputy: watchbill.PersonID(e.Deputy.v), Developer: e.Developer.v,
	}
	if p.ID == watchbill.ActorSelf {
		b.problem(e.Name.n, "choose another name", "%q is the daemon's own name in timelines", e.Name.v)
	}
	b.zone(e.TZ)
	if e.Email.given() && !strings.Contains(e.Email.v, "@") {
		b.problem(e.Email.n, "write name@example.com", "%q is not an e-mail address", e.Email.v)
	}
	if e.Deputy.given() && b.known(e.Deputy, "person", b.people) && e.Deputy.v == e.Name.v {
		b.problem(e.Deputy.n, "name somebody else, or remove the key", "%s cannot be their own deputy", e.Name.v)
	}
	for _, r := range e.Roles {
		if !b.knownRole(r) {
			b.guessing = true
		} else if id := watchbill.RoleID(r.v); !p.Holds(id) {
			p.Roles = append(p.Roles, id)
		}
	}
	for _, level := range e.Level {
		if !level.Value.given() {
			continue
		}
		if level.Value.v < 2 || level.Value.v > 6 {
			b.problem(level.Value.n, "use 2 (assists) to 6 (sets policy)", "a level is between 2 and 6, not %d", level.Value.v)
			continue
		}
		if p.Level == nil {
			p.Level = map[string]int{}
		}
		p.Level[level.Key.v] = level.Value.v
	}
	p.SameAs, p.Grants = watchbill.PersonID(e.SameAs.v), b.grants(e)
	p.Phone, p.Quiet = b.phone(e.Phone), b.quietHours(e.Quiet)
	p.Contact = b.contacts(e)
	p.Leave = b.leave(e)
	b.cfg.People = append(b.cfg.People, p)
}

// contacts reads how a person is reached. Somebody without contacts gets the
// built-in e-mail if that is possible, else the terminal, so that a page always
// has somewhere to go.
func (b *builder) contacts(e personEntry) []watchbill.Contact {
	var out []watchbill.Contact
	for _, c := range e.Contact {
		if !c.Receiver.given() {
			if keyNode(c.Node, "receiver") == nil && c.Node.Kind == yaml.MappingNode {
				b.problem(c.Node, "add receiver: NAME", "a contact without a receiver")
			}
			continue
		}
		builtin := c.Receiver.v == notify.EmailReceiver && !slices.Contains(b.ownReceivers, notify.EmailReceiver)
		switch {
		case builtin && !b.smtp:
			b.problem(c.Receiver.n, "set global: {smtp_smarthost: host:port, smtp_from: …}", "the built-in receiver email needs a mail server")
		case builtin && !b.smtpFrom:
			b.problem(c.Receiver.n, "set global: {smtp_from: …}", "the built-in receiver email needs an address to send from")
		case builtin && !e.Email.given():
			b.problem(c.Receiver.n, "add email: NAME@example.com to "+e.Name.v, "%s has no e-mail address for the receiver email", e.Name.v)
		case slices.Contains(b.texting, c.Receiver.v) && !e.Phone.given():
			b.problem(c.Receiver.n, "add phone: +34600111222 to "+e.Name.v, "%s has no phone for the receiver %s", e.Name.v, c.Receiver.v)
		case !b.anyReceiver && !b.known(c.Receiver, "receiver", b.receivers):
			continue
		}
		out = append(out, watchbill.Contact{Receiver: c.Receiver.v, After: c.After.v, Severities: b.contactSeverities(c)})
	}
	b.everySeverity(e, out)
	if len(out) > 0 || len(e.Contact) > 0 {
		return out
	}
	if e.Email.given() && (b.smtp && b.smtpFrom || slices.Contains(b.ownReceivers, notify.EmailReceiver)) {
		return []watchbill.Contact{{Receiver: notify.EmailReceiver}}
	}
	b.warn(e.Name.n, "add contact: [{receiver: NAME}]; until then pages for them are printed where the daemon runs",
		"%s cannot be reached", e.Name.v)
	return []watchbill.Contact{{Receiver: notify.TerminalReceiver}}
}

// zone returns a time zone, UTC if none is named.
func (b *builder) zone(t text) *time.Location {
	if !t.given() {
		return time.UTC
	}
	loc, err := time.LoadLocation(t.v)
	if err != nil || t.v == "Local" || t.v == "" {
		advice := "write a name such as Europe/Madrid or UTC"
		if near := nearest(t.v, zoneNames()); near != "" {
			advice = "did you mean \"" + near + "\"?"
		}
		b.problem(t.n, advice, "there is no time zone %q", t.v)
		return time.UTC
	}
	return loc
}
