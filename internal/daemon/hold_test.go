package daemon_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/config"
	"watchbill/internal/daemon"
)

// config reads the configuration of the scene.
func (s *scene) config() *config.Config {
	s.t.Helper()
	cfg, err := config.Load(filepath.Join(s.Dir, "watchbill.yaml"), nil)
	require.NoError(s.t, err)
	return cfg
}

// backup copies the store while the daemon runs.
func (s *scene) backup() string {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "b.db")
	_, err := daemon.Backup(s.t.Context(), s.config(), file, nil)
	require.NoError(s.t, err)
	return file
}

// restore stops the daemon, puts a backup in place and starts it again.
func (s *scene) restore(file string) {
	s.t.Helper()
	_, _, err := daemon.Restore(s.t.Context(), s.config(), file, true)
	require.ErrorContains(s.t, err, "stop the daemon first")
	s.Stop()
	_, kept, err := daemon.Restore(s.t.Context(), s.config(), file, true)
	require.NoError(s.t, err)
	require.FileExists(s.t, kept)
	s.Start()
}

func other() watchbill.Labels {
	return watchbill.Labels{"alertname": "QueueFull", "service": "checkout", "severity": "page"}
}

// A restored store pages nobody by itself, however late it is; what fires now
// pages as always, what fires still goes on, and the rest waits for the manager.
func TestARestoredStorePagesNobodyByItself(t *testing.T) {
	t.Parallel()
	play(t, func(t *testing.T, s *scene) {
		s.post(disk(), 4*time.Minute)
		s.post(other(), 4*time.Minute)
		require.Len(t, s.phone.Pages(), 2)
		file := s.backup()
		s.sleep(time.Hour) // the first one ends, and much happens that the backup does not know
		s.restore(file)
		n := len(s.phone.Pages())

		s.sleep(2 * time.Hour)
		require.Len(t, s.phone.Pages(), n, "nothing of before the restore pages")
		held, err := s.frank.Held(t.Context())
		require.NoError(t, err)
		require.Len(t, held, 2)
		require.Equal(t, watchbill.StateOpen, held[0].State)
		require.Equal(t, "step", held[0].Timers[0].What)
		require.Equal(t, 1, held[0].Alerts)
		_, err = s.As("ana").ReleaseHeld(t.Context())
		require.ErrorContains(t, err, "is for the role manager")

		// A new alert of a new group pages at once.
		s.post(watchbill.Labels{"alertname": "Down", "service": "payments", "severity": "page"}, 4*time.Minute)
		require.Len(t, s.phone.Pages(), n+1)
		// So does one that fires still.
		s.post(disk(), 4*time.Minute)
		s.sleep(time.Second)
		require.Greater(t, len(s.phone.Pages()), n+1)
		require.Contains(t, s.phone.Pages()[n+1].Key, "INC-1/")
		held, err = s.frank.Held(t.Context())
		require.NoError(t, err)
		require.Len(t, held, 1)
		require.EqualValues(t, 2, held[0].Incident)
		verifies(t, s)
	})
}

// verifies checks every chain of events.
func verifies(t *testing.T, s *scene) {
	t.Helper()
	result, err := daemon.Audit(t.Context(), s.config(), daemon.AuditCheck{Report: func(where string, err error) { t.Errorf("%s: %v", where, err) }})
	require.NoError(t, err)
	require.Zero(t, result.Broken)
}

// A new alert that joins an incident which is held sets it free: nobody would
// hear of it otherwise.
func TestANewAlertFreesTheIncidentThatItJoins(t *testing.T) {
	t.Parallel()
	play(t, func(t *testing.T, s *scene) {
		s.post(disk(), 4*time.Minute)
		s.restore(s.backup())
		s.sleep(time.Hour)
		n := len(s.phone.Pages())
		labels := disk()
		labels["instance"] = "db2"
		s.post(labels, 4*time.Minute)
		s.sleep(time.Second)
		require.Greater(t, len(s.phone.Pages()), n, "its next step was overdue")
		held, err := s.frank.Held(t.Context())
		require.NoError(t, err)
		require.Empty(t, held)
		verifies(t, s)
	})
}

func TestTheManagerReleasesAndDrops(t *testing.T) {
	t.Parallel()
	play(t, func(t *testing.T, s *scene) {
		s.post(disk(), 4*time.Minute)
		s.post(other(), 4*time.Minute)
		s.restore(s.backup())
		s.sleep(time.Hour)
		n := len(s.phone.Pages())

		done, err := s.frank.DropHeld(t.Context(), 2)
		require.NoError(t, err)
		require.Len(t, done, 1)
		_, err = s.frank.DropHeld(t.Context(), 2)
		require.ErrorContains(t, err, "nothing of INC-2 is held")
		dropped := show(t, s.frank, 2)
		require.Equal(t, watchbill.StateResolved, dropped.Incident.State)
		require.EqualValues(t, "frank", dropped.Incident.ResolvedBy)

		done, err = s.frank.ReleaseHeld(t.Context())
		require.NoError(t, err)
		require.Len(t, done, 1)
		s.sleep(time.Second)
		pages := s.phone.Pages()[n:]
		require.NotEmpty(t, pages, "the overdue step fires")
		for _, p := range pages {
			require.Contains(t, p.Key, "INC-1/")
		}
		released := show(t, s.frank, 1)
		require.True(t, func() bool {
			for _, e := range released.Timeline {
				if e.Kind == watchbill.EventQueued && e.Actor == "frank" && e.Via == "cli" {
					return true
				}
			}
			return false
		}(), "who released it is on the record")
		s.sleep(time.Hour)
		require.Equal(t, watchbill.StateClosed, show(t, s.frank, 1).Incident.State, "its source did not speak up: it ended")
		require.Equal(t, watchbill.StateClosed, show(t, s.frank, 2).Incident.State)
		verifies(t, s)
	})
}

// What closed longer ago than the configuration keeps is deleted, and nothing
// else; the record still verifies, and misses what somebody else deletes.
func TestRetention(t *testing.T) {
	t.Parallel()
	play(t, func(t *testing.T, s *scene) {
		text, err := os.ReadFile(filepath.Join(s.Dir, "watchbill.yaml"))
		require.NoError(t, err)
		s.Write("watchbill.yaml", strings.NewReplacer("retention: {", "retention: {incidents: 3h, ",
			"_interval: 15s", "_interval: 10m", "targets: [targets.yaml, windows.yaml]\n", "").Replace(string(text))) // nothing but time is to pass
		require.NoError(t, s.frank.Reload(t.Context()))
		s.post(disk(), 4*time.Minute)
		s.sleep(4 * time.Hour)
		s.post(other(), 4*time.Minute)
		require.Len(t, s.incidents(), 2, "nothing is deleted between the rounds of housekeeping")
		s.sleep(2*time.Hour + time.Minute)
		all := s.incidents()
		require.Len(t, all, 1)
		require.EqualValues(t, 2, all[0].ID)
		verifies(t, s)
		s.sleep(6 * time.Hour)
		require.Empty(t, s.incidents())
		verifies(t, s)
	})
}
