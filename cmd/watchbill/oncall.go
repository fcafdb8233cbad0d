package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/prometheus/common/model"
	"github.com/spf13/cobra"

	"watchbill"
	"watchbill/internal/daemon"
	"watchbill/internal/web"
)

// errGaps says that the rosters have gaps.
var errGaps = errors.New("the rosters have gaps")

// rosters answers who is on duty: the daemon, or a configuration alone.
type rosters interface {
	OnDuty(ctx context.Context, role watchbill.RoleID, at time.Time) ([]watchbill.Shift, error)
	Shifts(ctx context.Context, role watchbill.RoleID, from, to time.Time) ([]watchbill.Shift, error)
	Coverage(ctx context.Context, from time.Time, days int) ([]watchbill.Gap, error)
	DutyLoad(ctx context.Context, from time.Time, days int) ([]watchbill.DutyLoad, error)
}

// rosters asks the configuration that --config names, else the daemon.
func (a *app) rosters(c *cobra.Command) (rosters, error) {
	if c.Flags().Changed("config") || a.getenv("WATCHBILL_CONFIG") != "" {
		cfg, err := a.load()
		if err != nil {
			return nil, err
		}
		return daemon.Rosters(cfg)
	}
	return a.asked()
}

// rostersFrom is rosters with the instant that --from names.
func (a *app) rostersFrom(c *cobra.Command, from string) (rosters, time.Time, error) {
	at, err := instantOf("from", from)
	if err != nil {
		return nil, at, err
	}
	r, err := a.rosters(c)
	return r, at, err
}

const whomAsked = "\nWith --config it answers from that file alone; without, it asks the daemon, which also knows overrides,\n" +
	"covers, swaps and leaves, and needs your token."

func (a *app) oncall() *cobra.Command {
	c := &cobra.Command{
		Use: "oncall", Short: "Say who is on duty and why, and change it",
		Args: noVerb, RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.oncallWho(), a.oncallShow(), a.oncallNext(), a.oncallLoad(), a.oncallOverride(), a.oncallCover(), a.oncallSwap(), a.oncallLeave(), a.oncallChanges(), a.oncallEnd())
	return c
}

// instantOf reads the value of a flag; now if there is none.
func instantOf(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Now().UTC(), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, usageError{fmt.Errorf("--%s %q is not a time like 2026-11-29T03:15:00Z", flag, text)}
	}
	return at.UTC(), nil
}

func roleOf(words []string) watchbill.RoleID { return watchbill.RoleID(strings.Join(words, "")) }

func (a *app) oncallWho() *cobra.Command {
	at := ""
	c := &cobra.Command{
		Use: "who [ROLE]", Short: "Say who is on duty, until when and why", Args: args(cobra.MaximumNArgs(1)),
		Long: "Say who is on duty for a role, or for all of them, now or at a time, until when, and why: the layer, the\n" +
			"override, cover or deputy, and the line of the configuration." + whomAsked,
		Example: "  watchbill oncall who support\n  watchbill oncall who support --at 2027-03-28T01:30:00Z --config watchbill.yaml",
		RunE: func(c *cobra.Command, words []string) error {
			t, err := instantOf("at", at)
			if err != nil {
				return err
			}
			from, err := a.rosters(c)
			if err != nil {
				return err
			}
			all, err := from.OnDuty(c.Context(), roleOf(words), t)
			if err != nil {
				return err
			}
			text := func() {
				for _, s := range all {
					fmt.Fprintf(a.stdout, "%s: %s until %s: %s\n", s.Watch.Role, s.Watch.Primary.Person, s.To.UTC().Format(time.RFC3339), dutyWhy(s.Watch.Primary))
					for _, d := range s.Watch.Second {
						fmt.Fprintf(a.stdout, "  behind: %s: %s\n", d.Person, dutyWhy(d))
					}
					for _, d := range s.Watch.Copies {
						fmt.Fprintf(a.stdout, "  copy to: %s: %s\n", d.Person, dutyWhy(d))
					}
				}
			}
			return a.print(all, text, text)
		},
	}
	c.Flags().StringVar(&at, "at", "", "at this `TIME`, like 2026-11-29T03:15:00Z (default now)")
	return c
}

// dutyWhy is a reason with its line, unless the reason has it.
func dutyWhy(d watchbill.Duty) string {
	if d.Line == "" || strings.Contains(d.Reason, "("+d.Line+")") || strings.HasPrefix(d.Line, "oncall change ") {
		return d.Reason
	}
	return d.Reason + " (" + d.Line + ")"
}

// shifts prints who is on duty, one shift after the other.
func (a *app) shifts(all []watchbill.Shift) {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ROLE\tFROM\tTO\tON DUTY\tWHY")
	for _, s := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", s.Watch.Role, s.From.UTC().Format(time.RFC3339), s.To.UTC().Format(time.RFC3339), s.Watch.Holders(), dutyWhy(s.Watch.Primary))
	}
	_ = w.Flush()
}

func (a *app) oncallShow() *cobra.Command {
	from, days := "", 14
	c := &cobra.Command{
		Use: "show [ROLE]", Short: "List who is on duty, shift by shift", Args: args(cobra.MaximumNArgs(1)),
		Long:    "List who is on duty for a role, or for all of them, shift by shift." + whomAsked,
		Example: "  watchbill oncall show support --days 7",
		RunE: func(c *cobra.Command, words []string) error {
			asked, t, err := a.rostersFrom(c, from)
			if err != nil {
				return err
			}
			all, err := asked.Shifts(c.Context(), roleOf(words), t, t.AddDate(0, 0, days))
			if err != nil {
				return err
			}
			text := func() { a.shifts(all) }
			return a.print(all, text, text)
		},
	}
	c.Flags().StringVar(&from, "from", "", "from this `TIME` on (default now)")
	c.Flags().IntVar(&days, "days", days, "for this `NUMBER` of days")
	return c
}

func (a *app) oncallNext() *cobra.Command {
	person, from := "", ""
	c := &cobra.Command{
		Use: "next [ROLE]", Short: "Say who is on duty next, or when somebody's next shift is", Args: args(cobra.MaximumNArgs(1)),
		Long: "Say for a role, or for each of them, who is on duty after the shift that runs. With --person, list the\n" +
			"next shifts of somebody." + whomAsked,
		Example: "  watchbill oncall next support\n  watchbill oncall next --person ana",
		RunE: func(c *cobra.Command, words []string) error {
			asked, now, err := a.rostersFrom(c, from)
			if err != nil {
				return err
			}
			all, err := asked.Shifts(c.Context(), roleOf(words), now, now.AddDate(0, 0, 60))
			if err != nil {
				return err
			}
			next := nextShifts(all, watchbill.PersonID(person))
			text := func() { a.shifts(next) }
			return a.print(next, text, text)
		},
	}
	c.Flags().StringVar(&person, "person", "", "the next shifts of this `PERSON`, in the next 60 days")
	c.Flags().StringVar(&from, "from", "", "after this `TIME` (default now)")
	return c
}

// nextShifts returns those of a person or, without one, for each role the one
// after the shift that runs.
func nextShifts(all []watchbill.Shift, person watchbill.PersonID) []watchbill.Shift {
	if person != "" {
		return slices.DeleteFunc(all, func(s watchbill.Shift) bool { return s.Watch.Primary.Person != person })
	}
	out, running := []watchbill.Shift{}, map[watchbill.RoleID]watchbill.PersonID{}
	for _, s := range all {
		now, met := running[s.Watch.Role]
		switch {
		case !met:
			running[s.Watch.Role] = s.Watch.Primary.Person
		case now != "" && now != s.Watch.Primary.Person:
			out = append(out, s)
			running[s.Watch.Role] = ""
		}
	}
	return out
}

func (a *app) oncallLoad() *cobra.Command {
	from, days := "", 28
	c := &cobra.Command{
		Use: "load", Short: "Say what the rosters ask of each person", Args: args(cobra.NoArgs),
		Long: "Add up for each person the hours on duty, the nights (22:00 to 07:00 of their own clock) and the hours at\n" +
			"weekends; hours of standing behind somebody are apart. Two duties at once count once. The daemon also\n" +
			"counts the pages that were delivered in that time, and those at night." + whomAsked,
		Example: "  watchbill oncall load --days 28\n  watchbill oncall load --from 2026-11-01T00:00:00Z --days 30",
		RunE: func(c *cobra.Command, _ []string) error {
			asked, t, err := a.rostersFrom(c, from)
			if err != nil {
				return err
			}
			all, err := asked.DutyLoad(c.Context(), t, days)
			if err != nil {
				return err
			}
			text := func() {
				w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
				fmt.Fprintln(w, "PERSON\tHOURS\tNIGHTS\tWEEKEND\tBEHIND\tPAGES\tAT NIGHT")
				for _, l := range all {
					fmt.Fprintf(w, "%s\t%.1f\t%d\t%.1f\t%.1f\t%d\t%d\n", l.Person, l.Hours, l.Nights, l.Weekend, l.Second, l.Pages, l.Woken)
				}
				_ = w.Flush()
			}
			return a.print(all, text, text)
		},
	}
	c.Flags().StringVar(&from, "from", "", "from this `TIME` on (default now)")
	c.Flags().IntVar(&days, "days", days, "for this `NUMBER` of days")
	return c
}

// period are the flags of a change's time and reason.
type period struct{ from, to, lasts, reason string }

func (p *period) flags(c *cobra.Command) {
	c.Flags().StringVar(&p.from, "from", "", "from this `TIME` on, like 2026-11-29T03:15:00Z (default now)")
	c.Flags().StringVar(&p.to, "to", "", "until this `TIME`")
	c.Flags().StringVar(&p.lasts, "for", "", "how long it lasts, like 8h or 2d, in the place of --to")
	c.Flags().StringVar(&p.reason, "reason", "", "why; required")
}

func (p *period) change() (d watchbill.DutyChange, err error) {
	d.Reason = p.reason
	if p.reason == "" {
		return d, usageError{errors.New("say why with --reason")}
	}
	if d.From, err = instantOf("from", p.from); err != nil {
		return d, err
	}
	if (p.to == "") == (p.lasts == "") {
		return d, usageError{errors.New("say until when, with --to or --for")}
	}
	if p.to != "" {
		d.To, err = instantOf("to", p.to)
		return d, err
	}
	lasts, err := model.ParseDuration(p.lasts)
	if err != nil || lasts <= 0 {
		return d, usageError{fmt.Errorf("--for %q is not a duration like 30m, 8h or 2d", p.lasts)}
	}
	d.To = d.From.Add(time.Duration(lasts))
	return d, nil
}

// changeDuty sends a change of the duty and prints what became of it.
func (a *app) changeDuty(c *cobra.Command, q web.DutyRequest) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	made, err := client.ChangeDuty(c.Context(), q)
	if err != nil {
		return err
	}
	text := func() { a.changes(made) }
	return a.print(made, text, text)
}

func (a *app) changes(all []watchbill.DutyChange) {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CHANGE\tKIND\tROLE\tON DUTY\tINSTEAD OF\tFROM\tTO\tBY\tREASON")
	for _, d := range all {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", d.ID, d.Kind, cmp.Or(string(d.Role), "all"), cmp.Or(string(d.Person), "-"), cmp.Or(string(d.Instead), "-"),
			d.From.UTC().Format(time.RFC3339), d.To.UTC().Format(time.RFC3339), d.Author, d.Reason)
	}
	_ = w.Flush()
}

func (a *app) oncallOverride() *cobra.Command {
	var p period
	location := ""
	c := &cobra.Command{
		Use: "override ROLE PERSON", Short: "Put somebody on duty, whoever has the turn", Args: args(cobra.ExactArgs(2)),
		Long: "Put somebody on duty for a role, whoever has the turn. The manager may do so, and who holds the role. Of\n" +
			"overrides at the same time the one that was made last counts.",
		Example: "  watchbill oncall override support ben --for 8h --reason \"ana is ill\"",
		RunE: func(c *cobra.Command, words []string) error {
			d, err := p.change()
			if err != nil {
				return err
			}
			d.Kind, d.Role, d.Person, d.Location = watchbill.DutyOverride, watchbill.RoleID(words[0]), watchbill.PersonID(words[1]), location
			return a.changeDuty(c, web.DutyRequest{DutyChange: d})
		},
	}
	p.flags(c)
	c.Flags().StringVar(&location, "location", "", "only in the roster of this `LOCATION`")
	return c
}

func (a *app) oncallCover() *cobra.Command {
	var p period
	role := ""
	c := &cobra.Command{
		Use: "cover PERSON BY", Short: "Have somebody stand in for somebody else", Args: args(cobra.ExactArgs(2)),
		Long:    "Have BY stand in for PERSON whenever that one would be on duty. The manager may arrange it, and the two.",
		Example: "  watchbill oncall cover ana ben --from 2026-12-01T17:00:00Z --for 3h --reason \"school play\"",
		RunE: func(c *cobra.Command, words []string) error {
			d, err := p.change()
			if err != nil {
				return err
			}
			d.Kind, d.Role, d.Instead, d.Person = watchbill.DutyCover, watchbill.RoleID(role), watchbill.PersonID(words[0]), watchbill.PersonID(words[1])
			return a.changeDuty(c, web.DutyRequest{DutyChange: d})
		},
	}
	p.flags(c)
	c.Flags().StringVar(&role, "role", "", "only for this `ROLE`")
	return c
}

func (a *app) oncallSwap() *cobra.Command {
	reason := ""
	c := &cobra.Command{
		Use: "swap ROLE TIME TIME", Short: "Exchange two shifts", Args: args(cobra.ExactArgs(3)),
		Long: "Exchange the shift that runs at one time and the one that runs at another, each whole. Who holds the role\n" +
			"may do so, and the manager. Ending one half ends both.",
		Example: "  watchbill oncall swap support 2026-12-01T12:00:00Z 2026-12-08T12:00:00Z --reason \"holidays\"",
		RunE: func(c *cobra.Command, words []string) (err error) {
			q := web.DutyRequest{DutyChange: watchbill.DutyChange{Kind: watchbill.DutySwap, Role: watchbill.RoleID(words[0]), Reason: reason}}
			if q.First, err = instantOf("first", words[1]); err != nil {
				return err
			}
			if q.Second, err = instantOf("second", words[2]); err != nil {
				return err
			}
			return a.changeDuty(c, q)
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why; required")
	return c
}

func (a *app) oncallLeave() *cobra.Command {
	var p period
	c := &cobra.Command{
		Use: "leave PERSON", Short: "Say that somebody is away", Args: args(cobra.ExactArgs(1)),
		Long: "Say that somebody is away: their deputy stands in, else the next in the turn. The person may say so, and\n" +
			"the manager.",
		Example: "  watchbill oncall leave ana --for 2d --reason ill",
		RunE: func(c *cobra.Command, words []string) error {
			d, err := p.change()
			if err != nil {
				return err
			}
			d.Kind, d.Instead = watchbill.DutyLeave, watchbill.PersonID(words[0])
			return a.changeDuty(c, web.DutyRequest{DutyChange: d})
		},
	}
	p.flags(c)
	c.AddCommand(a.oncallLeaveImport())
	return c
}

func (a *app) oncallChanges() *cobra.Command {
	return &cobra.Command{
		Use: "changes", Short: "List overrides, covers, swaps and leaves", Args: args(cobra.NoArgs),
		Long: "List the changes of the duty that count now or will.", Example: "  watchbill oncall changes",
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			all, err := client.DutyChanges(c.Context())
			if err != nil {
				return err
			}
			text := func() { a.changes(all) }
			return a.print(all, text, text)
		},
	}
}

func (a *app) oncallEnd() *cobra.Command {
	reason := ""
	c := &cobra.Command{
		Use: "end CHANGE", Short: "End an override, a cover, a swap or a leave", Args: args(cobra.ExactArgs(1)),
		Long: "End a change of the duty now, or before it begins. It stays in the log.", Example: "  watchbill oncall end 3 --reason \"ana is well again\"",
		RunE: func(c *cobra.Command, words []string) error {
			id, err := strconv.ParseInt(words[0], 10, 64)
			if err != nil {
				return usageError{fmt.Errorf("%q is not the number of a change", words[0])}
			}
			if reason == "" {
				return usageError{errors.New("say why with --reason")}
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			return client.EndDutyChange(c.Context(), id, reason)
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why; required")
	return c
}

func (a *app) coverage() *cobra.Command {
	from, days := "", 28
	c := &cobra.Command{
		Use: "coverage", Short: "Prove that somebody is always on duty, or list the gaps", Args: args(cobra.NoArgs),
		Long: "For every role and every minute of some days: is somebody on duty who can be reached, is somebody else\n" +
			"behind, is somebody where the configuration wants it, and are two people on duty who may change\n" +
			"production? Prints every gap, and exits 1 if there is one." + whomAsked,
		Example: "  watchbill coverage --days 28 --config watchbill.yaml",
		RunE: func(c *cobra.Command, _ []string) error {
			asked, t, err := a.rostersFrom(c, from)
			if err != nil {
				return err
			}
			gaps, err := asked.Coverage(c.Context(), t, days)
			if err != nil {
				return err
			}
			if gaps == nil {
				gaps = []watchbill.Gap{}
			}
			text := func() {
				for _, g := range gaps {
					fmt.Fprintln(a.stdout, g)
				}
				if len(gaps) == 0 {
					fmt.Fprintf(a.stdout, "covered for %d days\n", days)
				}
			}
			if err := a.print(gaps, text, text); err != nil {
				return err
			}
			if len(gaps) > 0 {
				return errGaps
			}
			return nil
		},
	}
	c.Flags().StringVar(&from, "from", "", "from this `TIME` on (default now)")
	c.Flags().IntVar(&days, "days", days, "for this `NUMBER` of days")
	return c
}
