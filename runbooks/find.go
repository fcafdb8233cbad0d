package runbooks

import (
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/alertmanager/pkg/labels"

	"watchbill"
)

const (
	// URLAnnotation is the annotation in which rules name their runbook.
	URLAnnotation = "runbook_url"

	// StaleAfter is how long a review counts: the day itself and 180 more.
	StaleAfter = 180 * 24 * time.Hour

	staleDays = int(StaleAfter / (24 * time.Hour))

	// quickLines is how much of the quick reference a page carries.
	quickLines = 6

	// maxLine and maxAction bound what one line puts into a page, in runes.
	maxLine   = 200
	maxAction = 160
	maxURL    = 2048
)

// Attached is a runbook as a page carries it.
type Attached struct {
	Name           string // empty: a link to somewhere else
	Title          string
	URL            string // "/runbooks/disk-full", or the link
	QuickReference string // plain text, at most six lines
	FirstAction    string // one imperative sentence
	Owner          watchbill.RoleID
	ReviewedAt     time.Time // zero: never
	Reason         string    // `matched st!=""`
}

// How it was found.
const (
	ByURL      = "runbook_url"
	ByLabels   = "labels"
	ByActivity = "activity" // the last resort
)

// How says by what it was found.
func (a Attached) How() string {
	switch {
	case strings.HasPrefix(a.Reason, "matched "):
		return ByLabels
	case strings.HasPrefix(a.Reason, "activity "):
		return ByActivity
	}
	return ByURL
}

// Attach returns the runbook as a page carries it, with the reason for it.
func (r Runbook) Attach(reason string) Attached {
	return Attached{
		Name:           r.Name,
		Title:          r.Title,
		URL:            "/runbooks/" + r.Name,
		QuickReference: r.quickReference(),
		FirstAction:    r.firstAction(),
		Owner:          r.Owner,
		ReviewedAt:     r.Reviewed,
		Reason:         reason,
	}
}

func (r Runbook) quickReference() string {
	section, _ := r.Section(QuickReference)
	lines := section.Text[:min(len(section.Text), quickLines)]
	out := make([]string, len(lines))
	for i, line := range lines {
		out[i] = clip(line, maxLine)
	}
	return strings.Join(out, "\n")
}

func (r Runbook) firstAction() string {
	for _, name := range []SectionName{QuickReference, Steps} {
		section, _ := r.Section(name)
		for _, line := range append(section.Lines(), section.Text...) {
			if line = strings.TrimSpace(line); line != "" {
				return clip(firstSentence(line), maxAction)
			}
		}
	}
	return ""
}

// Lines returns the section's items as plain text on one line each.
func (s Section) Lines() []string {
	lines := make([]string, len(s.Items))
	for i, item := range s.Items {
		lines[i] = item.Text
	}
	return lines
}

// firstSentence cuts after the first full stop that a space and a capital
// letter follow, outside of code, so that "e.g. this" stays whole.
func firstSentence(s string) string {
	inCode := false
	for i, c := range []byte(s) {
		if c == '`' {
			inCode = !inCode
		}
		if inCode || c != '.' && c != '!' && c != '?' || i+2 >= len(s) || s[i+1] != ' ' {
			continue
		}
		if next := s[i+2]; next >= 'A' && next <= 'Z' {
			return s[:i+1]
		}
	}
	return s
}

// clip shortens a line to n runes.
func clip(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return strings.TrimRight(string([]rune(s)[:n-1]), " ") + "…"
}

// Find returns the runbook for an alert, and false if there is none. The order
// in which it looks is in the package's comment.
func (l *Library) Find(alert, annotations watchbill.Labels, activity watchbill.ActivityID) (Attached, bool) {
	ref := strings.TrimSpace(annotations[URLAnnotation])
	note := ""
	if ref != "" {
		if a, ok := l.Lookup(ref); ok {
			return a, true
		}
		note = fmt.Sprintf("; %s %q is neither a runbook here nor a link", URLAnnotation, clip(clean(ref), 80))
	}
	if r, ok := l.byMatch(alert); ok {
		return r.Attach("matched " + matchString(r.Match) + note), true
	}
	i := slices.IndexFunc(l.sorted, func(r Runbook) bool { return slices.Contains(r.Activities, activity) })
	if i >= 0 {
		return l.sorted[i].Attach("activity " + string(activity) + note), true
	}
	return Attached{}, false
}

// Lookup returns what a reference stands for: the name of a runbook, a path or
// a link that ends in one, or a link to somewhere else. It returns false for
// anything else. References are looked up and never opened.
func (l *Library) Lookup(ref string) (Attached, bool) {
	if r, ok := l.Get(strings.TrimSuffix(ref, ".md")); ok {
		return r.Attach(URLAnnotation + " names it"), true
	}
	u, err := url.Parse(ref)
	if err != nil || len(ref) > maxURL {
		return Attached{}, false
	}
	dir, last := path.Split(strings.TrimSuffix(u.Path, "/"))
	if folder := path.Base(dir); folder == "runbooks" || folder == l.folder {
		if r, ok := l.Get(strings.TrimSuffix(last, ".md")); ok {
			return r.Attach(URLAnnotation + " names it"), true
		}
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return Attached{}, false
	}
	return Attached{Title: u.Host, URL: u.String(), Reason: "linked by " + URLAnnotation}, true
}

// byMatch returns the runbook with the most matchers, all of which match; among
// equals the first of l.sorted.
func (l *Library) byMatch(alert watchbill.Labels) (Runbook, bool) {
	var best Runbook
	for _, r := range l.sorted {
		if len(r.Match) > len(best.Match) && matches(r.Match, alert) {
			best = r
		}
	}
	return best, len(best.Match) > 0
}

func matches(ms labels.Matchers, alert watchbill.Labels) bool {
	return !slices.ContainsFunc(ms, func(m *labels.Matcher) bool { return !m.Matches(alert[m.Name]) })
}

func matchString(ms labels.Matchers) string {
	s := make([]string, len(ms))
	for i, m := range ms {
		s[i] = m.String()
	}
	return strings.Join(s, ", ")
}

// State says how far a runbook can be trusted at now: "reviewed 12 d ago",
// "STALE: reviewed 400 d ago", "never reviewed". It is empty for a link to
// somewhere else, about which nothing is known.
func State(a Attached, now time.Time) string {
	switch days := age(a.ReviewedAt, now); {
	case a.Name == "":
		return ""
	case a.ReviewedAt.IsZero():
		return "never reviewed"
	case days < 0:
		return "never reviewed: its review is dated " + a.ReviewedAt.Format(time.DateOnly)
	case days == 0:
		return "reviewed today"
	case days > staleDays:
		return fmt.Sprintf("STALE: reviewed %d d ago", days)
	default:
		return fmt.Sprintf("reviewed %d d ago", days)
	}
}

// age is how many days ago a review was. A review is a day without a zone, so
// that one of tomorrow in UTC is one of today in Auckland; later ones are
// negative.
func age(reviewed, now time.Time) int {
	d := now.Sub(reviewed)
	if d < 0 && d >= -24*time.Hour {
		return 0
	}
	if d < 0 {
		return -1
	}
	return int(d / (24 * time.Hour))
}

// Stale returns a warning for every runbook of the user's own whose review does
// not count any more at now. That none was ever made is a problem of [Parse]
// already.
func (l *Library) Stale(now time.Time) []Problem {
	var problems []Problem
	for _, r := range l.sorted {
		if r.Library || r.Reviewed.IsZero() {
			continue
		}
		if days := age(r.Reviewed, now); days >= 0 && days <= staleDays {
			continue
		}
		problems = append(problems, Problem{
			File: r.Name + ".md", Line: 1, Col: 1, Warning: true,
			Message: "the runbook is not fresh: " + State(r.Attach(""), now),
			Hint:    "read it through and set reviewed: to today",
		})
	}
	return problems
}
