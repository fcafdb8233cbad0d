package intake

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"watchbill"
)

// decodeGeneric reads our own format:
//
//	{"summary": "…", "details": …, "action": "trigger|resolve", "dedup": "…", "labels": {…}}
//
// A resolve needs dedup, or the labels of what it ends.
func decodeGeneric(body []byte) ([]Event, error) {
	var b struct {
		Summary string           `json:"summary"`
		Details any              `json:"details"`
		Action  string           `json:"action"`
		Dedup   string           `json:"dedup"`
		Labels  watchbill.Labels `json:"labels"`
	}
	if err := unmarshal(body, &b); err != nil {
		return nil, err
	}
	action := Action(cmp.Or(b.Action, string(Trigger)))
	if action == "close" {
		action = Resolve
	}
	switch {
	case action != Trigger && action != Resolve:
		return nil, watchbill.Invalidf("use trigger or resolve", "action: %.40q is not known", b.Action)
	case action == Trigger && b.Summary == "":
		return nil, watchbill.Invalidf("say in one line what is wrong", "summary: is missing")
	case action == Resolve && b.Dedup == "" && len(b.Labels) == 0:
		return nil, watchbill.Invalidf("send the key of the alert that ended", "dedup: is missing")
	}
	if b.Dedup == "" && len(b.Labels) == 0 {
		// Without either, two alerts are the same if they say the same.
		b.Dedup = cutText(b.Summary, maxDedup)
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
		for name, value := range map[string]string{"dashboard_url": cmp.Or(a.PanelURL, a.DashboardURL), "values": text(a.ValueString)} {
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
			Details   any    `json:"custom_details"`
		} `json:"payload"`
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
		GeneratorURL: b.URL,
	}
	return []Event{e}, nil
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
// Falco tells of an event and never of an end: the same rule at the same place is
// the same alert until it expires.
func decodeFalco(body []byte) ([]Event, error) {
	var b struct {
		Output   string         `json:"output"`
		Priority string         `json:"priority"`
		Rule     string         `json:"rule"`
		Time     time.Time      `json:"time"`
		Source   string         `json:"source"`
		Hostname string         `json:"hostname"`
		Tags     []string       `json:"tags"`
		Fields   map[string]any `json:"output_fields"`
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
	labels := watchbill.Labels{"alertname": b.Rule, "signal": "security", "severity": severity, "instance": b.Hostname, "falco_source": b.Source}
	for _, name := range []string{"k8s.ns.name", "k8s.pod.name", "container.name"} {
		if v, ok := b.Fields[name].(string); ok {
			labels[labelName(name)] = v
		}
	}
	return []Event{{Action: Trigger, Alert: watchbill.Alert{
		Labels: labels, StartsAt: b.Time,
		Annotations: watchbill.Labels{"summary": text(b.Output), "tags": text(strings.Join(b.Tags, ", ")), "priority": text(b.Priority)},
	}}}, nil
}

// decodeCloudEvent reads a CloudEvents 1.0 envelope in structured mode, whose data
// is our generic format.
func decodeCloudEvent(body []byte) ([]Event, error) {
	var b struct {
		Version string    `json:"specversion"`
		ID      string    `json:"id"`
		Source  string    `json:"source"`
		Type    string    `json:"type"`
		Subject string    `json:"subject"`
		Time    time.Time `json:"time"`
		Data    struct {
			Summary  string           `json:"summary"`
			Details  any              `json:"details"`
			Action   string           `json:"action"`
			Dedup    string           `json:"dedup"`
			Severity string           `json:"severity"`
			Labels   watchbill.Labels `json:"labels"`
		} `json:"data"`
	}
	if err := unmarshal(body, &b); err != nil {
		return nil, err
	}
	switch {
	case b.Version != "1.0":
		return nil, watchbill.Invalidf("send CloudEvents 1.0", "specversion: %.40q is not known", b.Version)
	case b.ID == "" || b.Source == "" || b.Type == "":
		return nil, watchbill.Invalidf("set them", "id, source and type are needed")
	}
	action := Action(cmp.Or(b.Data.Action, string(Trigger)))
	if action != Trigger && action != Resolve {
		return nil, watchbill.Invalidf("use trigger or resolve", "data.action: %.40q is not known", b.Data.Action)
	}
	labels := watchbill.Labels{}
	for name, value := range b.Data.Labels {
		labels[name] = value
	}
	for name, value := range map[string]string{"alertname": b.Type, "instance": b.Source, "severity": b.Data.Severity} {
		if labels[name] == "" {
			labels[name] = value
		}
	}
	return []Event{{Action: action, Dedup: cmp.Or(b.Data.Dedup, cutText(b.Source+" "+b.Type+" "+b.Subject, maxDedup)), Alert: watchbill.Alert{
		Labels: labels, StartsAt: b.Time,
		Annotations: watchbill.Labels{"summary": text(cmp.Or(b.Data.Summary, b.Type+" "+b.Subject)), "description": text(b.Data.Details)},
	}}}, nil
}

// cutText cuts a text to at most n bytes, between two characters.
func cutText(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}
