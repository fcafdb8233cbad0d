package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/template"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"watchbill/internal/golden"
	"watchbill/internal/web"
)

// docs is the folder of the pages as golden.Compare counts: from testdata.
const docs = "../../../docs"

// The pages of docs/cli and docs/api.md are written from the program itself.
// `go generate` runs this test with -update, which writes them; without, it
// fails when they are not what the program says.
func TestDocs(t *testing.T) {
	t.Parallel()
	var written []string
	root := newRoot(process{stdout: io.Discard, stderr: io.Discard, getenv: func(string) string { return "" }})
	visit(root, func(c *cobra.Command) {
		name := page(c)
		written = append(written, name)
		golden.Compare(t, docs+"/cli/"+name, cliPage(c))
	})
	found, err := filepath.Glob(filepath.Join("testdata", docs, "cli", "*"))
	require.NoError(t, err)
	for _, file := range found {
		if slices.Contains(written, filepath.Base(file)) {
			continue
		}
		require.Equal(t, "true", flag.Lookup("update").Value.String(), "%s is about a verb that is gone: run make docs", file)
		require.NoError(t, os.Remove(file))
	}
	golden.Compare(t, docs+"/api.md", apiPage(t))
}

// visit calls f for a command and those below it, without those that cobra adds.
func visit(c *cobra.Command, f func(*cobra.Command)) {
	f(c)
	for _, below := range c.Commands() {
		if below.IsAvailableCommand() {
			visit(below, f)
		}
	}
}

func page(c *cobra.Command) string {
	return strings.ReplaceAll(c.CommandPath(), " ", "_") + ".md"
}

// cliPage is the page of one command.
func cliPage(c *cobra.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, "<!-- Written by make docs from the program; do not edit. -->\n\n# %s\n\n%s.\n", c.CommandPath(), c.Short)
	for paragraph := range strings.SplitSeq(c.Long, "\n\n") {
		switch {
		case paragraph == "":
		case strings.Contains(paragraph, "   "): // columns
			fmt.Fprintf(&b, "\n```\n%s\n```\n", paragraph)
		default:
			fmt.Fprintf(&b, "\n%s\n", paragraph)
		}
	}
	use := c.UseLine()
	if c.HasAvailableSubCommands() {
		use = c.CommandPath() + " VERB"
	}
	fmt.Fprintf(&b, "\n```\n%s\n```\n", use)
	if c.Example != "" {
		fmt.Fprintf(&b, "\n## Examples\n\n```\n%s\n```\n", unindent(c.Example))
	}
	c.InitDefaultHelpFlag()
	if c.HasParent() {
		fmt.Fprintf(&b, "\n## Options\n\n```\n%s```\n\nand the [options of every verb](watchbill.md#options).\n", c.LocalNonPersistentFlags().FlagUsages())
	} else {
		fmt.Fprintf(&b, "\n## Options\n\nThese can be given to every verb.\n\n```\n%s```\n", c.LocalFlags().FlagUsages())
	}
	var verbs []string
	for _, below := range c.Commands() {
		if below.IsAvailableCommand() {
			verbs = append(verbs, fmt.Sprintf("- [%s](%s): %s\n", below.CommandPath(), page(below), below.Short))
		}
	}
	if len(verbs) > 0 {
		fmt.Fprintf(&b, "\n## Verbs\n\n%s", strings.Join(verbs, ""))
	}
	return b.String()
}

func unindent(s string) string {
	return strings.TrimPrefix(strings.ReplaceAll(s, "\n  ", "\n"), "  ")
}

// apiPage is the page of the HTTP interface: the table of routes in the middle
// of what is written by hand.
func apiPage(t *testing.T) string {
	t.Helper()
	text, err := template.New("api.md.tmpl").Funcs(template.FuncMap{"who": who, "cell": cell}).ParseFiles("testdata/docs/api.md.tmpl")
	require.NoError(t, err)
	var b strings.Builder
	require.NoError(t, text.Execute(&b, web.New(web.Options{}).Routes()))
	return b.String()
}

// cell writes text into a cell of a Markdown table.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// who says in words what a route asks of its caller.
func who(n web.Need) string {
	if n.Open {
		return "anybody, without a token"
	}
	people := "any person"
	switch {
	case n.Machine:
		return fmt.Sprintf("machines with the scope `%s`", n.Scope)
	case n.Manager:
		people = "the manager"
	case n.Activity != "":
		people = fmt.Sprintf("people responsible for `%s`", n.Activity)
	}
	if n.Scope != "" {
		return fmt.Sprintf("%s; machines with the scope `%s`", people, n.Scope)
	}
	return people
}
