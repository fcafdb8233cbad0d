package main

import (
	"cmp"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"watchbill/internal/web"
)

func (a *app) alert() *cobra.Command {
	c := &cobra.Command{
		Use: "alert", Short: "List alerts, those that fire and those that ended, and what was decided about them",
		Args: noVerb, RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.alertList(), a.alertHistory(), a.alertWhy())
	return c
}

func (a *app) alertList() *cobra.Command {
	limit := 100
	c := &cobra.Command{
		Use: "list [MATCHER…]", Short: "List the alerts that fire, newest first",
		Long:    "List the alerts that fire, newest first. A MATCHER is written as in Alertmanager: name=value, with =, !=, =~ or !~.",
		Example: "  watchbill alert list\n  watchbill alert list service=db 'severity=~page|critical'",
		RunE: func(c *cobra.Command, matchers []string) error {
			return a.history(c, url.Values{"filter": matchers, "state": {"firing"}, "limit": {strconv.Itoa(limit)}})
		},
	}
	c.Flags().IntVar(&limit, "limit", limit, "list at most `N`")
	return c
}

func (a *app) alertHistory() *cobra.Command {
	limit, since, incident, cursor := 100, days(7*24*time.Hour), "", ""
	c := &cobra.Command{
		Use: "history [MATCHER…]", Short: "List what fired when, who was paged and what muted it",
		Long: "List the alerts that fire and those that ended, the last end first: when, for how long, who was paged\n" +
			"by the incident while the alert fired, and what muted it. -o extended says it all, -o json for a program.\n" +
			"The history is kept as long as incidents are (retention.incidents).",
		Example: "  watchbill alert history service=db --since 30d\n  watchbill alert history --incident INC-1 -o extended",
		RunE: func(c *cobra.Command, matchers []string) error {
			q := url.Values{"filter": matchers, "limit": {strconv.Itoa(limit)}, "cursor": {cursor}, "incident": {incident}}
			if since > 0 {
				q.Set("from", time.Now().Add(-time.Duration(since)).UTC().Format(time.RFC3339))
			}
			return a.history(c, q)
		},
	}
	c.Flags().IntVar(&limit, "limit", limit, "list at most `N`, up to 1000")
	c.Flags().Var(&since, "since", "what fired within this `DURATION`, like 36h or 30d; 0s for all")
	c.Flags().StringVar(&incident, "incident", "", "only the alerts of `INCIDENT`")
	c.Flags().StringVar(&cursor, "cursor", "", "go on where an earlier list ended")
	return c
}

func (a *app) history(c *cobra.Command, q url.Values) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	page, err := client.AlertHistory(c.Context(), q)
	if err != nil {
		return err
	}
	if err := a.print(page, func() { a.alertTable(page) }, func() { a.alertDetails(page) }); err != nil {
		return err
	}
	if page.Next != "" && a.output != outputJSON {
		fmt.Fprintf(a.stdout, "there is more: --cursor %s\n", page.Next)
	}
	return nil
}

func (a *app) alertTable(page web.HistoryPage) {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "STARTED\tFOR\tSTATE\tINCIDENT\tPAGED\tMUTED\tALERT")
	for _, h := range page.Alerts {
		state, muted := "firing", "-"
		if !h.EndedAt.IsZero() {
			state = "ended"
		}
		if n := len(h.Muted); n > 0 {
			muted = fmt.Sprintf("%d times", n)
		}
		people := []string{}
		for _, p := range h.Paged {
			if len(people) == 0 || people[len(people)-1] != string(p.Person) {
				people = append(people, string(p.Person))
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", h.StartsAt.UTC().Format(time.RFC3339), seconds(h.Seconds), state,
			cmp.Or(h.Incident, "-"), cmp.Or(strings.Join(people, ", "), "-"), muted, h.Labels)
	}
	_ = w.Flush() // stdout's own error shows at the next write
}

func seconds(s float64) time.Duration {
	return time.Duration(s * float64(time.Second)).Round(time.Second)
}

func (a *app) alertDetails(page web.HistoryPage) {
	for _, h := range page.Alerts {
		ended := "it still fires"
		if !h.EndedAt.IsZero() {
			ended = "ended " + h.EndedAt.UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(a.stdout, "%s\n  started %s, %s, for %s\n  incident %s, source %s\n", h.Labels, h.StartsAt.UTC().Format(time.RFC3339), ended,
			seconds(h.Seconds), cmp.Or(h.Incident, "-"), cmp.Or(h.Source, "-"))
		for _, p := range h.Paged {
			fmt.Fprintf(a.stdout, "  paged %s by %s at %s\n", p.Person, p.Method, p.At.UTC().Format(time.RFC3339))
		}
		for _, m := range h.Muted {
			until := "now"
			if !m.Until.IsZero() {
				until = m.Until.UTC().Format(time.RFC3339)
			}
			fmt.Fprintf(a.stdout, "  muted from %s until %s: %s\n", m.From.UTC().Format(time.RFC3339), until, m.Reason)
		}
	}
}
