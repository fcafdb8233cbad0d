package dashboards

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

type source struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

type grid struct{ H, W, X, Y int }

type query struct {
	RefID        string `json:"refId"`
	Datasource   source `json:"datasource"`
	Expr         string `json:"expr"`
	EditorMode   string `json:"editorMode"`
	Range        bool   `json:"range"`
	Instant      bool   `json:"instant"`
	LegendFormat string `json:"legendFormat"`
	Format       string `json:"format"`
}

type panel struct {
	Type        string  `json:"type"`
	Title       string  `json:"title"`
	Description string  `json:"description"`
	Datasource  source  `json:"datasource"`
	GridPos     grid    `json:"gridPos"`
	Targets     []query `json:"targets"`
	FieldConfig struct {
		Defaults struct {
			Unit       string          `json:"unit"`
			Min        *float64        `json:"min"`
			Max        *float64        `json:"max"`
			Decimals   *int            `json:"decimals"`
			Custom     json.RawMessage `json:"custom"`
			Color      json.RawMessage `json:"color"`
			Mappings   json.RawMessage `json:"mappings"`
			Thresholds json.RawMessage `json:"thresholds"`
		} `json:"defaults"`
		Overrides []json.RawMessage `json:"overrides"`
	} `json:"fieldConfig"`
	Options         json.RawMessage   `json:"options"`
	Transformations []json.RawMessage `json:"transformations"`
	Collapsed       bool              `json:"collapsed"`
	Panels          []json.RawMessage `json:"panels"`
}

type variable struct {
	Name       string          `json:"name"`
	Label      string          `json:"label"`
	Type       string          `json:"type"`
	Datasource source          `json:"datasource"`
	Definition string          `json:"definition"`
	Query      json.RawMessage `json:"query"`
	Regex      string          `json:"regex"`
	Hide       int             `json:"hide"`
	IncludeAll bool            `json:"includeAll"`
	AllValue   string          `json:"allValue"`
	Multi      bool            `json:"multi"`
	Refresh    int             `json:"refresh"`
	Sort       int             `json:"sort"`
	Current    json.RawMessage `json:"current"`
}

// dashboard has the fields that ours use, so that a slip in a name is found.
type dashboard struct {
	UID           string            `json:"uid"`
	Title         string            `json:"title"`
	Description   string            `json:"description"`
	Tags          []string          `json:"tags"`
	Editable      bool              `json:"editable"`
	GraphTooltip  int               `json:"graphTooltip"`
	SchemaVersion int               `json:"schemaVersion"`
	Version       int               `json:"version"`
	Refresh       string            `json:"refresh"`
	Timezone      string            `json:"timezone"`
	Time          map[string]string `json:"time"`
	Annotations   json.RawMessage   `json:"annotations"`
	Links         []json.RawMessage `json:"links"`
	Templating    struct {
		List []variable `json:"list"`
	} `json:"templating"`
	Panels []panel `json:"panels"`
}

func all(t *testing.T) map[string]dashboard {
	t.Helper()
	paths, err := fs.Glob(files, "grafana/dashboards/*.json")
	require.NoError(t, err)
	out := map[string]dashboard{}
	for _, path := range paths {
		content, err := files.ReadFile(path)
		require.NoError(t, err)
		d := json.NewDecoder(bytes.NewReader(content))
		d.DisallowUnknownFields()
		var b dashboard
		require.NoError(t, d.Decode(&b), path)
		require.Equal(t, "grafana/dashboards/"+b.UID+".json", path, "a dashboard is named by its uid")
		out[b.UID] = b
	}
	require.Len(t, out, 5)
	return out
}

var ours = source{Type: "prometheus", UID: "${datasource}"}

// TestDashboardsAreWellFormed holds what Grafana and its linter ask for.
func TestDashboardsAreWellFormed(t *testing.T) {
	t.Parallel()
	titles := map[string]bool{}
	for uid, d := range all(t) {
		require.LessOrEqual(t, len(uid), 40)
		require.False(t, titles[d.Title], "%s: another dashboard has its title", uid)
		titles[d.Title] = true
		require.NotEmpty(t, d.Description, uid)
		require.Contains(t, d.Tags, "watchbill")
		require.Len(t, d.Links, 1, "%s: a link to the others", uid)
		require.False(t, d.Editable, uid)
		require.Equal(t, 39, d.SchemaVersion)
		require.Equal(t, variable{
			Name: "datasource", Label: "Data source", Type: "datasource", Query: json.RawMessage(`"prometheus"`), Refresh: 1, Current: json.RawMessage("{}"),
		}, d.Templating.List[0])
		known := map[string]bool{"datasource": true}
		for _, v := range d.Templating.List[1:] {
			require.Equal(t, ours, v.Datasource, "%s: $%s", uid, v.Name)
			require.NotEmpty(t, v.Label)
			require.Equal(t, 2, v.Refresh, "%s: $%s is asked for again when the time changes", uid, v.Name)
			known[v.Name] = true
		}
		panels := map[string]bool{}
		for i, p := range d.Panels {
			at := uid + ": " + p.Title
			require.NotEmpty(t, p.Title, uid)
			require.False(t, panels[p.Title], "%s: there are two", at)
			panels[p.Title] = true
			onGrid(t, at, p, d.Panels[:i])
			if p.Type == "row" {
				require.Empty(t, p.Targets, at)
				continue
			}
			require.Contains(t, []string{"stat", "timeseries", "bargauge", "table"}, p.Type, at)
			require.Regexp(t, `^[A-Z0-9].*\.$`, p.Description, at)
			require.NotEmpty(t, p.FieldConfig.Defaults.Unit, at)
			require.Equal(t, ours, p.Datasource, at)
			require.NotEmpty(t, p.Targets, at)
			for n, q := range p.Targets {
				require.Equal(t, string(rune('A'+n)), q.RefID, at)
				require.Equal(t, ours, q.Datasource, at)
				require.NotEqual(t, q.Range, q.Instant, at)
				require.True(t, p.Type != "timeseries" || q.Range && q.LegendFormat != "", "%s: a line has a legend", at)
				for _, m := range regexp.MustCompile(`\$\{?(\w+)`).FindAllStringSubmatch(q.Expr, -1) {
					require.True(t, known[m[1]] || slices.Contains([]string{"__rate_interval", "__range"}, m[1]), "%s: $%s is not defined", at, m[1])
				}
			}
		}
	}
}

// onGrid holds that a panel is within Grafana's 24 columns and over no other.
func onGrid(t *testing.T, at string, p panel, others []panel) {
	t.Helper()
	g := p.GridPos
	require.True(t, g.W > 0 && g.H > 0 && g.X >= 0 && g.Y >= 0 && g.X+g.W <= 24, at)
	for _, o := range others {
		h := o.GridPos
		apart := g.X >= h.X+h.W || h.X >= g.X+g.W || g.Y >= h.Y+h.H || h.Y >= g.Y+g.H
		require.True(t, apart, "%s lies over %s", at, o.Title)
	}
}

// TestQueriesAreSound parses every query: counters are looked at by their
// increase only, and lines by an interval that Grafana fits to the scrapes.
func TestQueriesAreSound(t *testing.T) {
	t.Parallel()
	p := parser.NewParser(parser.Options{})
	n := 0
	for uid, d := range all(t) {
		for _, pan := range d.Panels {
			for _, q := range pan.Targets {
				at := uid + ": " + pan.Title + ": " + q.Expr
				n++
				expr, err := p.ParseExpr(strings.NewReplacer("$__rate_interval", "1m", "$__range", "6h").Replace(q.Expr))
				require.NoError(t, err, at)
				parser.Inspect(expr, func(node parser.Node, path []parser.Node) error {
					v, ok := node.(*parser.VectorSelector)
					if !ok || !strings.HasSuffix(v.Name, "_total") || v.Name == "watchbill_lease_expired_total" {
						return nil
					}
					require.True(t, slices.ContainsFunc(path, func(n parser.Node) bool {
						c, ok := n.(*parser.Call)
						return ok && (c.Func.Name == "rate" || c.Func.Name == "increase")
					}), "%s: %s is a counter", at, v.Name)
					return nil
				})
				for _, m := range regexp.MustCompile(`rate\([^\[\]]*\[([^\]]*)\]`).FindAllStringSubmatch(q.Expr, -1) {
					require.Equal(t, "$__rate_interval", m[1], at)
				}
			}
		}
	}
	require.Greater(t, n, 60)
}

// TestProvisioning holds Grafana's provisioning files to the documented fields.
func TestProvisioning(t *testing.T) {
	t.Parallel()
	strict := func(name string, into any) {
		content, err := files.ReadFile("grafana/provisioning/" + name + "/watchbill.yaml")
		require.NoError(t, err)
		d := yaml.NewDecoder(bytes.NewReader(content))
		d.KnownFields(true)
		require.NoError(t, d.Decode(into), name)
	}
	var sources struct {
		Version     int `yaml:"apiVersion"`
		Datasources []struct {
			Name, UID, Type, Access, URL string
			BasicAuth                    bool              `yaml:"basicAuth"`
			BasicAuthUser                string            `yaml:"basicAuthUser"`
			SecureJSONData               map[string]string `yaml:"secureJsonData"`
			JSONData                     map[string]any    `yaml:"jsonData"`
			Editable                     bool
		}
	}
	strict("datasources", &sources)
	require.Equal(t, 1, sources.Version)
	kinds := map[string]string{}
	for _, s := range sources.Datasources {
		kinds[s.UID] = s.Type
		require.Equal(t, "proxy", s.Access)
		require.Equal(t, "$WATCHBILL_URL", s.URL)
		require.True(t, s.BasicAuth)
		require.Equal(t, map[string]string{"basicAuthPassword": "$WATCHBILL_TOKEN"}, s.SecureJSONData)
	}
	require.Equal(t, map[string]string{"watchbill": "prometheus", "watchbill-alerts": "alertmanager"}, kinds)
	require.Equal(t, "watchbill-alerts", sources.Datasources[0].JSONData["alertmanagerUid"])
	require.Equal(t, "prometheus", sources.Datasources[1].JSONData["implementation"])

	var providers struct {
		Version   int `yaml:"apiVersion"`
		Providers []struct {
			Name            string
			Org             int `yaml:"orgId"`
			Folder, Type    string
			FolderUID       string            `yaml:"folderUid"`
			DisableDeletion bool              `yaml:"disableDeletion"`
			AllowUIUpdates  bool              `yaml:"allowUiUpdates"`
			Interval        int               `yaml:"updateIntervalSeconds"`
			Options         map[string]string `yaml:"options"`
		}
	}
	strict("dashboards", &providers)
	require.Len(t, providers.Providers, 1)
	require.Equal(t, "file", providers.Providers[0].Type)
	require.Equal(t, []string{"path"}, slices.Collect(maps.Keys(providers.Providers[0].Options)))
}
