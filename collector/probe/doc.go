// Package probe asks services from outside whether they answer: over http, tcp
// with or without TLS, dns, icmp, grpc and unix sockets. The questions are
// blackbox_exporter's own: its module files, its probers and its metrics.
//
// # Two ways in
//
// A target of the configuration is probed by the daemon itself. It becomes a
// scrape job of its own ([ScrapeConfigs]) whose only target is a host inside of
// the process ([Host]), which [Prober.DialContext] reaches through memory: so
// Prometheus' scrape loop does for probes what it does for every target, with
// up, staleness, timeouts and limits. [Rules] are the alerts that come with it.
//
// Everybody else asks with GET /probe?module=&target=[&hostname=][&debug=true],
// as they would ask blackbox_exporter: statuses, texts and metrics are the same,
// so relabelling for a blackbox_exporter works when only its address changes.
// Two answers are additional: 403 when the target is not allowed, and 503 when
// too many probes run already.
//
// # What may be reached
//
// A target is probed if it stands in the configuration, if a name or an address
// with a port in [Config.Allow] matches it, or if every address that it is
// reached by lies in a network of Allow.
//
// Each address is checked when it is dialled, after names were resolved. An
// address is refused, whatever name led to it, when it is one of this machine
// (loopback, unspecified), link-local, multicast, or one at which clouds serve
// metadata; IPv4 addresses inside of IPv6 ones are looked at as what they are.
// Only a network in Allow that holds it, or a target that spells it out
// (http://127.0.0.1:8080, localhost:25), makes an exception.
//
// A redirect may lead to the target's own host, to what is allowed by name, and
// to public addresses. It may not lead to a private address that nobody named.
//
// # How that holds
//
// The probers have no hook for the dialer. tcp, dns, icmp, grpc and HTTP/3 probes
// are handed an address in place of the name: resolved here, checked here, and
// never resolved again, so that a name which answers differently the second time
// gains nothing; the name stays the TLS server name and the Host header. HTTP/1.1
// and HTTP/2 probes follow redirects, so they get a SOCKS proxy on loopback that
// lives as long as the probe and that only the probe has the password of: it
// resolves, checks and dials each connection. The time that this takes is moved
// to the phases of probe_http_duration_seconds where it belongs.
//
// What it does not hold for: a module with proxy_url or proxy_from_environment.
// Its first connection is to an address that was checked (unless
// skip_resolve_phase_with_proxy leaves resolving to the proxy), but where
// redirects lead is for the proxy to decide. An OAuth2 token_url is reached as the
// module says. HTTP/3 probes do not follow redirects at all. A gRPC server whose
// name has only IPv6 addresses is probed on the ports 80 and 443 alone, since the
// prober cannot write any other.
//
// # Privileges
//
// icmp needs CAP_NET_RAW, or a group in net.ipv4.ping_group_range. Where neither
// is there, [Prober.Set] and each probe say so.
package probe
