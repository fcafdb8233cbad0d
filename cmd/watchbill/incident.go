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

// parseLabels reads name=value words; a word without = is the alert's name.
func parseLabels(words []string) (watchbill.Labels, error) {
	labels := watchbill.Labels{}
	for _, word := range words {
		name, value, ok := strings.Cut(word, "=")
		if !ok {
			name, value = "alertname", word
		}
		if name == "" || strings.HasPrefix(value, "~") || strings.HasSuffix(name, "!") {
			return nil, fmt.Errorf("%q is not a label: write it as name=value", word)
		}
		if _, twice := labels[name]; twice {
			return nil, fmt.Errorf("the label %s is given twice", name)
		}
		labels[name] = value
	}
	return labels, nil
}

func (a *app) incident() *cobra.Command {
	c := &cobra.Command{
		Use: "incident", Short: "List, show, acknowledge and resolve incidents",
		Args: noVerb, RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.incidentList(), a.incidentShow(), a.incidentWhy(), a.incidentAck(), a.incidentNote(), a.incidentResolve(),
		a.incidentEscalate(), a.incidentHandOver(), a.incidentNotMine(), a.incidentSnooze(), a.incidentCall(), a.incidentStatus(), a.incidentSeverity(), a.incidentRole(), a.incidentClose(), a.incidentExport())
	return c
}

func (a *app) incidentList() *cobra.Command {
	var state string
	var limit int
	c := &cobra.Command{
		Use: "list", Short: "List incidents, newest first", Args: args(cobra.NoArgs),
		Long: "List incidents, newest first. Without --state those that still need somebody or may still come back\n" +
			"are listed: open, acknowledged and resolved ones. The ones that are over for good are closed.",
		Example: "  watchbill incident list\n  watchbill incident list --state open -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			if state == "all" {
				state = ""
			}
			all, err := client.Incidents(c.Context(), state, limit)
			if err != nil {
				return err
			}
			return a.print(all, func() { a.table(all, false) }, func() { a.table(all, true) })
		},
	}
	c.Flags().StringVar(&state, "state", "live", "which ones: live, open, acknowledged, resolved, closed or all; live is all but closed")
	c.Flags().IntVar(&limit, "limit", 100, "list at most `N`")
	return c
}

func (a *app) table(all []watchbill.Incident, extended bool) {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	head := "INCIDENT\tSTATE\tSEVERITY\tSERVICE\tOPENED\tTAKEN BY\tTITLE"
	if extended {
		head = "INCIDENT\tSTATE\tSEVERITY\tSERVICE\tENVIRONMENT\tACTIVITY\tGENERATION\tOPENED\tTAKEN BY\tUNTIL\tRUNBOOK\tTITLE"
	}
	fmt.Fprintln(w, head)
	for _, inc := range all {
		opened, by, until := inc.OpenedAt.UTC().Format(time.RFC3339), "-", "-"
		if inc.State == watchbill.StateAcknowledged {
			by, until = string(inc.AcknowledgedBy), inc.AckDeadline.UTC().Format(time.RFC3339)
		}
		if extended {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\n", inc.ID, inc.State, inc.Severity, inc.Service,
				inc.Environment, inc.Activity, inc.Generation, opened, by, until, inc.Runbook, inc.Title)
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", inc.ID, inc.State, inc.Severity, inc.Service, opened, by, inc.Title)
	}
	_ = w.Flush() // stdout's own error shows at the next write
}

// one parses the incident of a command line and calls do with it and a client.
func (a *app) one(id string, do func(*web.Client, watchbill.IncidentID) error) error {
	parsed, err := watchbill.ParseIncidentID(id)
	if err != nil {
		return usageError{err}
	}
	client, err := a.client()
	if err != nil {
		return err
	}
	return do(client, parsed)
}

func (a *app) incidentShow() *cobra.Command {
	return &cobra.Command{
		Use: "show INCIDENT", Short: "Show an incident with its timeline and what is next", Args: args(cobra.ExactArgs(1)),
		Long: "Show an incident: its state, what happens next if nobody acts, and everything that happened to it.\n" +
			"-o extended adds every page with what became of it, -o json everything that is known.",
		Example: "  watchbill incident show INC-1",
		RunE: func(c *cobra.Command, words []string) error {
			return a.one(words[0], func(client *web.Client, id watchbill.IncidentID) error {
				v, err := client.Incident(c.Context(), id)
				if err != nil {
					return err
				}
				text := func() { fmt.Fprint(a.stdout, v.Text()) }
				return a.print(v, text, func() { text(); a.pages(v.Pages) })
			})
		},
	}
}

func (a *app) pages(pages []web.PageView) {
	fmt.Fprintln(a.stdout, "\nPages")
	for _, p := range pages {
		fmt.Fprintf(a.stdout, "  %s  %-9s  attempts %d  due %s\n", p.Key, p.State, p.Attempts, p.Page.Due.UTC().Format(time.RFC3339))
		if known := p.Known.Text(); known != "" {
			fmt.Fprintf(a.stdout, "      %s\n", known)
		}
	}
}

// done prints what became of an incident.
func (a *app) done(inc watchbill.Incident, said string) error {
	text := func() { fmt.Fprintln(a.stdout, said) }
	return a.print(inc, text, text)
}

func (a *app) incidentAck() *cobra.Command {
	return &cobra.Command{
		Use: "ack INCIDENT [NOTE…]", Short: "Take an incident; its pages stop", Args: args(cobra.MinimumNArgs(1)),
		Long: "Take an incident: every pending page and step stops. It is a promise with a deadline; anything\n" +
			"recorded on the incident renews it, and when it expires you are paged and the path starts again.",
		Example: "  watchbill incident ack INC-1\n  watchbill incident ack INC-1 rolling back the last release",
		RunE: func(c *cobra.Command, words []string) error {
			return a.one(words[0], func(client *web.Client, id watchbill.IncidentID) error {
				inc, err := client.Acknowledge(c.Context(), id, strings.Join(words[1:], " "))
				if err != nil {
					return err
				}
				if inc.Drill != nil {
					return a.done(inc, fmt.Sprintf("the drill %s is answered after %s", inc.ID, inc.ClosedAt.Sub(inc.OpenedAt).Round(time.Second)))
				}
				if inc.State == watchbill.StateOpen {
					return a.done(inc, fmt.Sprintf("recorded; %s pages on until %d people have acknowledged", inc.ID, inc.Path.Acks))
				}
				return a.done(inc, fmt.Sprintf("%s is yours until %s; record what you do with: watchbill incident note %s …",
					inc.ID, inc.AckDeadline.UTC().Format("15:04 UTC"), inc.ID))
			})
		},
	}
}

func (a *app) incidentNote() *cobra.Command {
	return &cobra.Command{
		Use: "note INCIDENT TEXT…", Short: "Record what you saw or did", Args: args(cobra.MinimumNArgs(2)),
		Long:    "Record what you saw or did. It becomes part of the timeline and renews an acknowledgement.",
		Example: "  watchbill incident note INC-1 the error rate falls since 03:40",
		RunE: func(c *cobra.Command, words []string) error {
			return a.one(words[0], func(client *web.Client, id watchbill.IncidentID) error {
				inc, err := client.Note(c.Context(), id, strings.Join(words[1:], " "))
				if err != nil {
					return err
				}
				return a.done(inc, "recorded on "+inc.ID.String())
			})
		},
	}
}

func (a *app) incidentResolve() *cobra.Command {
	var reason, cause, verdict string
	var quiet time.Duration
	c := &cobra.Command{
		Use: "resolve INCIDENT", Short: "Say that an incident is over", Args: args(cobra.ExactArgs(1)),
		Long: "Say that an incident is over, and how you know. Alerts that still fire are held quiet for --quiet; if\n" +
			"they still fire then, it reopens and pages. An incident whose alerts end resolves by itself.",
		Example: "  watchbill incident resolve INC-1 --reason \"rolled back, no error since 03:40\"",
		RunE: func(c *cobra.Command, words []string) error {
			if reason == "" {
				return usageError{errors.New("--reason is needed: say how you know that it is over")}
			}
			return a.one(words[0], func(client *web.Client, id watchbill.IncidentID) error {
				r := web.ResolveRequest{Reason: reason, Cause: cause, Verdict: watchbill.Verdict(verdict)}
				if quiet > 0 {
					r.QuietUntil = time.Now().Add(quiet)
				}
				inc, err := client.Resolve(c.Context(), id, r)
				if err != nil {
					return err
				}
				said := inc.ID.String() + " is resolved"
				if !inc.QuietUntil.IsZero() {
					said += "; its alerts still fire and are held quiet until " + inc.QuietUntil.UTC().Format(time.RFC3339)
				}
				return a.done(inc, said)
			})
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "`TEXT`: how you know that it is over (needed)")
	c.Flags().StringVar(&cause, "cause", "", "`TEXT`: what caused it, for the closing proof, if it is known by now")
	c.Flags().StringVar(&verdict, "verdict", "", "`VERDICT` on it: useful, noise or unclear")
	c.Flags().DurationVar(&quiet, "quiet", 0, "hold alerts that still fire quiet for this `DURATION`, like 30m (default: incidents.quiet of the configuration)")
	return c
}
