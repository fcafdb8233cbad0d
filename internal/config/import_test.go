package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	amconfig "github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/dispatch"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"watchbill"
	"watchbill/router"
)

// carried imports a configuration and loads what comes of it.
func carried(t require.TestingT, dir string, text []byte) (*Import, *Config) {
	im, err := ImportAlertmanager("alertmanager.yml", text)
	require.NoError(t, err)
	path := filepath.Join(dir, "watchbill.yaml")
	require.NoError(t, os.WriteFile(path, im.Config, 0o600))
	cfg, err := Load(path, nil)
	require.NoError(t, err, string(im.Config))
	return im, cfg
}

func TestImportAlertmanager(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/import/alertmanager.yml")
	require.NoError(t, err)
	im, cfg := carried(t, t.TempDir(), text)
	golden(t, "testdata/import/watchbill.yaml", string(im.Config))
	var b strings.Builder
	for _, n := range im.Notes {
		fmt.Fprintf(&b, "%s | %s | %s | %s\n", n.Line, n.What, n.Means, n.Do)
	}
	golden(t, "testdata/import/notes.txt", b.String())
	require.Equal(t, 10*time.Minute, cfg.Router.ResolveTimeout)
	require.Len(t, cfg.Notify.Receivers, 7)
	require.Equal(t, watchbill.RoleID("ops-team"), cfg.Matrix.Manager)

	// An alert that was held back at night by its route is here too, by its rule.
	r, err := router.New(cfg.Router)
	require.NoError(t, err)
	decide := func(l watchbill.Labels, hour int) router.Verdict {
		return r.Decide(router.Input{Alert: watchbill.Alert{Labels: l}, Now: time.Date(2026, 12, 1, hour, 30, 0, 0, time.UTC)})
	}
	chat := watchbill.Labels{"alertname": "Slow", "team": "db", "severity": "warning"}
	require.Equal(t, []watchbill.RoleID{"db-chat"}, decide(chat, 10).Roles)
	require.False(t, decide(chat, 10).Muted())
	require.True(t, decide(chat, 23).Muted())
	require.Equal(t, "muted in the time interval always", decide(watchbill.Labels{"alertname": "Watchdog", "severity": "none"}, 10).MuteReason())
	require.Equal(t, []watchbill.RoleID{"audit", "web-pager"}, decide(watchbill.Labels{"alertname": "Down", "team": "web", "severity": "critical"}, 10).Roles)
	require.Equal(t, []watchbill.RoleID{"ops-team"}, decide(watchbill.Labels{"alertname": "Odd"}, 10).Roles)
	require.Equal(t, watchbill.Sev3, decide(watchbill.Labels{"severity": "info"}, 10).Severity)
}

func TestImportMistakes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "no route provided", "route: {receiver: x}": "undefined receiver", "a: [": "not a configuration of Alertmanager",
		"route: {receiver: a, group_wait: soon}\nreceivers: [{name: a}]": "not a valid duration",
	} {
		_, err := ImportAlertmanager("am.yml", []byte(text))
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "amtool check-config am.yml")
	}
	var b strings.Builder
	b.WriteString("receivers: [{name: r, webhook_configs: [{url: 'http://x'}]}]\nroute:\n  receiver: r\n  routes:\n")
	for i := range 12 {
		fmt.Fprintf(&b, "    - {receiver: r, continue: true, matchers: ['a=\"%d\"']}\n", i)
	}
	_, err := ImportAlertmanager("am.yml", []byte(b.String()))
	require.ErrorContains(t, err, "make more than 1000 rules, because many continue")
}

// A root that drops what nothing else wants, and names that are ours.
func TestImportOddNames(t *testing.T) {
	t.Parallel()
	im, cfg := carried(t, t.TempDir(), []byte(`
route: {receiver: "null", routes: [{receiver: terminal, matchers: [a=b]}, {receiver: "a/b", matchers: [a=c]}, {receiver: "a b", matchers: [a=d]}]}
receivers:
  - name: "null"
  - {name: terminal, webhook_configs: [{url: 'http://t'}]}
  - {name: a/b, webhook_configs: [{url: 'http://t'}]}
  - {name: a b, webhook_configs: [{url: 'http://t'}]}
`))
	require.Equal(t, watchbill.RoleID("manager"), cfg.Matrix.Manager)
	r, err := router.New(cfg.Router)
	require.NoError(t, err)
	decide := func(v string) router.Verdict {
		return r.Decide(router.Input{Alert: watchbill.Alert{Labels: watchbill.Labels{"a": v}}, Now: time.Now()})
	}
	require.True(t, decide("x").Muted())
	require.Equal(t, []watchbill.RoleID{"terminal"}, decide("b").Roles)
	require.Equal(t, []watchbill.RoleID{"a-b"}, decide("c").Roles)
	require.Equal(t, []watchbill.RoleID{"a-b-2"}, decide("d").Roles)
	require.Contains(t, string(im.Config), "name: terminal-alertmanager")
	require.True(t, slices.ContainsFunc(im.Notes, func(n Note) bool { return strings.Contains(n.Means, "called terminal-alertmanager") }))
}

// routes writes a random tree of routes.
func routes(t *rapid.T, b *strings.Builder, depth int, indent string) {
	for i := range rapid.IntRange(1, 3).Draw(t, "routes") {
		fmt.Fprintf(b, "%s- receiver: %s\n%s  continue: %v\n", indent, rapid.SampledFrom([]string{"r1", "r2", "r3", "quiet"}).Draw(t, "receiver"),
			indent, rapid.IntRange(0, 2).Draw(t, "continue") == 0)
		var ms []string
		for range rapid.IntRange(0, 2).Draw(t, "matchers") {
			ms = append(ms, fmt.Sprintf(`'%s%s"%s"'`, rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "label"),
				rapid.SampledFrom([]string{"=", "!=", "=~", "!~"}).Draw(t, "operator"), rapid.SampledFrom([]string{"", "1", "2", "1|2", ".+"}).Draw(t, "value")))
		}
		fmt.Fprintf(b, "%s  matchers: [%s]\n", indent, strings.Join(ms, ", "))
		if i == 0 && rapid.Bool().Draw(t, "old") {
			fmt.Fprintf(b, "%s  match: {a: \"1\"}\n%s  match_re: {b: \"1|2\"}\n", indent, indent)
		}
		if depth > 0 && rapid.Bool().Draw(t, "deeper") {
			fmt.Fprintf(b, "%s  routes:\n", indent)
			routes(t, b, depth-1, indent+"    ")
		}
	}
}

// Whatever the tree of routes, each alert goes to the receivers that Alertmanager's
// own dispatcher would have used, and to no other.
func TestImportRoutesAsAlertmanagerDoes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		var b strings.Builder
		b.WriteString("receivers:\n  - name: quiet\n")
		for i := range 4 {
			fmt.Fprintf(&b, "  - {name: r%d, webhook_configs: [{url: 'http://r%d.test'}]}\n", i, i)
		}
		fmt.Fprintf(&b, "route:\n  receiver: %s\n  routes:\n", rapid.SampledFrom([]string{"r0", "quiet"}).Draw(t, "root"))
		routes(t, &b, 2, "    ")
		theirs, err := amconfig.Load(b.String())
		require.NoError(t, err, b.String())
		root := dispatch.NewRoute(theirs.Route, nil)
		if _, err := ImportAlertmanager("am.yml", []byte(b.String())); err != nil {
			require.ErrorContains(t, err, "make more than 1000 rules")
			return
		}
		_, cfg := carried(t, dir, []byte(b.String()))
		ours, err := router.New(cfg.Router)
		require.NoError(t, err)
		for n := range 4 * 4 * 4 {
			l := watchbill.Labels{}
			set := model.LabelSet{}
			for i, name := range []string{"a", "b", "c"} {
				if v := n >> (2 * i) & 3; v > 0 {
					l[name], set[model.LabelName(name)] = fmt.Sprint(v), model.LabelValue(fmt.Sprint(v))
				}
			}
			var want, got []string
			for _, r := range root.Match(set) {
				if r.RouteOpts.Receiver != "quiet" && !slices.Contains(want, r.RouteOpts.Receiver) {
					want = append(want, r.RouteOpts.Receiver)
				}
			}
			v := ours.Decide(router.Input{Alert: watchbill.Alert{Labels: l}, Now: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)})
			for _, role := range v.Roles {
				got = append(got, string(role))
			}
			if v.Muted() {
				got = nil
			}
			slices.Sort(want)
			slices.Sort(got)
			require.Equal(t, want, got, "%v\n%s\n%s", l, b.String(), cfg.Path)
		}
	})
}

func FuzzImportAlertmanager(f *testing.F) {
	text, err := os.ReadFile("testdata/import/alertmanager.yml")
	require.NoError(f, err)
	f.Add(string(text))
	f.Add("route: {receiver: a}\nreceivers: [{name: a}]")
	f.Add("route: {receiver: a, routes: [&x {receiver: a}, *x]}\nreceivers: [{name: a, webhook_configs: [{url: 'http://x'}]}]")
	f.Fuzz(func(t *testing.T, text string) {
		im, err := ImportAlertmanager("am.yml", []byte(text))
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		require.Contains(t, string(im.Config), "external_url:")
		require.NotEmpty(t, im.Notes)
	})
}
