package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"watchbill/internal/daemon"
)

func (a *app) dashboards() *cobra.Command {
	c := &cobra.Command{
		Use: "dashboards", Short: "Dashboards for Grafana, and rules for another Prometheus",
		Args: noVerb, RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	replace := false
	export := &cobra.Command{
		Use: "export DIR", Short: "Write dashboards, Grafana's provisioning and the alert rules into a folder",
		Long: "Write what the binary holds into DIR: grafana/dashboards, the dashboards as JSON; grafana/provisioning,\n" +
			"what makes a Grafana read them and use the daemon as a data source; alerts, the rules for the daemon's\n" +
			"own metrics, for a Prometheus elsewhere.\n\n" +
			"A file that is there with another content stops it before anything is written, unless --replace is given.",
		Example: "  watchbill dashboards export /etc/watchbill/grafana",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, dir []string) error {
			names, err := daemon.ExportDashboards(dir[0], replace)
			if err != nil {
				return err
			}
			text := func() {
				for _, name := range names {
					fmt.Fprintf(a.stdout, "wrote %s\n", filepath.Join(dir[0], filepath.FromSlash(name)))
				}
				fmt.Fprintln(a.stdout, "next: docs/install.md says where Grafana looks for them")
			}
			return a.print(names, text, text)
		},
	}
	export.Flags().BoolVar(&replace, "replace", false, "replace files that have another content")
	c.AddCommand(export)
	return c
}
