package storetest

import (
	"slices"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"watchbill"
	"watchbill/internal/store"
)

func (r *run) changeDuty(t *rapid.T) {
	c := watchbill.DutyChange{
		Kind: watchbill.DutyCover, Person: "ana", Instead: "ben", Author: "ana", Reason: rapid.String().Draw(t, "reason"), MadeAt: r.now,
		From: r.now.Add(r.span(t)),
	}
	c.To = c.From.Add(time.Second + r.span(t))
	r.putDuty(c)
}

func (r *run) endDutyChange(t *rapid.T) {
	if len(r.m.duty) == 0 {
		t.Skip("there is none")
	}
	c := rapid.SampledFrom(r.m.duty).Draw(t, "change")
	r.putDuty(watchbill.DutyChange{Kind: c.Kind, Ends: c.ID, Author: "ben", Reason: "not needed", MadeAt: r.now, To: c.To})
}

func (r *run) putDuty(c watchbill.DutyChange) {
	r.update(func(tx *store.Tx) (err error) {
		c, err = tx.PutDutyChange(c)
		return err
	})
	require.Equal(r.t, int64(len(r.m.duty)+1), c.ID)
	r.m.duty = append(r.m.duty, c)
}

// compareDuty compares the log of the duty, what of it counts, and its chain.
func (r *run) compareDuty(t *rapid.T, tx *store.Tx) {
	var live []watchbill.DutyChange
	for _, c := range r.m.duty {
		ended := slices.ContainsFunc(r.m.duty, func(e watchbill.DutyChange) bool { return e.Ends == c.ID })
		if c.Ends == 0 && !ended && c.To.After(r.now) {
			live = append(live, c)
		}
	}
	got, err := tx.DutyChanges(r.now)
	require.NoError(t, err)
	require.Equal(t, live, got)
	log, err := tx.DutyLog(len(r.m.duty) + 1)
	require.NoError(t, err)
	slices.Reverse(log)
	require.Equal(t, len(r.m.duty), len(log))
	for i := range log {
		require.Equal(t, r.m.duty[i], log[i])
	}
	n, err := tx.VerifyDutyLog()
	require.NoError(t, err)
	require.Equal(t, len(r.m.duty), n)
}
