package web_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHandovers(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	rec := w.call("support", "GET", "/api/ops/v1/oncall/handover?role=support", "")
	require.Equal(t, http.StatusOK, rec.Code)
	require.Contains(t, rec.Body.String(), `"role":"support"`)
	rec = w.call("support", "POST", "/api/ops/v1/oncall/handover", `{"role":"support","note":"quiet night"}`)
	require.Equal(t, http.StatusCreated, rec.Code, rec.Body)
	require.Equal(t, []string{"handover of support to support: quiet night"}, w.done())
	require.JSONEq(t, `[]`, w.call("support", "GET", "/api/ops/v1/oncall/handovers?limit=1", "").Body.String())
	for path, body := range map[string]string{
		"GET /api/ops/v1/oncall/handovers?limit=0": "", "POST /api/ops/v1/oncall/handover": `{"role":"support","note":"` + strings.Repeat("x", 1<<16) + `"}`,
	} {
		method, path, _ := strings.Cut(path, " ")
		require.Equal(t, http.StatusBadRequest, w.call("support", method, path, body).Code, path)
	}
}
