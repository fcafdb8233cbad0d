package main

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"watchbill"
	"watchbill/internal/scenario"
	"watchbill/internal/web"
)

// days is a duration that may be written in days, as 30d.
type days time.Duration

// String implements pflag.Value.
func (d *days) String() string {
	if h := time.Duration(*d).Hours(); h >= 24 && h == float64(int(h)/24*24) {
		return fmt.Sprintf("%dd", int(h)/24)
	}
	return time.Duration(*d).String()
}

// Set implements pflag.Value.
func (d *days) Set(text string) error {
	if n, ok := strings.CutSuffix(text, "d"); ok {
		count, err := strconv.Atoi(n)
		if err != nil || count < 0 || count > 3650 {
			return fmt.Errorf("%q is not a number of days", text)
		}
		*d = days(time.Duration(count) * 24 * time.Hour)
		return nil
	}
	v, err := time.ParseDuration(text)
	if err == nil && v < 0 {
		err = fmt.Errorf("%q is less than nothing", text)
	}
	*d = days(v)
	return err
}

// Type implements pflag.Value.
func (d *days) Type() string { return "duration" }

func (a *app) replay() *cobra.Command {
	since := days(30 * 24 * time.Hour)
	c := &cobra.Command{
		Use: "replay --config FILE", Short: "Say who would have been paged differently under another configuration", Args: args(cobra.NoArgs),
		Long: "Ask the daemon what fired lately, who was paged, and what people did, play it in virtual time against the\n" +
			"configuration in --config, and list the alerts for which somebody else would have been paged, with what is\n" +
			"decided about them. Nobody is paged. docs/scenarios.md says what a replay cannot know.",
		Example: "  watchbill replay --since 30d --config new.yaml",
		RunE: func(c *cobra.Command, _ []string) error {
			if !c.Flags().Changed("config") {
				return usageError{fmt.Errorf("--config FILE is needed: the configuration to try")}
			}
			if _, err := a.load(); err != nil {
				return err
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			now := time.Now().UTC()
			past, err := whatHappened(c.Context(), client, now.Add(-time.Duration(since)), now)
			if err != nil {
				return err
			}
			r, err := scenario.Replay(c.Context(), past, a.config, child)
			if err != nil {
				return err
			}
			text := func() { a.replayed(r) }
			return a.print(r, text, text)
		},
	}
	c.Flags().Var(&since, "since", "what fired within this `DURATION`, like 30d or 36h")
	return c
}

// whatHappened asks the daemon for what is replayed.
func whatHappened(ctx context.Context, client *web.Client, since, until time.Time) (scenario.Past, error) {
	past := scenario.Past{Since: since, Until: until}
	q := url.Values{"from": {since.Format(time.RFC3339)}, "limit": {"1000"}}
	incidents := map[string]bool{}
	for {
		page, err := client.AlertHistory(ctx, q)
		if err != nil {
			return past, err
		}
		for _, h := range page.Alerts {
			alert := scenario.PastAlert{Labels: h.Labels, Annotations: h.Annotations, From: h.StartsAt, Until: h.EndedAt}
			if h.Incident != "" {
				if alert.Incident, err = watchbill.ParseIncidentID(h.Incident); err != nil {
					return past, err
				}
				incidents[h.Incident] = true
			}
			for _, p := range h.Paged {
				alert.Paged = append(alert.Paged, p.Person)
			}
			past.Alerts = append(past.Alerts, alert)
		}
		if page.Next == "" {
			break
		}
		q.Set("cursor", page.Next)
	}
	slices.SortStableFunc(past.Alerts, func(a, b scenario.PastAlert) int { return a.From.Compare(b.From) })
	if err := addSilences(ctx, client, &past); err != nil {
		return past, err
	}
	for name := range incidents {
		id, err := watchbill.ParseIncidentID(name)
		if err != nil {
			return past, err
		}
		v, err := client.Incident(ctx, id)
		if err != nil {
			return past, err
		}
		past.Acts = append(past.Acts, actsOf(v)...)
	}
	return past, nil
}

// addSilences adds the silences that are still known.
func addSilences(ctx context.Context, client *web.Client, past *scenario.Past) error {
	all, err := client.Silences(ctx)
	if err != nil {
		return err
	}
	slices.SortStableFunc(all, func(a, b web.SilenceView) int { return a.StartsAt.Compare(b.StartsAt) })
	n := 0 // silences are counted in the order in which they begin
	for _, s := range all {
		from := s.StartsAt
		if from.Before(past.Since) {
			from = past.Since
		}
		if !s.EndsAt.After(from) || !from.Before(past.Until) || s.Waits() != "" {
			continue
		}
		past.Acts = append(past.Acts, scenario.Step{
			At: from, Verb: scenario.Silence, Person: watchbill.PersonID(s.CreatedBy), For: s.EndsAt.Sub(from), Matchers: s.Matchers, Words: s.Comment,
		})
		if n++; s.ApprovedBy != "" {
			past.Acts = append(past.Acts, scenario.Step{At: from, Verb: scenario.Approve, Person: watchbill.PersonID(s.ApprovedBy), Silence: n})
		}
	}
	return nil
}

// actsOf are what people did to an incident.
func actsOf(v web.IncidentView) []scenario.Step {
	var acts []scenario.Step
	for _, e := range v.Timeline {
		s := scenario.Step{At: e.At, Person: watchbill.PersonID(e.Actor), Incident: v.Incident.ID, Words: e.Text}
		switch {
		case e.Actor == watchbill.ActorSelf:
			continue
		case e.Kind == watchbill.EventAcknowledged:
			s.Verb = scenario.Ack
		case e.Kind == watchbill.EventNote:
			s.Verb = scenario.Note
		case e.Kind == watchbill.EventResolved:
			s.Verb = scenario.Resolve
		default:
			continue
		}
		acts = append(acts, s)
	}
	return acts
}

// replayed prints what a replay found.
func (a *app) replayed(r scenario.Replayed) {
	for _, d := range r.Differences {
		end := "still fires"
		if !d.Until.IsZero() {
			end = "for " + d.Until.Sub(d.From).Round(time.Second).String()
		}
		name := ""
		if d.Incident != 0 {
			name = ", " + d.Incident.String()
		}
		fmt.Fprintf(a.stdout, "%s  %s %s (%s%s)\n  was    %s\n  would  %s\n  why    %s\n\n", d.From.UTC().Format("2006-01-02 15:04:05"), d.Labels["alertname"], d.Labels, end, name,
			nobody(d.Was), nobody(d.Would), d.Because)
	}
	fmt.Fprintf(a.stdout, "%d alerts since %s; somebody else would have been paged for %d\n", r.Alerts, r.Since.Format(time.RFC3339), len(r.Differences))
}

func nobody(people []watchbill.PersonID) string {
	names := make([]string, len(people))
	for i, p := range people {
		names[i] = string(p)
	}
	if len(names) == 0 {
		return "nobody"
	}
	return strings.Join(names, ", ")
}
