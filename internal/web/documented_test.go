package web_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The bodies that docs/api.md shows are taken as they stand, and every POST that
// has a body is shown there.
func TestDocumentedBodies(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "api.md"))
	require.NoError(t, err)
	w := setUp(t)
	for _, r := range w.server.Routes() {
		if r.Method != http.MethodPost || strings.HasPrefix(r.Path, "/api/v1/") || strings.HasPrefix(r.Path, "/ping/") || strings.HasPrefix(r.Path, "/act/") || strings.HasPrefix(r.Path, "/sms/") || strings.HasPrefix(r.Path, "/hooks/") || r.Path == "/v2/enqueue" {
			continue // those have Prometheus' formats, any, and those of docs/pages.md and docs/intake.md
		}
		_, section, found := strings.Cut(string(text), "\n### POST "+r.Path+"\n")
		require.True(t, found, "docs/api.md does not show the body of %s", r.Path)
		section, _, _ = strings.Cut(section, "\n### ")
		_, body, found := strings.Cut(section, "```json\n")
		body, _, _ = strings.Cut(body, "```")
		require.Equal(t, r.Path != "/-/reload" && !strings.HasPrefix(r.Path, "/api/ops/v1/alarm/") && !strings.HasSuffix(r.Path, "silences/{id}/approve") && !strings.HasSuffix(r.Path, "/test") && !strings.HasSuffix(r.Path, "/perform") && !strings.HasSuffix(r.Path, "/witness"), found, r.Path)
		rec := w.call("manager", r.Method, target(r), body)
		require.Contains(t, []int{http.StatusOK, http.StatusCreated}, rec.Code, "%s: %s", r.Path, rec.Body)
	}
	require.Len(t, w.done(), 42)
}
