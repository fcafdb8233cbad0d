package config

import (
	"net"
	"net/mail"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"watchbill"
	"watchbill/intake"
)

// Mail is where mails are taken in.
type Mail struct {
	Listen   string         // empty: nowhere
	Networks []netip.Prefix // who may connect; this machine if there are none
}

type mailSection struct {
	Listen   text   `yaml:"listen"`
	Networks []text `yaml:"networks"`
}

func sourceKinds() []string {
	kinds := []string{kindWrite}
	for _, k := range intake.Kinds() {
		kinds = append(kinds, string(k))
	}
	return kinds
}

// foreign records the keys of a source that its kind does not have.
func (b *builder) foreign(e sourceEntry, keys ...string) {
	for _, key := range keys {
		section, name, nested := strings.Cut(key, ".")
		at := keyNode(e.Node, section)
		if nested {
			at = keyNode(valueNode(e.Node, section), name)
		}
		if at != nil {
			b.problem(at, "remove it", "a source of the kind %s has no %s", e.Kind.v, key)
		}
	}
}

// hook reads a source that pushes alerts or sends mails.
func (b *builder) hook(e sourceEntry) {
	s := intake.Source{
		Name: e.Name.v, Kind: intake.Kind(e.Kind.v), Labels: watchbill.Labels{},
		PerMinute: b.count(e.Limits.Alerts, "alerts"), Expire: b.positive(e.Expire, "expire"),
	}
	if len(e.Labels) > 0 {
		s.Labels = b.sourceLabels(e)
	}
	for _, l := range e.Labels {
		if slices.Contains(watchbill.ReservedLabels(), l.Key.v) {
			b.problem(l.Key.n, "use another name", "only watchbill sets the label %s", l.Key.v)
		}
	}
	if keyNode(e.Node, "label_allow") != nil {
		s.Allow = []string{}
	}
	for _, name := range e.Allow {
		s.Allow = append(s.Allow, name.v)
	}
	b.foreign(e, "limits.series", "limits.samples", "limits.rate", "limits.labels", "limits.label_bytes")
	switch s.Kind {
	case intake.Mail:
		b.foreign(e, "label_allow", "expire")
		b.recipients(e, &s)
	case intake.AlertmanagerAPI:
		b.foreign(e, "expire", "recipients")
	case intake.Generic, intake.Alertmanager, intake.Grafana, intake.PagerDuty, intake.Falco, intake.CloudEvents:
		b.foreign(e, "recipients")
	}
	if slices.ContainsFunc(b.cfg.People, func(p watchbill.Person) bool { return string(p.ID) == s.Name }) {
		b.problem(e.Name.n, "rename the source", "%s is a person: what they push could be taken for the source's", s.Name)
	}
	b.cfg.Hooks = append(b.cfg.Hooks, s)
}

// recipients reads the addresses whose mails a source gets.
func (b *builder) recipients(e sourceEntry, s *intake.Source) {
	if len(e.To) == 0 && keyNode(e.Node, "recipients") == nil {
		b.problem(e.Name.n, "add recipients: [support@example.com]", "the source %s has no address to send mails to", e.Name.v)
	}
	for _, to := range e.To {
		if !to.given() {
			continue
		}
		a, err := mail.ParseAddress(to.v)
		if err != nil || a.Address != to.v {
			b.problem(to.n, "write it as support@example.com", "%q is not an address of mails", to.v)
			continue
		}
		address := strings.ToLower(to.v)
		for _, other := range append(b.cfg.Hooks, *s) {
			if slices.Contains(other.Recipients, address) {
				b.problem(to.n, "remove one of the two", "%s is a recipient of %s already", to.v, other.Name)
			}
		}
		s.Recipients = append(s.Recipients, address)
	}
}

// mail reads where mails are taken in.
func (b *builder) mail() {
	m, c := b.file.Mail, &b.cfg.Mail
	c.Listen = m.Listen.v
	if m.Listen.given() {
		_, port, err := net.SplitHostPort(m.Listen.v)
		if n, perr := strconv.Atoi(port); err != nil || perr != nil || n < 0 || n > 65535 {
			b.problem(m.Listen.n, "write 127.0.0.1:2525", "mail: listen must be host:port, not %q", m.Listen.v)
		}
	}
	for _, n := range m.Networks {
		if !n.given() {
			continue
		}
		p, err := netip.ParsePrefix(n.v)
		if err != nil {
			b.problem(n.n, "write it as 10.1.0.0/16", "%q is not a network", n.v)
			continue
		}
		c.Networks = append(c.Networks, p.Masked())
	}
	has := slices.ContainsFunc(b.cfg.Hooks, func(s intake.Source) bool { return s.Kind == intake.Mail })
	switch at := keyNode(b.root, "mail"); {
	case has && c.Listen == "":
		b.problem(keyNode(b.root, "sources"), "add mail: {listen: 127.0.0.1:2525}", "a source of the kind mail, and nothing takes mails in")
	case !has && c.Listen != "":
		b.warn(at, "add a source of the kind mail with its recipients", "mails are taken in, but no source has a recipient: all are refused")
	}
}
