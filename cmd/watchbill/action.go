package main

import (
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"watchbill"
	"watchbill/internal/web"
)

func (a *app) action() *cobra.Command {
	c := &cobra.Command{
		Use: "action", Short: "List, add and finish action items, which outlive their incidents",
		Args: noVerb, RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.actionList(), a.actionAdd(), a.actionDone())
	return c
}

func (a *app) actionList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the action items that are not done", Args: args(cobra.NoArgs), Example: "  watchbill action list",
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			all, err := client.Actions(c.Context())
			if err != nil {
				return err
			}
			text := func() {
				w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
				fmt.Fprintln(w, "INCIDENT\tACTION\tOWNER\tDUE\tWHAT")
				for _, x := range all {
					fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\n", x.Incident, x.N, x.Owner, x.Due.UTC().Format(time.RFC3339), x.Text)
				}
				_ = w.Flush() // stdout's own error shows at the next write
			}
			return a.print(all, text, text)
		},
	}
}

func (a *app) actionAdd() *cobra.Command {
	var r web.ActionRequest
	var due string
	c := &cobra.Command{
		Use: "add INCIDENT TEXT… --due TIME", Short: "Add an action item to an incident, also to one that is closed", Args: args(cobra.MinimumNArgs(2)),
		Long: "Add an action item to an incident. When it is due its owner is told, every day until it is done; from the\n" +
			"second time on the manager on duty is told, too. An incident with an action item that is not done is\n" +
			"kept however old it is.",
		Example: "  watchbill action add INC-1 --owner ben --due 72h grow the disk",
		RunE: func(c *cobra.Command, words []string) (err error) {
			if due == "" {
				return usageError{errors.New("--due is needed: until when")}
			}
			if r.Due, err = dueAt(due); err != nil {
				return err
			}
			r.Text = strings.Join(words[1:], " ")
			return a.one(words[0], func(client *web.Client, id watchbill.IncidentID) error {
				inc, err := client.ActOnActions(c.Context(), id, r)
				if err != nil {
					return err
				}
				return a.done(inc, fmt.Sprintf("%s has action %d", inc.ID, len(inc.Actions)))
			})
		},
	}
	c.Flags().StringVar((*string)(&r.Owner), "owner", "", "the `PERSON` whose it is (default: you)")
	c.Flags().StringVar(&due, "due", "", "until when: a `TIME` like 2026-12-04T12:00:00Z, or 72h from now (needed)")
	return c
}

func (a *app) actionDone() *cobra.Command {
	return &cobra.Command{
		Use: "done INCIDENT ACTION [TEXT…]", Short: "Say that an action item is done", Args: args(cobra.MinimumNArgs(2)),
		Example: "  watchbill action done INC-1 1 the disk has 2 TB",
		RunE: func(c *cobra.Command, words []string) error {
			n, err := stepNumber(words[1])
			if err != nil {
				return err
			}
			return a.one(words[0], func(client *web.Client, id watchbill.IncidentID) error {
				inc, err := client.ActOnActions(c.Context(), id, web.ActionRequest{Done: n, Note: strings.Join(words[2:], " ")})
				if err != nil {
					return err
				}
				return a.done(inc, fmt.Sprintf("action %d of %s is done", n, inc.ID))
			})
		},
	}
}

func (a *app) incidentSeverity() *cobra.Command {
	return &cobra.Command{
		Use: "severity INCIDENT SEVERITY REASON…", Short: "Raise or lower an incident's severity, and say why", Args: args(cobra.MinimumNArgs(3)),
		Long: "Raise or lower an incident's severity. One that is open pages anew when it is raised; one that somebody\n" +
			"has stays theirs, by the deadlines of the new severity. Alerts that end lower it no more after that.",
		Example: "  watchbill incident severity INC-1 sev1 all of Europe is down",
		RunE: func(c *cobra.Command, words []string) error {
			sev, err := watchbill.ParseSeverity(words[1])
			if err != nil {
				return usageError{err}
			}
			return a.one(words[0], func(client *web.Client, id watchbill.IncidentID) error {
				inc, err := client.SetSeverity(c.Context(), id, web.SeverityRequest{Severity: sev, Reason: strings.Join(words[2:], " ")})
				if err != nil {
					return err
				}
				return a.done(inc, fmt.Sprintf("%s is %s", inc.ID, inc.Severity))
			})
		},
	}
}

func (a *app) incidentRole() *cobra.Command {
	return &cobra.Command{
		Use: "role INCIDENT ROLE [PERSON]", Short: "Say who is commander, responder or scribe", Args: args(cobra.RangeArgs(2, 3)),
		Long:    "Say who is commander, responder or scribe of an incident. Without a PERSON nobody is any more.",
		Example: "  watchbill incident role INC-1 commander ana",
		RunE: func(c *cobra.Command, words []string) error {
			r := web.AssignRequest{Role: watchbill.IncidentRole(words[1])}
			if len(words) == 3 {
				r.Person = watchbill.PersonID(words[2])
			}
			return a.one(words[0], func(client *web.Client, id watchbill.IncidentID) error {
				inc, err := client.Assign(c.Context(), id, r)
				if err != nil {
					return err
				}
				return a.done(inc, "recorded on "+inc.ID.String())
			})
		},
	}
}
