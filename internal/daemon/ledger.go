package daemon

import (
	"watchbill"
	"watchbill/internal/store"
)

// ledger holds the incidents that one callback touches, so that a hundred alerts
// which join one incident read and write its row once. Events are written as
// they happen; the rows follow at the end of the callback.
type ledger struct {
	byID  map[watchbill.IncidentID]*entry
	byKey map[string]watchbill.IncidentID // newest of the key; 0: none
	dirty []watchbill.IncidentID
	read  map[watchbill.IncidentID]store.Version // as the store had it
}

func newLedger() ledger {
	return ledger{byID: map[watchbill.IncidentID]*entry{}, byKey: map[string]watchbill.IncidentID{}, read: map[watchbill.IncidentID]store.Version{}}
}

// incident returns an incident as this callback left it.
func (w *work) incident(id watchbill.IncidentID) (watchbill.Incident, error) {
	if kept, ok := w.ledger.byID[id]; ok {
		return kept.Incident, nil
	}
	inc, err := w.tx.Incident(id)
	if err != nil {
		return inc, err
	}
	v := store.VersionOf(inc)
	kept, _ := w.known.get(v)
	w.ledger.byID[id], w.ledger.read[id] = &entry{inc, kept.last}, v
	return inc, nil
}

// newest returns the newest incident of a group key, closed or not.
func (w *work) newest(key string) (watchbill.Incident, bool, error) {
	id, known := w.ledger.byKey[key]
	if known && id == 0 {
		return watchbill.Incident{}, false, nil
	}
	if known {
		inc, err := w.incident(id)
		return inc, true, err
	}
	v, found, err := w.tx.LastVersion(key)
	if err != nil {
		return watchbill.Incident{}, false, err
	}
	w.ledger.byKey[key] = v.ID
	if !found {
		return watchbill.Incident{}, false, nil
	}
	if _, here := w.ledger.byID[v.ID]; !here {
		if kept, ok := w.known.get(v); ok {
			w.ledger.byID[v.ID], w.ledger.read[v.ID] = &kept, v
		}
	}
	inc, err := w.incident(v.ID)
	return inc, true, err
}

// save keeps an incident and writes its events. A new incident is inserted at
// once, because its id is in its events and pages.
func (w *work) save(inc *watchbill.Incident, events ...watchbill.Event) error {
	if inc.ID == 0 {
		if err := w.tx.PutIncident(inc, events...); err != nil {
			return err
		}
	} else {
		if err := w.tx.AppendEvents(inc, events...); err != nil {
			return err
		}
		w.ledger.dirty = append(w.ledger.dirty, inc.ID)
	}
	kept := w.ledger.byID[inc.ID]
	if kept == nil {
		kept = &entry{}
		w.ledger.byID[inc.ID] = kept
	}
	kept.Incident = *inc
	w.ledger.byKey[inc.Key] = inc.ID
	return nil
}

// precedent returns the last decision that an incident's events hold whole, if it
// is remembered.
func (w *work) precedent(id watchbill.IncidentID) precedent {
	if kept := w.ledger.byID[id]; kept != nil {
		return kept.last
	}
	return precedent{}
}

// setPrecedent remembers it.
func (w *work) setPrecedent(id watchbill.IncidentID, p precedent) {
	if kept := w.ledger.byID[id]; kept != nil {
		kept.last = p
	}
}

// flush writes the rows of the incidents that changed.
func (w *work) flush() error {
	written := map[watchbill.IncidentID]bool{}
	for _, id := range w.ledger.dirty {
		if written[id] {
			continue
		}
		written[id] = true
		if err := w.tx.PutIncident(&w.ledger.byID[id].Incident); err != nil {
			return err
		}
	}
	for id, inc := range w.ledger.byID {
		if id == store.SelfTestID { // it is soon gone
			continue
		}
		w.known.put(w.ledger.read[id], *inc)
	}
	return nil
}
