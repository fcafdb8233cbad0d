package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"watchbill"
	"watchbill/internal/web"
)

func (a *app) drill() *cobra.Command {
	var service bool
	var severity, note string
	var lasts time.Duration
	c := &cobra.Command{
		Use: "drill ROLE", Short: "Try out whether people can be reached", Args: args(cobra.ExactArgs(1)),
		Long: "Raise a test incident on the real path of a role or, with --service, of a service. Whoever is on duty is\n" +
			"paged as for any other incident; the page says that it is a drill. It ends when somebody acknowledges it,\n" +
			"or when its time is over. The result is kept.",
		Example: "  watchbill drill support\n  watchbill drill --service checkout --for 10m\n  watchbill drill list",
		RunE: func(c *cobra.Command, words []string) error {
			r := web.DrillRequest{Role: watchbill.RoleID(words[0]), For: web.Span(lasts), Note: note}
			if service {
				r.Role, r.Service = "", words[0]
			}
			if severity != "" {
				sev, err := watchbill.ParseSeverity(severity)
				if err != nil {
					return usageError{fmt.Errorf("--severity: %w", err)}
				}
				r.Severity = sev
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			v, err := client.Drill(c.Context(), r)
			if err != nil {
				return err
			}
			text := func() {
				fmt.Fprintf(a.stdout, "%s\nfollow it with: watchbill drill show %s\n", v.Line(), v.ID)
			}
			return a.print(v, text, text)
		},
	}
	c.Flags().BoolVar(&service, "service", false, "the name is that of a service")
	c.Flags().StringVar(&severity, "severity", "", "as which severity: sev1 to sev3 (default sev2)")
	c.Flags().DurationVar(&lasts, "for", 30*time.Minute, "the `DURATION` that people have to answer")
	c.Flags().StringVar(&note, "note", "", "`WORDS` for those who are paged")
	c.AddCommand(a.drillList(), a.drillShow())
	return c
}

func (a *app) drillList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List drills with their results, newest first", Args: args(cobra.NoArgs),
		Example: "  watchbill drill list",
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			all, err := client.ListDrills(c.Context())
			if err != nil {
				return err
			}
			text := func() {
				for _, v := range all {
					fmt.Fprintln(a.stdout, v.Line())
				}
			}
			return a.print(all, text, text)
		},
	}
}

func (a *app) drillShow() *cobra.Command {
	return &cobra.Command{
		Use: "show INCIDENT", Short: "Show whom a drill paged, and who answered how fast", Args: args(cobra.ExactArgs(1)),
		Example: "  watchbill drill show INC-1",
		RunE: func(c *cobra.Command, words []string) error {
			return a.one(words[0], func(client *web.Client, id watchbill.IncidentID) error {
				v, err := client.ShowDrill(c.Context(), id)
				if err != nil {
					return err
				}
				text := func() {
					fmt.Fprintln(a.stdout, v.Line())
					w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
					fmt.Fprintln(w, "STEP\tPERSON\tMETHOD\tDUE\tSENT\tSTATE")
					for _, p := range v.Pages {
						sent := "-"
						if !p.Sent.IsZero() {
							sent = p.Sent.UTC().Format(time.TimeOnly)
						}
						fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\n", p.Step, p.Person, p.Method, p.Due.UTC().Format(time.TimeOnly), sent, p.State)
					}
					_ = w.Flush() // stdout's own error shows at the next write
				}
				return a.print(v, text, text)
			})
		},
	}
}
