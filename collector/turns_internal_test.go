package collector

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

func TestTurnsAreBounded(t *testing.T) {
	t.Parallel()
	require.GreaterOrEqual(t, cap(newTurns()), 16)
	synctest.Test(t, func(t *testing.T) {
		at := make(turns, 2)
		ctx, cancel := context.WithCancel(t.Context())
		require.True(t, at.take(ctx))
		require.True(t, at.take(ctx))
		got := make(chan bool, 2)
		for range 2 {
			go func() { got <- at.take(ctx) }()
		}
		synctest.Wait()
		require.Empty(t, got, "both turns are taken")
		at.done()
		synctest.Wait()
		require.Len(t, got, 1, "one waits on")
		require.True(t, <-got)
		cancel()
		require.False(t, <-got, "who stops waits no longer")
	})
}
