package notify

import (
	"time"

	amconfig "github.com/prometheus/alertmanager/config"

	"watchbill"
)

// TerminalReceiver is the name of the built-in receiver that prints pages where
// the daemon runs.
const TerminalReceiver = "terminal"

// EmailReceiver is the name of the built-in receiver that mails a person at
// their own address. It exists when global.smtp_smarthost and global.smtp_from
// are set and no receiver of that name is configured.
const EmailReceiver = "email"

// LoopReceiver is the name of the built-in receiver of the self-test: it takes
// every page and tells nobody.
const LoopReceiver = "watchbill-loop"

// Config is how people are reached.
type Config struct {
	// Global is Alertmanager's global section after its defaults; the built-in
	// email receiver is made from its smtp_* settings. Nil: there is none.
	Global *amconfig.GlobalConfig
	// Receivers are Alertmanager's, with the global section's defaults applied.
	Receivers []amconfig.Receiver
	// SMS are receivers that send text messages.
	SMS []SMS
	// Templates are paths or globs of the user's own template files.
	Templates []string
	People    []watchbill.Person
	// ExternalURL is the daemon's own address, for links.
	ExternalURL string
	// SendTimeout bounds one attempt. Default 10 s.
	SendTimeout time.Duration
}
