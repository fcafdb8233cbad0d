package main

import (
	"cmp"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/prometheus/common/model"
	"github.com/spf13/cobra"

	"watchbill"
	"watchbill/internal/web"
)

func (a *app) silence() *cobra.Command {
	c := &cobra.Command{
		Use: "silence", Short: "Make, list, approve and end silences",
		Args: noVerb, RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.silenceAdd(), a.silenceList(), a.silenceApprove(), a.silenceExpire())
	return c
}

// parseMatchers reads name=value, name!=value, name=~regex and name!~regex; a word
// without any of these is the alert's name.
func parseMatchers(words []string) ([]watchbill.Matcher, error) {
	var all []watchbill.Matcher
	for _, word := range words {
		name, value, ok := strings.Cut(word, "=")
		m := watchbill.Matcher{Name: name, Value: value, IsEqual: true}
		switch {
		case strings.HasSuffix(name, "!"):
			m.Name, m.IsEqual = strings.TrimSuffix(name, "!"), false
		case strings.HasPrefix(value, "~"):
			m.Value, m.IsRegex = value[1:], true
		case !ok:
			if n, v, not := strings.Cut(word, "!~"); not {
				m = watchbill.Matcher{Name: n, Value: v, IsRegex: true}
			} else {
				m.Name, m.Value = "alertname", word
			}
		}
		if m.Name == "" {
			return nil, fmt.Errorf("%q is not a matcher: write it as name=value, name!=value, name=~regex or name!~regex", word)
		}
		all = append(all, m)
	}
	return all, nil
}

func (a *app) silenceAdd() *cobra.Command {
	lasts, comment, dry := "", "", false
	c := &cobra.Command{
		Use: "add MATCHER…", Short: "Make a silence, or see what it would mute",
		Long: "Mute the alerts that all matchers match, for a while and for a reason. A matcher is name=value,\n" +
			"name!=value, name=~regex or name!~regex; a word alone is the alert's name. --dry-run says what it\n" +
			"would mute now and would have muted in the last 7 days. One that mutes many alerts, or security\n" +
			"alerts, mutes nothing until a second person approved it.",
		Example: "  watchbill silence add DiskFull instance=db1 --for 2h --comment \"replacing the disk\"\n" +
			"  watchbill silence add service=db --dry-run",
		Args: args(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, words []string) error {
			matchers, err := parseMatchers(words)
			if err != nil {
				return usageError{err}
			}
			d, err := model.ParseDuration(lasts)
			if err != nil || d <= 0 {
				return usageError{fmt.Errorf("--for %q is not a duration like 30m, 2h or 1d", lasts)}
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			now := time.Now()
			s := watchbill.Silence{Matchers: matchers, StartsAt: now, EndsAt: now.Add(time.Duration(d)), Comment: comment}
			if dry {
				reach, err := client.Reach(c.Context(), s)
				if err != nil {
					return err
				}
				text := func() {
					fmt.Fprintf(a.stdout, "it would mute %d alerts now, and would have muted %d in the last 7 days, %d of them security alerts\n", reach.Now, reach.Week, reach.Security)
					for _, labels := range reach.Examples {
						fmt.Fprintf(a.stdout, "  %s\n", labels)
					}
				}
				return a.print(reach, text, text)
			}
			id, err := client.Silence(c.Context(), s)
			if err != nil {
				return err
			}
			text := func() { fmt.Fprintln(a.stdout, id) }
			return a.print(map[string]string{"id": id}, text, text)
		},
	}
	c.Flags().StringVar(&lasts, "for", "1h", "how long it lasts, like 30m, 2h or 1d")
	c.Flags().StringVar(&comment, "comment", "", "why; required unless --dry-run")
	c.Flags().BoolVar(&dry, "dry-run", false, "say what it would mute and make nothing")
	return c
}

func (a *app) silenceList() *cobra.Command {
	expired := false
	c := &cobra.Command{
		Use: "list", Short: "List silences", Args: args(cobra.NoArgs),
		Long: "List the silences that mute or will, and those that wait for a second person. What REACH says is\n" +
			"the number of alerts that it would have muted in the 7 days before it was made.",
		Example: "  watchbill silence list",
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			all, err := client.Silences(c.Context())
			if err != nil {
				return err
			}
			var shown []web.SilenceView
			for _, s := range all {
				if expired || s.Status.State != "expired" {
					shown = append(shown, s)
				}
			}
			text := func() {
				w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
				fmt.Fprintln(w, "ID\tSTATE\tENDS\tBY\tAPPROVED BY\tREACH\tMATCHERS\tREASON")
				for _, s := range shown {
					state, reach := s.Status.State, "-"
					if s.Waits() != "" && state != "expired" {
						state = "waits"
					}
					if s.Reach != nil {
						reach = fmt.Sprint(s.Reach.Week)
					}
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.ID, state, s.EndsAt.UTC().Format(time.RFC3339), s.CreatedBy,
						cmp.Or(s.ApprovedBy, "-"), reach, matcherTexts(s.Matchers), s.Comment)
				}
				_ = w.Flush()
			}
			return a.print(shown, text, text)
		},
	}
	c.Flags().BoolVar(&expired, "expired", false, "those too that ended in the last five days")
	return c
}

func matcherTexts(all []watchbill.Matcher) string {
	texts := make([]string, len(all))
	for i, m := range all {
		op := map[[2]bool]string{{true, false}: "=", {true, true}: "=~", {false, false}: "!=", {false, true}: "!~"}[[2]bool{m.IsEqual, m.IsRegex}]
		texts[i] = m.Name + op + m.Value
	}
	return strings.Join(texts, " ")
}

func (a *app) silenceApprove() *cobra.Command {
	return &cobra.Command{
		Use: "approve ID", Short: "Approve somebody else's silence", Args: args(cobra.ExactArgs(1)),
		Long:    "Put a silence in force that needs a second person. Its author cannot.",
		Example: "  watchbill silence approve 25744149-a088-4c58-baa1-0d335e98ab96",
		RunE: func(c *cobra.Command, id []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			s, err := client.ApproveSilence(c.Context(), id[0])
			if err != nil {
				return err
			}
			text := func() {
				fmt.Fprintf(a.stdout, "%s mutes until %s; made by %s, approved by %s\n", s.ID, s.EndsAt.UTC().Format(time.RFC3339), s.CreatedBy, s.ApprovedBy)
			}
			return a.print(s, text, text)
		},
	}
}

func (a *app) silenceExpire() *cobra.Command {
	return &cobra.Command{
		Use: "expire ID", Short: "End a silence now", Args: args(cobra.ExactArgs(1)),
		Long:    "End a silence now. What it muted and still fires pages at once.",
		Example: "  watchbill silence expire 25744149-a088-4c58-baa1-0d335e98ab96",
		RunE: func(c *cobra.Command, id []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			return client.ExpireSilence(c.Context(), id[0])
		},
	}
}
