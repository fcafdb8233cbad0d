package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"watchbill"
	"watchbill/internal/web"
)

func (a *app) contact() *cobra.Command {
	c := &cobra.Command{
		Use: "contact", Short: "List, add, test and confirm the ways in which you are reached",
		Args: noVerb, RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.contactList(), a.contactAdd(), a.contactTest(), a.contactConfirm(), a.contactRemove())
	return c
}

func (a *app) contactList() *cobra.Command {
	var person string
	c := &cobra.Command{
		Use: "list", Short: "List the ways in which you are reached", Args: args(cobra.NoArgs),
		Long: "List the ways in which you, or somebody else, are reached: those of the configuration with their line,\n" +
			"and those that you added with their numbers. -o extended adds what was done to them.",
		Example: "  watchbill contact list",
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			v, err := client.Contacts(c.Context(), watchbill.PersonID(person))
			if err != nil {
				return err
			}
			text := func() { fmt.Fprint(a.stdout, v.Text()) }
			return a.print(v, text, func() {
				text()
				for _, l := range v.Log {
					fmt.Fprintf(a.stdout, "  %s  %s, via %s\n", l.At.UTC().Format(time.RFC3339), l.What, l.Via)
				}
			})
		},
	}
	c.Flags().StringVar(&person, "person", "", "`NAME` of somebody else")
	return c
}

func (a *app) contactAdd() *cobra.Command {
	var in web.ContactRequest
	var severities []string
	c := &cobra.Command{
		Use: "add RECEIVER [ADDRESS]", Short: "Add a way to be reached; it counts once it is confirmed", Args: args(cobra.RangeArgs(1, 2)),
		Long: "Add a way to be reached through a receiver of the configuration. Receivers of text messages need your\n" +
			"phone as the ADDRESS, the receiver email a mail address; others have one of their own. Once it is\n" +
			"confirmed it takes the place of what the configuration says of you for the same receiver.",
		Example: "  watchbill contact add sms +34600111222 --after 2m --severity sev1,sev2",
		RunE: func(c *cobra.Command, words []string) error {
			in.Receiver = words[0]
			if len(words) == 2 {
				in.Address = words[1]
			}
			for _, s := range severities {
				sev, err := watchbill.ParseSeverity(s)
				if err != nil {
					return usageError{err}
				}
				in.Severities = append(in.Severities, sev)
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			made, err := client.AddContact(c.Context(), in)
			if err != nil {
				return err
			}
			return a.contactDone(made, fmt.Sprintf("added as %d; it reaches nobody yet: send a test with: watchbill contact test %d", made.ID, made.ID))
		},
	}
	c.Flags().DurationVar(&in.After, "after", 0, "`DURATION` after an escalation step that it is used, like 2m")
	c.Flags().StringSliceVar(&severities, "severity", nil, "`SEVERITY` for which it is used: sev1, sev2 or sev3; may be repeated (default: all)")
	return c
}

func (a *app) contactDone(c watchbill.OwnContact, said string) error {
	text := func() { fmt.Fprintln(a.stdout, said) }
	return a.print(c, text, text)
}

// ownContact parses the number of a contact and calls do with it and a client.
func (a *app) ownContact(word string, do func(*web.Client, int64) error) error {
	id, err := strconv.ParseInt(word, 10, 64)
	if err != nil {
		return usageError{fmt.Errorf("%q is not the number of a contact: see watchbill contact list", word)}
	}
	client, err := a.client()
	if err != nil {
		return err
	}
	return do(client, id)
}

func (a *app) contactTest() *cobra.Command {
	return &cobra.Command{
		Use: "test NUMBER", Short: "Send yourself a test with a code", Args: args(cobra.ExactArgs(1)),
		Long:    "Send a test through a contact that you added. The message holds a code of six digits.",
		Example: "  watchbill contact test 3",
		RunE: func(c *cobra.Command, words []string) error {
			return a.ownContact(words[0], func(client *web.Client, id int64) error {
				made, err := client.TestContact(c.Context(), id)
				if err != nil {
					return err
				}
				return a.contactDone(made, fmt.Sprintf("a test is on its way; confirm it with: watchbill contact confirm %d CODE", id))
			})
		},
	}
}

func (a *app) contactConfirm() *cobra.Command {
	return &cobra.Command{
		Use: "confirm NUMBER CODE", Short: "Confirm a test with its code", Args: args(cobra.ExactArgs(2)),
		Long:    "Confirm that a test arrived, with the code in it, within an hour. From then on you are paged by it.",
		Example: "  watchbill contact confirm 3 482913",
		RunE: func(c *cobra.Command, words []string) error {
			return a.ownContact(words[0], func(client *web.Client, id int64) error {
				made, err := client.ConfirmContact(c.Context(), id, words[1])
				if err != nil {
					return err
				}
				return a.contactDone(made, fmt.Sprintf("confirmed: you are paged by %s", made.Receiver))
			})
		},
	}
}

func (a *app) contactRemove() *cobra.Command {
	return &cobra.Command{
		Use: "remove NUMBER", Short: "Remove a way to be reached that you added", Args: args(cobra.ExactArgs(1)),
		Long:    "Remove a contact that you added. What the configuration says of you for its receiver is in force again.",
		Example: "  watchbill contact remove 3",
		RunE: func(c *cobra.Command, words []string) error {
			return a.ownContact(words[0], func(client *web.Client, id int64) error {
				if err := client.RemoveContact(c.Context(), id); err != nil {
					return err
				}
				return a.contactDone(watchbill.OwnContact{ID: id}, fmt.Sprintf("removed %d", id))
			})
		},
	}
}
