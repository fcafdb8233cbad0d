package main

import (
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"watchbill"
	"watchbill/internal/web"
)

func (a *app) ical() *cobra.Command {
	c := &cobra.Command{
		Use: "ical", Short: "Show the duty in calendars, by addresses that can be revoked",
		Args: noVerb, RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.icalCreate(), a.icalList(), a.icalRevoke())
	return c
}

func (a *app) icalCreate() *cobra.Command {
	var role, person string
	c := &cobra.Command{
		Use: "create", Short: "Make the address of a calendar, which is shown once", Args: args(cobra.NoArgs),
		Long: "Make the address of a calendar that shows when you are on duty or, with --role, who is on duty for a\n" +
			"role: the last 7 days and the next 60. Whoever knows the address can read it, so it is shown once and\n" +
			"can be revoked; of its secret the daemon keeps the hash.",
		Example: "  watchbill ical create\n  watchbill ical create --role support",
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			made, err := client.MakeCalendar(c.Context(), web.CalendarRequest{Role: watchbill.RoleID(role), Person: watchbill.PersonID(person)})
			if err != nil {
				return err
			}
			text := func() { fmt.Fprintln(a.stdout, made.URL) }
			return a.print(made, text, text)
		},
	}
	c.Flags().StringVar(&role, "role", "", "who is on duty for this `ROLE`")
	c.Flags().StringVar(&person, "person", "", "when this `PERSON` is on duty; of somebody else, only the manager may")
	return c
}

func (a *app) icalList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the calendars that you made; the manager sees all", Args: args(cobra.NoArgs),
		Example: "  watchbill ical list",
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			all, err := client.ListCalendars(c.Context())
			if err != nil {
				return err
			}
			text := func() {
				for _, f := range all {
					fmt.Fprintln(a.stdout, f)
				}
			}
			return a.print(all, text, text)
		},
	}
}

func (a *app) icalRevoke() *cobra.Command {
	return &cobra.Command{
		Use: "revoke CALENDAR", Short: "Have the address of a calendar show nothing any more", Args: args(cobra.ExactArgs(1)),
		Example: "  watchbill ical revoke 3",
		RunE: func(c *cobra.Command, words []string) error {
			id, err := strconv.ParseInt(words[0], 10, 64)
			if err != nil {
				return usageError{fmt.Errorf("%q is not the number of a calendar", words[0])}
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			if err := client.RevokeCalendar(c.Context(), id); err != nil {
				return err
			}
			fmt.Fprintf(a.stdout, "calendar %d is revoked\n", id)
			return nil
		},
	}
}

// maxLeaveFile is as much of a file as is read; the daemon takes less.
const maxLeaveFile = 2 << 20

func (a *app) oncallLeaveImport() *cobra.Command {
	var person, match string
	c := &cobra.Command{
		Use: "import FILE", Short: "Make a leave of each event of a calendar", Args: args(cobra.ExactArgs(1)),
		Long: "Make a leave of each event of an .ics file that is not over: all of them or none. What is a leave\n" +
			"already is not made again, so that the file can be imported anew after it has changed. Days are those of\n" +
			"the person's zone. Events may repeat each year and not otherwise. At most 1 MB, 2,000 events and 100\n" +
			"leaves.",
		Example: "  watchbill oncall leave import holidays.ics --match \"on leave\"",
		RunE: func(c *cobra.Command, words []string) error {
			f, err := os.Open(words[0])
			if err != nil {
				return fmt.Errorf("read the calendar: %w", err)
			}
			defer f.Close()
			content, err := io.ReadAll(io.LimitReader(f, maxLeaveFile))
			if err != nil {
				return fmt.Errorf("read the calendar: %w", err)
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			made, err := client.ImportLeave(c.Context(), web.LeaveRequest{Person: watchbill.PersonID(person), Match: match, Calendar: string(content)})
			if err != nil {
				return err
			}
			text := func() {
				if len(made) == 0 {
					fmt.Fprintln(a.stdout, "nothing is new")
					return
				}
				a.changes(made)
			}
			return a.print(made, text, text)
		},
	}
	c.Flags().StringVar(&person, "person", "", "who is away (default: you); of somebody else, only the manager may say so")
	c.Flags().StringVar(&match, "match", "", "only events whose name holds `TEXT`")
	return c
}
