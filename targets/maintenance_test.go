package targets_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill/targets"
)

func TestMaintenanceEnded(t *testing.T) {
	t.Parallel()
	madrid, err := time.LoadLocation("Europe/Madrid")
	require.NoError(t, err)
	m := targets.Maintenance{Cron: "0 2 * * sun", Duration: 2 * time.Hour, Zone: madrid}
	end := time.Date(2026, 11, 29, 3, 0, 0, 0, time.UTC)
	for offset, want := range map[time.Duration]bool{-time.Second: false, 0: true, time.Minute: true, time.Hour - time.Second: true, time.Hour: false} {
		now := end.Add(offset)
		from, until, ok := m.Ended(now.Add(-time.Hour), now)
		require.Equal(t, want, ok, offset)
		if ok {
			require.True(t, until.Equal(end))
			require.True(t, from.Equal(end.Add(-2*time.Hour)))
		}
	}
	once := targets.Maintenance{Start: end.Add(-time.Hour), End: end}
	_, until, ok := once.Ended(end.Add(-time.Hour), end)
	require.True(t, ok)
	require.Equal(t, end, until)
	_, _, ok = once.Ended(end, end.Add(time.Hour))
	require.False(t, ok)
}
