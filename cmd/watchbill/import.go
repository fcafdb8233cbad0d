package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"watchbill"
	"watchbill/internal/config"
)

func (a *app) importVerb() *cobra.Command {
	c := &cobra.Command{
		Use: "import", Short: "Make a configuration of another program's",
		Args: noVerb, RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.importAlertmanager())
	return c
}

func (a *app) importAlertmanager() *cobra.Command {
	out, strict := "", false
	c := &cobra.Command{
		Use: "alertmanager FILE", Short: "Make a configuration of an alertmanager.yml", Args: args(cobra.ExactArgs(1)),
		Long: "Read a configuration of Alertmanager and write one that sends each alert to the same receivers. Global\n" +
			"settings, receivers, inhibit rules, time intervals and templates are carried as they stand; routes become\n" +
			"rules and a matrix, with a role and a person for each receiver. What could not be carried is listed with\n" +
			"its line, what it means and what to do.\n\n" +
			"Without --out the configuration is printed and the list goes to standard error. Keep it in the folder of\n" +
			"FILE: paths in it are as they were. If FILE holds secrets, so does it. docs/import.md says more.",
		Example: "  watchbill import alertmanager /etc/alertmanager/alertmanager.yml --out watchbill.yaml",
		RunE: func(_ *cobra.Command, file []string) error {
			text, err := os.ReadFile(file[0])
			if err != nil {
				return watchbill.Errorf(watchbill.CodeNotFound, "name an alertmanager.yml", "cannot read it: %v", err)
			}
			im, err := config.ImportAlertmanager(filepath.Base(file[0]), text)
			if err != nil {
				return err
			}
			if err := a.imported(im, out); err != nil {
				return err
			}
			if strict && len(im.Notes) > 0 {
				return errWarnings
			}
			return nil
		},
	}
	c.Flags().StringVar(&out, "out", "", "write the configuration to this new `FILE`")
	c.Flags().BoolVar(&strict, "strict", false, "exit 3 when something could not be carried as it was")
	return c
}

func (a *app) imported(im *config.Import, out string) error {
	if out != "" {
		if err := writeOnce(out, im.Config); err != nil {
			return err
		}
		text := func() {
			fmt.Fprint(a.stdout, notesText(im.Notes))
			fmt.Fprintf(a.stdout, "\nwrote %s\nnext: edit it, then run: watchbill check %s\n", out, out)
		}
		return a.print(map[string]any{"file": out, "notes": im.Notes}, text, text)
	}
	text := func() {
		fmt.Fprint(a.stdout, string(im.Config))
		fmt.Fprint(a.stderr, notesText(im.Notes))
	}
	return a.print(map[string]any{"config": string(im.Config), "notes": im.Notes}, text, text)
}

// writeOnce writes a file that must not exist. It may hold secrets.
func writeOnce(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if os.IsExist(err) {
		return watchbill.Errorf(watchbill.CodeConflict, "choose another name, or remove the file", "%s is there already", path)
	}
	if err != nil {
		return fmt.Errorf("write --out: %w", err)
	}
	if _, err := f.Write(content); err != nil {
		return fmt.Errorf("write --out: %w", err)
	}
	return f.Close()
}

// notesText lists what could not be carried.
func notesText(notes []config.Note) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Not carried as it was, %d:\n", len(notes))
	for _, n := range notes {
		fmt.Fprintf(&b, "\n%s: %s\n  here: %s\n", n.Line, n.What, n.Means)
		if n.Do != "" {
			fmt.Fprintf(&b, "  do:   %s\n", n.Do)
		}
	}
	return b.String()
}
