package daemon

import (
	"cmp"
	"context"
	"net"
	"net/url"

	"watchbill"
	"watchbill/intake/mail"
	"watchbill/internal/config"
)

// mailIntake is the listener for mails; empty if none is configured.
type mailIntake struct {
	listener net.Listener
	server   *mail.Server
}

// listenForMail listens where the configuration says.
func listenForMail(ctx context.Context, cfg *config.Config, h *intakes) (m mailIntake, err error) {
	if cfg.Mail.Listen == "" {
		return m, nil
	}
	m.listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Mail.Listen)
	if err != nil {
		return m, watchbill.Errorf(watchbill.CodeUnavailable, "choose another address with mail: listen in the configuration", "cannot listen on %s for mails: %v", cfg.Mail.Listen, err)
	}
	host := "localhost"
	if u, err := url.Parse(cfg.ExternalURL); err == nil {
		host = cmp.Or(u.Hostname(), host)
	}
	m.server = mail.New(mail.Options{Hostname: host, Networks: cfg.Mail.Networks, Source: h.recipient, Take: h.Mail, Logger: h.flow.logger})
	return m, nil
}

func (m mailIntake) serve() error {
	if m.server == nil {
		return nil
	}
	return m.server.Serve(m.listener)
}

func (m mailIntake) stop(ctx context.Context) error {
	if m.server == nil {
		return nil
	}
	err := m.server.Shutdown(ctx)
	_ = m.listener.Close() // it is closed already, unless serve had yet to begin
	return err
}

// close is stop for a listener that was never served from.
func (m mailIntake) close() error {
	if m.listener == nil {
		return nil
	}
	return m.listener.Close()
}

// MailAddr is where mails are taken in; nil if none are.
func (d *Daemon) MailAddr() net.Addr {
	if d.mail.listener == nil {
		return nil
	}
	return d.mail.listener.Addr()
}
