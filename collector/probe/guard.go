package probe

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// guard is a SOCKS 5 proxy (RFC 1928 with the password of RFC 1929) on loopback
// for one probe: it resolves, checks and dials every connection that the probe's
// HTTP client makes, redirects included.
type guard struct {
	ctx      context.Context // of the probe
	pass     pass
	lookup   lookup
	logger   *slog.Logger
	listener net.Listener
	password string
	running  sync.WaitGroup

	mu      sync.Mutex
	first   netip.Addr // that of the target, which the prober resolved
	times   times
	refused bool
	closed  bool
	conns   []net.Conn
}

// times is what a probe spent where its own measurements do not see it.
type times struct {
	resolve time.Duration // resolving
	within  time.Duration // part of resolve that counts as connecting
	connect time.Duration // connecting, before a TLS handshake
}

// newGuard starts a guard. Its close ends it.
func newGuard(ctx context.Context, p pass, look lookup, logger *slog.Logger) (*guard, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start what guards the probe: %w", err)
	}
	g := &guard{ctx: ctx, pass: p, lookup: look, logger: logger, listener: l, password: rand.Text()}
	g.running.Go(g.serve)
	return g, nil
}

// url is how an HTTP client is told of the guard.
func (g *guard) url() *url.URL {
	return &url.URL{Scheme: "socks5", Host: g.listener.Addr().String(), User: url.UserPassword("probe", g.password)}
}

// close ends the guard and its connections, and returns what was measured.
func (g *guard) close() (times, bool) {
	g.mu.Lock()
	g.closed = true
	conns := g.conns
	g.mu.Unlock()
	_ = g.listener.Close()
	for _, c := range conns {
		_ = c.Close()
	}
	g.running.Wait()
	return g.times, g.refused
}

func (g *guard) serve() {
	for {
		c, err := g.listener.Accept()
		if err != nil {
			return // closed
		}
		if g.keep(c) {
			g.running.Go(func() { g.handle(c) })
		}
	}
}

// keep remembers a connection so that close ends it.
func (g *guard) keep(c net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		_ = c.Close()
		return false
	}
	g.conns = append(g.conns, c)
	return true
}

// Replies of RFC 1928, section 6.
const (
	replyOK         = 0
	replyFailed     = 1
	replyNotAllowed = 2
)

func (g *guard) handle(c net.Conn) {
	defer func() { _ = c.Close() }()
	if deadline, ok := g.ctx.Deadline(); ok {
		_ = c.SetDeadline(deadline) // a connection that is closed already shows at the first read
	}
	host, port, err := g.greet(c)
	if err != nil {
		g.logger.Debug("Somebody who is not the probe reached its guard", "err", err)
		return
	}
	far, took, err := g.dial(host, port)
	reply := byte(replyOK)
	switch {
	case errors.Is(err, errRefused):
		reply = replyNotAllowed
	case err != nil:
		reply = replyFailed
	}
	if err != nil {
		g.logger.Error("Connection was not made", "host", host, "port", port, "err", err)
	}
	if _, werr := c.Write([]byte{5, reply, 0, 1, 0, 0, 0, 0, 0, 0}); werr != nil || err != nil {
		if far != nil {
			_ = far.Close()
		}
		return
	}
	if !g.keep(far) {
		return
	}
	g.relay(c, far, took)
}

// greet reads the greeting, the password and the request.
func (g *guard) greet(c net.Conn) (host, port string, err error) {
	head := make([]byte, 2)
	if _, err := io.ReadFull(c, head); err != nil || head[0] != 5 {
		return "", "", fmt.Errorf("no SOCKS 5: %w", err)
	}
	if _, err := io.CopyN(io.Discard, c, int64(head[1])); err != nil {
		return "", "", err
	}
	if _, err := c.Write([]byte{5, 2}); err != nil {
		return "", "", err
	}
	if _, err := io.ReadFull(c, head); err != nil {
		return "", "", err
	}
	if _, err := io.CopyN(io.Discard, c, int64(head[1])); err != nil { // the user's name
		return "", "", err
	}
	password, err := sized(c)
	if err != nil {
		return "", "", err
	}
	if subtle.ConstantTimeCompare(password, []byte(g.password)) != 1 {
		_, _ = c.Write([]byte{1, 1})
		return "", "", errors.New("wrong password")
	}
	if _, err := c.Write([]byte{1, 0}); err != nil {
		return "", "", err
	}
	return request(c)
}

// request reads what is to be connected to.
func request(r io.Reader) (host, port string, err error) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(r, head); err != nil {
		return "", "", err
	}
	if head[0] != 5 || head[1] != 1 {
		return "", "", errors.New("not a request to connect")
	}
	var name []byte
	switch head[3] {
	case 1, 4:
		name = make([]byte, 4*int(head[3]))
		_, err = io.ReadFull(r, name)
		if addr, ok := netip.AddrFromSlice(name); ok {
			host = addr.String()
		}
	case 3:
		name, err = sized(r)
		host = string(name)
	default:
		err = errors.New("unknown kind of address")
	}
	if err != nil {
		return "", "", err
	}
	b := make([]byte, 2)
	if _, err := io.ReadFull(r, b); err != nil {
		return "", "", err
	}
	return host, strconv.Itoa(int(b[0])<<8 | int(b[1])), nil
}

// sized reads bytes that their number comes before.
func sized(r io.Reader) ([]byte, error) {
	n := make([]byte, 1)
	if _, err := io.ReadFull(r, n); err != nil {
		return nil, err
	}
	b := make([]byte, n[0])
	_, err := io.ReadFull(r, b)
	return b, err
}

// relay copies both ways until either side ends. took is how long resolving and
// connecting took.
func (g *guard) relay(near, far net.Conn, took times) {
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(near, far) // its end shows on the other side
		_ = near.Close()
	})
	first := make([]byte, 16<<10)
	n, err := near.Read(first)
	g.mu.Lock()
	g.times.resolve += took.resolve
	if n > 0 && first[0] == 0x16 { // a TLS handshake (RFC 8446, section 5.1)
		g.times.connect += took.connect
	} else {
		g.times.within += took.resolve
	}
	g.mu.Unlock()
	if err == nil {
		if _, err = far.Write(first[:n]); err == nil {
			_, _ = io.Copy(far, near)
		}
	}
	_ = far.Close()
	both.Wait()
}

// dial resolves, checks and connects.
func (g *guard) dial(host, port string) (net.Conn, times, error) {
	var t times
	addrs := literal(host)
	if addr, err := netip.ParseAddr(host); err == nil {
		g.mu.Lock()
		if !g.first.IsValid() {
			g.first = addr
		}
		if g.first == addr {
			host = "" // the target's own host, as the prober resolved it
		}
		g.mu.Unlock()
	} else {
		begun := time.Now()
		if addrs, err = g.lookup(g.ctx, "ip", host); err != nil {
			return nil, t, err
		}
		t.resolve = time.Since(begun)
	}
	var refusal error
	var open []netip.Addr
	for _, addr := range addrs {
		if err := g.pass.check(host, port, addr); err != nil {
			refusal = err
			continue
		}
		open = append(open, addr)
	}
	if len(open) == 0 {
		g.mu.Lock()
		g.refused = true
		g.mu.Unlock()
		return nil, t, fmt.Errorf("%w: %w", errRefused, refusal)
	}
	begun := time.Now()
	var errs []error
	for _, addr := range open {
		c, err := (&net.Dialer{}).DialContext(g.ctx, "tcp", net.JoinHostPort(addr.String(), port))
		if err == nil {
			t.connect = time.Since(begun)
			return c, t, nil
		}
		errs = append(errs, err)
	}
	return nil, t, errors.Join(errs...)
}

var errRefused = errors.New("refused")

// lookup resolves a name to addresses of a network: ip, ip4 or ip6.
type lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)
