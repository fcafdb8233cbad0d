package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"watchbill"
	"watchbill/internal/daemon"
	"watchbill/internal/web"
)

// follower answers a run of a runbook, here or at the daemon.
type follower func(web.RunRequest) (web.RunbookRun, error)

func (a *app) runbookRun() *cobra.Command {
	var of, evidence string
	var answers []string
	c := &cobra.Command{
		Use: "run [NAME]", Short: "Go through a runbook, one question at a time", Args: args(cobra.MaximumNArgs(1)),
		Long: "Go through a runbook, one question or step at a time. A question is answered with y, n, the number or\n" +
			"the beginning of an answer, or \"can't tell\"; a step with done or skip. \"stuck\" escalates the incident.\n" +
			"What you saw comes after a colon, as in: y: 98 % on /var\n\n" +
			"With --incident every answer is recorded in its timeline, with who and when, and the run can be gone on\n" +
			"with later and by somebody else; it keeps to the text with which it began. Without NAME it is the\n" +
			"incident's own runbook. Without --incident nothing is recorded, and the daemon is not asked.\n\n" +
			"With --answer it asks nothing: it gives the answers in their order, prints what is next and ends.",
		Example: "  watchbill runbook run disk-full --incident INC-1\n  watchbill runbook run --incident INC-1 --answer yes --answer done --evidence \"98 % on /var\"",
		RunE: func(c *cobra.Command, words []string) error {
			name := strings.Join(words, "")
			f, err := a.follower(c, name, of)
			if err != nil {
				return err
			}
			run, err := f(web.RunRequest{})
			if err != nil {
				return err
			}
			if len(answers) == 0 {
				return a.ask(c.InOrStdin(), f, run, of)
			}
			for i, answer := range answers {
				if run.Next == nil {
					return watchbill.Errorf(watchbill.CodeConflict, "begin it again, or resolve the incident", "%s has ended; the answer %q is one too many", run.Runbook, answer)
				}
				r := web.RunRequest{At: run.Next.At, Answer: answer}
				if i == len(answers)-1 {
					r.Evidence = evidence
				}
				if run, err = f(r); err != nil {
					return err
				}
			}
			text := func() { a.next(run) }
			return a.print(run, text, text)
		},
	}
	c.Flags().StringVar(&of, "incident", "", "record it in this `INCIDENT`")
	c.Flags().StringArrayVar(&answers, "answer", nil, "an `ANSWER` to what is next; can be given again")
	c.Flags().StringVar(&evidence, "evidence", "", "`TEXT` that was seen, recorded with the last answer")
	return c
}

func (a *app) follower(c *cobra.Command, name, of string) (follower, error) {
	if of == "" {
		if name == "" {
			return nil, usageError{errors.New("name a runbook, or an incident with --incident")}
		}
		cfg, err := a.loadMaybe(c)
		if err != nil {
			return nil, err
		}
		local, err := daemon.BeginRun(cfg, name)
		if err != nil {
			return nil, err
		}
		return func(r web.RunRequest) (web.RunbookRun, error) { return local.Answer(r, time.Now()) }, nil
	}
	id, err := watchbill.ParseIncidentID(of)
	if err != nil {
		return nil, usageError{err}
	}
	client, err := a.client()
	if err != nil {
		return nil, err
	}
	return func(r web.RunRequest) (web.RunbookRun, error) {
		r.Runbook = name
		return client.RunRunbook(c.Context(), id, r)
	}, nil
}

// ask puts one question after the other until the runbook or the input ends.
func (a *app) ask(in io.Reader, f follower, run web.RunbookRun, of string) error {
	fmt.Fprintf(a.stdout, "%s (version %.8s)\n", run.Title, run.Version)
	for _, s := range run.Answers {
		fmt.Fprintf(a.stdout, "  %s  %s: %s (%s)\n", s.When.UTC().Format("15:04"), s.At, s.Answer, s.By)
	}
	lines := bufio.NewScanner(in)
	a.next(run)
	for run.Next != nil {
		fmt.Fprint(a.stdout, "> ")
		if !lines.Scan() {
			fmt.Fprintln(a.stdout)
			return lines.Err()
		}
		answer, evidence, _ := strings.Cut(lines.Text(), ":")
		if strings.TrimSpace(answer) == "" {
			continue
		}
		after, err := f(web.RunRequest{At: run.Next.At, Answer: strings.TrimSpace(answer), Evidence: strings.TrimSpace(evidence)})
		if e, ok := errors.AsType[*watchbill.Error](err); ok && e.Code == watchbill.CodeInvalid {
			fmt.Fprintf(a.stdout, "%s; %s\n", e.Message, e.Hint)
			continue
		}
		if err != nil {
			return err
		}
		if strings.EqualFold(strings.TrimSpace(answer), "stuck") {
			said := "nobody is told: without --incident nothing is escalated; call somebody now"
			if of != "" {
				said = of + " is escalated; go on if you can"
			}
			fmt.Fprintln(a.stdout, said)
		}
		run = after
		a.next(run)
	}
	return nil
}

// next prints what is asked, or to be done.
func (a *app) next(run web.RunbookRun) {
	if run.Next == nil {
		fmt.Fprintf(a.stdout, "\nThat was the last of %s.", run.Runbook)
		if run.Leads != "" {
			fmt.Fprintf(a.stdout, " Go on with: watchbill runbook run %s", run.Leads)
		}
		fmt.Fprintln(a.stdout)
		return
	}
	n := run.Next
	fmt.Fprintf(a.stdout, "\n%s: %s\n", n.At, n.Text)
	for _, line := range n.More {
		fmt.Fprintf(a.stdout, "  %s\n", line)
	}
	for i, answer := range n.Answers {
		fmt.Fprintf(a.stdout, "  %d  %s\n", i+1, answer)
	}
	if n.Change {
		fmt.Fprintln(a.stdout, "  This changes production: one does it, another approves it and watches.")
	}
	if len(n.Answers) == 0 {
		fmt.Fprintln(a.stdout, "  done, skip or stuck")
	}
}
