package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"watchbill/internal/web"
)

func (a *app) alarm() *cobra.Command {
	c := &cobra.Command{
		Use: "alarm", Short: "Test the alarm that tells of watchbill's own failures",
		Long: "The alarm is a second notifier, apart from the one that pages: it tells when watchbill itself does not do\n" +
			"what it promises. It sends a test each day. Confirm each, so that it is known to be heard; after two days\n" +
			"without, watchbill warns.",
		Args: noVerb,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(
		a.alarmVerb("test", "Send a test of the alarm now", "sent; when it has arrived, run: watchbill alarm confirm",
			func(c *cobra.Command, client *web.Client) error { return client.TestAlarm(c.Context()) }),
		a.alarmVerb("confirm", "Say that a test of the alarm arrived", "confirmed",
			func(c *cobra.Command, client *web.Client) error { return client.ConfirmAlarm(c.Context()) }),
	)
	return c
}

func (a *app) alarmVerb(use, short, said string, do func(*cobra.Command, *web.Client) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Example: "  watchbill alarm " + use, Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			if err := do(c, client); err != nil {
				return err
			}
			text := func() { fmt.Fprintln(a.stdout, said) }
			return a.print(map[string]string{"status": said}, text, text)
		},
	}
}
