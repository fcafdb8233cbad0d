package web_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
)

func matcher(name, value string) watchbill.Matcher {
	return watchbill.Matcher{Name: name, Value: value, IsEqual: true}
}

func TestPostSilence(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	rec := w.call("support", http.MethodPost, "/api/v2/silences", `{"comment":"why","createdBy":"somebody else","endsAt":"2026-11-29T05:15:00+01:00",
		"matchers":[{"name":"a","value":"x","isRegex":false},{"name":"b","value":"y.*","isRegex":true,"isEqual":false}],
		"startsAt":"2026-11-29T03:15:00.5Z","annotations":{}}`)
	require.Equal(t, http.StatusOK, rec.Code, "%s", rec.Body)
	require.JSONEq(t, `{"silenceID":"00000000-0000-4000-8000-000000000001"}`, rec.Body.String())
	start := time.Date(2026, 11, 29, 3, 15, 0, 500_000_000, time.UTC)
	require.Equal(t, []watchbill.Silence{{
		ID: "00000000-0000-4000-8000-000000000001", Comment: "why", CreatedBy: "support", UpdatedAt: start,
		Matchers: []watchbill.Matcher{matcher("a", "x"), {Name: "b", Value: "y.*", IsRegex: true}},
		StartsAt: start, EndsAt: time.Date(2026, 11, 29, 4, 15, 0, 0, time.UTC),
	}}, w.silences)

	rec = w.call("support", http.MethodPost, "/api/v2/silences", `{"comment":"now","matchers":[{"name":"a","value":"x"}],"endsAt":"2027-01-01T00:00:00Z"}`)
	require.Equal(t, http.StatusOK, rec.Code)
	require.WithinDuration(t, time.Now(), w.silences[1].StartsAt, time.Minute)

	for body, want := range map[string]string{
		`[]`:                                  "the body: array stands where an object belongs",
		`{"comment":1}`:                       "comment: number stands where text belongs",
		`{"endsAt":"x"}`:                      `endsAt: "x" is not a time`,
		`{"startsAt":"1900-01-01T00:00:00Z"}`: "startsAt: is not within",
		`{"endsAt":"9999-01-01T00:00:00Z"}`:   "endsAt: is not within the years 1970 to 2200",
		`{"matchers":[{"name":"a"},{"value":"x"}]}`:                              "matchers[1]: the name is empty",
		`{"matchers":[{"isEqual":"yes"}]}`:                                       "matchers.isEqual: string stands where true or false belongs",
		`{"matchers":[` + strings.Repeat(`{"name":"a"},`, 64) + `{"name":"a"}]}`: "matchers: 65 are over the limit of 64",
		`{} {}`: "there is more after the first value",
	} {
		rec := w.call("support", http.MethodPost, "/api/v2/silences", body)
		require.Equal(t, http.StatusBadRequest, rec.Code, "%s: %s", body, rec.Body)
		_, message, _ := problem(t, rec)
		require.Contains(t, message, want)
	}
	require.Equal(t, http.StatusRequestEntityTooLarge, w.call("support", http.MethodPost, "/api/v2/silences", `{"comment":"`+strings.Repeat("x", 17<<10)+`"}`).Code)
	require.Len(t, w.silences, 2)
	w.fail = watchbill.Invalidf("correct it", "the silence is not valid: comment: say why")
	require.Equal(t, http.StatusBadRequest, w.call("support", http.MethodPost, "/api/v2/silences", `{}`).Code)
}

func TestReadSilences(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	require.JSONEq(t, "[]", w.call("machine:read", http.MethodGet, "/api/v2/silences", "").Body.String())
	now := time.Now()
	w.silences = []watchbill.Silence{
		{ID: "p", StartsAt: now.Add(time.Hour), EndsAt: now.Add(2 * time.Hour), Matchers: []watchbill.Matcher{matcher("alertname", "Down"), matcher("job", "db")}},
		{ID: "a", StartsAt: now.Add(-time.Hour), EndsAt: now.Add(time.Hour), Matchers: []watchbill.Matcher{{Name: "alertname", Value: "Do.*", IsRegex: true, IsEqual: true}}},
		{ID: "e", StartsAt: now.Add(-time.Hour), EndsAt: now, Matchers: []watchbill.Matcher{matcher("job", "web")}},
	}
	for filter, want := range map[string]string{
		"":                  "p pending, a active, e expired",
		"filter=job=db":     "p pending",
		`filter=job="db"`:   "p pending",
		"filter=job":        "",
		`filter="job"="db"`: "p pending",
		`filter="сервис"=~"db?"&expired=false`: "-",
		"filter=job=~.*&expired=false":         "p pending, a active",
		"filter=alertname=~Do.*":               "p pending, a active",
		"filter=alertname=~D.*&filter=job!=db": "a active",
		`filter=job=""`:                        "a active",
		`filter=job!=""`:                       "p pending, e expired",
		"filter=job!~d.":                       "a active, e expired",
	} {
		var q url.Values = map[string][]string{}
		for part := range strings.SplitSeq(filter, "&") {
			if name, text, ok := strings.Cut(part, "="); ok {
				q.Add(name, text)
			}
		}
		rec := w.call("machine:read", http.MethodGet, "/api/v2/silences?"+q.Encode(), "")
		if want == "" {
			require.Equal(t, http.StatusBadRequest, rec.Code)
			_, message, _ := problem(t, rec)
			require.Contains(t, message, "filter: ")
			continue
		}
		var all []struct {
			ID     string
			Status struct{ State string }
		}
		require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &all), "%s", rec.Body)
		got := make([]string, len(all))
		for i, s := range all {
			got[i] = s.ID + " " + s.Status.State
		}
		require.Equal(t, strings.TrimPrefix(want, "-"), strings.Join(got, ", "), filter)
	}
	require.Contains(t, w.call("machine:read", http.MethodGet, "/api/v2/silence/p", "").Body.String(), `"status":{"state":"pending"}`)
	require.Equal(t, http.StatusNotFound, w.call("machine:read", http.MethodGet, "/api/v2/silence/x", "").Code)
	rec := w.call("support", http.MethodDelete, "/api/v2/silence/a", "")
	require.Equal(t, http.StatusOK, rec.Code)
	require.Empty(t, rec.Body.String())
	require.Equal(t, []string{"expire a"}, w.done())
	require.Equal(t, http.StatusNotFound, w.call("support", http.MethodDelete, "/api/v2/silence/x", "").Code)
}

// peer returns the path of a program that the test talks to. It skips the test
// when the program is missing, and fails it where none may be.
func peer(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil && os.Getenv("WATCHBILL_REQUIRE_PEERS") == "" {
		t.Skipf("%s is not installed", name)
	}
	require.NoError(t, err)
	return path
}

// The silence commands of Alertmanager's own tool work, with a token.
func TestAmtool(t *testing.T) {
	t.Parallel()
	program := peer(t, "amtool")
	w := setUp(t)
	srv := httptest.NewServer(w.server.Handler())
	t.Cleanup(srv.Close)
	dir := t.TempDir()
	_, token, _ := strings.Cut(w.headers["support"], " ")
	files := map[string]string{
		"bearer.yml": "authorization: {type: Bearer, credentials: " + token + "}\n",
		"basic.yml":  "basic_auth: {username: me, password: " + token + "}\n",
		"none.yml":   "{}\n",
	}
	for name, text := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	run := func(login string, args ...string) (string, error) {
		c := exec.CommandContext(t.Context(), program, append([]string{"--alertmanager.url", srv.URL, "--http.config.file", filepath.Join(dir, login)}, args...)...)
		c.Env = append(os.Environ(), "HOME="+dir)
		var stderr bytes.Buffer
		c.Stderr = &stderr
		out, err := c.Output()
		t.Logf("amtool %s\n%s%s", strings.Join(args, " "), out, &stderr)
		return strings.TrimSpace(string(out)), err
	}
	for _, login := range []string{"bearer.yml", "basic.yml"} {
		id, err := run(login, "silence", "add", "alertname=x", `job=~"d.*"`, "-c", "why", "-d", "1h")
		require.NoError(t, err)
		s, err := w.Silence(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, []watchbill.Matcher{matcher("alertname", "x"), {Name: "job", Value: "d.*", IsRegex: true, IsEqual: true}}, s.Matchers)
		require.Equal(t, time.Hour, s.EndsAt.Sub(s.StartsAt))
		require.Equal(t, "support", s.CreatedBy)

		for query, found := range map[string]bool{"alertname=x": true, "alertname=~[a-z]": true, "alertname=y": false} {
			out, err := run(login, "silence", "query", query)
			require.NoError(t, err)
			require.Equal(t, found, strings.Contains(out, id), query)
		}
		_, err = run(login, "silence", "expire", id)
		require.NoError(t, err)
		out, err := run(login, "silence", "query")
		require.NoError(t, err)
		require.NotContains(t, out, id)
		out, err = run(login, "silence", "query", "--expired")
		require.NoError(t, err)
		require.Contains(t, out, id)
		_, err = run(login, "alert", "add", "foo=bar")
		require.NoError(t, err)
	}
	before := len(w.done())
	_, err := run("none.yml", "silence", "add", "alertname=x", "-c", "why", "-d", "1h")
	require.Error(t, err)
	require.Len(t, w.done(), before)
}

func TestApproveAndMeasureSilences(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	rec := w.call("support", http.MethodPost, "/api/ops/v1/silences/x/approve", "")
	require.Equal(t, http.StatusOK, rec.Code, "%s", rec.Body)
	require.Contains(t, rec.Body.String(), `"approvedBy":"support"`)
	require.Equal(t, http.StatusForbidden, w.call("security", http.MethodPost, "/api/ops/v1/silences/x/approve", "").Code)
	rec = w.call("machine:read", http.MethodPost, "/api/ops/v1/silences/reach", `{"matchers":[{"name":"a","value":"x"}],"endsAt":"2027-01-01T00:00:00Z"}`)
	require.Equal(t, http.StatusOK, rec.Code, "%s", rec.Body)
	require.JSONEq(t, `{"now":1,"week":2,"security":0}`, rec.Body.String())
	require.Equal(t, http.StatusBadRequest, w.call("support", http.MethodPost, "/api/ops/v1/silences/reach", `[]`).Code)
}
