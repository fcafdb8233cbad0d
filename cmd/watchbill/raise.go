package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"watchbill/internal/web"
)

func (a *app) raise() *cobra.Command {
	var r web.RaiseRequest
	var labels []string
	c := &cobra.Command{
		Use: "raise SUMMARY", Short: "Raise an issue, an anomaly or a request by hand", Args: args(cobra.ExactArgs(1)),
		Long: "Raise by hand what no signal tells. Every person may, whatever their role. An incident of its own opens,\n" +
			"whoever is responsible is paged, and it stays until a person resolves it. The kinds are\n\n" +
			"  issue    a client says that something does not work\n" +
			"  anomaly  something odd was seen, before production or in it; needs --environment\n" +
			"  request  Dev or QA need something of operations",
		Example: "  watchbill raise 'Invoices come without a logo' --service checkout --reporter 'ACME, ticket 4711'\n" +
			"  watchbill raise 'Memory doubles each hour' --kind anomaly --service checkout --environment preprod \\\n" +
			"    --evidence https://grafana.example.com/d/heap --evidence 'build 812'",
		RunE: func(c *cobra.Command, words []string) error {
			r.Summary = words[0]
			if len(labels) > 0 {
				more, err := parseLabels(labels)
				if err != nil {
					return usageError{err}
				}
				r.Labels = more
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			raised, err := client.Raise(c.Context(), r)
			if err != nil {
				return err
			}
			text := func() { a.raised(raised) }
			return a.print(raised, text, text)
		},
	}
	f := c.Flags()
	f.StringVar(&r.Kind, "kind", "issue", "what it is: issue, anomaly or request")
	f.StringVar(&r.Description, "description", "", "more about it")
	f.StringVar(&r.Service, "service", "", "what it is about")
	f.StringVar(&r.Environment, "environment", "", "where it was seen")
	f.StringVar(&r.Severity, "severity", "sev3", "how urgent it is: sev1 to sev4")
	f.StringVar(&r.Reporter, "reporter", "", "in whose `NAME` you raise it: a client, a tester")
	f.StringArrayVar(&r.Evidence, "evidence", nil, "an address, a line of a log, a ticket's number; may be repeated")
	f.StringArrayVar(&labels, "label", nil, "a label `NAME=VALUE` for the rules of activities; may be repeated")
	return c
}

func (a *app) raised(r web.Raised) {
	if r.Incident == nil {
		fmt.Fprintf(a.stdout, "raised, and on record, but nobody is paged: %s\nits incident opens when that ends\n", r.Muted)
		return
	}
	inc := r.Incident
	fmt.Fprintf(a.stdout, "%s  %s  %s %s/%s  %s: %s\nfollow it with: watchbill incident show %s\n",
		inc.ID, inc.State, inc.Severity, inc.Service, inc.Environment, inc.Activity, inc.Title, inc.ID)
}
