package intake

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"watchbill"
)

// generic is our own format.
type generic struct {
	Summary  string           `json:"summary"`
	Details  any              `json:"details"`
	Action   string           `json:"action"`
	Dedup    string           `json:"dedup"`
	Severity string           `json:"severity"`
	Labels   watchbill.Labels `json:"labels"`
}

// action is what the body asks for. field is where it stands.
func (g generic) action(field string) (Action, error) {
	switch g.Action {
	case "", string(Trigger):
		return Trigger, nil
	case "close", string(Resolve):
		return Resolve, nil
	}
	return "", watchbill.Invalidf("use trigger or resolve", "%s: %.40q is not known", field, g.Action)
}

// decodeGeneric reads our own format:
//
//	{"summary": "…", "details": …, "action": "trigger|resolve", "dedup": "…", "severity": "…", "labels": {…}}
//
// A resolve needs dedup, or the labels of what it ends.
func decodeGeneric(body []byte) ([]Event, error) {
	var b generic
	if err := unmarshal(body, &b); err != nil {
		return nil, err
	}
	action, err := b.action("action")
	switch {
	case err != nil:
		return nil, err
	case action == Trigger && b.Summary == "":
		return nil, watchbill.Invalidf("say in one line what is wrong", "summary: is missing")
	case action == Resolve && b.Dedup == "" && len(b.Labels) == 0:
		return nil, watchbill.Invalidf("send the key of the alert that ended", "dedup: is missing")
	}
	if b.Dedup == "" && len(b.Labels) == 0 {
		// Without either, two alerts are the same if they say the same.
		b.Dedup = cutText(b.Summary, maxDedup)
	}
	if b.Dedup == "" {
		b.Dedup = "labels:" + string(b.Labels.Fingerprint())
	}
	if b.Severity != "" {
		b.Labels = with(b.Labels, "severity", b.Severity)
	}
	return []Event{{Action: action, Dedup: b.Dedup, Alert: watchbill.Alert{
		Labels: b.Labels, Annotations: watchbill.Labels{"summary": text(b.Summary), "description": text(b.Details)},
	}}}, nil
}

// decodeAlertmanager reads the webhook of Alertmanager, version 4, and that of
// Grafana, which adds to it. Each alert counts by its own status: one that is not
// listed, because the sender left some out (truncatedAlerts), is unchanged.
func decodeAlertmanager(body []byte) ([]Event, error) {
	var b struct {
		Version string `json:"version"`
		Alerts  []struct {
			Status       string           `json:"status"`
			Labels       watchbill.Labels `json:"labels"`
			Annotations  watchbill.Labels `json:"annotations"`
			StartsAt     time.Time        `json:"startsAt"`
			EndsAt       time.Time        `json:"endsAt"`
			GeneratorURL string           `json:"generatorURL"`
			DashboardURL string           `json:"dashboardURL"`
			PanelURL     string           `json:"panelURL"`
			SilenceURL   string           `json:"silenceURL"`
			ValueString  string           `json:"valueString"`
		} `json:"alerts"`
	}
	if err := unmarshal(body, &b); err != nil {
		return nil, err
	}
	if b.Alerts == nil {
		return nil, watchbill.Invalidf("point a webhook of Alertmanager or Grafana here", "alerts: is missing")
	}
	events := make([]Event, 0, len(b.Alerts))
	for i, a := range b.Alerts {
		e := Event{Action: Trigger, Alert: watchbill.Alert{Labels: a.Labels, Annotations: a.Annotations, StartsAt: a.StartsAt, GeneratorURL: a.GeneratorURL}}
		switch a.Status {
		case "firing":
		case "resolved":
			e.Action, e.Alert.EndsAt = Resolve, a.EndsAt
		default:
			return nil, watchbill.Invalidf("use firing or resolved", "alerts[%d].status: %.40q is not known", i, a.Status)
		}
		if len(a.Labels) == 0 {
			return nil, watchbill.Invalidf("send its labels", "alerts[%d].labels: at least one is needed", i)
		}
		if e.Alert.Annotations == nil {
			e.Alert.Annotations = watchbill.Labels{}
		}
		for name, value := range map[string]string{"dashboard_url": cmp.Or(a.PanelURL, a.DashboardURL), "silence_url": a.SilenceURL, "values": text(a.ValueString)} {
			if e.Alert.Annotations[name] == "" {
				e.Alert.Annotations[name] = value
			}
		}
		events = append(events, e)
	}
	return events, nil
}

// decodePagerDuty reads an event of PagerDuty's Events API v2. Its routing_key is
// the token, and is checked where the request is authenticated.
func decodePagerDuty(body []byte) ([]Event, error) {
	var b struct {
		Action  string `json:"event_action"`
		Dedup   string `json:"dedup_key"`
		Client  string `json:"client"`
		URL     string `json:"client_url"`
		Payload *struct {
			Summary   string `json:"summary"`
			Source    string `json:"source"`
			Severity  string `json:"severity"`
			Component string `json:"component"`
			Group     string `json:"group"`
			Class     string `json:"class"`
			Time      any    `json:"timestamp"`
			Details   any    `json:"custom_details"`
		} `json:"payload"`
		Links []struct {
			Href string `json:"href"`
			Text string `json:"text"`
		} `json:"links"`
	}
	if err := unmarshal(body, &b); err != nil {
		return nil, err
	}
	e := Event{Action: Action(b.Action), Dedup: b.Dedup}
	switch e.Action {
	case Trigger:
	case Acknowledge, Resolve:
		if b.Dedup == "" {
			return nil, watchbill.Invalidf("send the key of the event that opened it", "dedup_key: is missing")
		}
		return []Event{e}, nil
	default:
		return nil, watchbill.Invalidf("use trigger, acknowledge or resolve", "event_action: %.40q is not known", b.Action)
	}
	p := b.Payload
	switch {
	case p == nil || p.Summary == "":
		return nil, watchbill.Invalidf("say in one line what is wrong", "payload.summary: is missing")
	case len([]rune(p.Summary)) > 1024:
		return nil, watchbill.Invalidf("shorten it", "payload.summary: is over 1024 characters")
	case p.Source == "":
		return nil, watchbill.Invalidf("name what is affected", "payload.source: is missing")
	case !slices.Contains([]string{"critical", "error", "warning", "info"}, p.Severity):
		return nil, watchbill.Invalidf("use critical, error, warning or info", "payload.severity: %.40q is not known", p.Severity)
	}
	if e.Dedup == "" {
		// The answer tells it. Made of the body, it is the same when that is sent again.
		sum := sha256.Sum256(body)
		e.Dedup = hex.EncodeToString(sum[:16])
	}
	e.Alert = watchbill.Alert{
		Labels: watchbill.Labels{
			"alertname": cmp.Or(p.Class, p.Component), "severity": pagerDutySeverity(p.Severity),
			"instance": p.Source, "component": p.Component, "group": p.Group,
		},
		Annotations:  watchbill.Labels{"summary": p.Summary, "description": text(p.Details), "client": text(b.Client)},
		StartsAt:     lenientTime(p.Time),
		GeneratorURL: b.URL,
	}
	for _, link := range b.Links {
		e.Alert.Annotations["links"] = text(strings.TrimSpace(e.Alert.Annotations["links"] + "\n" + strings.TrimSpace(link.Text+" "+link.Href)))
	}
	return []Event{e}, nil
}

// lenientTime reads an instant that its sender may write in any way; what is not
// RFC 3339 counts as not said.
func lenientTime(v any) time.Time {
	s, _ := v.(string)
	at, err := time.Parse(time.RFC3339, s)
	if err != nil || watchbill.CheckTime("", at) != nil {
		return time.Time{}
	}
	return at.UTC()
}

// with returns labels with one set that they do not have.
func with(l watchbill.Labels, name, value string) watchbill.Labels {
	if l == nil {
		l = watchbill.Labels{}
	}
	if l[name] == "" {
		l[name] = value
	}
	return l
}

// pagerDutySeverity says critical for an error too: both open an incident of
// high urgency there.
func pagerDutySeverity(s string) string {
	if s == "error" {
		return "critical"
	}
	return s
}

// decodeFalco reads what Falco's http_output and falcosidekick's webhook send.
// Falco tells of an event and never of an end: the same rule at the same place, and
// in the same image, is the same alert until it was not seen for a while.
func decodeFalco(body []byte) ([]Event, error) {
	var b struct {
		Output   string         `json:"output"`
		Priority string         `json:"priority"`
		Rule     string         `json:"rule"`
		Time     any            `json:"time"`
		Source   string         `json:"source"`
		Hostname string         `json:"hostname"`
		Tags     []string       `json:"tags"`
		Fields   map[string]any `json:"output_fields"` // integers may be beyond 2^53: only texts are read
	}
	if err := unmarshal(body, &b); err != nil {
		return nil, err
	}
	if b.Rule == "" {
		return nil, watchbill.Invalidf("set json_output: true in falco.yaml", "rule: is missing")
	}
	severity := "info"
	switch strings.ToLower(b.Priority) {
	case "emergency", "alert", "critical":
		severity = "critical"
	case "error", "warning":
		severity = "warning"
	}
	field := func(name string) string {
		s, _ := b.Fields[name].(string)
		return s
	}
	labels := watchbill.Labels{"alertname": b.Rule, "signal": "security", "severity": severity, "instance": b.Hostname, "falco_source": b.Source}
	for _, name := range []string{"k8s.ns.name", "k8s.pod.name", "container.name"} {
		labels[labelName(name)] = field(name)
	}
	place := cmp.Or(field("k8s.ns.name"), b.Hostname)
	return []Event{{Action: Trigger, Dedup: keyOf("falco", b.Rule, place, field("container.image.repository")), Alert: watchbill.Alert{
		Labels: labels, StartsAt: lenientTime(b.Time),
		Annotations: watchbill.Labels{
			"summary": text(cmp.Or(b.Output, b.Rule)), "tags": text(strings.Join(b.Tags, ", ")), "priority": text(b.Priority),
			"command": text(field("proc.cmdline")), "image": text(field("container.image.repository")),
		},
	}}}, nil
}

// keyOf makes a key of texts of any length.
func keyOf(kind string, parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return kind + ":" + hex.EncodeToString(sum[:16])
}

// decodeCloudEvent reads a CloudEvents 1.0 envelope in structured mode, with JSON
// data. Data that is not our generic format is taken as details.
func decodeCloudEvent(body []byte) ([]Event, error) {
	var b struct {
		Version string          `json:"specversion"`
		ID      string          `json:"id"`
		Source  string          `json:"source"`
		Type    string          `json:"type"`
		Subject string          `json:"subject"`
		Time    any             `json:"time"`
		Data    json.RawMessage `json:"data"`
	}
	if err := unmarshal(body, &b); err != nil {
		return nil, err
	}
	switch {
	case b.Version != "1.0":
		return nil, watchbill.Invalidf("send CloudEvents 1.0 in structured mode", "specversion: %.40q is not known", b.Version)
	case b.ID == "" || b.Source == "" || b.Type == "":
		return nil, watchbill.Invalidf("set them", "id, source and type are needed")
	}
	var data generic
	if len(b.Data) > 0 && json.Unmarshal(b.Data, &data) != nil || data.Summary == "" && data.Details == nil && data.Action == "" {
		data.Details = string(b.Data)
	}
	action, err := data.action("data.action")
	if err != nil {
		return nil, err
	}
	labels := with(data.Labels, "alertname", cutText(b.Type, maxLabelValue))
	labels = with(with(labels, "instance", cutText(b.Source, maxLabelValue)), "severity", data.Severity)
	about := strings.TrimSpace(b.Type + " " + b.Subject)
	return []Event{{Action: action, Dedup: cmp.Or(data.Dedup, keyOf("cloudevents", b.Source, b.Type, b.Subject)), Alert: watchbill.Alert{
		Labels: labels, StartsAt: lenientTime(b.Time),
		Annotations: watchbill.Labels{"summary": text(cmp.Or(data.Summary, about)), "description": text(data.Details)},
	}}}, nil
}
