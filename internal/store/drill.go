package store

import "watchbill"

// DrillKey begins the group keys of drills.
const DrillKey = "drill/"

// Drills returns the incidents that are drills, newest first.
func (t *Tx) Drills(limit int) ([]watchbill.Incident, error) {
	return bodies[watchbill.Incident](t, "list drills",
		`SELECT body FROM incident WHERE key >= 'drill/' AND key < 'drill0' ORDER BY id DESC LIMIT ?`, limit)
}
