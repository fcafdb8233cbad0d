package scenario_test

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill/internal/config"
	"watchbill/internal/scenario"
)

func noEnv(string) string { return "" }

func TestX(t *testing.T) {
	s, err := scenario.ReadFile("../../deploy/examples/small/scenarios/night.txtar")
	require.NoError(t, err)
	script, err := s.Unpack(t.TempDir(), "")
	require.NoError(t, err)
	for range 5 {
		t0 := time.Now()
		_, err := config.Load(script.Config, noEnv)
		require.NoError(t, err)
		t1 := time.Now()
		e, err := scenario.Play(t, script, t.TempDir(), noEnv)
		require.NoError(t, err)
		require.Equal(t, s.Want, scenario.Text(script.Start, e))
		t2 := time.Now()
		d, _ := os.MkdirTemp("/dev/shm", "x")
		_, err = scenario.Play(t, script, d, noEnv)
		require.NoError(t, err)
		os.RemoveAll(d)
		t.Log(t1.Sub(t0), t2.Sub(t1), time.Since(t2))
	}
}
