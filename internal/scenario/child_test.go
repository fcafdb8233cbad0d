package scenario

import (
	"context"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// A script that takes its process down is the only one that fails for it: the
// others are played by another process.
func TestAChildThatFalls(t *testing.T) {
	t.Parallel()
	// It plays scripts until one is called "bad", and falls over it.
	start := func(ctx context.Context, dir string) *exec.Cmd {
		return exec.CommandContext(ctx, "sh", "-c", `cd "$0" || exit 1
i=0
for name in $(grep -o '"name":"[a-z]*"' job.json | cut -d: -f2 | tr -d '"'); do
  echo '{"index":'$i',"begins":true}' >> results.json
  if [ $name = bad ]; then echo "panic: over there" >&2; echo '{"ind' >> results.json; exit 2; fi
  echo '{"index":'$i',"took":'$((i+1))'}' >> results.json
  i=$((i+1))
done`, dir)
	}
	results, err := playAll(t.Context(), []Script{{Name: "a"}, {Name: "bad"}, {Name: "b"}, {Name: "bad"}, {Name: "c"}}, start, 1)
	require.NoError(t, err)
	for i, r := range results {
		require.Equal(t, i, r.Index)
	}
	require.Empty(t, results[0].Error)
	require.Contains(t, results[1].Error, "the daemon in it fell over: exit status 2\npanic: over there")
	require.Empty(t, results[2].Error)
	require.Contains(t, results[3].Error, "fell over")
	require.Empty(t, results[4].Error)

	_, err = playAll(t.Context(), []Script{{Name: "a"}}, func(ctx context.Context, _ string) *exec.Cmd { return exec.CommandContext(ctx, "false") }, 1)
	require.ErrorContains(t, err, "cannot play scripts in a process of their own: exit status 1")
}
