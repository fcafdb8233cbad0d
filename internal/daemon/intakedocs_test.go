package daemon_test

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"watchbill/internal/auth"
)

// The configurations of docs/intake.md load together, and each curl in it to the API
// is accepted.
func TestTheExamplesOfIntakeWork(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/intake.md")
	require.NoError(t, err)
	var sources []string
	for _, entry := range regexp.MustCompile(`(?m)^(?:sources: \[|  - )(\{name: .*?\})\]?$`).FindAllStringSubmatch(string(page), -1) {
		sources = append(sources, "  - "+entry[1])
	}
	require.GreaterOrEqual(t, len(sources), 8)
	d, addr := onNetwork(t, "mail: {listen: 127.0.0.1:0}\nsources:\n"+strings.Join(sources, "\n")+"\n")

	calls := regexp.MustCompile(`(?s)curl [^\n]*?http://127\.0\.0\.1:9095(\S+).*?-d '(.*?)'\n`).FindAllStringSubmatch(string(page), -1)
	require.GreaterOrEqual(t, len(calls), 8)
	tokens := map[string]string{}
	for _, c := range calls {
		name := regexp.MustCompile(`cat ([\w-]+)\.token`).FindStringSubmatch(c[0])[1]
		spec := auth.Spec{Name: name, Scopes: []auth.Scope{auth.ScopeHooks}, CreatedBy: "test"}
		switch name {
		case "sidekick":
			spec.Scopes = []auth.Scope{auth.ScopeAlerts}
		case "ana":
			spec = auth.Spec{Name: name, Person: "frank", CreatedBy: "test"}
		}
		if tokens[name] == "" {
			secret, _, err := d.CreateToken(t.Context(), spec)
			require.NoError(t, err)
			tokens[name] = secret.Reveal()
		}
		// What a shell makes of it.
		body := strings.ReplaceAll(c[2], `'"$(cat `+name+`.token)"'`, tokens[name])
		path, secret := strings.CutSuffix(c[1], "$(cat")
		if secret {
			path += tokens[name]
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+path, strings.NewReader(body))
		require.NoError(t, err)
		if strings.Contains(c[0], "Authorization: Bearer") {
			req.Header.Set("Authorization", "Bearer "+tokens[name])
		}
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		_ = res.Body.Close()
		require.Less(t, res.StatusCode, 300, "%s", c[0])
	}
}
