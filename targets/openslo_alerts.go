package targets

import (
	"maps"
	"math/big"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"
)

// policies reads the alert policies of an SLO. They replace the alerts of the
// catalogue.
func (r *reader) policies(o open, t *Target, n *yaml.Node) {
	if n.Kind != yaml.SequenceNode {
		r.fail(n, "write [{alertPolicyRef: NAME}]", "alertPolicies is not a list")
		return
	}
	quiet := true
	for _, item := range n.Content {
		doc, spec := r.referred(o, resolve(item), "AlertPolicy", "alertPolicyRef")
		if spec == nil {
			continue
		}
		p := r.alertPolicy(o, doc, spec)
		t.Alerting.Burns = append(t.Alerting.Burns, p.burns...)
		quiet = quiet && !p.noData
	}
	if quiet && len(n.Content) > 0 && t.OnNoData == "" {
		t.OnNoData = NoDataIgnore
	}
}

// referred returns a document that is inline or referred to, with its spec. A
// bare name is a reference too.
func (r *reader) referred(o open, n *yaml.Node, kind, ref string) (doc, spec *yaml.Node) {
	if n.Kind == yaml.ScalarNode {
		return r.lookUp(o, n, kind)
	}
	p := r.pairs(n, kind, 4)
	if v, ok := p[ref]; ok {
		return r.lookUp(o, v.value, kind)
	}
	f := r.lenient(n, kind, "apiVersion", "kind", "metadata", "spec")
	if f["spec"] == nil {
		r.fail(n, "write "+ref+": NAME, or the "+kind+" itself with kind, metadata and spec", "this is no %s", kind)
	}
	return n, f["spec"]
}

func (r *reader) lookUp(o open, n *yaml.Node, kind string) (doc, spec *yaml.Node) {
	name := r.text(n, kind)
	doc = o.refs[kind][name]
	if doc == nil {
		r.fail(n, r.candidates(o, kind, name), "there is no %s %q in this file", kind, name)
		return nil, nil
	}
	return doc, r.pairs(doc, kind, 4)["spec"].value
}

// alertPolicy is what a policy says.
type alertPolicy struct {
	burns  []Burn
	noData bool
}

// alertPolicy reads a policy.
func (r *reader) alertPolicy(o open, doc, spec *yaml.Node) alertPolicy {
	f := r.lenient(spec, "AlertPolicy", "description", "alertWhenNoData", "alertWhenBreaching", "alertWhenResolved", "conditions", "notificationTargets")
	var p alertPolicy
	p.noData = f["alertWhenNoData"] != nil && r.flag(f["alertWhenNoData"], "alertWhenNoData")
	_ = r.flag(f["alertWhenResolved"], "alertWhenResolved") // receivers decide, by send_resolved
	m := r.metadata(doc, r.pairs(doc, "AlertPolicy", 4)["metadata"].value, "AlertPolicy")
	targets := r.notificationTargets(f["notificationTargets"])
	if f["alertWhenBreaching"] != nil && !r.flag(f["alertWhenBreaching"], "alertWhenBreaching") {
		return p
	}
	c := f["conditions"]
	if c == nil || c.Kind != yaml.SequenceNode || len(c.Content) != 1 {
		r.fail(spec, "list exactly one condition, as OpenSLO has it", "the AlertPolicy %s has no list of one condition", m.name)
		return p
	}
	b, ok := r.condition(o, resolve(c.Content[0]))
	if !ok {
		return p
	}
	b.Name = m.name
	if targets != "" {
		b.Labels = map[string]string{"notify_target": targets}
	}
	b.Annotations = openAnnotations(m.annotations)
	p.burns = append(p.burns, b)
	return p
}

// condition reads an alert condition: a burn rate over a look-back window.
func (r *reader) condition(o open, n *yaml.Node) (Burn, bool) {
	mark := len(r.problems)
	_, spec := r.referred(o, n, "AlertCondition", "conditionRef")
	if spec == nil {
		return Burn{}, false
	}
	f := r.lenient(spec, "AlertCondition", "description", "severity", "condition")
	b := Burn{Severity: r.text(f["severity"], "severity")}
	if b.Severity == "" {
		r.fail(spec, "write severity: page, or severity: ticket", "the AlertCondition has no severity")
	}
	if f["condition"] == nil {
		r.fail(spec, "write condition: {kind: burnrate, op: gte, threshold: 14.4, lookbackWindow: 1h, alertAfter: 0m}", "the AlertCondition has no condition")
		return b, false
	}
	g := r.lenient(f["condition"], "condition", "kind", "op", "threshold", "lookbackWindow", "alertAfter")
	if kind := r.text(g["kind"], "kind"); kind != "burnrate" {
		r.fail(f["condition"], "write kind: burnrate", "a condition of kind %q is not known", kind)
	}
	switch op := r.text(g["op"], "op"); op {
	case "gt", "gte", "":
	case "lt", "lte":
		r.fail(g["op"], "write gte: the alert fires when the burn rate is at or above the threshold", "op: %s would alert while all is well", op)
	default:
		r.fail(g["op"], "write gte", "op: %q is not known", op)
	}
	if v := g["threshold"]; v == nil {
		r.fail(f["condition"], "write threshold: 14.4", "the condition has no threshold")
	} else if k := r.decimal(v, "threshold"); k != nil {
		b.Factor = decimal(k)
		if k.Cmp(new(big.Rat)) == 0 {
			r.fail(v, "write a burn rate above 0", "the threshold is nothing")
		}
	}
	if g["lookbackWindow"] == nil {
		r.fail(f["condition"], "write lookbackWindow: 1h", "the condition has no lookbackWindow")
	}
	b.Long = r.openTime(g["lookbackWindow"], "lookbackWindow")
	b.Short = max(b.Long/12, 5*time.Minute)
	if b.Long > 0 && b.Long <= 5*time.Minute {
		r.fail(g["lookbackWindow"], "look back over 10m or more", "the look-back window has no room for a short window of 5m")
	}
	b.For = r.openTime(g["alertAfter"], "alertAfter")
	return b, !r.failed(mark)
}

// notificationTargets returns the name that alerts carry as notify_target.
func (r *reader) notificationTargets(n *yaml.Node) string {
	if n == nil {
		return ""
	}
	if n.Kind != yaml.SequenceNode {
		r.fail(n, "write [{targetRef: NAME}]", "notificationTargets is not a list")
		return ""
	}
	names := map[string]bool{}
	for _, item := range n.Content {
		item = resolve(item)
		p := r.pairs(item, "AlertNotificationTarget", 4)
		if ref, ok := p["targetRef"]; ok { // who that is, our configuration knows
			names[r.text(ref.value, "targetRef")] = true
			continue
		}
		f := r.lenient(item, "AlertNotificationTarget", "apiVersion", "kind", "metadata", "spec")
		names[r.metadata(item, f["metadata"], "AlertNotificationTarget").name] = true
	}
	all := slices.Sorted(maps.Keys(names))
	if len(all) > 1 {
		r.warn(n, "write a policy for each", "an alert carries one notification target: %s is used", all[0])
	}
	if len(all) == 0 {
		return ""
	}
	return all[0]
}
