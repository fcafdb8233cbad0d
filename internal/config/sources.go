package config

import (
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"watchbill/collector"
	"watchbill/intake"
)

// kindWrite is the kind of a source that writes series.
const kindWrite = "remote_write"

type sourceEntry struct {
	where
	Name   text         `yaml:"name"`
	Kind   text         `yaml:"kind"`
	Labels table[text]  `yaml:"labels"`
	Allow  []text       `yaml:"label_allow"`
	Expire duration     `yaml:"expire"`
	To     []text       `yaml:"recipients"`
	Limits sourceLimits `yaml:"limits"`
}

type sourceLimits struct {
	Alerts     number `yaml:"alerts"`
	Series     number `yaml:"series"`
	Samples    number `yaml:"samples"`
	Rate       number `yaml:"rate"`
	Labels     number `yaml:"labels"`
	LabelBytes number `yaml:"label_bytes"`
}

// writers reads who may write series.
func (b *builder) writers() {
	seen := map[string]*yaml.Node{}
	for _, e := range b.file.Sources {
		if !b.name(e.Name, e.Node, "source", seen) {
			continue
		}
		if slices.Contains(intake.Kinds(), intake.Kind(e.Kind.v)) {
			b.hook(e)
			continue
		}
		if kind := e.Kind; kind.given() && kind.v != kindWrite {
			b.problem(kind.n, didYouMean(kind.v, sourceKinds(), "use "+strings.Join(sourceKinds(), ", ")), "there is no kind of source %q", kind.v)
		} else if !kind.given() && keyNode(e.Node, "kind") == nil {
			b.problem(e.Name.n, "add kind: "+kindWrite, "the source %s has no kind", e.Name.v)
		}
		s := collector.WriteSource{
			Name: e.Name.v, Labels: b.sourceLabels(e),
			Series: b.count(e.Limits.Series, "series"), Samples: b.count(e.Limits.Samples, "samples"), Rate: b.count(e.Limits.Rate, "rate"),
			SeriesLabels: b.count(e.Limits.Labels, "labels"), LabelBytes: b.count(e.Limits.LabelBytes, "label_bytes"),
		}
		if most := 100_000; s.Samples > most {
			b.problem(e.Limits.Samples.n, "write 10000, and lower max_samples_per_send where the series come from", "more than %d samples in a request", most)
		}
		b.foreign(e, "label_allow", "expire", "recipients", "limits.alerts")
		for _, other := range b.cfg.Collector.Sources {
			if len(s.Labels) > 0 && maps.Equal(other.Labels, s.Labels) {
				b.problem(e.Name.n, "give each a label that tells them apart, such as site", "%s has the same labels as %s: nobody could tell whose a series is", s.Name, other.Name)
			}
		}
		b.cfg.Collector.Sources = append(b.cfg.Collector.Sources, s)
	}
}

// sourceLabels reads the labels of a source's series.
func (b *builder) sourceLabels(e sourceEntry) map[string]string {
	out := map[string]string{}
	for _, l := range e.Labels {
		switch name := l.Key.v; {
		case strings.HasPrefix(name, "__"):
			b.problem(l.Key.n, "remove it", "the label %q is Prometheus' own", name)
		case !model.LegacyValidation.IsValidLabelName(name):
			b.problem(l.Key.n, "use letters, digits and underscores", "%q is not the name of a label", name)
		case l.Value.given() && l.Value.v == "":
			b.problem(l.Value.n, "write a value", "the label %s is empty", name)
		case l.Value.given():
			out[name] = l.Value.v
		}
	}
	if len(e.Labels) == 0 {
		b.problem(e.Name.n, "add labels: {site: "+e.Name.v+"}", "nothing would tell the series of %s from others", e.Name.v)
	}
	return out
}
