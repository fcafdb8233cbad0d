package notify

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed" // the page's templates
	"fmt"
	htmltemplate "html/template"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	texttemplate "text/template"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/template"
	"github.com/prometheus/common/model"

	"watchbill"
)

//go:embed templates/page.tmpl
var pageTemplates []byte

// Limits on the labels of the alert that go with a page.
const (
	maxLabels     = 64
	maxLabelName  = 256
	maxLabelValue = 2048
)

// newTemplates returns Alertmanager's templates, with ours over them and the
// user's over both.
func newTemplates(paths []string, external *url.URL) (*template.Template, error) {
	funcs := map[string]any{
		"pageFields": func(d *template.Data) []Field { return fields(d.CommonAnnotations) },
		"pageURL":    pageURL,
		"mrkdwn":     mrkdwn,
		"markdown":   markdown,
		"payload":    payload,
		"ascii":      ascii,
		"adf":        adf,
		"digest":     func(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s)))[:32] },
		"clip":       func(limit int, s string) string { return clip(s, limit) },
		"clipHTML":   clipHTML,
	}
	t, err := template.FromGlobs(nil, func(text *texttemplate.Template, html *htmltemplate.Template) {
		text.Funcs(funcs)
		html.Funcs(funcs)
	})
	if err != nil {
		return nil, fmt.Errorf("read the default templates: %w", err)
	}
	t.ExternalURL = external
	if err := t.Parse(bytes.NewReader(pageTemplates)); err != nil {
		return nil, fmt.Errorf("read the page's templates: %w", err)
	}
	for _, path := range paths {
		if err := t.FromGlob(path); err != nil {
			return nil, watchbill.Invalidf("correct the file or take it out of templates:", "read templates %s: %v", path, err)
		}
	}
	return t, nil
}

// pageURL is where a title leads: to the incident, or else to the daemon.
func pageURL(d *template.Data) string {
	if link := webURL(d.CommonAnnotations["url"]); link != "" {
		return link
	}
	return webURL(d.ExternalURL)
}

// message is one page in the form in which Alertmanager's integrations take it:
// one alert that fires.
type message struct {
	page    watchbill.Page
	attempt int
	notes   map[string]string
	alert   *alert.Alert
}

// newMessage makes the alert that stands for a page. The labels are those of the
// real alert with the page's own over them; the annotations are the page.
func newMessage(d watchbill.Delivery) message {
	c := d.Page.Content
	c.Incident = cmp.Or(c.Incident, d.Page.Incident)
	a := notes(c)
	a[noteText], a[noteSubject], a[noteShort] = text(a), subject(a), short(a)

	labels := model.LabelSet{}
	for _, name := range slices.Sorted(maps.Keys(c.Labels)) {
		if len(labels) == maxLabels {
			break
		}
		if value := line(c.Labels[name], maxLabelValue); name != "" && len(name) <= maxLabelName && value != "" {
			labels[model.LabelName(line(name, maxLabelName))] = model.LabelValue(value)
		}
	}
	if labels["alertname"] == "" {
		labels["alertname"] = "WatchbillPage"
	}
	for name, value := range map[string]string{
		"severity":    a["severity"],
		"service":     a["service"],
		"environment": a["environment"],
		"incident":    a["incident"],
		"person":      string(d.Page.Person),
		"role":        string(d.Page.Role),
		"page_key":    d.Page.Key(),
		"attempt":     strconv.Itoa(d.Attempt),
	} {
		if delete(labels, model.LabelName(name)); value != "" {
			labels[model.LabelName(name)] = model.LabelValue(value)
		}
	}
	annotations := make(model.LabelSet, len(a))
	for name, value := range a {
		annotations[model.LabelName(name)] = model.LabelValue(value)
	}
	var end time.Time
	if strings.HasPrefix(c.Status, "resolved") { // the message of a chat turns green
		end = c.At.UTC()
	}
	start := c.Since
	if start.IsZero() {
		start = c.At
	}
	return message{page: d.Page, attempt: d.Attempt, notes: a, alert: &alert.Alert{
		Alert: model.Alert{
			Labels:       labels,
			Annotations:  annotations,
			StartsAt:     start.UTC(),
			EndsAt:       end,
			GeneratorURL: webURL(a["evidence_url"]),
		},
		UpdatedAt: c.At.UTC(),
	}}
}

// group is what all pages of one incident to one person have in common.
func (m message) group() model.LabelSet {
	if m.page.Content.Labels["alertname"] == "WatchbillStorm" { // all of a person's bundles are one thing
		return model.LabelSet{"incident": "storm", "person": model.LabelValue(m.page.Person)}
	}
	if m.page.Incident == 0 { // a notice stands for itself
		return model.LabelSet{"incident": model.LabelValue(m.page.Key()), "person": model.LabelValue(m.page.Person)}
	}
	return model.LabelSet{
		"incident": model.LabelValue(m.page.Incident.String()),
		"person":   model.LabelValue(m.page.Person),
	}
}
