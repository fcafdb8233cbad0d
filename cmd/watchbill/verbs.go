package main

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"watchbill"
	"watchbill/internal/config"
	"watchbill/internal/daemon"
	"watchbill/internal/web"
)

func (a *app) version() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			v := map[string]string{"version": buildVersion(), "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH}
			text := func() {
				fmt.Fprintf(a.stdout, "watchbill %s (%s, %s)\n", v["version"], v["go"], v["platform"])
			}
			return a.print(v, text, text)
		},
	}
}

func (a *app) initVerb() *cobra.Command {
	return &cobra.Command{
		Use: "init DIR", Short: "Write a commented configuration to start from",
		Long:    "Write watchbill.yaml and the files it names into DIR, with comments. Nothing is overwritten.",
		Example: "  watchbill init shop\n  watchbill check shop/watchbill.yaml",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, dir []string) error {
			if err := config.Init(dir[0]); err != nil {
				return err
			}
			fmt.Fprintf(a.stdout, "wrote %s/watchbill.yaml\nnext: edit it, then run: watchbill check %s/watchbill.yaml\n", dir[0], dir[0])
			return nil
		},
	}
}

func (a *app) check() *cobra.Command {
	strict := false
	c := &cobra.Command{
		Use: "check [FILE]", Short: "Find every mistake in a configuration",
		Long: "Read a configuration and everything it names, and print all mistakes and warnings with their place,\n" +
			"the line and an advice. Without FILE it reads the one that --config names. It exits 1 on a mistake, and\n" +
			"3 on warnings alone when --strict is given. Nothing is started or changed.\n\n" +
			"For each service target it says how long after its beginning a total outage, and a burn of ten times\n" +
			"the error budget, is first alerted on, if all was well before and traffic is even; scraping and\n" +
			"evaluating add up to an interval each. -o extended lists every alert.",
		Example: "  watchbill check watchbill.yaml",
		Args:    args(cobra.MaximumNArgs(1)),
		RunE: func(_ *cobra.Command, file []string) error {
			if len(file) == 1 {
				a.config = file[0]
			}
			cfg, err := a.load()
			if err != nil {
				return err
			}
			if err := daemon.Check(cfg); err != nil {
				return err
			}
			cfg.Warnings.Print(a.stderr)
			if err := a.checked(cfg); err != nil {
				return err
			}
			if strict && len(cfg.Warnings) > 0 {
				return errWarnings
			}
			return nil
		},
	}
	c.Flags().BoolVar(&strict, "strict", false, "exit 3 when there are warnings")
	return c
}

func (a *app) explain() *cobra.Command {
	at, firing := "", []string(nil)
	c := &cobra.Command{
		Use:   "explain NAME=VALUE…",
		Short: "Say who would be paged for an alert, when and why",
		Long: "Say who would be paged for an alert with these labels, when, by which method and why. Nobody is paged.\n" +
			"With --config it answers from that file alone; without, it asks the daemon, which also knows silences\n" +
			"and open incidents, and needs your token. A word without = is the alert's name.\n\n" +
			"It names everything that was looked at: the rule that gave the activity, the row of the matrix, what\n" +
			"mutes the alert, what does not and why, the incident that it joins, and for each page the places in the\n" +
			"configuration that decided when, who and how. --firing supposes that other alerts fire too.",
		Example: "  watchbill explain --config watchbill.yaml service=checkout severity=page --at 2026-11-29T03:15:00Z\n" +
			"  watchbill explain --config watchbill.yaml NodeDiskFull instance=db-1 --firing \"NodeDown instance=db-1\"",
		Args: args(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, words []string) error {
			q, err := question(words, firing, at)
			if err != nil {
				return usageError{err}
			}
			var x daemon.Explanation
			if c.Flags().Changed("config") || a.getenv("WATCHBILL_CONFIG") != "" {
				x, err = a.explainFile(q)
			} else {
				x, err = a.explainLive(c, q)
			}
			if err != nil {
				return err
			}
			text := func() { fmt.Fprint(a.stdout, x.Text()) }
			return a.print(x, text, text)
		},
	}
	c.Flags().StringVar(&at, "at", "", "`TIME` at which it fires, like 2026-11-29T03:15:00Z (default now)")
	c.Flags().StringArrayVar(&firing, "firing", nil, "`LABELS` of another alert that fires then, like \"NodeDown instance=db-1\"; can be given again")
	return c
}

// question reads what explain is asked.
func question(words, firing []string, at string) (q web.ExplainRequest, err error) {
	q.At = time.Now().UTC()
	if at != "" {
		if q.At, err = time.Parse(time.RFC3339, at); err != nil {
			return q, fmt.Errorf("--at %q is not a time like 2026-11-29T03:15:00Z", at)
		}
		q.At = q.At.UTC()
	}
	if q.Labels, err = parseLabels(words); err != nil {
		return q, err
	}
	for _, f := range firing {
		l, err := parseLabels(strings.Fields(f))
		if err == nil && len(l) == 0 {
			err = errors.New("it names no label")
		}
		if err != nil {
			return q, fmt.Errorf("--firing %q: %w", f, err)
		}
		q.Firing = append(q.Firing, l)
	}
	return q, nil
}

func (a *app) explainFile(q web.ExplainRequest) (daemon.Explanation, error) {
	cfg, err := a.load()
	if err != nil {
		return daemon.Explanation{}, err
	}
	return daemon.Explain(cfg, q)
}

func (a *app) explainLive(c *cobra.Command, q web.ExplainRequest) (daemon.Explanation, error) {
	var x daemon.Explanation
	client, err := a.asked()
	if err != nil {
		return x, err
	}
	err = client.ExplainWith(c.Context(), q, &x)
	return x, err
}

// asked is the daemon, for what a configuration could answer too: it has to be
// named.
func (a *app) asked() (*web.Client, error) {
	if a.tokenFile == "" {
		return nil, watchbill.Errorf(watchbill.CodeUnauthenticated,
			"add --config FILE to have the answer from a configuration alone, or --token-file FILE to ask the daemon",
			"nothing says whom to ask")
	}
	return a.client()
}
