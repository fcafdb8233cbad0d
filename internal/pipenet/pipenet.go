// Package pipenet is a network in memory: a [net.Listener] whose connections
// are pairs of [net.Pipe], and the dialer that reaches it.
//
// # Why
//
// In a testing/synctest bubble time advances only when every goroutine waits on
// something inside the bubble. A goroutine in accept or read on a socket waits
// on the kernel, so one loopback listener stops the clock for ever. A pipe is
// inside the bubble: servers and clients run unchanged and time obeys.
//
// # Use
//
//	l := pipenet.Listen()
//	srv := &http.Server{Handler: h}
//	go srv.Serve(l)
//	client := &http.Client{Transport: &http.Transport{DialContext: l.DialContext}}
//
// Call [Warm] before the bubble if what runs inside looks a host name up.
//
// A pipe has no buffer: a write waits for the read on the other side.
package pipenet

import (
	"context"
	"net"
	"os"
	"sync"
)

// Listener is a listener that is reached by its own DialContext only.
type Listener struct {
	conns chan net.Conn
	done  chan struct{}
	close sync.Once
}

// Listen returns a new listener.
func Listen() *Listener {
	return &Listener{conns: make(chan net.Conn), done: make(chan struct{})}
}

// Accept waits for the next connection. It returns [net.ErrClosed] after Close.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close ends Accept and DialContext. Connections that exist live on.
func (l *Listener) Close() error {
	l.close.Do(func() { close(l.done) })
	return nil
}

// Addr returns an address that names nothing.
func (l *Listener) Addr() net.Addr { return addr{} }

// DialContext connects to the listener, whatever the network and the address.
// It waits until the connection is accepted.
func (l *Listener) DialContext(ctx context.Context, network, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	err := net.ErrClosed
	select {
	case l.conns <- there:
		return here, nil
	case <-l.done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	return nil, &net.OpError{Op: "dial", Net: network, Addr: l.Addr(), Err: err}
}

// Warm looks the host's own name up once and drops the answer. The resolver
// makes its channels at the first use in a process; made inside of a bubble
// they belong to it, and the next bubble that looks a name up dies. Prometheus'
// scrape manager looks the host's name up whenever it gets a configuration.
func Warm(ctx context.Context) {
	if host, err := os.Hostname(); err == nil {
		addrs, _ := net.DefaultResolver.LookupHost(ctx, host)
		for _, a := range addrs {
			_, _ = net.DefaultResolver.LookupAddr(ctx, a)
		}
	}
}

type addr struct{}

func (addr) Network() string { return "pipe" }
func (addr) String() string  { return "pipe" }
