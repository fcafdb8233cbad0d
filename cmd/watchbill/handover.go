package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"watchbill"
	"watchbill/internal/web"
)

func (a *app) handover() *cobra.Command {
	c := &cobra.Command{
		Use: "handover", Short: "Hand the duty for a role over, with what the next person has to know",
		Args: noVerb, RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.handoverShow(), a.handoverAccept(), a.handoverList())
	return c
}

func (a *app) handoverShow() *cobra.Command {
	return &cobra.Command{
		Use: "show ROLE", Short: "Show what whoever comes on duty has to know", Args: args(cobra.ExactArgs(1)),
		Long: "Show who is on duty and who is next; the incidents whose path names the role, what nobody has taken\n" +
			"first, then by who has had one longest, each with its owner, the last words and what happens next; the\n" +
			"silences by when they end, and those that wait for a second person; the changes of production that wait\n" +
			"for an approval or a performer; maintenance that runs or comes in the next 7 days; the changes of the\n" +
			"duty; and who accepted the pack last.",
		Example: "  watchbill handover show support",
		RunE: func(c *cobra.Command, words []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			p, err := client.HandoverPack(c.Context(), watchbill.RoleID(words[0]))
			if err != nil {
				return err
			}
			text := func() { printPack(a.stdout, p) }
			return a.print(p, text, text)
		},
	}
}

func (a *app) handoverAccept() *cobra.Command {
	note := ""
	c := &cobra.Command{
		Use: "accept ROLE", Short: "Accept the duty, having read the pack", Args: args(cobra.ExactArgs(1)),
		Long: "Record that you come on duty for a role and have read the pack, which is printed once more and kept as\n" +
			"it is. Whoever is on duty may, in front or behind, and whose shift is next, from 12 hours before it on.",
		Example: "  watchbill handover accept support --note \"spoke to ana\"",
		RunE: func(c *cobra.Command, words []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			h, err := client.AcceptHandover(c.Context(), web.AcceptRequest{Role: watchbill.RoleID(words[0]), Note: note})
			if err != nil {
				return err
			}
			text := func() {
				printPack(a.stdout, *h.Pack)
				fmt.Fprintf(a.stdout, "%s\n", h)
			}
			return a.print(h, text, text)
		},
	}
	c.Flags().StringVar(&note, "note", "", "`WORDS` to keep with it")
	return c
}

func (a *app) handoverList() *cobra.Command {
	return &cobra.Command{
		Use: "list [ROLE]", Short: "List who accepted the duty, newest first", Args: args(cobra.MaximumNArgs(1)),
		Example: "  watchbill handover list support",
		RunE: func(c *cobra.Command, words []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			all, err := client.Handovers(c.Context(), roleOf(words))
			if err != nil {
				return err
			}
			text := func() {
				for _, h := range all {
					fmt.Fprintln(a.stdout, h)
				}
			}
			return a.print(all, text, text)
		},
	}
}

// printPack prints a pack for a person.
func printPack(out io.Writer, p watchbill.HandoverPack) {
	at := func(t time.Time) string { return t.UTC().Format("Mon 2 Jan 15:04 UTC") }
	fmt.Fprintf(out, "%s: %s until %s\n", p.Role, p.Now.Watch.Holders(), at(p.Now.To))
	if p.Next != nil {
		fmt.Fprintf(out, "next: %s from %s\n", p.Next.Watch.Holders(), at(p.Next.From))
	}
	part := func(title string, n int, row func(w io.Writer, i int)) {
		if n == 0 {
			fmt.Fprintf(out, "\n%s: none\n", title)
			return
		}
		fmt.Fprintf(out, "\n%s: %d\n", title, n)
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		for i := range n {
			row(w, i)
		}
		_ = w.Flush() // stdout's own error shows at the next write
	}
	part("Incidents", len(p.Incidents), func(w io.Writer, i int) {
		x := p.Incidents[i]
		owner := "nobody has it"
		if x.Owner != "" {
			owner = fmt.Sprintf("%s since %s", x.Owner, at(x.Since))
		}
		next := "nothing happens by itself"
		if x.Next != "" {
			next = fmt.Sprintf("%s at %s", x.Next, at(x.NextAt))
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\t%s\t%s\n", x.ID, x.Severity, x.State, owner, next, x.Title)
		if x.Said != "" {
			fmt.Fprintf(w, "  \t%s: %s\n", x.SaidBy, x.Said)
		}
	})
	silence := func(all []watchbill.Silence, why func(watchbill.Silence) string) func(io.Writer, int) {
		return func(w io.Writer, i int) {
			s := all[i]
			var matchers []string
			for _, m := range s.Matchers {
				matchers = append(matchers, m.String())
			}
			fmt.Fprintf(w, "  until %s\t{%s}\t%s\t%s\t%s\n", at(s.EndsAt), strings.Join(matchers, ", "), s.CreatedBy, why(s), s.ID)
		}
	}
	part("Silences", len(p.Silences), silence(p.Silences, func(s watchbill.Silence) string { return s.Comment }))
	part("Waiting for a second person", len(p.Approvals), silence(p.Approvals, func(s watchbill.Silence) string { return s.NeedsApproval }))
	part("Changes of production", len(p.Production), func(w io.Writer, i int) {
		x := p.Production[i]
		fmt.Fprintf(w, "  %s\t%s\t%s\tasked for by %s\tuntil %s\t%s\n", x.ID, x.State, x.Service, x.Requester, at(x.NotAfter), x.Title)
	})
	part("Maintenance in the next 7 days", len(p.Windows), func(w io.Writer, i int) {
		x := p.Windows[i]
		begins := "runs"
		if !x.From.IsZero() {
			begins = "from " + at(x.From)
		}
		fmt.Fprintf(w, "  %s\t%s\tuntil %s\t%s\n", x.Name, begins, at(x.To), x.Reason)
	})
	part("Changes of the duty", len(p.Changes), func(w io.Writer, i int) {
		x := p.Changes[i]
		fmt.Fprintf(w, "  %d\t%s\t%s for %s\t%s to %s\t%s\n", x.ID, x.Kind, cmp.Or(string(x.Person), "nobody"), cmp.Or(string(x.Instead), "anybody"), at(x.From), at(x.To), x.Reason)
	})
	if p.Accepted != nil {
		fmt.Fprintf(out, "\nlast: %s\n", p.Accepted)
	}
}
