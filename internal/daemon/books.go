package daemon

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"watchbill"
	"watchbill/internal/config"
	"watchbill/runbooks"
)

// LintRunbook returns what is wrong with the runbook in a file, with its lines.
func LintRunbook(file string, now time.Time) (config.Problems, error) {
	problems, content, err := runbooks.LintFile(file, now)
	if err != nil {
		return nil, watchbill.Errorf(watchbill.CodeNotFound, "name a Markdown file that you may read", "cannot read the runbook %s: %v", file, err)
	}
	lines := strings.Split(strings.ReplaceAll(string(content), "\r\n", "\n"), "\n")
	var out config.Problems
	for _, p := range problems {
		own := config.Problem{File: filepath.ToSlash(file), Line: p.Line, Col: p.Col, Message: p.Message, Advice: p.Hint, Warning: p.Warning}
		if p.Line <= len(lines) {
			own.Source = lines[p.Line-1]
		}
		out = append(out, own)
	}
	return out, nil
}

// Book is a runbook as it is listed.
type Book struct {
	Name       string                 `json:"name"`
	Title      string                 `json:"title"`
	Owner      watchbill.RoleID       `json:"owner,omitempty"`
	State      string                 `json:"state"`
	Match      string                 `json:"match,omitempty"`
	Activities []watchbill.ActivityID `json:"activities,omitempty"`
	BuiltIn    bool                   `json:"built_in"`
	Version    string                 `json:"version"`
	Text       string                 `json:"text,omitempty"` // Markdown, when one is shown
}

// Books returns the runbooks of a configuration, or those in the binary when
// there is none.
func Books(cfg *config.Config, now time.Time) ([]Book, error) {
	var from runbooks.Config
	if cfg != nil {
		from = cfg.Runbooks
	}
	library, _, err := runbooks.New(from)
	if err != nil {
		return nil, err
	}
	var out []Book
	for _, r := range library.All() {
		match := make([]string, len(r.Match))
		for i, m := range r.Match {
			match[i] = m.String()
		}
		out = append(out, Book{
			Name: r.Name, Title: r.Title, Owner: r.Owner, State: runbooks.State(r.Attach(""), now), Match: strings.Join(match, ", "),
			Activities: r.Activities, BuiltIn: r.Library, Version: r.Version(), Text: string(r.Source),
		})
	}
	return out, nil
}

// FindBook returns one of them.
func FindBook(books []Book, name string) (Book, error) {
	for _, b := range books {
		if b.Name == strings.TrimSuffix(name, ".md") {
			return b, nil
		}
	}
	return Book{}, watchbill.Errorf(watchbill.CodeNotFound, "list them with: watchbill runbook list", "there is no runbook %q", fmt.Sprint(name))
}
