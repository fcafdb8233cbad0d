package main

import (
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"watchbill"
	"watchbill/internal/config"
	"watchbill/internal/daemon"
)

func (a *app) target() *cobra.Command {
	c := &cobra.Command{
		Use: "target", Short: "Show how the service targets stand, and their rules",
		Args: noVerb, RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.targetList(), a.targetShow(), a.targetRules())
	return c
}

func (a *app) targetList() *cobra.Command {
	service := ""
	c := &cobra.Command{
		Use: "list", Short: "List service targets and how they stand", Args: args(cobra.NoArgs),
		Long: "List service targets: their state, the share that is good over their period, what is left of the error\n" +
			"budget, how fast it burns now, when it is gone at that rate, and the share of the period for which there\n" +
			"is data. A star after that share says that there never was a whole period of it yet.\n\n" +
			"  ok         no alert fires\n" +
			"  burning    an alert fires: the budget burns too fast\n" +
			"  exhausted  nothing of the budget is left\n" +
			"  frozen     the budget's policy closes the release gate\n" +
			"  no_data    nothing is measured",
		Example: "  watchbill target list\n  watchbill target list --service checkout -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			all, err := client.Targets(c.Context(), service)
			if err != nil {
				return err
			}
			table := func() { a.targetTable(all) }
			return a.print(all, table, func() {
				for _, t := range all {
					a.targetText(t)
					fmt.Fprintln(a.stdout)
				}
			})
		},
	}
	c.Flags().StringVar(&service, "service", "", "only those of this `SERVICE`")
	return c
}

func (a *app) targetTable(all []watchbill.TargetStatus) {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TARGET\tSTATE\tOBJECTIVE\tPERIOD\tGOOD\tBUDGET LEFT\tBURN NOW\tGONE IN\tCOVERAGE")
	for _, t := range all {
		burn := "-"
		if len(t.Burn) > 0 && t.Measured {
			burn = fmt.Sprintf("%.3g", t.Burn[0].Rate)
		}
		fmt.Fprintf(w, "%s\t%s\t%s%%\t%s\t%s\t%s\t%s\t%s\t%s\n", t.ID, t.State, t.Objective, t.Period,
			share(t.Good), share(t.BudgetLeft), burn, gone(t), coverage(t))
	}
	_ = w.Flush() // stdout's own error shows at the next write
}

// share writes a share in percent, and a dash for what is not known.
func share(v *float64) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf("%.6g%%", *v*100)
}

func coverage(t watchbill.TargetStatus) string {
	s := "-"
	if t.Coverage != nil {
		s = fmt.Sprintf("%.1f%%", *t.Coverage*100)
	}
	if t.Warming {
		s += "*"
	}
	return s
}

func gone(t watchbill.TargetStatus) string {
	if t.ExhaustsIn == nil || *t.ExhaustsIn > (10*365*24*time.Hour).Seconds() {
		return "-"
	}
	return long(time.Duration(*t.ExhaustsIn * float64(time.Second)))
}

// long writes a duration with the two units that matter.
func long(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%.1fd", d.Hours()/24)
	case d >= time.Hour:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	}
	return d.Round(100 * time.Millisecond).String()
}

func (a *app) targetText(t watchbill.TargetStatus) {
	fmt.Fprintf(a.stdout, "%s  %s: %s\n", t.ID, t.State, t.Reason)
	fmt.Fprintf(a.stdout, "  objective    %s%% good over %s (%s)\n", t.Objective, t.Period, t.Kind)
	fmt.Fprintf(a.stdout, "  good         %s over the period, %s now\n", share(t.Good), share(t.Current))
	fmt.Fprintf(a.stdout, "  budget left  %s, gone in %s\n", share(t.BudgetLeft), gone(t))
	data := "there is data for a whole period"
	switch {
	case t.Since == 0:
		data = "there never was any data"
	case t.Warming:
		data = "warming: there is data since " + long(time.Duration(t.Since*float64(time.Second)))
	}
	fmt.Fprintf(a.stdout, "  data         %s of the period is covered; %s\n", share(t.Coverage), data)
	for _, b := range t.Burn {
		fmt.Fprintf(a.stdout, "  burn %-7s %.4g\n", b.Window, b.Rate)
	}
	for _, x := range t.Alerts {
		fmt.Fprintf(a.stdout, "  %-12s %s (%s, %s)\n", x.State, x.Name, x.Tier, x.Severity)
	}
	for _, m := range t.Excluded {
		fmt.Fprintf(a.stdout, "  excluded     maintenance %s runs, and does not count\n", m)
	}
}

func (a *app) targetShow() *cobra.Command {
	return &cobra.Command{
		Use: "show TARGET", Short: "Show how a service target stands", Args: args(cobra.ExactArgs(1)),
		Long: "Show how a service target stands: its state and why, the share that is good, what is left of the error\n" +
			"budget, how fast it burns over each window (at 1 it lasts for exactly the period), the share of the period\n" +
			"for which there is data, and the alerts that are pending or fire.",
		Example: "  watchbill target show checkout-requests",
		RunE: func(c *cobra.Command, words []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			t, err := client.Target(c.Context(), words[0])
			if err != nil {
				return err
			}
			text := func() { a.targetText(t) }
			return a.print(t, text, text)
		},
	}
}

func (a *app) targetRules() *cobra.Command {
	return &cobra.Command{
		Use: "rules [TARGET]", Short: "Print the Prometheus rules that are made of the service targets", Args: args(cobra.MaximumNArgs(1)),
		Long: "Print the recording and alert rules that are made of the service targets of a configuration, or of one\n" +
			"of them, as a rule file that Prometheus and promtool read. The daemon is not asked.",
		Example: "  watchbill target rules --config watchbill.yaml > rules.yaml && promtool check rules rules.yaml",
		RunE: func(_ *cobra.Command, words []string) error {
			cfg, err := a.load()
			if err != nil {
				return err
			}
			id := ""
			if len(words) == 1 {
				id = words[0]
			}
			rules, err := daemon.TargetRules(cfg, id)
			if err != nil {
				return err
			}
			text := func() { _, err = a.stdout.Write(rules) }
			if perr := a.print(map[string]string{"rules": string(rules)}, text, text); perr != nil {
				return perr
			}
			return err
		},
	}
}

// checked says what a valid configuration holds, and what its targets will alert
// on.
func (a *app) checked(cfg *config.Config) error {
	outlooks := daemon.Outlooks(cfg)
	type result struct {
		Config    string           `json:"config"`
		Services  int              `json:"services"`
		People    int              `json:"people"`
		Receivers int              `json:"receivers"`
		Warnings  int              `json:"warnings"`
		Targets   []daemon.Outlook `json:"targets"`
	}
	v := result{a.config, len(cfg.Services), len(cfg.People), len(cfg.Notify.Receivers), len(cfg.Warnings), outlooks}
	head := func() {
		fmt.Fprintf(a.stdout, "%s is valid: %d services, %d people, %d receivers, %d warnings\n", v.Config, v.Services, v.People, v.Receivers, v.Warnings)
	}
	return a.print(v, func() {
		head()
		for _, o := range outlooks {
			fmt.Fprintln(a.stdout, outlookLine(o))
		}
	}, func() {
		head()
		for _, o := range outlooks {
			fmt.Fprintln(a.stdout, outlookLine(o))
			w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
			for _, x := range o.Alerts {
				fmt.Fprintf(w, "  %s\t%s\toutage %s\tburn of 10 %s\t%s: %s\n", x.Tier, x.Severity, after(x.Outage), after(x.TenTimes), x.Name, x.When)
			}
			_ = w.Flush()
		}
	})
}

// outlookLine says in one line when a target alerts.
func outlookLine(o daemon.Outlook) string {
	line := fmt.Sprintf("target %s: %s%% of %s over %s;", o.ID, o.Objective, o.Kind, o.Period)
	if o.Budget != "" {
		line = fmt.Sprintf("target %s: a budget of %s over %s;", o.ID, o.Budget, o.Period)
	}
	if o.Outage == nil && o.TenTimes == nil {
		return fmt.Sprintf("%s it alerts on a state, not on a burn rate (-o extended lists %d alerts)", line, len(o.Alerts))
	}
	for _, x := range []struct {
		what string
		at   *daemon.OutlookInstant
	}{{" a total outage", o.Outage}, {", a burn of 10", o.TenTimes}} {
		line += x.what + " is not alerted on"
		if x.at != nil {
			line = strings.TrimSuffix(line, " is not alerted on") + fmt.Sprintf(" %s after %s (%s)", says(x.at.Severity), long(x.at.After), x.at.Tier)
		}
	}
	return line
}

// says is what an alert of a severity does.
func says(severity string) string {
	switch severity {
	case "page", "critical", "sev1", "sev2":
		return "pages"
	}
	return "alerts (" + severity + ")"
}

func after(d time.Duration) string {
	if d == 0 {
		return "never"
	}
	return long(d)
}

// errClosed says that a gate is closed; why was printed.
var errClosed = errors.New("the gate is closed")

func (a *app) gate() *cobra.Command {
	return &cobra.Command{
		Use: "gate SERVICE", Short: "Say whether a service may be released", Args: args(cobra.ExactArgs(1)),
		Long: "Say whether a service may be released now, for pipelines: it exits 0 if so, 1 if something is against\n" +
			"it, which it prints, 4 when the daemon cannot be reached, and 5 when you are not allowed to ask. Against a\n" +
			"release are a used-up error budget, a frozen one, a target whose data went missing, an open sev1 or sev2\n" +
			"incident of the service, and maintenance that runs. A machine's token needs the scope read.",
		Example: "  watchbill gate checkout && deploy checkout",
		RunE: func(c *cobra.Command, words []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			g, err := client.Gate(c.Context(), words[0])
			if err != nil {
				return err
			}
			text := func() { a.gateText(g) }
			if err := a.print(g, text, text); err != nil {
				return err
			}
			if !g.Open {
				return errClosed
			}
			return nil
		},
	}
}

func (a *app) gateText(g watchbill.Gate) {
	if g.Open {
		fmt.Fprintf(a.stdout, "%s may be released\n", g.Service)
	} else {
		fmt.Fprintf(a.stdout, "%s must not be released:\n", g.Service)
	}
	for _, r := range g.Reasons {
		fmt.Fprintf(a.stdout, "  %s %s: %s\n", r.Kind, r.Subject, r.Text)
	}
	for _, n := range g.Notes {
		fmt.Fprintf(a.stdout, "  note: %s\n", n)
	}
}

func (a *app) signal() *cobra.Command {
	var passed, failed int64
	var value float64
	var environment string
	var labels map[string]string
	c := &cobra.Command{
		Use: "signal SERVICE NAME", Short: "Post a signal of a service, such as the result of its tests", Args: args(cobra.ExactArgs(2)),
		Long: "Post a signal of a service: counts of what passed and failed, a value, or both. They become the series\n" +
			"st_signal_events_total{service, signal, environment, result} and st_signal{service, signal, environment},\n" +
			"which targets and rules may use. A machine's token needs the scope signals.",
		Example: "  watchbill signal checkout e2e --passed 41 --failed 1 --environment preprod --label branch=main",
		RunE: func(c *cobra.Command, words []string) error {
			p := watchbill.SignalPost{Name: words[1], Environment: environment, Labels: labels}
			given := func(flag string) bool { return c.Flags().Changed(flag) }
			if given("passed") {
				p.Passed = &passed
			}
			if given("failed") {
				p.Failed = &failed
			}
			if given("value") {
				p.Value = &value
			}
			if p.Passed == nil && p.Failed == nil && p.Value == nil {
				return usageError{errors.New("say something: --passed and --failed, or --value")}
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			if err := client.PostSignals(c.Context(), words[0], []watchbill.SignalPost{p}); err != nil {
				return err
			}
			text := func() { fmt.Fprintf(a.stdout, "posted %s of %s\n", words[1], words[0]) }
			return a.print(p, text, text)
		},
	}
	f := c.Flags()
	f.Int64Var(&passed, "passed", 0, "`N` that passed since the last post")
	f.Int64Var(&failed, "failed", 0, "`N` that failed since the last post")
	f.Float64Var(&value, "value", 0, "a `NUMBER`")
	f.StringVar(&environment, "environment", "", "`NAME` of the environment (default: the service's first)")
	f.StringToStringVar(&labels, "label", nil, "`NAME=VALUE`: branch, pipeline, stage or suite; may be repeated")
	return c
}
