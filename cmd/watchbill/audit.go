package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"watchbill"
	"watchbill/internal/daemon"
	"watchbill/internal/web"
)

func (a *app) audit() *cobra.Command {
	c := &cobra.Command{
		Use: "audit", Short: "Show, export and verify the record of what happened",
		Args: noVerb, RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.auditList(), a.auditVerify(), a.auditExport(), a.auditErase())
	return c
}

func (a *app) auditList() *cobra.Command {
	var q web.AuditQuery
	kind, since := "", ""
	c := &cobra.Command{
		Use: "list", Short: "Show the audit log, newest first", Args: args(cobra.NoArgs),
		Long: "Show what was done that no incident tells of: starts, reloads with what they changed, tokens, silences,\n" +
			"what was released after a restore, and what somebody was refused. It is for whoever is responsible for\n" +
			"security. What happened to an incident is in its timeline: watchbill incident show.",
		Example: "  watchbill audit list --actor ana\n  watchbill audit list --kind refused --since 2026-11-29T00:00:00Z",
		RunE: func(c *cobra.Command, _ []string) error {
			q.Kind = watchbill.AuditKind(kind)
			if since != "" {
				at, err := time.Parse(time.RFC3339, since)
				if err != nil {
					return usageError{fmt.Errorf("--since %q is not a time like 2026-11-29T03:15:00Z", since)}
				}
				q.Since = at
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			page, err := client.AuditLog(c.Context(), q)
			if err != nil {
				return err
			}
			return a.print(page, func() { a.auditTable(page, false) }, func() { a.auditTable(page, true) })
		},
	}
	f := c.Flags()
	f.StringVar(&kind, "kind", "", "`KIND` of the entries, such as reloaded, refused or silence_made")
	f.StringVar(&q.Actor, "actor", "", "`NAME` of who did it")
	f.StringVar(&q.Object, "object", "", "`ID` of what it was done to")
	f.StringVar(&since, "since", "", "`TIME` of the oldest, like 2026-11-29T03:15:00Z")
	f.IntVar(&q.Limit, "limit", 100, "`NUMBER` of entries at most")
	return c
}

func (a *app) auditTable(page web.AuditPage, details bool) {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, e := range page.Entries {
		text := e.Text
		if e.Kind == watchbill.AuditSeal {
			text = "heads of their timelines"
		}
		first, rest, more := strings.Cut(text, "\n")
		if more && !details {
			first += fmt.Sprintf(" (and %d more: -o extended)", strings.Count(rest, "\n")+1)
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\n", e.Seq, e.At.Format(time.RFC3339), e.Kind, e.Actor, e.Object, first)
		if !details {
			continue
		}
		for line := range strings.Lines(rest) {
			fmt.Fprintf(w, "\t\t\t\t\t%s\n", strings.TrimRight(line, "\n"))
		}
		switch {
		case e.Erased:
			fmt.Fprint(w, "\t\t\t\t\t(its detail was erased)\n")
		case e.Detail != "":
			fmt.Fprintf(w, "\t\t\t\t\t%q\n", e.Detail)
		}
	}
	_ = w.Flush() // stdout's own errors are looked at by print
}

func (a *app) auditVerify() *cobra.Command {
	var heads []string
	file, headsFile := "", ""
	c := &cobra.Command{
		Use: "verify", Short: "Check that nothing of the record was altered", Args: args(cobra.NoArgs),
		Long: "Check that no event of any incident, and no entry of the audit log, was altered, removed or reordered\n" +
			"since it was written. It reads the store that --config names, while the daemon runs or not, or another\n" +
			"file, such as a backup, which it leaves as it is. It says what is wrong and where, and exits 1.\n\n" +
			"Whoever can write the store could cut off the end of the record, or write all of it anew. Heads that were\n" +
			"published elsewhere (audit.url, the metric watchbill_audit_head) show that: give them with --head, or\n" +
			"with --heads a file that holds what audit.url was sent, a line each.",
		Example: "  watchbill audit verify\n  watchbill audit verify --file w.db.bak --head 57:1f0c0a9b3d2e4",
		RunE: func(c *cobra.Command, _ []string) error {
			q := daemon.AuditCheck{File: file, Report: func(where string, err error) { fmt.Fprintf(a.stderr, "%s: %v\n", where, err) }}
			for _, text := range heads {
				h, err := watchbill.ParseAuditHead(text)
				if err != nil {
					return usageError{err}
				}
				q.Heads = append(q.Heads, h)
			}
			if headsFile != "" {
				more, err := readHeads(headsFile)
				if err != nil {
					return err
				}
				q.Heads = append(q.Heads, more...)
			}
			cfg, err := a.load()
			if err != nil {
				return err
			}
			result, err := daemon.Audit(c.Context(), cfg, q)
			if err != nil {
				return err
			}
			text := func() {
				fmt.Fprintf(a.stdout, "%d incidents, %d events, %d entries of the audit log; %d are wrong\n",
					result.Incidents, result.Events, result.Entries, result.Broken)
				if result.Head.Seq > 0 {
					fmt.Fprintf(a.stdout, "head of the audit log: %d:%s\n", result.Head.Seq, result.Head.Hash)
				}
			}
			if err := a.print(result, text, text); err != nil {
				return err
			}
			if result.Broken > 0 {
				return fmt.Errorf("the record was altered, in %d places: compare what is named above with a backup", result.Broken)
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&file, "file", "", "`FILE` to verify instead of the configuration's store, such as a backup")
	f.StringArrayVar(&heads, "head", nil, "`HEAD` that was published, like 57:1f0c0a9b3d2e4; can be given again")
	f.StringVar(&headsFile, "heads", "", "`FILE` of heads that were published, in JSON, a line each")
	return c
}

// readHeads reads what audit.url was sent.
func readHeads(file string) (all []watchbill.AuditHead, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, watchbill.Errorf(watchbill.CodeNotFound, "name the file that has what audit.url was sent", "%v", err)
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	for n := 1; s.Scan(); n++ {
		line := strings.TrimSpace(s.Text())
		if line == "" {
			continue
		}
		var h watchbill.AuditHead
		err := json.Unmarshal([]byte(line), &h)
		if err == nil {
			h, err = watchbill.ParseAuditHead(fmt.Sprintf("%d:%s", h.Seq, h.Hash))
		}
		if err != nil {
			return nil, watchbill.Invalidf(`each line is like {"seq": 57, "hash": "…"}`, "%s:%d: this is no head of an audit log", file, n)
		}
		all = append(all, h)
	}
	return all, s.Err()
}

func (a *app) auditExport() *cobra.Command {
	since := ""
	c := &cobra.Command{
		Use: "export", Short: "Write the audit log as JSON, a line for each entry", Args: args(cobra.NoArgs),
		Long: "Write the audit log of the store that --config names, oldest first, as JSON Lines, each entry with its hash\n" +
			"and that of the one before it. The last line is the head. With these anybody can check the chain: the\n" +
			"hash of an entry is the SHA-256 of its JSON with an empty hash and without detail, salt and erased; its\n" +
			"detail_sum is the SHA-256 of salt, a line feed and detail. --since leaves older entries out.",
		Example: "  watchbill audit export > audit.jsonl",
		RunE: func(c *cobra.Command, _ []string) error {
			var from time.Time
			if since != "" {
				at, err := time.Parse(time.RFC3339, since)
				if err != nil {
					return usageError{fmt.Errorf("--since %q is not a time like 2026-11-29T03:15:00Z", since)}
				}
				from = at
			}
			cfg, err := a.load()
			if err != nil {
				return err
			}
			out := json.NewEncoder(a.stdout)
			out.SetEscapeHTML(true) // as in what was hashed
			var head watchbill.AuditHead
			err = daemon.ExportAudit(c.Context(), cfg, func(e watchbill.AuditEntry) error {
				head = watchbill.AuditHead{Seq: e.Seq, Hash: e.Hash}
				if e.At.Before(from) {
					return nil
				}
				return out.Encode(e)
			})
			if err != nil {
				return err
			}
			return out.Encode(map[string]watchbill.AuditHead{"head": head})
		},
	}
	c.Flags().StringVar(&since, "since", "", "`TIME` of the oldest, like 2026-11-29T03:15:00Z")
	return c
}

func (a *app) auditErase() *cobra.Command {
	reason := ""
	c := &cobra.Command{
		Use: "erase PERSON", Short: "Erase what a person wrote in the audit log", Args: args(cobra.ExactArgs(1)),
		Long: "Erase the details of the entries of a person in the audit log: what they wrote, such as the reason of a\n" +
			"silence. That they did it, and when, stays; the chain still verifies, and an entry says what was erased.\n" +
			"It is for the manager.",
		Example: "  watchbill audit erase ana --reason \"request 4711\"",
		RunE: func(c *cobra.Command, person []string) error {
			if strings.TrimSpace(reason) == "" {
				return usageError{errors.New("say why with --reason")}
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			done, err := client.EraseAudit(c.Context(), web.EraseRequest{Person: watchbill.PersonID(person[0]), Reason: reason})
			if err != nil {
				return err
			}
			text := func() { fmt.Fprintf(a.stdout, "erased the details of %d entries\n", done.Entries) }
			return a.print(done, text, text)
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "`TEXT` that says why; it is kept")
	return c
}
