package mail

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
	"golang.org/x/net/netutil"

	"watchbill"
)

// Limits of the listener.
const (
	maxBytes       = 5 << 20 // of one mail
	maxRecipients  = 20
	maxConnections = 20
	idle           = time.Minute // without a command, or between two pieces of a mail
	takeWithin     = 30 * time.Second
	drain          = time.Second // for mails under way when it stops
)

// Options are what a server needs. All fields but Networks are required.
type Options struct {
	Hostname string         // as which it greets
	Networks []netip.Prefix // who may connect; this machine if there are none
	// Source names the source of an address in lower case, if it is a recipient.
	Source func(address string) (source string, ok bool)
	// Take opens a case, or adds to one. It returns nil once that is on disk.
	Take   func(ctx context.Context, source string, m Message) error
	Logger *slog.Logger
}

// Server takes mails in.
type Server struct {
	o     Options
	smtp  *smtp.Server
	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

// New returns a server.
func New(o Options) *Server {
	s := &Server{o: o, conns: map[net.Conn]struct{}{}}
	s.smtp = smtp.NewServer(smtp.BackendFunc(s.session))
	s.smtp.Domain, s.smtp.MaxRecipients, s.smtp.MaxMessageBytes = o.Hostname, maxRecipients, maxBytes
	s.smtp.ReadTimeout, s.smtp.WriteTimeout = idle, idle
	s.smtp.EnableSMTPUTF8 = true
	s.smtp.ErrorLog = slog.NewLogLogger(o.Logger.Handler(), slog.LevelWarn)
	return s
}

// Serve takes mails in from a listener until Shutdown.
func (s *Server) Serve(l net.Listener) error {
	if err := s.smtp.Serve(&tracked{netutil.LimitListener(l, maxConnections), s}); err != nil && !errors.Is(err, smtp.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("take mails in: %w", err)
	}
	return nil
}

// Shutdown stops taking mails in: those under way are finished until ctx ends, then
// they are cut off, and their senders try again.
func (s *Server) Shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, drain)
	defer cancel()
	err := s.smtp.Shutdown(ctx)
	s.mu.Lock()
	open := slices.Collect(maps.Keys(s.conns))
	s.mu.Unlock()
	for _, c := range open { // those that wait for a command would for a minute
		_ = c.Close() // its other side sees it end
	}
	if err != nil && !errors.Is(err, smtp.ErrServerClosed) && ctx.Err() == nil {
		return fmt.Errorf("stop taking mails in: %w", err)
	}
	return nil
}

// tracked keeps the connections of a listener, so that they can be cut off.
type tracked struct {
	net.Listener
	server *Server
}

// Accept implements [net.Listener].
func (t *tracked) Accept() (net.Conn, error) {
	c, err := t.Listener.Accept()
	if err != nil {
		return nil, err
	}
	own := &connection{c, t.server}
	t.server.mu.Lock()
	defer t.server.mu.Unlock()
	t.server.conns[own] = struct{}{}
	return own, nil
}

type connection struct {
	net.Conn
	server *Server
}

// Close implements [net.Conn].
func (c *connection) Close() error {
	c.server.mu.Lock()
	delete(c.server.conns, c)
	c.server.mu.Unlock()
	return c.Conn.Close()
}

// refusal is an answer of SMTP. A code below 500 has the sender try again.
func refusal(code int, enhanced smtp.EnhancedCode, format string, args ...any) error {
	return &smtp.SMTPError{Code: code, EnhancedCode: enhanced, Message: fmt.Sprintf(format, args...)}
}

func (s *Server) session(c *smtp.Conn) (smtp.Session, error) {
	from, err := netip.ParseAddrPort(c.Conn().RemoteAddr().String())
	if err != nil || !s.admits(from.Addr().Unmap()) {
		s.o.Logger.Warn("a mail server was refused; mail.networks says who may connect", "remote", c.Conn().RemoteAddr())
		return nil, refusal(554, smtp.EnhancedCode{5, 7, 1}, "you may not send mail here")
	}
	return &session{server: s}, nil
}

func (s *Server) admits(addr netip.Addr) bool {
	if len(s.o.Networks) == 0 {
		return addr.IsLoopback()
	}
	return slices.ContainsFunc(s.o.Networks, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// session is one connection. It implements [smtp.Session].
type session struct {
	server  *Server
	bounce  bool // from nobody
	sources []string
}

// Reset implements [smtp.Session].
func (c *session) Reset() { c.bounce, c.sources = false, nil }

// Logout implements [smtp.Session].
func (c *session) Logout() error { return nil }

// Mail implements [smtp.Session].
func (c *session) Mail(from string, _ *smtp.MailOptions) error {
	c.Reset()
	c.bounce = from == ""
	return nil
}

// Rcpt implements [smtp.Session].
func (c *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	source, ok := c.server.o.Source(strings.ToLower(to))
	if !ok {
		return refusal(550, smtp.EnhancedCode{5, 1, 1}, "nobody here has the address %.100q", to)
	}
	if !slices.Contains(c.sources, source) {
		c.sources = append(c.sources, source)
	}
	return nil
}

// Data implements [smtp.Session].
func (c *session) Data(r io.Reader) error {
	o := c.server.o
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	m, err := Read(bytes.NewReader(raw))
	if err != nil {
		return refusal(554, smtp.EnhancedCode{5, 6, 0}, "%v", err)
	}
	if m.Thread == "" { // without an id, two mails are the same if they say the same
		sum := sha256.Sum256(raw)
		m.Thread = hex.EncodeToString(sum[:])
	}
	if m.Automatic || c.bounce { // to answer nobody, and to open nothing
		o.Logger.Info("a mail that a program wrote in answer opened no case", "sources", c.sources, "subject", m.Subject)
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), takeWithin)
	defer cancel()
	for _, source := range c.sources {
		if err := o.Take(ctx, source, m); err != nil {
			return answer(o.Logger, source, err)
		}
	}
	return nil
}

// answer turns an error into what the sender is told. Only what is wrong with the
// mail itself is told for good.
func answer(logger *slog.Logger, source string, err error) error {
	if e, ok := errors.AsType[*watchbill.Error](err); ok {
		if slices.Contains([]watchbill.Code{watchbill.CodeInvalid, watchbill.CodeTooLarge, watchbill.CodeDenied}, e.Code) {
			return refusal(554, smtp.EnhancedCode{5, 6, 0}, "%v", e)
		}
		if e.Code == watchbill.CodeTooMany {
			return refusal(451, smtp.EnhancedCode{4, 7, 0}, "%v", e)
		}
	}
	logger.Error("a mail could not be taken in; its sender tries again", "source", source, "err", err)
	return refusal(451, smtp.EnhancedCode{4, 3, 0}, "the mail cannot be stored now; try again")
}
