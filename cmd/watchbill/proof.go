package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"watchbill"
	"watchbill/internal/web"
)

func (a *app) incidentClose() *cobra.Command {
	var r web.CloseRequest
	c := &cobra.Command{
		Use: "close INCIDENT", Short: "Close an incident with its closing proof", Args: args(cobra.ExactArgs(1)),
		Long: "Close an incident that is resolved, with its closing proof: by severity its cause, a verdict, every step of\n" +
			"its plan done, skipped or handed over, every broken glass reviewed, and its alerts away for ten minutes,\n" +
			"or a reason why it may be closed before. `closing_proof:` of the configuration says what is asked for.",
		Example: "  watchbill incident close INC-1 --cause \"version 42 leaked connections\" --verdict useful",
		RunE: func(c *cobra.Command, words []string) error {
			return a.one(words[0], func(client *web.Client, id watchbill.IncidentID) error {
				inc, err := client.CloseIncident(c.Context(), id, r)
				if err != nil {
					return err
				}
				return a.done(inc, fmt.Sprintf("%s is closed; its record: watchbill incident export %s", inc.ID, inc.ID))
			})
		},
	}
	c.Flags().StringVar(&r.Cause, "cause", "", "`TEXT`: what caused it")
	c.Flags().StringVar((*string)(&r.Verdict), "verdict", "", "`VERDICT` on it: useful, noise or unclear")
	c.Flags().StringVar(&r.Signal, "signal", "", "`TEXT`: why it may be closed though its alerts ended just now")
	return c
}

func (a *app) incidentExport() *cobra.Command {
	format := ""
	c := &cobra.Command{
		Use: "export INCIDENT", Short: "Print all that is known of an incident, as a record", Args: args(cobra.ExactArgs(1)),
		Long: "Print the record of an incident: people, times, alerts, pages with what is known of each, plan, changes\n" +
			"with their approvals, cause, verdict and timeline. All times are in UTC.",
		Example: "  watchbill incident export INC-1 > INC-1.md\n  watchbill incident export INC-1 --format json",
		RunE: func(c *cobra.Command, words []string) error {
			if format != "markdown" && format != "json" {
				return usageError{fmt.Errorf("--format: %q is neither markdown nor json", format)}
			}
			return a.one(words[0], func(client *web.Client, id watchbill.IncidentID) error {
				x, err := client.Export(c.Context(), id)
				if err != nil {
					return err
				}
				if format == "json" {
					a.output = outputJSON
				}
				text := func() { fmt.Fprint(a.stdout, x.Markdown()) }
				return a.print(x, text, text)
			})
		},
	}
	c.Flags().StringVar(&format, "format", "markdown", "the `FORMAT`: markdown or json")
	return c
}
