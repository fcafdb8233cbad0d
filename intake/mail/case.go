package mail

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"watchbill"
	"watchbill/intake"
)

// maxDescription is how much of a mail's text its case shows, in bytes.
const maxDescription = 12 << 10

// Event returns the case that a mail is about. Mails of one exchange are about the
// same one.
func (m Message) Event() intake.Event {
	sum := sha256.Sum256([]byte(m.Thread))
	return intake.Event{
		Action: intake.Trigger, Case: true, Dedup: "mail:" + hex.EncodeToString(sum[:12]),
		Alert: watchbill.Alert{
			Labels: watchbill.Labels{"alertname": "SupportCase", "report": "mail"},
			Annotations: watchbill.Labels{
				"summary": cmp.Or(m.Subject, "a mail without a subject"), "description": clean(m.Text, maxDescription),
				"reporter": m.From, "attachments": strings.Join(m.Attachments, "\n"), "message_id": clean(m.ID, maxHeader),
			},
		},
	}
}

// Note is the mail in words, for the timeline.
func (m Message) Note() string {
	return strings.TrimSpace("mail of " + cmp.Or(m.From, "an unknown sender") + ": " + m.Subject + "\n" + clean(m.Text, maxDescription))
}
