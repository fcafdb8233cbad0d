package daemon

import (
	"time"

	"watchbill"
	"watchbill/internal/store"
)

// flapsAgain reports whether a firing alert takes its resolved incident up again
// without a page, because it flaps. A person's word that it is over, and a rise in
// severity, make it news.
func (r *rooms) flapsAgain(inc watchbill.Incident, a watchbill.Alert, sev watchbill.Severity, now time.Time) bool {
	return inc.State == watchbill.StateResolved && inc.ResolvedBy == "" && !sev.HigherThan(inc.Severity) && r.router.Flaps(a.Flap, now)
}

// ends records that an alert ended, at once or, if it flaps, when it stayed away.
func (w *work) ends(row store.AlertRow) error {
	if row.Incident == 0 || !w.router.Flaps(row.Flap, w.now) {
		return w.end(row)
	}
	inc, err := w.incident(row.Incident)
	if err != nil || !inc.State.Live() {
		if err != nil {
			return err
		}
		return w.end(row)
	}
	row.Flap = w.router.CountEnd(row.Flap, w.now)
	if err := w.occurred(&row); err != nil {
		return err
	}
	row.Flap.Clearing = true
	row.Due = w.now.Add(w.router.Flapping().ClearDelay)
	w.seen.forget(w.tx, row.Fingerprint())
	return w.tx.PutAlert(row)
}

// cameBack goes on with an alert that flaps and fires again before its end
// counted.
func (w *work) cameBack(old store.AlertRow, a watchbill.Alert) error {
	a.Flap.Clearing = false
	old.Alert, old.Due, old.Mutes = a, a.EndsAt, nil // it is another time that it fires
	return w.put(old)
}
