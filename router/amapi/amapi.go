// Package amapi answers the reading half of Alertmanager's API v2 from what the
// router decides, in Alertmanager's own models (api/v2/openapi.yaml).
//
// A receiver, in this API, is a role of the responsibility matrix: it is to roles
// that alerts are routed. Which person and which contact method that is depends
// on the instant, and `watchbill explain` says it.
package amapi

import (
	"encoding/json"
	"log/slog"
	"net/url"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-openapi/strfmt"
	"github.com/prometheus/alertmanager/api/v2/models"
	"github.com/prometheus/alertmanager/matcher/compat"
	"github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/common/model"

	"watchbill"
	"watchbill/router"
)

// maxFilters bounds the matchers of one request.
const maxFilters = 64

// Query is what a caller wants to see of the alerts.
type Query struct {
	Filter                               labels.Matchers
	Receiver                             *regexp.Regexp // nil: any
	Active, Silenced, Inhibited, Unmuted bool           // Unmuted leaves out what time intervals and maintenance mute
}

// ParseMatchers reads matchers as Alertmanager does: in the syntax that knows
// every UTF-8 name, and where that fails in the classic one.
func ParseMatchers(texts []string) (labels.Matchers, error) {
	if len(texts) > maxFilters {
		return nil, watchbill.Invalidf("ask in several requests", "filter: %d are over the limit of %d", len(texts), maxFilters)
	}
	parse := compat.FallbackMatcherParser(slog.New(slog.DiscardHandler))
	var all labels.Matchers
	for _, text := range texts {
		m, err := parse(text, "api")
		if err != nil {
			return nil, watchbill.Invalidf(`write it as name="value", with =, !=, =~ or !~`, "filter: %q: %v", text, err)
		}
		all = append(all, m)
	}
	return all, nil
}

// ParseQuery reads the parameters filter, receiver, active, silenced, inhibited,
// unprocessed (which is always empty here) and muted.
func ParseQuery(v url.Values) (q Query, err error) {
	if q.Filter, err = ParseMatchers(v["filter"]); err != nil {
		return q, err
	}
	if text := v.Get("receiver"); text != "" {
		if q.Receiver, err = regexp.Compile("^(?:" + text + ")$"); err != nil {
			return q, watchbill.Invalidf("write a regular expression of RE2", "receiver: %v", err)
		}
	}
	muted := true
	for name, into := range map[string]*bool{"active": &q.Active, "silenced": &q.Silenced, "inhibited": &q.Inhibited, "muted": &muted} {
		*into = true
		if text := v.Get(name); text != "" {
			if *into, err = strconv.ParseBool(text); err != nil {
				return q, watchbill.Invalidf("use true or false", "%s: %q is neither", name, text)
			}
		}
	}
	q.Unmuted = !muted
	return q, nil
}

// Matches reports whether all matchers match a set of labels.
func Matches(filter labels.Matchers, l watchbill.Labels) bool {
	return filter.Matches(router.LabelSet(l))
}

// Decided is an alert that fires, with the verdict on it.
type Decided struct {
	watchbill.Alert
	Verdict router.Verdict
}

// Board is everything that fires at an instant.
type Board struct {
	Router   *router.Router
	Silences *router.Silences
	Now      time.Time
	Open     map[string]watchbill.Incident // incidents by group key, for [router.Router.Behind]
}

// Select decides about the alerts that fire and keeps those that a query asks
// for, in their order.
func (b Board) Select(active []watchbill.Alert, q Query) []Decided {
	sources := b.Router.Sources(active, b.Now)
	out := []Decided{}
	for _, a := range active {
		if a.Resolved(b.Now) || !q.Filter.Matches(router.LabelSet(a.Labels)) {
			continue
		}
		v := b.Router.Decide(router.Input{Alert: a, Now: b.Now, Active: sources.For(a), Silences: b.Silences, Open: b.Router.Behind(a, b.Open)})
		silenced, inhibited, muted := by(v, router.MuteSilence), by(v, router.MuteInhibited), others(v)
		switch {
		case !q.Active && !v.Muted(), !q.Silenced && len(silenced) > 0, !q.Inhibited && len(inhibited) > 0, q.Unmuted && len(muted) > 0:
			continue
		case q.Receiver != nil && !slices.ContainsFunc(v.Roles, func(r watchbill.RoleID) bool { return q.Receiver.MatchString(string(r)) }):
			continue
		}
		out = append(out, Decided{a, v})
	}
	return out
}

func by(v router.Verdict, kind router.MuteKind) []string {
	ids := []string{}
	for _, m := range v.Mutes {
		if m.Kind == kind {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

// others are the time intervals, the maintenance and whatever else mutes.
func others(v router.Verdict) []string {
	ids := []string{}
	for _, m := range v.Mutes {
		if m.Kind != router.MuteSilence && m.Kind != router.MuteInhibited {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

// Alerts answers GET /api/v2/alerts.
func Alerts(all []Decided) models.GettableAlerts {
	out := models.GettableAlerts{}
	for _, d := range all {
		out = append(out, gettable(d))
	}
	return out
}

func gettable(d Decided) *models.GettableAlert {
	starts, ends, updated := strfmt.DateTime(d.StartsAt), strfmt.DateTime(d.EndsAt), strfmt.DateTime(d.UpdatedAt)
	fp, state := string(d.Fingerprint()), models.AlertStatusStateActive
	if d.Verdict.Muted() {
		state = models.AlertStatusStateSuppressed
	}
	a := &models.GettableAlert{
		Alert:       models.Alert{GeneratorURL: strfmt.URI(d.GeneratorURL), Labels: models.LabelSet(d.Labels)},
		Annotations: models.LabelSet(d.Annotations), StartsAt: &starts, EndsAt: &ends, UpdatedAt: &updated, Fingerprint: &fp,
		Receivers: []*models.ReceiverReference{},
		Status: &models.AlertStatus{
			State: &state, SilencedBy: by(d.Verdict, router.MuteSilence), InhibitedBy: by(d.Verdict, router.MuteInhibited), MutedBy: others(d.Verdict),
		},
	}
	if a.Annotations == nil {
		a.Annotations = models.LabelSet{}
	}
	for _, role := range d.Verdict.Roles {
		a.Receivers = append(a.Receivers, &models.ReceiverReference{Name: new(string(role))})
	}
	return a
}

// Groups answers GET /api/v2/alerts/groups: one group for each group key, under
// the first of its roles that the query asks for.
func (b Board) Groups(all []Decided, q Query) models.AlertGroups {
	groups, keys := map[string]*models.AlertGroup{}, []string{}
	for _, d := range all {
		g := groups[d.Verdict.Key]
		if g == nil {
			g = &models.AlertGroup{
				Labels: models.LabelSet(b.Router.GroupLabels(d.Alert, d.Verdict)), RouteLabels: models.LabelSet{},
				Receiver: &models.ReceiverReference{Name: new(first(d.Verdict.Roles, q.Receiver))},
			}
			groups[d.Verdict.Key] = g
			keys = append(keys, d.Verdict.Key)
		}
		g.Alerts = append(g.Alerts, gettable(d))
	}
	slices.Sort(keys)
	out := models.AlertGroups{}
	for _, key := range keys {
		out = append(out, groups[key])
	}
	return out
}

func first(roles []watchbill.RoleID, want *regexp.Regexp) string {
	for _, r := range roles {
		if want == nil || want.MatchString(string(r)) {
			return string(r)
		}
	}
	return ""
}

// Receivers answers GET /api/v2/receivers: the roles of the matrix.
func Receivers(r *router.Router) []*models.Receiver {
	out := []*models.Receiver{}
	for _, role := range r.Config().Matrix.Roles {
		out = append(out, &models.Receiver{Name: new(string(role.ID)), Labels: models.LabelSet{}})
	}
	return out
}

// Status answers GET /api/v2/status: no cluster, and the routing as a
// configuration that Alertmanager's own tools can read.
func Status(r *router.Router, version string, since time.Time) (*models.AlertmanagerStatus, error) {
	original, err := Config(r)
	if err != nil {
		return nil, err
	}
	up, disabled := strfmt.DateTime(since), models.ClusterStatusStatusDisabled
	return &models.AlertmanagerStatus{
		Uptime: &up, Config: &models.AlertmanagerConfig{Original: &original},
		Cluster: &models.ClusterStatus{Status: &disabled, Peers: []*models.PeerStatus{}},
		VersionInfo: &models.VersionInfo{
			Version: &version, Revision: new(""), Branch: new(""), BuildUser: new(""), BuildDate: new(""), GoVersion: new(runtime.Version()),
		},
	}, nil
}

type route struct {
	Receiver string   `json:"receiver"`
	GroupBy  []string `json:"group_by,omitempty"`
	Wait     string   `json:"group_wait,omitempty"`
	Matchers []string `json:"matchers,omitempty"`
	Continue bool     `json:"continue,omitempty"`
	Routes   []route  `json:"routes,omitempty"`
}

// Config writes the routing in the form of an alertmanager.yml, as JSON, which is
// YAML: each role is a receiver, each rule of activities a route to its roles.
func Config(r *router.Router) (string, error) {
	cfg := r.Config()
	root := route{GroupBy: cfg.GroupBy, Wait: "0s"}
	add := func(activity watchbill.ActivityID, matchers []string) {
		roles := cfg.Matrix.Responsible(activity)
		for i, role := range roles {
			root.Routes = append(root.Routes, route{Receiver: string(role), Matchers: matchers, Continue: i < len(roles)-1})
		}
	}
	for _, rule := range cfg.Activities {
		texts := make([]string, len(rule.Match))
		for i, m := range rule.Match {
			texts[i] = strconv.Quote(m.Name) + m.Type.String() + strconv.Quote(m.Value)
			if model.LegacyValidation.IsValidLabelName(m.Name) { // which older tools read too
				texts[i] = m.String()
			}
		}
		add(rule.Activity, texts)
	}
	add(watchbill.ActivityFirstLine, nil)
	root.Receiver = first(cfg.Matrix.Responsible(watchbill.ActivityFirstLine), nil)
	if root.Receiver == "" {
		root.Receiver = string(cfg.Matrix.Manager)
	}
	type receiver struct {
		Name string `json:"name"`
	}
	var receivers []receiver
	for _, role := range cfg.Matrix.Roles {
		receivers = append(receivers, receiver{string(role.ID)})
	}
	var text strings.Builder
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(map[string]any{
		"global": map[string]string{"resolve_timeout": cfg.ResolveTimeout.String()}, "route": root, "receivers": receivers,
	})
	return text.String(), err
}
