package probe

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	bbconfig "github.com/prometheus/blackbox_exporter/config"
)

// Allow is one line of what may be probed: a network, or a host with or without
// a port.
type Allow struct {
	text string
	net  netip.Prefix // valid: a network, of any port
	host string       // "*.example.com", "db1", "10.0.0.7" or "/run/app.sock"
	port string       // "": any
}

// String returns the line as it was written.
func (a Allow) String() string { return a.text }

// ParseAllow reads a line: "10.0.0.0/8", "2001:db8::7", "db1.example.com",
// "*.example.com:443", "127.0.0.1:9115", "[::1]:25" or "/run/app.sock". A star
// stands for any beginning of a name, dots included.
func ParseAllow(text string) (Allow, error) {
	a := Allow{text: text}
	if strings.HasPrefix(text, "/") {
		a.host = text
		return a, nil
	}
	if p, err := netip.ParsePrefix(text); err == nil {
		a.net = p.Masked()
		return a, nil
	}
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		a.net = netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen())
		return a, nil
	}
	a.host = strings.ToLower(text)
	if host, port, err := net.SplitHostPort(text); err == nil {
		a.host, a.port = strings.ToLower(host), port
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return a, fmt.Errorf("%q is not a port", port)
		}
	}
	if strings.ContainsAny(a.host, "/@ \t") || a.host == "" {
		return a, errors.New("it is neither a network, nor a host, nor host:port")
	}
	if stars := strings.Count(a.host, "*"); stars > 1 || stars == 1 && a.host[0] != '*' {
		return a, errors.New("a star may only stand at the beginning")
	}
	return a, nil
}

// names reports whether the line is about a host, by its name.
func (a Allow) names(host, port string) bool {
	if a.net.IsValid() || a.port != "" && a.port != port {
		return false
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if end, ok := strings.CutPrefix(a.host, "*"); ok {
		return strings.HasSuffix(host, end)
	}
	return host == a.host
}

// pass is what one probe may reach.
type pass struct {
	host, port string
	named      bool         // its host is allowed by name
	spelled    []netip.Addr // addresses that whoever allowed it wrote out
	allow      []Allow
	targets    []Target
	modules    map[string]bbconfig.Module
}

var errNotAllowed = errors.New("this target may not be probed")

// admit says whether a target may be probed, and what the probe may reach.
func (c Config) admit(prober, target string, own bool) (pass, error) {
	host, port, err := endpoint(prober, target, false)
	if err != nil {
		return pass{}, err
	}
	p := pass{host: host, port: port, allow: c.Allow, targets: c.Targets, modules: c.Modules, named: own}
	spelled := own
	for _, t := range c.Targets {
		if t.Target == target {
			p.named, spelled = true, true
		}
	}
	networks := false
	for _, a := range c.Allow {
		networks = networks || a.net.IsValid()
		if a.names(host, port) {
			p.named = true
			spelled = spelled || !strings.HasPrefix(a.host, "*")
		}
	}
	if spelled {
		p.spelled = literal(host)
	}
	if prober == "unix" && !p.named || !p.named && !networks {
		return pass{}, errNotAllowed
	}
	return p, nil
}

// endpoint returns the host and the port that a prober would reach for a target.
func endpoint(prober, target string, tls bool) (host, port string, err error) {
	switch prober {
	case "unix":
		return target, "", nil
	case "icmp":
		return target, "", nil
	case "tcp":
		return net.SplitHostPort(target)
	case "dns":
		if host, port, err = net.SplitHostPort(target); err == nil {
			return host, port, nil
		}
		if tls {
			return target, "853", nil
		}
		return target, "53", nil
	}
	if !strings.HasPrefix(target, "http://") && !strings.HasPrefix(target, "https://") {
		target = "http://" + target
	}
	u, err := url.Parse(target)
	if err != nil {
		return "", "", fmt.Errorf("the target is no address: %w", err)
	}
	if port = u.Port(); port == "" {
		port = "80"
		if u.Scheme == "https" || tls {
			port = "443"
		}
	}
	return u.Hostname(), port, nil
}

// literal returns the addresses that a host name spells out.
func literal(host string) []netip.Addr {
	if strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr.Unmap()}
	}
	return nil
}

// check says whether the probe may connect to an address that a host name led
// to. The probe's own host is "".
func (p pass) check(host, port string, addr netip.Addr) error {
	addr = addr.Unmap().WithZone("")
	for _, a := range p.allow {
		if a.net.IsValid() && a.net.Contains(addr) {
			return nil
		}
	}
	own := host == "" || strings.EqualFold(host, p.host)
	if own && slices.Contains(p.spelled, addr) {
		return nil
	}
	named := own && p.named || !own && p.allows(host, port)
	if !own && named && slices.Contains(literal(host), addr) {
		return nil
	}
	if why := special(addr); why != "" {
		return fmt.Errorf("%s is %s: allow it by its address if it is meant", addr, why)
	}
	switch {
	case named:
		return nil
	case !p.named:
		return fmt.Errorf("%s is in no network that is allowed", addr)
	case !addr.IsPrivate() && !carrierGrade().Contains(addr):
		return nil // a redirect to somewhere public
	}
	return fmt.Errorf("the redirect to %s leads to the private address %s: allow it if it is meant", host, addr)
}

// allows reports whether a host that is not the target's is allowed by name.
func (p pass) allows(host, port string) bool {
	if slices.ContainsFunc(p.allow, func(a Allow) bool {
		return a.names(host, port) && !strings.HasPrefix(a.host, "*") || a.names(host, port) && literal(host) == nil
	}) {
		return true
	}
	return slices.ContainsFunc(p.targets, func(t Target) bool {
		h, pt, err := endpoint(p.modules[t.Module].Prober, t.Target, false)
		return err == nil && strings.EqualFold(h, host) && pt == port
	})
}

func carrierGrade() netip.Prefix { return netip.MustParsePrefix("100.64.0.0/10") }

// special says what an address is that must not be reached by accident, and ""
// for any other.
func special(addr netip.Addr) string {
	if inner, ok := embedded(addr); ok {
		addr = inner
	}
	for _, m := range []string{
		"169.254.169.254", "169.254.170.2", "169.254.170.23", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", // AWS, GCP, Azure and more
		"100.100.100.200", // Alibaba
		"168.63.129.16",   // Azure
		"192.0.0.192",     // Oracle
	} {
		if addr == netip.MustParseAddr(m) {
			return "where clouds serve metadata"
		}
	}
	switch {
	case addr.IsLoopback(), addr.IsUnspecified(), netip.MustParsePrefix("0.0.0.0/8").Contains(addr):
		return "an address of this machine"
	case addr.IsLinkLocalUnicast():
		return "a link-local address"
	case addr.IsMulticast(), addr == netip.MustParseAddr("255.255.255.255"):
		return "not the address of one machine"
	}
	return ""
}

// embedded returns the IPv4 address inside of an IPv6 address: of NAT64 (RFC
// 6052), 6to4 (RFC 3056), and the deprecated compatible form.
func embedded(addr netip.Addr) (netip.Addr, bool) {
	if !addr.Is6() {
		return addr, false
	}
	b := addr.As16()
	switch {
	case netip.MustParsePrefix("64:ff9b::/96").Contains(addr), netip.MustParsePrefix("64:ff9b:1::/48").Contains(addr),
		netip.MustParsePrefix("::/96").Contains(addr) && !addr.IsLoopback() && !addr.IsUnspecified():
		return netip.AddrFrom4([4]byte(b[12:16])), true
	case netip.MustParsePrefix("2002::/16").Contains(addr):
		return netip.AddrFrom4([4]byte(b[2:6])), true
	}
	return addr, false
}
