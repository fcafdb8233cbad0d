package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"watchbill/internal/scenario"
)

// childVerb is the verb of the process that a scenario is played in. It is not
// for people.
const childVerb = "play-in-virtual-time"

// errScenarios says that scenarios failed, which was printed already.
var errScenarios = errors.New("scenarios failed")

// withUpdate lets test take -update as well as --update, because it is what
// people who write Go type.
func withUpdate(args []string) []string {
	if len(args) == 0 || args[0] != "test" {
		return args
	}
	out := append([]string(nil), args...)
	for i, a := range out {
		if a == "--" {
			break
		}
		if a == "-update" {
			out[i] = "--update"
		}
	}
	return out
}

func (a *app) test() *cobra.Command {
	var run, junit string
	var o scenario.Options
	var whole bool
	c := &cobra.Command{
		Use: "test FILE…", Short: "Play scenario files and compare who is paged when",
		Long: "Play scenario files in virtual time: a script says which alerts fire and end and what people do, and the\n" +
			"timeline in the file says who must be paged when. Nobody is paged and nothing is waited for. The daemon\n" +
			"that is played is the real one, from the intake of alerts to the outbox; docs/scenarios.md describes the\n" +
			"files. It exits 1 when a timeline differs or a file has a mistake.\n\n" +
			"With --config all scenarios are played against that configuration instead of the one that they name: to\n" +
			"see what a change would do.",
		Example: "  watchbill test deploy/examples/*/scenarios/*.txtar\n" +
			"  watchbill test --run night --diff scenarios/*.txtar\n" +
			"  watchbill test --junit scenarios.xml scenarios/*.txtar",
		Args: args(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, files []string) error {
			o.Files, o.Start = files, child
			if run != "" {
				var err error
				if o.Run, err = regexp.Compile(run); err != nil {
					return usageError{fmt.Errorf("--run: %w", err)}
				}
			}
			if c.Flags().Changed("config") {
				o.Config = a.config
			}
			results, err := scenario.Run(c.Context(), o)
			if err != nil {
				return err
			}
			if len(results) == 0 {
				return usageError{fmt.Errorf("no scenario matches --run %s", run)}
			}
			if junit != "" {
				if err := writeJUnit(junit, results); err != nil {
					return err
				}
			}
			return a.tested(results, whole)
		},
	}
	f := c.Flags()
	f.StringVar(&run, "run", "", "only those whose path without .txtar this `REGEXP` matches")
	f.StringVar(&junit, "junit", "", "also write the results to `FILE`, in JUnit's XML")
	f.BoolVar(&whole, "diff", false, "show all differences of a timeline, instead of the first")
	f.BoolVar(&o.Update, "update", false, "write what happens into the files as their timelines")
	return c
}

// play is the verb of the child.
func (a *app) play() *cobra.Command {
	return &cobra.Command{
		Use: childVerb + " DIR", Short: "Play what a parent left in a folder", Hidden: true, Args: args(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, dir []string) error { return scenario.Child(dir[0], a.getenv) },
	}
}

// child is this program again, as the process of a bubble.
func child(ctx context.Context, dir string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	cmd := exec.CommandContext(ctx, self, childVerb, dir)
	cmd.Args[0] = os.Args[0]
	return cmd
}

func writeJUnit(path string, results []scenario.Result) (err error) {
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write --junit: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return scenario.WriteJUnit(file, results)
}

// tested prints results.
func (a *app) tested(results []scenario.Result, whole bool) error {
	failed := 0
	var took time.Duration
	for _, r := range results {
		took += r.Took
		if !r.OK {
			failed++
		}
	}
	text := func(extended bool) func() {
		return func() {
			for _, r := range results {
				a.result(r, whole, extended)
			}
			fmt.Fprintf(a.stdout, "%d scenarios, %d failed, %s\n", len(results), failed, took.Round(time.Millisecond))
		}
	}
	if err := a.print(results, text(false), text(true)); err != nil {
		return err
	}
	if failed > 0 {
		return errScenarios
	}
	return nil
}

func (a *app) result(r scenario.Result, whole, extended bool) {
	mark := "ok  "
	switch {
	case r.Updated:
		mark = "new "
	case !r.OK:
		mark = "FAIL"
	}
	fmt.Fprintf(a.stdout, "%s  %s  %s\n", mark, r.Name, r.Took.Round(time.Millisecond))
	if r.Promise != "" && (!r.OK || extended) {
		fmt.Fprintf(a.stdout, "      %s\n", r.Promise)
	}
	if extended {
		fmt.Fprintln(a.stdout, shifted(r.Got))
	}
	if r.OK {
		return
	}
	if len(r.Bad) > 0 {
		r.Bad.Print(a.stderr)
		return
	}
	if r.Error != "" {
		fmt.Fprintf(a.stdout, "      %s\n", r.Error)
	}
	if r.Diff == "" {
		return
	}
	if whole {
		fmt.Fprintln(a.stdout, shifted(r.Diff))
		return
	}
	want, got := r.First()
	fmt.Fprintf(a.stdout, "      wanted: %s\n      got:    %s\n      --diff shows all of it\n", orNothing(want), orNothing(got))
}

func orNothing(s string) string {
	if strings.TrimSpace(s) == "" {
		return "(nothing more)"
	}
	return s
}

func shifted(s string) string {
	return "      " + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n      ")
}
