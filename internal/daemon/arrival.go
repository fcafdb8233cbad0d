package daemon

import (
	"sync/atomic"
	"time"

	"watchbill"
	"watchbill/internal/store"
	"watchbill/router"
)

// arrival is an alert of a request, with what can be worked out about it before
// its transaction: requests do that side by side, transactions run one after the
// other.
type arrival struct {
	alert watchbill.Alert
	fp    watchbill.Fingerprint
	known bool // it fires already, as far as is known

	begins  *store.Encoded // as it is stored if it begins to fire; nil: not worked out
	verdict router.Verdict // what is decided about it then,
	under   *silenced      // under these silences; nil: not decided
}

// arriving is an alert of which nothing was worked out.
func arriving(a watchbill.Alert) *arrival { return &arrival{alert: a, fp: a.Fingerprint()} }

// prepare works out what happens to alerts that begin to fire at now, as most
// do that are not known.
func (r *rooms) prepare(news []arrival, source string, now time.Time, s *silenced) error {
	for i := range news {
		n := &news[i]
		n.alert.Source = source
		a := complete(n.alert, now, r.router.ResolveTimeout())
		if n.known || a.Resolved(now) {
			continue
		}
		var err error
		if n.begins, err = store.Encode(a, n.fp); err != nil {
			return err
		}
		if s != nil && !r.router.NeedsActive(a) {
			n.verdict, n.under = r.router.Decide(router.Input{Alert: a, Now: now, Silences: s.set}), s
		}
	}
	return nil
}

// silenced is what was last read of the silences, compiled.
type silenced struct {
	version uint64 // of the store
	since   time.Time
	set     *router.Silences
}

// silenceReread is how long compiled silences are kept, so that those which ended
// go away.
const silenceReread = time.Minute

// silences keeps the compiled silences from one transaction to the next.
type silences struct{ last atomic.Pointer[silenced] }

// at returns the silences that may be active at now.
func (s *silences) at(tx *store.Tx, now time.Time) (*silenced, error) {
	version := tx.SilencesVersion()
	if last := s.last.Load(); last != nil && last.version == version && !now.Before(last.since) && now.Sub(last.since) < silenceReread {
		return last, nil
	}
	all, err := tx.Silences(now)
	if err != nil {
		return nil, err
	}
	set, err := router.NewSilences(all)
	if err != nil {
		return nil, err
	}
	read := &silenced{version: version, since: now, set: set}
	if version != 0 {
		s.last.Store(read)
	}
	return read, nil
}
