package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"watchbill"
	"watchbill/internal/daemon"
)

func (a *app) person() *cobra.Command {
	c := &cobra.Command{
		Use: "person", Short: "Invite people to sign in with a password",
		Args: noVerb, RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(&cobra.Command{
		Use: "invite NAME", Short: "Print a link by which a person chooses a password", Args: args(cobra.ExactArgs(1)),
		Long: "Make an invitation in the store that --config names, and print its link. It works once, for a day, and\n" +
			"replaces the last one; the daemon may run meanwhile. Whoever opens it chooses the person's password: give it\n" +
			"to that person alone. With it a forgotten password is replaced, and every session of the person ends.",
		Example: "  watchbill person invite ana",
		RunE: func(c *cobra.Command, words []string) error {
			cfg, err := a.load()
			if err != nil {
				return err
			}
			link, i, err := daemon.Invite(c.Context(), cfg, watchbill.PersonID(words[0]), creator())
			if err != nil {
				return err
			}
			text := func() {
				fmt.Fprintln(a.stdout, link)
				fmt.Fprintf(a.stderr, "it works once, for %s alone, until %s\n", i.Person, i.ExpiresAt.UTC().Format(time.RFC3339))
			}
			return a.print(map[string]any{"person": i.Person, "link": link, "expires_at": i.ExpiresAt}, text, text)
		},
	})
	return c
}

func (a *app) session() *cobra.Command {
	c := &cobra.Command{
		Use: "session", Short: "List and end the sessions of browsers",
		Args: noVerb, RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.sessionList(), a.sessionEnd())
	return c
}

func (a *app) sessionList() *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use: "list", Short: "List where you are signed in", Args: args(cobra.NoArgs),
		Long:    "List the browsers in which you are signed in; for the manager with --all, everybody's.",
		Example: "  watchbill session list",
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			list, err := client.Sessions(c.Context(), all)
			if err != nil {
				return err
			}
			const form = "%-14s  %-16s  %-10s  %-39s  %-17s  %-17s  %s\n"
			text := func() {
				fmt.Fprintf(a.stdout, form, "SESSION", "PERSON", "BY", "FROM", "LAST USED", "ENDS BY", "BROWSER")
				for _, s := range list {
					fmt.Fprintf(a.stdout, form, s.ID, s.Person, s.How, s.Address, minute(s.LastUsedAt), minute(s.ExpiresAt), s.Agent)
				}
			}
			return a.print(list, text, text)
		},
	}
	c.Flags().BoolVar(&all, "all", false, "everybody's, for the manager")
	return c
}

func (a *app) sessionEnd() *cobra.Command {
	var all bool
	var person string
	c := &cobra.Command{
		Use: "end [SESSION]", Short: "End a session, or all of yours", Args: args(cobra.MaximumNArgs(1)),
		Long: "End a session by the id that the list shows, or all of yours with --all. The manager ends anybody's, and\n" +
			"all of somebody's with --person.",
		Example: "  watchbill session end s-k3v6zq5d2m7a\n  watchbill session end --all",
		RunE: func(c *cobra.Command, words []string) error {
			if (len(words) == 1) == (all || person != "") {
				return usageError{errors.New("name a session, or give --all or --person")}
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			end := func() (n int, err error) {
				if len(words) == 1 {
					v, err := client.EndSession(c.Context(), words[0])
					return v.Ended, err
				}
				v, err := client.EndSessions(c.Context(), watchbill.PersonID(person))
				return v.Ended, err
			}
			n, err := end()
			if err != nil {
				return err
			}
			text := func() { fmt.Fprintf(a.stdout, "%d ended\n", n) }
			return a.print(map[string]int{"ended": n}, text, text)
		},
	}
	c.Flags().BoolVar(&all, "all", false, "all of yours")
	c.Flags().StringVar(&person, "person", "", "all of this person's, by `NAME`; for the manager")
	return c
}
