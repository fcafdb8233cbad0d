package incident

import (
	"time"

	"watchbill"
)

// Config is the timing of an incident's life.
type Config struct {
	// AckDeadlines is how long an acknowledgement holds. Defaults: sev1 15 m,
	// sev2 30 m, sev3 2 h, sev4 24 h.
	AckDeadlines map[watchbill.Severity]time.Duration
	// ReopenWindow is how long after being resolved an incident reopens rather
	// than a new one being opened; after it the incident closes. Default 30 m.
	ReopenWindow time.Duration
	// Quiet is how long alerts that still fire are held quiet after a person
	// resolved their incident, when the person states no time. Default 1 h.
	Quiet time.Duration
	// Reminders are what whoever acknowledged owes; none by default.
	Reminders Reminders
	// Proof is what must be known before an incident is closed.
	Proof ProofRules
}
