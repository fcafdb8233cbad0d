package notify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/alertmanager/alert"
	amconfig "github.com/prometheus/alertmanager/config"
	amreceiver "github.com/prometheus/alertmanager/config/receiver"
	amnotify "github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/alertmanager/template"
	"github.com/prometheus/client_golang/prometheus"
	commoncfg "github.com/prometheus/common/config"

	"watchbill"
)

const defaultSendTimeout = 10 * time.Second

// Options is what a [Notifier] works with.
type Options struct {
	Logger *slog.Logger // nil: silent
	// Terminal is where the terminal receiver prints. Nil: there is none.
	Terminal io.Writer
	// DialContext opens the connections of integrations that speak HTTP. Nil:
	// the network. Mail always uses the network.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// Registerer takes the metrics. Nil: they are not exposed.
	Registerer prometheus.Registerer
	// Fallback is told of a receiver whose templates fail, each time that a page
	// goes out as plain text for it. Nil: nobody is told.
	Fallback func(receiver string)
	// Deliver takes pages in the place of every receiver, for rehearsals in which
	// nobody must be reached. Nil: the receivers themselves.
	Deliver func(ctx context.Context, d watchbill.Delivery) (watchbill.Result, string)
}

// Notifier sends pages. It is safe for concurrent use and is never changed: a
// new configuration makes a new one.
type Notifier struct {
	log       *slog.Logger
	tmpl      *template.Template
	receivers map[string]*receiver
	sms       []SMS
	timeout   time.Duration
	fallbacks *prometheus.CounterVec
	fallback  func(receiver string)
	deliver   func(ctx context.Context, d watchbill.Delivery) (watchbill.Result, string)
}

// New makes a notifier. It opens no connection.
func New(cfg Config, o Options) (*Notifier, error) {
	external, err := url.Parse(cmp.Or(cfg.ExternalURL, "http://localhost"))
	if err != nil {
		return nil, watchbill.Invalidf("write external_url as https://watchbill.example.com", "external_url: %v", err)
	}
	tmpl, err := newTemplates(cfg.Templates, external)
	if err != nil {
		return nil, err
	}
	n := &Notifier{
		log:       cmp.Or(o.Logger, slog.New(slog.DiscardHandler)),
		tmpl:      tmpl,
		receivers: map[string]*receiver{},
		sms:       cfg.SMS,
		fallback:  o.Fallback,
		deliver:   o.Deliver,
		timeout:   cmp.Or(cfg.SendTimeout, defaultSendTimeout),
	}
	n.fallbacks, err = registered(o.Registerer, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "watchbill_template_fallback_total",
		Help: "Pages sent as plain text because a template of the receiver failed.",
	}, []string{"receiver"}))
	if err != nil {
		return nil, err
	}
	build := n.builder(o)
	configs := slices.Clone(cfg.Receivers)
	if mail, ok := builtinEmail(cfg.Global); ok && !slices.ContainsFunc(configs, func(r amconfig.Receiver) bool { return r.Name == EmailReceiver }) {
		configs = append(configs, mail)
	}
	var problems []error
	for _, c := range configs {
		if c.Name == LoopReceiver {
			problems = append(problems, watchbill.Invalidf("choose another name", "the receiver %s is watchbill's own", LoopReceiver))
			continue
		}
		r, err := newReceiver(adapt(c), build)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		n.receivers[r.name] = r
		n.fallbacks.WithLabelValues(r.name) // a counter begins at 0, so that its first increase is seen
	}
	for _, s := range cfg.SMS {
		n.receivers[s.Name] = newTexter(s, cfg, o)
		n.fallbacks.WithLabelValues(s.Name)
	}
	if n.receivers[TerminalReceiver] == nil && o.Terminal != nil {
		n.receivers[TerminalReceiver] = terminal(o.Terminal)
	}
	return n, errors.Join(problems...)
}

// builder returns what makes a receiver's integrations.
func (n *Notifier) builder(o Options) func(amconfig.Receiver) ([]integration, error) {
	var http []commoncfg.HTTPClientOption
	if o.DialContext != nil {
		http = append(http, commoncfg.WithDialContextFunc(o.DialContext))
	}
	return func(c amconfig.Receiver) ([]integration, error) {
		// The integrations log what they send at debug level, with the group key.
		built, err := amreceiver.BuildReceiverIntegrations(c, n.tmpl, n.log.With("receiver", c.Name), http...)
		if err != nil {
			return nil, err
		}
		all := make([]integration, len(built))
		for i := range built {
			all[i] = integration{name: built[i].String(), send: func(ctx context.Context, a *alert.Alert) (bool, error) {
				return built[i].Notify(ctx, a)
			}}
		}
		return all, nil
	}
}

// registered registers a metric, or returns the one that an earlier notifier of
// the same process registered.
func registered[C prometheus.Collector](r prometheus.Registerer, c C) (C, error) {
	if r == nil {
		return c, nil
	}
	err := r.Register(c)
	if already, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if earlier, ok := already.ExistingCollector.(C); ok {
			return earlier, nil
		}
	}
	if err != nil {
		return c, fmt.Errorf("register metric: %w", err)
	}
	return c, nil
}

// Receivers returns the names of the receivers, sorted.
func (n *Notifier) Receivers() []string {
	names := make([]string, 0, len(n.receivers))
	for name := range n.receivers {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Timeout is how long one attempt may take.
func (n *Notifier) Timeout() time.Duration { return n.timeout }

// Method is one way in which a person will be reached, if nothing stops it.
type Method struct {
	Receiver string
	At       time.Time
	Reason   string
	Contact  int    // its place in the person's list; negative: it is not from there
	Address  string // the person's own for it; empty: the one of the person
	Quiet    bool   // At is when the person's quiet hours are over, or after that
}

// Methods returns how a person is reached for a page of a severity whose step fires
// at an instant: the contacts of their list that are for it, in its order; without
// any, mail to their address; and in the last resort the terminal, because a page
// that has no way to a person must still be seen somewhere. A sev3 that fires in
// the person's quiet hours waits for their end.
func (n *Notifier) Methods(p watchbill.Person, sev watchbill.Severity, fired time.Time) []Method {
	start, waits := fired, ""
	if sev == watchbill.Sev3 {
		if start = p.Quiet.End(fired, p.Zone()); start.After(fired) {
			waits = ", when their quiet hours end"
		}
	}
	var methods []Method
	var unknown []string
	fits := slices.ContainsFunc(p.Contact, func(c watchbill.Contact) bool { return c.For(sev) && n.receivers[c.Receiver] != nil })
	for i, c := range p.Contact {
		if n.receivers[c.Receiver] == nil {
			unknown = append(unknown, c.Receiver)
			continue
		}
		if fits && !c.For(sev) {
			continue
		}
		reason := fmt.Sprintf("%s's contact list, at once", p.ID)
		if c.After > 0 {
			reason = fmt.Sprintf("%s's contact list, after %s", p.ID, short0(c.After))
		}
		if !fits {
			reason += fmt.Sprintf(", which has nothing for %s", sev)
		}
		methods = append(methods, Method{c.Receiver, start.Add(c.After), reason + waits, i, c.Address, waits != ""})
	}
	if len(methods) > 0 {
		return methods
	}
	why := fmt.Sprintf("%s has no contact list", p.ID)
	if len(unknown) > 0 {
		why = fmt.Sprintf("%s's contact list names no receiver that exists (%s)", p.ID, strings.Join(unknown, ", "))
	}
	if p.Email != "" && n.receivers[EmailReceiver] != nil {
		return []Method{{EmailReceiver, start, why + ": mail to their address" + waits, -1, "", waits != ""}}
	}
	if p.Email == "" {
		why += " and no email address"
	} else {
		why += " and there is no email receiver"
	}
	return []Method{{TerminalReceiver, start, why + ": the daemon's terminal is the last resort" + waits, -1, "", waits != ""}}
}

// Texts reports whether a receiver sends text messages.
func (n *Notifier) Texts(receiver string) bool {
	return slices.ContainsFunc(n.sms, func(s SMS) bool { return s.Name == receiver })
}

// short0 writes a duration without the zero units that time.Duration prints.
func short0(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// CheckTemplates executes every receiver's templates against a sample page and
// returns what fails, so that it is found when the configuration is loaded and
// not by night.
func (n *Notifier) CheckTemplates() []error {
	m := newMessage(watchbill.Delivery{Attempt: 1, Page: samplePage()})
	var all []error
	for _, name := range n.Receivers() {
		r := n.receivers[name]
		ctx := n.context(context.Background(), r, m)
		for _, f := range r.failures(ctx, n.tmpl, n.data(ctx, m)) {
			consequence := "pages will go out as plain text"
			if partOf(f.slot) == address {
				consequence = "pages will be refused"
			}
			all = append(all, watchbill.Invalidf("correct the template; until then "+consequence,
				"receiver %s, %s: %s", name, f.slot.Path, r.redact.clean(f.err.Error())))
		}
	}
	return all
}

// samplePage is a page with every field set.
func samplePage() watchbill.Page {
	at := time.Date(2026, 11, 29, 3, 15, 0, 0, time.UTC)
	return watchbill.Page{
		Incident: 142, Generation: 1, Person: "ana", Role: "support", Method: "sample", Due: at,
		Content: watchbill.PageContent{
			Severity: watchbill.Sev1, Service: "checkout", Environment: "prod",
			Title:  "7 % of payments fail",
			Impact: "customers cannot pay; the error budget is gone in 3 h", Since: at.Add(-24 * time.Minute),
			Evidence: "5xx 7.2 %, target 0.1 %, 5 min", EvidenceURL: "https://watchbill.example.com/graph",
			FirstAction: "Check the last deployment and roll it back.",
			Runbook:     "High error rate", RunbookURL: "https://watchbill.example.com/runbooks/error-rate",
			RunbookState: "reviewed 12 d ago", QuickReference: "1. Look at the last deployment\n2. Roll back",
			Changes: "no known change", Related: "3 alerts grouped, 2 suppressed",
			Why: "you are on duty for support", AlsoTold: "nobody yet", Next: "ben, Sun 04:20 CET",
			Actions:  []watchbill.Action{{Name: "Acknowledge", How: "watchbill incident ack INC-142"}},
			Incident: 142, URL: "https://watchbill.example.com/incidents/142",
			At: at, LocalAt: "Sun 04:15 CET", Reason: "first page",
			To: "ana", ToName: "Ana", ToEmail: "ana@example.com",
			Labels: watchbill.Labels{"alertname": "CheckoutErrors", "service": "checkout", "severity": "page"},
		},
	}
}

// context carries what Alertmanager's integrations ask for.
func (n *Notifier) context(ctx context.Context, r *receiver, m message) context.Context {
	ctx = amnotify.WithReceiverName(ctx, r.name)
	ctx = amnotify.WithGroupKey(ctx, m.page.Key())
	ctx = amnotify.WithGroupLabels(ctx, m.group())
	ctx = amnotify.WithNow(ctx, m.alert.UpdatedAt)
	return amnotify.WithNotificationReason(ctx, amnotify.ReasonFirstNotification)
}

func (n *Notifier) data(ctx context.Context, m message) *template.Data {
	return amnotify.GetTemplateData(ctx, n.tmpl, []*alert.Alert{m.alert}, n.log)
}
