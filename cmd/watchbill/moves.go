package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"watchbill"
	"watchbill/internal/web"
)

func (a *app) incidentEscalate() *cobra.Command {
	return &cobra.Command{
		Use: "escalate INCIDENT [NOTE…]", Short: "Page the next step of an incident now", Args: args(cobra.MinimumNArgs(1)),
		Long: "Page the next step of an incident's path now instead of at its time. One that is acknowledged is open\n" +
			"again and goes on with its second step. Nobody is asked why: escalate whenever you are in doubt.",
		Example: "  watchbill incident escalate INC-1\n  watchbill incident escalate INC-1 the rollback fails",
		RunE: func(c *cobra.Command, words []string) error {
			return a.one(words[0], func(client *web.Client, id watchbill.IncidentID) error {
				seen, err := client.Incident(c.Context(), id)
				if err != nil {
					return err
				}
				r := web.EscalateRequest{Note: strings.Join(words[1:], " "), Generation: seen.Incident.Generation}
				for _, n := range seen.Next {
					if watchbill.TimerKind(n.What) == watchbill.TimerStep {
						r.Step = n.Step
					}
				}
				inc, err := client.Escalate(c.Context(), id, r)
				if err != nil {
					return err
				}
				return a.done(inc, inc.ID.String()+" is escalated")
			})
		},
	}
}

func (a *app) incidentHandOver() *cobra.Command {
	var to string
	c := &cobra.Command{
		Use: "handover INCIDENT [NOTE…] --to PERSON", Short: "Ask a person to take an incident over", Args: args(cobra.MinimumNArgs(1)),
		Long: "Ask a person to take an incident over. They are paged at once; it is theirs when they acknowledge it.\n" +
			"Until then it stays with whoever has it, and what is due stays due.",
		Example: "  watchbill incident handover INC-1 --to ben my watch ends, the rollback is at 40 %",
		RunE: func(c *cobra.Command, words []string) error {
			if to == "" {
				return usageError{errors.New("--to is needed: who takes it over")}
			}
			return a.one(words[0], func(client *web.Client, id watchbill.IncidentID) error {
				inc, err := client.HandOver(c.Context(), id, web.HandOverRequest{To: watchbill.PersonID(to), Note: strings.Join(words[1:], " ")})
				if err != nil {
					return err
				}
				return a.done(inc, fmt.Sprintf("%s is asked to take %s; it is theirs once they acknowledge it", to, inc.ID))
			})
		},
	}
	c.Flags().StringVar(&to, "to", "", "the `PERSON` who takes it over (needed)")
	return c
}

func (a *app) incidentNotMine() *cobra.Command {
	var role string
	c := &cobra.Command{
		Use: "not-mine INCIDENT [NOTE…] --role ROLE", Short: "Hand an incident to the role that it belongs to", Args: args(cobra.MinimumNArgs(1)),
		Long: "Hand an incident to another role. Whoever is on duty for it is paged at once, and then, as on every\n" +
			"path, the manager and everyone of the role.",
		Example: "  watchbill incident not-mine INC-1 --role infrastructure the disks are the provider's",
		RunE: func(c *cobra.Command, words []string) error {
			if role == "" {
				return usageError{errors.New("--role is needed: whose it is")}
			}
			return a.one(words[0], func(client *web.Client, id watchbill.IncidentID) error {
				inc, err := client.NotMine(c.Context(), id, web.NotMineRequest{Role: watchbill.RoleID(role), Note: strings.Join(words[1:], " ")})
				if err != nil {
					return err
				}
				return a.done(inc, fmt.Sprintf("%s goes to %s", inc.ID, role))
			})
		},
	}
	c.Flags().StringVar(&role, "role", "", "the `ROLE` that it belongs to (needed)")
	return c
}

func (a *app) incidentSnooze() *cobra.Command {
	var until string
	var wait time.Duration
	c := &cobra.Command{
		Use: "snooze INCIDENT [NOTE…] --until TIME", Short: "Put a sev3 or sev4 off", Args: args(cobra.MinimumNArgs(1)),
		Long: "Put the pages of an incident off, for 7 days at most. Then its path starts again. Only a sev3 or a sev4\n" +
			"can be put off, and one that gets worse pages at once.",
		Example: "  watchbill incident snooze INC-1 --for 2h\n  watchbill incident snooze INC-1 --until 2026-11-30T09:00:00+01:00 Ana looks at it",
		RunE: func(c *cobra.Command, words []string) error {
			r := web.SnoozeRequest{Note: strings.Join(words[1:], " ")}
			switch at, err := time.Parse(time.RFC3339, until); {
			case until == "" && wait > 0:
				r.Until = time.Now().Add(wait)
			case until == "" || wait != 0:
				return usageError{errors.New("write either --until TIME or --for DURATION")}
			case err != nil:
				return usageError{fmt.Errorf("--until: %q is not a time like 2026-11-30T09:00:00+01:00", until)}
			default:
				r.Until = at
			}
			return a.one(words[0], func(client *web.Client, id watchbill.IncidentID) error {
				inc, err := client.Snooze(c.Context(), id, r)
				if err != nil {
					return err
				}
				return a.done(inc, fmt.Sprintf("%s is %s", inc.ID, inc.HeldBy))
			})
		},
	}
	c.Flags().StringVar(&until, "until", "", "the `TIME` at which it pages again, as in 2026-11-30T09:00:00+01:00")
	c.Flags().DurationVar(&wait, "for", 0, "the `DURATION` after which it pages again, like 2h")
	return c
}

func (a *app) incidentCall() *cobra.Command {
	var r web.CallRequest
	var people []string
	var role string
	c := &cobra.Command{
		Use: "call INCIDENT [NOTE…] --person PERSON", Short: "Page more people to help", Args: args(cobra.MinimumNArgs(1)),
		Long: "Page people, or whoever is on duty for a role, in addition. The incident stays with whoever has it; what\n" +
			"the called do on it, a note for instance, says that they heard.",
		Example: "  watchbill incident call INC-1 --person dmitri the database needs you\n  watchbill incident call INC-1 --role security",
		RunE: func(c *cobra.Command, words []string) error {
			if len(people) == 0 && role == "" {
				return usageError{errors.New("--person or --role is needed: who is called")}
			}
			r.Note, r.Role, r.People = strings.Join(words[1:], " "), watchbill.RoleID(role), nil
			for _, p := range people {
				r.People = append(r.People, watchbill.PersonID(p))
			}
			return a.one(words[0], func(client *web.Client, id watchbill.IncidentID) error {
				inc, err := client.Call(c.Context(), id, r)
				if err != nil {
					return err
				}
				return a.done(inc, "called to "+inc.ID.String())
			})
		},
	}
	c.Flags().StringArrayVar(&people, "person", nil, "a `PERSON` to call; may be repeated")
	c.Flags().StringVar(&role, "role", "", "call whoever is on duty for this `ROLE`")
	return c
}

func (a *app) incidentStatus() *cobra.Command {
	var plan bool
	c := &cobra.Command{
		Use: "status INCIDENT TEXT…", Short: "Record how an incident stands", Args: args(cobra.MinimumNArgs(2)),
		Long: "Record how an incident stands. It renews an acknowledgement, and the next update is due its time from\n" +
			"now, if reminders are configured. With --plan it also says how the incident will be resolved.",
		Example: "  watchbill incident status INC-1 half of the payments work again\n  watchbill incident status INC-1 --plan roll back, then watch for 10 minutes",
		RunE: func(c *cobra.Command, words []string) error {
			return a.one(words[0], func(client *web.Client, id watchbill.IncidentID) error {
				inc, err := client.Status(c.Context(), id, web.StatusRequest{Text: strings.Join(words[1:], " "), Plan: plan})
				if err != nil {
					return err
				}
				return a.done(inc, "recorded on "+inc.ID.String())
			})
		},
	}
	c.Flags().BoolVar(&plan, "plan", false, "it also says how the incident will be resolved")
	return c
}
