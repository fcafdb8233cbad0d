package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"watchbill/internal/config"
	"watchbill/internal/daemon"
)

func (a *app) runbook() *cobra.Command {
	c := &cobra.Command{
		Use: "runbook", Short: "List, show, check and run runbooks",
		Args: noVerb, RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.runbookList(), a.runbookShow(), a.runbookLint(), a.runbookRun(), a.runbookCoverage())
	return c
}

// books returns the runbooks of the configuration. Without one, those in the
// binary: they must be at hand where nothing else is.
func (a *app) books(c *cobra.Command) ([]daemon.Book, error) {
	cfg, err := a.loadMaybe(c)
	if err != nil {
		return nil, err
	}
	return daemon.Books(cfg, time.Now())
}

// loadMaybe reads the configuration, or returns nil when none was named and
// there is none in its usual place.
func (a *app) loadMaybe(c *cobra.Command) (*config.Config, error) {
	if _, err := os.Stat(a.config); errors.Is(err, os.ErrNotExist) && !c.Flags().Changed("config") && a.getenv("WATCHBILL_CONFIG") == "" {
		return nil, nil //nolint:nilnil // no configuration is an answer
	}
	return a.load()
}

func (a *app) runbookList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the runbooks, yours before those in the binary", Args: args(cobra.NoArgs),
		Long: "List the runbooks of the configuration that --config names, and those in the binary. Where there is no\n" +
			"configuration, those in the binary alone. The daemon is not asked.",
		Example: "  watchbill runbook list -o extended",
		RunE: func(c *cobra.Command, _ []string) error {
			books, err := a.books(c)
			if err != nil {
				return err
			}
			for i := range books {
				books[i].Text = ""
			}
			table := func(extended bool) {
				w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
				fmt.Fprint(w, "RUNBOOK\tOWNER\tFRESHNESS")
				if extended {
					fmt.Fprint(w, "\tVERSION\tBUILT IN\tACTIVITIES\tMATCH")
				}
				fmt.Fprintln(w, "\tTITLE")
				for _, b := range books {
					fmt.Fprintf(w, "%s\t%s\t%s", b.Name, b.Owner, b.State)
					if extended {
						fmt.Fprintf(w, "\t%s\t%t\t%v\t%s", b.Version, b.BuiltIn, b.Activities, b.Match)
					}
					fmt.Fprintf(w, "\t%s\n", b.Title)
				}
				_ = w.Flush() // stdout's own error shows at the next write
			}
			return a.print(books, func() { table(false) }, func() { table(true) })
		},
	}
}

func (a *app) runbookShow() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Print a runbook", Args: args(cobra.ExactArgs(1)),
		Long:    "Print a runbook as Markdown. The daemon is not asked, so that it can be read when nothing else works.",
		Example: "  watchbill runbook show disk-full",
		RunE: func(c *cobra.Command, words []string) error {
			books, err := a.books(c)
			if err != nil {
				return err
			}
			b, err := daemon.FindBook(books, words[0])
			if err != nil {
				return err
			}
			text := func() { fmt.Fprint(a.stdout, b.Text) }
			return a.print(b, text, func() {
				fmt.Fprintf(a.stdout, "owner %s, %s, version %s\n\n", b.Owner, b.State, b.Version)
				text()
			})
		},
	}
}

func (a *app) runbookLint() *cobra.Command {
	return &cobra.Command{
		Use: "lint FILE…", Short: "Find every mistake in runbooks", Args: args(cobra.MinimumNArgs(1)),
		Long: "Read runbooks and print all mistakes and warnings with their place, the line and an advice: a missing\n" +
			"owner, a review that is too long ago, answers that lead nowhere, questions that nobody is asked or that\n" +
			"never end, dead links, and changes of production that nothing takes back. Files are read beneath their\n" +
			"own folder. It exits 1 on a mistake, and 3 on warnings alone.",
		Example: "  watchbill runbook lint runbooks/*.md",
		RunE: func(_ *cobra.Command, files []string) error {
			var all config.Problems
			for _, file := range files {
				problems, err := daemon.LintRunbook(file, time.Now())
				if err != nil {
					return err
				}
				all = slices.Concat(all, problems)
			}
			if len(all.Errors()) > 0 {
				return all
			}
			all.Print(a.stderr)
			if len(all) > 0 {
				return errWarnings
			}
			said := fmt.Sprintf("%d runbooks are sound", len(files))
			text := func() { fmt.Fprintln(a.stdout, said) }
			return a.print(all, text, text)
		},
	}
}

func (a *app) runbookCoverage() *cobra.Command {
	return &cobra.Command{
		Use: "coverage", Short: "List what has no runbook of its own", Args: args(cobra.NoArgs),
		Long: "List the rules, targets, heartbeats, services and activities of a configuration whose alerts have no\n" +
			"runbook, or only the last resort, one that their activity gives. -o extended and -o json list all of them\n" +
			"with what they get. Labels that are known only when a rule fires are not looked at.",
		Example: "  watchbill runbook coverage --config watchbill.yaml",
		RunE: func(*cobra.Command, []string) error {
			cfg, err := a.load()
			if err != nil {
				return err
			}
			table := func(all bool) {
				w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
				fmt.Fprintln(w, "RUNBOOK\tFOUND BY\tACTIVITY\tWHAT\tPLACE")
				none, last := 0, 0
				for _, c := range cfg.RunbookCover {
					switch c.FoundBy {
					case "":
						none++
					case "activity":
						last++
					default:
						if !all {
							continue
						}
					}
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", cmp.Or(c.Runbook, "-"), cmp.Or(c.FoundBy, "nothing"), c.Activity, c.What, cmp.Or(c.Place, "-"))
				}
				_ = w.Flush() // stdout's own error shows at the next write
				fmt.Fprintf(a.stdout, "of %d, %d have no runbook and %d only the last resort\n", len(cfg.RunbookCover), none, last)
			}
			return a.print(cfg.RunbookCover, func() { table(false) }, func() { table(true) })
		},
	}
}
