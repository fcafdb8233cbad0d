package watchbill_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"watchbill"
)

func TestIncidentID(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		id := watchbill.IncidentID(rapid.Int64Range(1, 1<<62).Draw(t, "id"))
		for _, s := range []string{id.String(), strings.ToLower(id.String()), strings.TrimPrefix(id.String(), "INC-")} {
			got, err := watchbill.ParseIncidentID(s)
			require.NoError(t, err)
			require.Equal(t, id, got)
		}
	})
	for _, bad := range []string{"", "0", "-1", "+1", "INC-", "INC-x", "INC", "14 2", "99999999999999999999"} {
		_, err := watchbill.ParseIncidentID(bad)
		require.Error(t, err, bad)
	}
}

// An event's hash is of what encoding/json makes of it, whatever is in it: chains
// that were written before, and by others, verify.
func TestEventSumIsOfItsJSON(t *testing.T) {
	t.Parallel()
	text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[ -~]{0,80}`), rapid.SampledFrom([]string{"", `{job="db"} <b> & "c:\\d"`, "…", "\x7f\x00\n", "\xff", "\u2028"}))
	rapid.Check(t, func(t *rapid.T) {
		e := watchbill.Event{
			Incident: watchbill.IncidentID(rapid.Int64().Draw(t, "incident")), Seq: rapid.Int64().Draw(t, "seq"),
			At:   time.Unix(rapid.Int64Range(-1<<37, 1<<38).Draw(t, "at"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")),
			Kind: watchbill.EventKind(text.Draw(t, "kind")), Actor: text.Draw(t, "actor"), Via: text.Draw(t, "via"),
			Text: text.Draw(t, "text"), Prev: text.Draw(t, "prev"), Hash: "not part of it",
		}
		if rapid.Bool().Draw(t, "data") {
			e.Data = json.RawMessage(rapid.SampledFrom([]string{
				`{"a": "<b>"}`, `{"a":"b c","d":[1,true,null]}`, `{"a":"\" "}`, `{"a":"\\" "}`, `{"a":"\\\\"}`, `{"a":"\\\\" }`, `{"é":1}`, ` {}`, `{"a":"x`, "{\"a\":\"\n\"}", `{"a":"\u003c"}`,
			}).Draw(t, "json"))
		}
		plain := e
		plain.Hash, plain.At = "", e.At.UTC()
		b, err := json.Marshal(plain)
		if err != nil {
			return // a year that JSON cannot have
		}
		sum := sha256.Sum256(b)
		require.Equal(t, hex.EncodeToString(sum[:]), e.Sum(), string(b))
	})
}

// An alert's fast encoding is encoding/json's, whatever is in it.
func TestAlertJSON(t *testing.T) {
	t.Parallel()
	text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[ -~]{0,40}`), rapid.SampledFrom([]string{"", `"\\"`, "<", "…", "\x7f", "\xff"}))
	plain := rapid.StringMatching(`[ -;=?-~]{0,40}`)
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SampledFrom([]*rapid.Generator[string]{text, plain, plain}).Draw(t, "kind")
		at := func(name string) time.Time {
			zone := time.FixedZone("", rapid.SampledFrom([]int{0, 3600, -34200, 7, 90000}).Draw(t, "zone"))
			return time.Unix(rapid.Int64Range(-1<<37, 1<<38).Draw(t, name), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).In(zone)
		}
		labels := rapid.OneOf(rapid.Just(map[string]string(nil)), rapid.MapOfN(text, text, 0, 5))
		a := watchbill.Alert{
			Labels: labels.Draw(t, "labels"), Annotations: labels.Draw(t, "annotations"), StartsAt: at("start"), EndsAt: at("end"), UpdatedAt: at("update"),
			GeneratorURL: text.Draw(t, "link"), Source: text.Draw(t, "source"),
		}
		if rapid.Bool().Draw(t, "flaps") {
			a.Flap = watchbill.Flap{Ends: []time.Time{at("flap")}, Clearing: rapid.Bool().Draw(t, "clearing")}
		}
		want, wrong := json.Marshal(a)
		got, err := a.JSON()
		if wrong != nil {
			require.EqualError(t, err, wrong.Error())
			return
		}
		require.NoError(t, err)
		require.Equal(t, string(want), got)
	})
	// A field that somebody adds must be written too.
	require.Equal(t, 8, reflect.TypeFor[watchbill.Alert]().NumField())
	require.Equal(t, 10, reflect.TypeFor[watchbill.Event]().NumField())
}

func TestLabelsText(t *testing.T) {
	t.Parallel()
	l := watchbill.Labels{"job": `d"b`, "alertname": "A", "severity": "page"}
	require.Equal(t, `{alertname="A", job="d\"b", severity="page"}`, l.String())
	require.Equal(t, `{job="d\"b"}`, l.Text(func(name, _ string) bool { return name == "job" }))
	require.Equal(t, `{}`, watchbill.Labels{}.String())
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.String().Draw(t, "value")
		require.Equal(t, fmt.Sprintf("{a=%q}", value), watchbill.Labels{"a": value}.String())
	})
}

func TestSeverityText(t *testing.T) {
	t.Parallel()
	for s := watchbill.Sev1; s <= watchbill.Sev4; s++ {
		b, err := json.Marshal(s)
		require.NoError(t, err)
		var back watchbill.Severity
		require.NoError(t, json.Unmarshal(b, &back))
		require.Equal(t, s, back)
	}
	require.True(t, watchbill.Sev1.HigherThan(watchbill.Sev2))
	require.True(t, watchbill.Sev4.HigherThan(0))
	require.False(t, watchbill.Severity(0).HigherThan(watchbill.Sev4))
	require.False(t, watchbill.Sev2.HigherThan(watchbill.Sev2))
	_, err := watchbill.ParseSeverity("sev5")
	require.Error(t, err)
}

// The fingerprint is the one that Prometheus and Alertmanager compute, so that
// ids match those that other tools show.
func TestFingerprintIsPrometheus(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		labels := watchbill.Labels(rapid.MapOf(rapid.String(), rapid.String()).Draw(t, "labels"))
		set := model.LabelSet{}
		for name, value := range labels {
			set[model.LabelName(name)] = model.LabelValue(value)
		}
		require.Equal(t, set.Fingerprint().String(), string(labels.Fingerprint()))
	})
}

func TestMay(t *testing.T) {
	t.Parallel()
	m := watchbill.Matrix{
		Manager: "manager",
		Roles:   []watchbill.Role{{ID: "manager"}, {ID: "deployment"}, {ID: "support"}},
		Marks: map[watchbill.ActivityID]map[watchbill.RoleID]watchbill.Mark{
			watchbill.ActivityChangeProduction: {"deployment": watchbill.First, "support": watchbill.OnRequest},
			watchbill.ActivityStates:           {"support": watchbill.Responsible},
		},
	}
	person := func(id string, dev bool, roles ...watchbill.RoleID) watchbill.Person {
		return watchbill.Person{ID: watchbill.PersonID(id), Roles: roles, Developer: dev}
	}
	cases := []struct {
		who    watchbill.Person
		what   watchbill.ActivityID
		ok     bool
		reason string
	}{
		{person("ana", false, "support"), watchbill.ActivityStates, true, "ana holds support, marked yes for states"},
		{person("ana", false, "support"), watchbill.ActivityChangeProduction, false, "change-production is for deployment; ana holds support"},
		{person("carla", false, "deployment"), watchbill.ActivityChangeProduction, true, "marked first"},
		{person("dan", true, "deployment"), watchbill.ActivityChangeProduction, false, "no developer acts on production"},
		{person("dan", true, "support"), watchbill.ActivityStates, true, "dan holds support"},
		{person("frank", false, "manager"), watchbill.ActivityStates, true, "answers for every activity"},
		{person("frank", false, "manager"), watchbill.ActivityChangeProduction, false, "frank holds manager"},
		{person("guest", false), watchbill.ActivityStates, false, "guest holds no role"},
		{person("guest", false), "unknown", false, "unknown is for nobody"},
	}
	for _, c := range cases {
		got := m.May(c.who, c.what, watchbill.Place{}, time.Time{})
		require.Equal(t, c.ok, got.OK, "%s %s", c.who.ID, c.what)
		require.Contains(t, got.Reason, c.reason)
	}
}

func TestResponsibleOrder(t *testing.T) {
	t.Parallel()
	m := watchbill.Matrix{
		Manager: "m", Roles: []watchbill.Role{{ID: "m"}, {ID: "a"}, {ID: "b"}, {ID: "c"}},
		Marks: map[watchbill.ActivityID]map[watchbill.RoleID]watchbill.Mark{
			"x": {"a": watchbill.Responsible, "b": watchbill.OnRequest, "c": watchbill.First},
			"y": {"a": watchbill.Responsible, "b": watchbill.Responsible},
		},
	}
	require.Equal(t, []watchbill.RoleID{"c", "a"}, m.Responsible("x"))
	require.Equal(t, []watchbill.RoleID{"c"}, m.FirstRoles("x"))
	require.Equal(t, []watchbill.RoleID{"a"}, m.FirstRoles("y"))
	require.Equal(t, []watchbill.RoleID{"m"}, m.FirstRoles("nothing"))
}

func TestPathRepeatsWithoutEnd(t *testing.T) {
	t.Parallel()
	p := watchbill.Path{Steps: []watchbill.PathStep{{}, {After: 5 * time.Minute}, {After: 15 * time.Minute}}, Repeat: 10 * time.Minute}
	want := []time.Duration{0, 5, 15, 25, 35, 45}
	for n, minutes := range want {
		step, after := p.Step(n)
		require.Equal(t, minutes*time.Minute, after)
		require.Equal(t, p.Steps[min(n, 2)], step)
	}
}

func chain(n int) (watchbill.Incident, []watchbill.Event) {
	inc := watchbill.Incident{ID: 7}
	var events []watchbill.Event
	for i := range n {
		events = append(events, inc.Record(watchbill.Event{
			At: time.Date(2026, 11, 21, 3, i, 0, 0, time.UTC), Kind: watchbill.EventNote, Actor: "ana", Text: "note <&> " + string(rune('a'+i)),
		}))
	}
	return inc, events
}

// Every way of altering a chain is found.
func TestVerifyChainFindsTampering(t *testing.T) {
	t.Parallel()
	inc, events := chain(5)
	require.NoError(t, watchbill.VerifyChain(events, inc.Head))
	alter := map[string]func([]watchbill.Event) []watchbill.Event{
		"text":     func(e []watchbill.Event) []watchbill.Event { e[2].Text = "x"; return e },
		"actor":    func(e []watchbill.Event) []watchbill.Event { e[0].Actor = "eve"; return e },
		"time":     func(e []watchbill.Event) []watchbill.Event { e[1].At = e[1].At.Add(time.Nanosecond); return e },
		"removed":  func(e []watchbill.Event) []watchbill.Event { return append(e[:1], e[2:]...) },
		"reorder":  func(e []watchbill.Event) []watchbill.Event { e[1], e[2] = e[2], e[1]; return e },
		"truncate": func(e []watchbill.Event) []watchbill.Event { return e[:4] },
		"empty":    func([]watchbill.Event) []watchbill.Event { return nil },
		"rehash":   func(e []watchbill.Event) []watchbill.Event { e[2].Text = "x"; e[2].Hash = e[2].Sum(); return e },
	}
	for name, f := range alter {
		_, fresh := chain(5)
		require.Error(t, watchbill.VerifyChain(f(fresh), inc.Head), name)
	}
}

// Decisions agree when nothing differs but which alert it is, when, and what came
// of it: a field that is added has to be compared.
func TestDecisionsAgree(t *testing.T) {
	t.Parallel()
	whole := watchbill.Decision{
		Alert: "a", At: time.Unix(1, 0), Ruling: watchbill.RulingOpened, Incident: 1, Labels: watchbill.Labels{"a": "b"},
		Service: "s", Environment: "e", Activity: "x", ActivityWhy: "y", Roles: []watchbill.RoleID{"r"}, Severity: watchbill.Sev2, SeverityWhy: "z", Group: "g",
		Mutes: []watchbill.Weighed{{Kind: "k", Why: "w", Line: "l", Until: time.Unix(2, 0)}}, Spared: []watchbill.Weighed{{Kind: "k"}},
	}
	require.True(t, whole.Agrees(whole))
	exempt := []string{"Alert", "At", "Ruling", "Incident", "Labels", "As"}
	typ := reflect.TypeFor[watchbill.Decision]()
	for i := range typ.NumField() {
		other := whole
		reflect.ValueOf(&other).Elem().Field(i).SetZero()
		require.Equal(t, slices.Contains(exempt, typ.Field(i).Name), whole.Agrees(other), typ.Field(i).Name)
	}
	for i := range reflect.TypeFor[watchbill.Weighed]().NumField() {
		other := whole
		other.Mutes = slices.Clone(whole.Mutes)
		reflect.ValueOf(&other.Mutes[0]).Elem().Field(i).SetZero()
		require.False(t, whole.Agrees(other), "mute field %d", i)
	}
	short := watchbill.Decision{Alert: "b", At: time.Unix(3, 0), Ruling: watchbill.RulingJoined, Incident: 1, As: 1}
	got := short.In(whole)
	require.True(t, got.Agrees(whole))
	require.Equal(t, watchbill.Fingerprint("b"), got.Alert)
	require.Equal(t, watchbill.RulingJoined, got.Ruling)
	require.Zero(t, got.As)
}
