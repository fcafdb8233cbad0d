package store

import "watchbill"

// WithActions returns the incidents that have action items which are not done: they
// have a timer for them. Oldest first.
func (t *Tx) WithActions() ([]watchbill.Incident, error) {
	return bodies[watchbill.Incident](t, "list action items",
		`SELECT body FROM incident WHERE id IN (SELECT incident FROM timer WHERE kind = 'action') ORDER BY id`)
}
