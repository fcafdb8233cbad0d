package watchdog

import (
	"fmt"
	"net/url"

	"watchbill"
)

// Validate reports what keeps a configuration from working: secrets that are not
// there yet when it is checked must be there when it is used.
func (c Config) Validate() error {
	if w := c.Alarm.Webhook; w != nil && !usable(w.URL) {
		return unusable("alarm: webhook:")
	}
	if m := c.Alarm.SMTP; m != nil && m.Username != "" && m.Password.Empty() {
		return watchbill.Invalidf("write the password into password_file:", "alarm: smtp: has no password")
	}
	for n, p := range c.Deadman {
		if !usable(p.URL) {
			return unusable(fmt.Sprintf("entry %d of deadman:", n+1))
		}
	}
	return nil
}

func usable(s Secret) bool {
	u, err := url.Parse(s.reveal())
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

func unusable(what string) error {
	return watchbill.Invalidf("write an http or https address into url_file:, or as url:", "%s has no address that can be used", what)
}
