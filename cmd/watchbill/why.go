package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"watchbill"
	"watchbill/internal/web"
)

func (a *app) alertWhy() *cobra.Command {
	return &cobra.Command{
		Use: "why NAME=VALUE…", Short: "Say what was decided about an alert, and why", Args: args(cobra.MinimumNArgs(1)),
		Long: "Say what was decided about each alert that has all of these labels: which incident it opened or joined,\n" +
			"or what muted it, with the rule, the row of the matrix and the severity that it was given, and what came\n" +
			"near to muting it. It is what was kept when it was decided, whatever the configuration says now. A word\n" +
			"without = is the alert's name. Up to ten alerts are shown, those that fire first.",
		Example: "  watchbill alert why NodeDiskFull instance=db-1",
		RunE: func(c *cobra.Command, words []string) error {
			labels, err := parseLabels(words)
			if err != nil {
				return usageError{err}
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			all, err := client.WhyAlerts(c.Context(), labels)
			if err != nil {
				return err
			}
			text := func() {
				for i, v := range all {
					if i > 0 {
						fmt.Fprintln(a.stdout)
					}
					fmt.Fprint(a.stdout, v.Text())
				}
			}
			return a.print(all, text, text)
		},
	}
}

func (a *app) incidentWhy() *cobra.Command {
	person := ""
	c := &cobra.Command{
		Use: "why INCIDENT", Short: "Say why you, or somebody else, were paged or not", Args: args(cobra.ExactArgs(1)),
		Long: "Say why a person was paged for an incident, or why not: whose turn it was instead, which step did not\n" +
			"come to pass, or which roles the path asks. Then what was decided about each of its alerts, and whom it\n" +
			"paged when, as it was kept at the time. Without --person it answers for you.",
		Example: "  watchbill incident why INC-1\n  watchbill incident why INC-1 --person ben",
		RunE: func(c *cobra.Command, words []string) error {
			return a.one(words[0], func(client *web.Client, id watchbill.IncidentID) error {
				v, err := client.WhyIncident(c.Context(), id, watchbill.PersonID(person))
				if err != nil {
					return err
				}
				text := func() { fmt.Fprint(a.stdout, v.Text()) }
				return a.print(v, text, text)
			})
		},
	}
	c.Flags().StringVar(&person, "person", "", "answer for this `PERSON`")
	return c
}
