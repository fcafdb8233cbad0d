package main

import (
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"watchbill/internal/web"
)

func (a *app) heartbeat() *cobra.Command {
	c := &cobra.Command{
		Use: "heartbeat", Short: "See what reports by itself, and what has stopped to",
		Args: noVerb, RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.heartbeatList(), a.heartbeatShow())
	return c
}

func (a *app) heartbeatList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List heartbeats and how they are", Args: args(cobra.NoArgs),
		Long: "List the heartbeats of the configuration and how each is. The states are\n\n" +
			"  new         nothing was heard yet, and nothing is overdue\n" +
			"  up          the last run ended well\n" +
			"  started     a run began and has its grace to end\n" +
			"  late        overdue, within the grace\n" +
			"  down        overdue for longer than the grace\n" +
			"  never       nothing was heard since it was configured\n" +
			"  unfinished  a run began and did not end within the grace\n" +
			"  failed      the last run ended badly\n\n" +
			"of which the last four page.",
		Example: "  watchbill heartbeat list\n  watchbill heartbeat list -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			all, err := client.Heartbeats(c.Context())
			if err != nil {
				return err
			}
			return a.print(all, func() { a.beats(all, false) }, func() { a.beats(all, true) })
		},
	}
}

func (a *app) beats(all []web.HeartbeatView, extended bool) {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	head := "HEARTBEAT\tSTATE\tSINCE\tLAST PING\tDUE"
	if extended {
		head += "\tALERT AT\tLAST SUCCESS\tTOOK\tSCHEDULE\tGRACE"
	}
	fmt.Fprintln(w, head)
	for _, h := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s", h.Name, h.State, instant(h.Since), instant(h.LastSeen), instant(h.Due))
		if extended {
			took := h.Took
			if took == "" {
				took = "-"
			}
			fmt.Fprintf(w, "\t%s\t%s\t%s\t%s\t%s", instant(h.Limit), instant(h.LastSuccess), took, h.Schedule, h.Grace)
		}
		fmt.Fprintln(w)
	}
	_ = w.Flush() // stdout's own error shows at the next write
}

func instant(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

func (a *app) heartbeatShow() *cobra.Command {
	return &cobra.Command{
		Use: "show HEARTBEAT", Short: "Show a heartbeat with its last pings", Args: args(cobra.ExactArgs(1)),
		Long:    "Show a heartbeat: how it is and since when, its last ten pings, and what the last one carried.",
		Example: "  watchbill heartbeat show backup-nightly",
		RunE: func(c *cobra.Command, words []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			h, err := client.Heartbeat(c.Context(), words[0])
			if err != nil {
				return err
			}
			text := func() { a.beat(h) }
			return a.print(h, text, text)
		},
	}
}

func (a *app) beat(h web.HeartbeatView) {
	fmt.Fprintf(a.stdout, "%s is %s since %s\n", h.Name, h.State, instant(h.Since))
	fmt.Fprintf(a.stdout, "expected %s, with a grace of %s; due at %s, an alert at %s\n", h.Schedule, h.Grace, instant(h.Due), instant(h.Limit))
	if len(h.Pings) == 0 {
		fmt.Fprintf(a.stdout, "nothing was heard since it was configured at %s\n", instant(h.Configured))
		return
	}
	fmt.Fprintln(a.stdout, "\nPings")
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, p := range h.Pings {
		said := p.Kind
		if p.Exit != 0 {
			said += " " + strconv.Itoa(p.Exit)
		}
		more := ""
		if p.Took != "" {
			more = "took " + p.Took
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\t%d bytes\t%s\n", instant(p.At), said, p.Via, p.Size, more)
	}
	_ = w.Flush() // stdout's own error shows at the next write
	if h.Evidence != "" {
		fmt.Fprintf(a.stdout, "\nThe last ping carried\n%s\n", printable(h.Evidence))
	}
}

// printable keeps what came from elsewhere from steering the terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || strconv.IsPrint(r) {
			return r
		}
		return '·'
	}, strings.TrimRight(text, "\r\n"))
}
