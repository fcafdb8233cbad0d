package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/prometheus/common/model"
	"github.com/spf13/cobra"

	"watchbill"
	"watchbill/internal/web"
)

func (a *app) change() *cobra.Command {
	c := &cobra.Command{
		Use: "change", Short: "Ask for, approve and make changes of production",
		Long: "A change of production takes two people: one writes it, somebody else approves exactly that, and it is\n" +
			"performed while a second person looks on. Watchbill runs nothing: it records, and says no.",
		Args: noVerb, RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.changeRequest(), a.changeEdit(), a.changeApprove(), a.changeList(), a.changeShow(), a.changePermit(),
		a.changeAct("reject CHANGE REASON…", "Reject it, or take your own back", "  watchbill change reject CHG-7 not on a Friday"),
		a.changeAct("perform CHANGE", "Perform it, as soon as there is a witness", "  watchbill change perform CHG-7"),
		a.changeAct("witness CHANGE", "Look on; with it the change begins", "  watchbill change witness CHG-7"),
		a.changeAct("done CHANGE EVIDENCE…", "Say that it is done, and what you saw", "  watchbill change done CHG-7 error rate 0.2 % since 03:40"),
		a.changeAct("fail CHANGE REASON…", "Say that it failed", "  watchbill change fail CHG-7 the chart does not render"),
		a.changeAct("rollback CHANGE REASON…", "Say that it was rolled back", "  watchbill change rollback CHG-7 error rate rose, back on 41"),
		a.changeAct("break-glass CHANGE REASON…", "Begin without the people that it needs; pages the manager", "  watchbill change break-glass CHG-7 payments are down and nobody answers"),
		a.changeAct("review CHANGE VERDICT…", "Review a broken glass", "  watchbill change review CHG-7 right, and a second person is on call from now on"))
	return c
}

// contentFlags are the flags that write a change.
type contentFlags struct {
	watchbill.ChangeContent
	kind, diffFile, from, until string
}

func (f *contentFlags) add(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&f.kind, "kind", "change", "change, deploy, rollback, access or configuration")
	flags.StringVar(&f.Title, "title", "", "`TEXT`: what is changed, in one line")
	flags.StringVar(&f.Service, "service", "", "the `SERVICE` that is changed")
	flags.StringVar(&f.Environment, "environment", "prod", "the `ENVIRONMENT` in which it is")
	flags.StringVar(&f.Target, "target", "", "`TEXT`: what is touched: a host, a cluster, a repository")
	flags.StringVar(&f.Command, "command", "", "`TEXT`: what is run, exactly")
	flags.StringVar(&f.diffFile, "diff", "", "`FILE` with what is applied, instead of a command")
	flags.StringVar(&f.Risk, "risk", "", "`TEXT`: what may go wrong")
	flags.StringVar(&f.Rollback, "rollback", "", "`TEXT`: how it is taken back")
	flags.StringVar(&f.Verification, "verify", "", "`TEXT`: how one sees that it worked")
	flags.StringVar(&f.from, "from", "", "`TIME` before which it may not be made, like 2026-11-29T03:15:00Z")
	flags.StringVar(&f.until, "until", "", "`TIME` until which it may be made (default: changes.validity from now)")
}

// apply writes the flags that were given into a content.
func (f *contentFlags) apply(c *cobra.Command, into *watchbill.ChangeContent) error {
	set := func(flag string, field *string, value string) {
		if c.Flags().Changed(flag) {
			*field = value
		}
	}
	kind := string(into.Kind)
	set("kind", &kind, f.kind)
	into.Kind = watchbill.ChangeKind(kind)
	set("title", &into.Title, f.Title)
	set("service", &into.Service, f.Service)
	set("environment", &into.Environment, f.Environment)
	set("target", &into.Target, f.Target)
	set("command", &into.Command, f.Command)
	set("risk", &into.Risk, f.Risk)
	set("rollback", &into.Rollback, f.Rollback)
	set("verify", &into.Verification, f.Verification)
	if f.diffFile != "" {
		diff, err := os.ReadFile(f.diffFile)
		if err != nil {
			return fmt.Errorf("read the diff: %w", err)
		}
		into.Diff = string(diff)
	}
	for flag, at := range map[string]struct {
		text string
		into *time.Time
	}{"from": {f.from, &into.NotBefore}, "until": {f.until, &into.NotAfter}} {
		if at.text == "" {
			continue
		}
		t, err := time.Parse(time.RFC3339, at.text)
		if err != nil {
			return usageError{fmt.Errorf("--%s %q is not a time like 2026-11-29T03:15:00Z", flag, at.text)}
		}
		*at.into = t.UTC()
	}
	return nil
}

func (a *app) changeRequest() *cobra.Command {
	var f contentFlags
	key, inc := "", ""
	c := &cobra.Command{
		Use: "request", Short: "Ask for a change", Args: args(cobra.NoArgs),
		Long: "Ask for a change. Whoever may approve it is told. An approval is for exactly what you write here: its\n" +
			"hash covers every field, and any edit asks for approval anew.",
		Example: "  watchbill change request --kind rollback --service checkout --title \"Roll checkout back to 41\" \\\n" +
			"    --target \"cluster eu-1\" --command \"helm rollback checkout 41\" --risk \"sessions are lost\" \\\n" +
			"    --rollback \"helm upgrade checkout 42\" --verify \"error rate below 1 %\" --incident INC-142",
		RunE: func(c *cobra.Command, _ []string) error {
			r := web.ChangeRequest{Key: key, Incident: inc}
			r.Kind, r.Environment = watchbill.ChangeKind(f.kind), f.Environment
			if err := f.apply(c, &r.ChangeContent); err != nil {
				return err
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			x, err := client.RequestChange(c.Context(), r)
			if err != nil {
				return err
			}
			return a.changed(x)
		},
	}
	f.add(c)
	c.Flags().StringVar(&key, "key", "", "`TEXT` that names this request: the same key makes no second change")
	c.Flags().StringVar(&inc, "incident", "", "the `INCIDENT` to which it belongs")
	return c
}

func (a *app) changeEdit() *cobra.Command {
	var f contentFlags
	c := &cobra.Command{
		Use: "edit CHANGE", Short: "Change what is asked for; voids every approval", Args: args(cobra.ExactArgs(1)),
		Long:    "Change the fields that are given. Every approval is void, and it asks for approval anew; whoever edits\ncannot approve it.",
		Example: "  watchbill change edit CHG-7 --command \"helm rollback checkout 40\"",
		RunE: func(c *cobra.Command, words []string) error {
			return a.oneChange(words[0], func(client *web.Client, id watchbill.ChangeID) error {
				v, err := client.Change(c.Context(), id)
				if err != nil {
					return err
				}
				content := v.Change.Content
				if c.Flags().Changed("diff") {
					content.Command = ""
				}
				if c.Flags().Changed("command") {
					content.Diff = ""
				}
				if err := f.apply(c, &content); err != nil {
					return err
				}
				x, err := client.ActOnChange(c.Context(), id, web.ChangeAct{Verb: "edit", Content: &content})
				if err != nil {
					return err
				}
				return a.changed(x)
			})
		},
	}
	f.add(c)
	return c
}

func (a *app) changeApprove() *cobra.Command {
	hash := ""
	c := &cobra.Command{
		Use: "approve CHANGE [NOTE…]", Short: "Approve what somebody else wrote", Args: args(cobra.MinimumNArgs(1)),
		Long: "Approve the content that has a hash, as change show prints it; its first 8 digits suffice. If it was\n" +
			"edited since you read it, nothing is approved.",
		Example: "  watchbill change show CHG-7\n  watchbill change approve CHG-7 --hash 3f2a9c41",
		RunE: func(c *cobra.Command, words []string) error {
			if hash == "" {
				return usageError{errors.New("--hash is needed: read the change with change show, which prints it")}
			}
			return a.oneChange(words[0], func(client *web.Client, id watchbill.ChangeID) error {
				x, err := client.ActOnChange(c.Context(), id, web.ChangeAct{Verb: "approve", Hash: hash, Text: strings.Join(words[1:], " ")})
				if err != nil {
					return err
				}
				return a.changed(x)
			})
		},
	}
	c.Flags().StringVar(&hash, "hash", "", "the `HASH` of what you read (needed)")
	return c
}

// changeAct is a verb that takes at most words.
func (a *app) changeAct(use, short, example string) *cobra.Command {
	verb, _, _ := strings.Cut(use, " ")
	check := cobra.ExactArgs(1)
	if strings.HasSuffix(use, "…") {
		check = cobra.MinimumNArgs(2)
	}
	return &cobra.Command{
		Use: use, Short: short, Args: args(check), Example: example,
		RunE: func(c *cobra.Command, words []string) error {
			return a.oneChange(words[0], func(client *web.Client, id watchbill.ChangeID) error {
				x, err := client.ActOnChange(c.Context(), id, web.ChangeAct{Verb: verb, Text: strings.Join(words[1:], " ")})
				if err != nil {
					return err
				}
				return a.changed(x)
			})
		},
	}
}

func (a *app) oneChange(id string, do func(*web.Client, watchbill.ChangeID) error) error {
	parsed, err := watchbill.ParseChangeID(id)
	if err != nil {
		return usageError{err}
	}
	client, err := a.client()
	if err != nil {
		return err
	}
	return do(client, parsed)
}

// changed prints where a change stands now, in one line.
func (a *app) changed(c watchbill.Change) error {
	said := fmt.Sprintf("%s is %s", c.ID, strings.ReplaceAll(string(c.State), "_", " "))
	switch {
	case c.State == watchbill.ChangeRequested:
		said += fmt.Sprintf("; whoever approves it names its hash, %s", c.Hash[:12])
	case c.State == watchbill.ChangeApproved && c.Performer != "":
		said += fmt.Sprintf("; %s performs it as soon as there is a witness", c.Performer)
	case c.State == watchbill.ChangePerforming && c.BreakGlass != nil:
		said += fmt.Sprintf(" by %s behind broken glass; the manager is paged, and the review is due %s", c.Performer, c.BreakGlass.ReviewDue.Format(time.RFC3339))
	case c.State == watchbill.ChangePerforming && c.Witness != "":
		said += fmt.Sprintf(" by %s, witnessed by %s", c.Performer, c.Witness)
	case c.BreakGlass != nil && c.BreakGlass.ReviewedBy != "":
		said += "; reviewed by " + string(c.BreakGlass.ReviewedBy)
	}
	text := func() { fmt.Fprintln(a.stdout, said) }
	return a.print(c, text, text)
}

func (a *app) changeList() *cobra.Command {
	q := web.ChangeQuery{}
	inc := ""
	c := &cobra.Command{
		Use: "list", Short: "List changes, newest first", Args: args(cobra.NoArgs),
		Long:    "List changes, newest first. Without --state those for which somebody has still to act are listed.",
		Example: "  watchbill change list\n  watchbill change list --state all --environment prod -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			if q.State == "all" {
				q.State = ""
			}
			if inc != "" {
				var err error
				if q.Incident, err = watchbill.ParseIncidentID(inc); err != nil {
					return usageError{err}
				}
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			all, err := client.Changes(c.Context(), q)
			if err != nil {
				return err
			}
			text := func() {
				w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
				fmt.Fprintln(w, "CHANGE\tSTATE\tKIND\tSERVICE\tENVIRONMENT\tREQUESTED BY\tPERFORMER\tWITNESS\tUNTIL\tTITLE")
				for _, x := range all {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", x.ID, x.State, x.Content.Kind, x.Content.Service, x.Content.Environment,
						x.Requester, cmp.Or(x.Performer, "-"), cmp.Or(x.Witness, "-"), x.Content.NotAfter.Format(time.RFC3339), x.Content.Title)
				}
				_ = w.Flush() // stdout's own error shows at the next write
			}
			return a.print(all, text, text)
		},
	}
	c.Flags().StringVar(&q.State, "state", "live", "which ones: live, requested, approved, performing, done, failed, rolled_back, rejected, expired or all")
	c.Flags().StringVar(&q.Service, "service", "", "those of a `SERVICE`")
	c.Flags().StringVar(&q.Environment, "environment", "", "those of an `ENVIRONMENT`")
	c.Flags().StringVar(&inc, "incident", "", "those of an `INCIDENT`")
	c.Flags().IntVar(&q.Limit, "limit", 100, "list at most `N`")
	return c
}

func (a *app) changeShow() *cobra.Command {
	return &cobra.Command{
		Use: "show CHANGE", Short: "Show a change, its hash, and who could do what is next", Args: args(cobra.ExactArgs(1)),
		Example: "  watchbill change show CHG-7",
		RunE: func(c *cobra.Command, words []string) error {
			return a.oneChange(words[0], func(client *web.Client, id watchbill.ChangeID) error {
				v, err := client.Change(c.Context(), id)
				if err != nil {
					return err
				}
				text := func() { fmt.Fprint(a.stdout, v.Text()) }
				return a.print(v, text, text)
			})
		},
	}
}

func (a *app) changePermit() *cobra.Command {
	hash, environment := "", ""
	c := &cobra.Command{
		Use: "permit CHANGE", Short: "Ask whether a pipeline may make it now", Args: args(cobra.ExactArgs(1)),
		Long: "Exit 0 if the change may be made now: the hash and the environment are those that were approved, the\n" +
			"approval still counts, and performer and witness are there. Exit 1 and say why if not.",
		Example: "  watchbill change permit CHG-7 --hash \"$HASH\" --environment prod && helm rollback checkout 41",
		RunE: func(c *cobra.Command, words []string) error {
			if hash == "" || environment == "" {
				return usageError{errors.New("--hash and --environment are needed: a permit is for one content in one place")}
			}
			return a.oneChange(words[0], func(client *web.Client, id watchbill.ChangeID) error {
				p, err := client.Permit(c.Context(), id, hash, environment)
				if err != nil {
					return err
				}
				text := func() {
					if p.OK {
						fmt.Fprintf(a.stdout, "yes, until %s: %s\n", p.Until.Format(time.RFC3339), p.Reason)
					} else {
						fmt.Fprintf(a.stdout, "no: %s (rule: %s)\n", p.Reason, p.Rule)
					}
				}
				if err := a.print(p, text, text); err != nil || p.OK {
					return err
				}
				return errClosed
			})
		},
	}
	c.Flags().StringVar(&hash, "hash", "", "the whole `HASH` of what is about to be done (needed)")
	c.Flags().StringVar(&environment, "environment", "", "the `ENVIRONMENT` in which (needed)")
	return c
}

func (a *app) report() *cobra.Command {
	c := &cobra.Command{
		Use: "report", Short: "Reports for those who answer for it",
		Args: noVerb, RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	since, until := "", ""
	changes := &cobra.Command{
		Use: "changes", Short: "Every change of production with its people, exceptions first", Args: args(cobra.NoArgs),
		Long: "List every change of production that something happened to: who asked, approved, performed and\n" +
			"witnessed, when, and the hash of what. Broken glass, failures, what ended after its time and what\n" +
			"loosened the rules come first. -o json has all of it.",
		Example: "  watchbill report changes --since 30d\n  watchbill report changes --since 2026-11-01T00:00:00Z -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			now := time.Now().UTC()
			from, err := moment(since, now)
			if err != nil {
				return usageError{fmt.Errorf("--since %w", err)}
			}
			to := now
			if until != "" {
				if to, err = moment(until, now); err != nil {
					return usageError{fmt.Errorf("--until %w", err)}
				}
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			r, err := client.ChangeReport(c.Context(), from, to)
			if err != nil {
				return err
			}
			text := func() { a.reportText(r) }
			return a.print(r, text, text)
		},
	}
	changes.Flags().StringVar(&since, "since", "30d", "`TIME` or how long ago")
	changes.Flags().StringVar(&until, "until", "", "`TIME` or how long ago (default now)")
	c.AddCommand(changes)
	return c
}

// moment reads an instant, or how long ago it was.
func moment(text string, now time.Time) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t.UTC(), nil
	}
	d, err := model.ParseDuration(text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is neither a time like 2026-11-29T03:15:00Z nor a duration like 30d", text)
	}
	return now.Add(-time.Duration(d)), nil
}

func (a *app) reportText(r watchbill.ChangeReport) {
	fmt.Fprintf(a.stdout, "%d changes of production from %s to %s, %d with exceptions\n", r.Changes,
		r.Since.Format(time.RFC3339), r.Until.Format(time.RFC3339), r.Exceptions)
	for _, e := range r.Entries {
		fmt.Fprintf(a.stdout, "\n%s  %s  %s %s/%s: %s\n", e.ID, e.State, e.Content.Kind, e.Content.Service, e.Content.Environment, e.Content.Title)
		for _, x := range e.Exceptions {
			fmt.Fprintf(a.stdout, "  EXCEPTION    %s\n", x)
		}
		fmt.Fprintf(a.stdout, "  requested    %s  %s\n", e.RequestedAt.UTC().Format(time.RFC3339), e.Requester)
		for _, p := range e.Approvals {
			void := ""
			if !p.Voided.IsZero() {
				void = ", void: " + p.VoidWhy
			}
			fmt.Fprintf(a.stdout, "  approved     %s  %s%s\n", p.At.UTC().Format(time.RFC3339), p.Person, void)
		}
		if !e.PerformingAt.IsZero() {
			fmt.Fprintf(a.stdout, "  performed    %s  %s, witness %s\n", e.PerformingAt.UTC().Format(time.RFC3339), e.Performer, cmp.Or(string(e.Witness), "nobody"))
		}
		if !e.EndedAt.IsZero() {
			fmt.Fprintf(a.stdout, "  ended        %s  %s\n", e.EndedAt.UTC().Format(time.RFC3339), e.Outcome)
		}
		if b := e.BreakGlass; b != nil && b.ReviewedBy != "" {
			fmt.Fprintf(a.stdout, "  reviewed     %s  %s: %s\n", b.ReviewedAt.UTC().Format(time.RFC3339), b.ReviewedBy, b.Review)
		}
		fmt.Fprintf(a.stdout, "  hash         %s\n", e.Hash)
	}
}
