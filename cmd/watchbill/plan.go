package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"watchbill"
	"watchbill/internal/web"
)

func (a *app) plan() *cobra.Command {
	c := &cobra.Command{
		Use: "plan", Short: "Show and work on the resolution plan of an incident",
		Long: "A plan says how an incident will be resolved: steps with a kind, an owner, a time at which each is due,\n" +
			"and a state. Steps that change, deploy or roll back in production are done through a change.",
		Args: noVerb, RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.planShow(), a.planAdd(), a.planImport(), a.planEdit(), a.planMove(),
		a.planTurn("do", "Begin a step", "watchbill plan do INC-1 2 --change CHG-7"),
		a.planTurn("done", "Say that a step is done, and what was seen", "watchbill plan done INC-1 1 no error since 03:40"),
		a.planTurn("skip", "Leave a step out, and say why", "watchbill plan skip INC-1 3 the cache is empty already"),
		a.planTurn("block", "Say that a step cannot go on, and why; it escalates at once", "watchbill plan block INC-1 2 nobody can reach the cluster"),
		a.planHandOver())
	return c
}

func (a *app) planShow() *cobra.Command {
	return &cobra.Command{
		Use: "show INCIDENT", Short: "Show the steps of a plan", Args: args(cobra.ExactArgs(1)), Example: "  watchbill plan show INC-1",
		RunE: func(c *cobra.Command, words []string) error {
			return a.one(words[0], func(client *web.Client, id watchbill.IncidentID) error {
				steps, err := client.Plan(c.Context(), id)
				if err != nil {
					return err
				}
				return a.planned(steps, id)
			})
		},
	}
}

// planned prints a plan.
func (a *app) planned(steps []watchbill.PlanStep, id watchbill.IncidentID) error {
	text := func() {
		if len(steps) == 0 {
			fmt.Fprintf(a.stdout, "%s has no plan; begin one with: watchbill plan import %s, or plan add\n", id, id)
			return
		}
		fmt.Fprint(a.stdout, strings.TrimPrefix(web.PlanText(steps), "\n"))
	}
	return a.print(steps, text, text)
}

// actOnPlan does one act and prints the plan as it is then.
func (a *app) actOnPlan(c *cobra.Command, incident string, act watchbill.PlanAct) error {
	return a.one(incident, func(client *web.Client, id watchbill.IncidentID) error {
		inc, err := client.ActOnPlan(c.Context(), id, act)
		if err != nil {
			return err
		}
		return a.planned(inc.Plan, id)
	})
}

// dueAt reads when something is due: an instant, or a time from now.
func dueAt(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d > 0 {
		return time.Now().UTC().Add(d).Truncate(time.Second), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, usageError{fmt.Errorf("--due: %q is neither a time like 2026-11-30T09:00:00+01:00 nor one from now like 30m", s)}
	}
	return t, nil
}

func stepNumber(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return 0, usageError{fmt.Errorf("%q is not the number of a step; show them with: watchbill plan show", s)}
	}
	return n, nil
}

// stepFlags are the flags of a step.
func stepFlags(c *cobra.Command, act *watchbill.PlanAct) (due *string) {
	due = new(string)
	c.Flags().StringVar((*string)(&act.Kind), "kind", "", "its `KIND`: check, communicate, change, deploy, rollback or verify")
	c.Flags().StringVar((*string)(&act.Owner), "owner", "", "the `PERSON` whose it is (default: whoever has the incident)")
	c.Flags().StringVar(due, "due", "", "when it is due: a `TIME` like 2026-11-30T09:00:00+01:00, or 30m from now")
	c.Flags().StringVar(&act.Change, "change", "", "the change `CHG` through which it is done")
	return due
}

func (a *app) planAdd() *cobra.Command {
	act := watchbill.PlanAct{Act: "add"}
	var due *string
	c := &cobra.Command{
		Use: "add INCIDENT TEXT…", Short: "Add a step at the end of a plan", Args: args(cobra.MinimumNArgs(2)),
		Long: "Add a step at the end of a plan. One that is overdue pages its owner, and ten minutes later, or after\n" +
			"`reminders: {grace: …}`, the path. A step of the kind change, deploy or rollback in production is done\n" +
			"when the change that belongs to it is.",
		Example: "  watchbill plan add INC-1 --kind rollback --due 20m roll checkout back to 41",
		RunE: func(c *cobra.Command, words []string) (err error) {
			if act.Due, err = dueAt(*due); err != nil {
				return err
			}
			act.Text = strings.Join(words[1:], " ")
			return a.actOnPlan(c, words[0], act)
		},
	}
	due = stepFlags(c, &act)
	return c
}

func (a *app) planImport() *cobra.Command {
	act := watchbill.PlanAct{Act: "import"}
	c := &cobra.Command{
		Use: "import INCIDENT", Short: "Take the steps of the incident's runbook into the plan", Args: args(cobra.ExactArgs(1)),
		Long: "Take the steps of the incident's runbook into the plan: the list in its section Steps. What the plan has\n" +
			"already is not added again. A step that begins with its kind, as in \"deploy: …\", is of that kind; one\n" +
			"that asks for two people is a change; edit what was guessed wrong.",
		Example: "  watchbill plan import INC-1\n  watchbill plan import INC-1 --runbook disk-full",
		RunE: func(c *cobra.Command, words []string) error {
			return a.actOnPlan(c, words[0], act)
		},
	}
	c.Flags().StringVar(&act.Text, "runbook", "", "the `NAME` of another runbook than the incident's")
	return c
}

func (a *app) planEdit() *cobra.Command {
	act := watchbill.PlanAct{Act: "edit"}
	var due *string
	c := &cobra.Command{
		Use: "edit INCIDENT STEP [TEXT…]", Short: "Change a step's words, kind, owner or time", Args: args(cobra.MinimumNArgs(2)),
		Example: "  watchbill plan edit INC-1 2 --owner ben --due 30m",
		RunE: func(c *cobra.Command, words []string) (err error) {
			if act.Due, err = dueAt(*due); err != nil {
				return err
			}
			if act.Step, err = stepNumber(words[1]); err != nil {
				return err
			}
			act.Text = strings.Join(words[2:], " ")
			return a.actOnPlan(c, words[0], act)
		},
	}
	due = stepFlags(c, &act)
	return c
}

func (a *app) planMove() *cobra.Command {
	return &cobra.Command{
		Use: "move INCIDENT STEP PLACE", Short: "Put a step at another place of the plan", Args: args(cobra.ExactArgs(3)), Example: "  watchbill plan move INC-1 3 1",
		RunE: func(c *cobra.Command, words []string) error {
			step, err := stepNumber(words[1])
			if err != nil {
				return err
			}
			to, err := stepNumber(words[2])
			if err != nil {
				return err
			}
			return a.actOnPlan(c, words[0], watchbill.PlanAct{Act: "move", Step: step, To: to})
		},
	}
}

func (a *app) planTurn(verb, short, example string) *cobra.Command {
	act := watchbill.PlanAct{Act: verb}
	c := &cobra.Command{
		Use: verb + " INCIDENT STEP [TEXT…]", Short: short, Args: args(cobra.MinimumNArgs(2)), Example: "  " + example,
		RunE: func(c *cobra.Command, words []string) (err error) {
			if act.Step, err = stepNumber(words[1]); err != nil {
				return err
			}
			act.Note = strings.Join(words[2:], " ")
			return a.actOnPlan(c, words[0], act)
		},
	}
	if verb == "do" || verb == "done" {
		c.Flags().StringVar(&act.Change, "change", "", "the change `CHG` through which it is done")
	}
	return c
}

func (a *app) planHandOver() *cobra.Command {
	act := watchbill.PlanAct{Act: "handover"}
	var due string
	c := &cobra.Command{
		Use: "handover INCIDENT STEP [NOTE…] --to PERSON", Short: "Give a step to somebody else, who is paged", Args: args(cobra.MinimumNArgs(2)),
		Long: "Give a step to somebody else, who is paged. One that is handed over with a time in the future does not\n" +
			"keep the incident from being closed: it outlives it as an action item.",
		Example: "  watchbill plan handover INC-1 4 --to ben --due 2026-12-04T12:00:00Z grow the disk for good",
		RunE: func(c *cobra.Command, words []string) (err error) {
			if act.Owner == "" {
				return usageError{errors.New("--to is needed: who takes it")}
			}
			if act.Due, err = dueAt(due); err != nil {
				return err
			}
			if act.Step, err = stepNumber(words[1]); err != nil {
				return err
			}
			act.Note = strings.Join(words[2:], " ")
			return a.actOnPlan(c, words[0], act)
		},
	}
	c.Flags().StringVar((*string)(&act.Owner), "to", "", "the `PERSON` who takes it (needed)")
	c.Flags().StringVar(&due, "due", "", "when it is due: a `TIME` like 2026-12-04T12:00:00Z, or 48h from now")
	return c
}
