package daemon

import (
	"cmp"
	"time"

	"watchbill"
	"watchbill/router"
)

// held puts a step off while everything that fires is muted, by a silence that
// was made after the incident opened. It is looked at again when the mute ends,
// and within a minute.
func (w *work) held(inc *watchbill.Incident, n int, firing []watchbill.Alert) (bool, error) {
	until, why := time.Time{}, ""
	for _, a := range firing {
		v, err := w.decide(a, router.WeighNothing)
		if err != nil {
			return false, err
		}
		if !v.Muted() {
			until, why = time.Time{}, ""
			break
		}
		at := recheckAt(v, w.now)
		if until.IsZero() || at.Before(until) {
			until, why = at, cmp.Or(why, v.MuteReason())
		}
	}
	if until.IsZero() {
		if inc.HeldBy != "" {
			inc.HeldBy = ""
			return false, w.save(inc, w.event(watchbill.EventQueued, "no longer held"))
		}
		return false, nil
	}
	if err := w.tx.SetTimer(stepTimer(*inc, n, until)); err != nil {
		return true, err
	}
	if inc.HeldBy == why {
		return true, nil
	}
	inc.HeldBy = why
	return true, w.save(inc, w.event(watchbill.EventQueued, "step %d is held: %s", n, why))
}

// told returns who was paged in this generation already.
func (w *work) told(inc watchbill.Incident) ([]watchbill.PersonID, error) {
	if inc.ID == 0 {
		return nil, nil
	}
	return w.tx.Told(inc.ID, inc.Generation)
}
