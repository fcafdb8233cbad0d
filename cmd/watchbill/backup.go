package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"watchbill"
	"watchbill/internal/daemon"
	"watchbill/internal/web"
)

func (a *app) backup() *cobra.Command {
	return &cobra.Command{
		Use: "backup FILE", Short: "Copy the store into a new file, while the daemon runs",
		Long: "Copy the store that --config names into FILE, as it is at one instant; the daemon may run meanwhile.\n" +
			"FILE has its name only once the copy is whole, sound and on disk, and every chain of events in it\n" +
			"verifies. A file that exists is never overwritten. The time series are not part of it: without them\n" +
			"targets start to be measured anew.",
		Example: "  watchbill backup /backup/watchbill-$(date +%F).db",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, file []string) error {
			cfg, err := a.load()
			if err != nil {
				return err
			}
			begun := time.Now()
			progress := func(done, total int64) {
				fmt.Fprintf(a.stderr, "copied %d of %d MB\n", done>>20, total>>20)
			}
			made, err := daemon.Backup(c.Context(), cfg, file[0], progress)
			if err != nil {
				return err
			}
			text := func() {
				fmt.Fprintf(a.stdout, "%s: %d incidents, %d events, %d bytes, in %s; verified\n",
					file[0], made.Incidents, made.Events, made.Bytes, time.Since(begun).Round(time.Millisecond))
			}
			return a.print(made, text, text)
		},
	}
}

func (a *app) restore() *cobra.Command {
	replace := false
	c := &cobra.Command{
		Use: "restore FILE", Short: "Put a backup in place as the store, held",
		Long: "Put a backup in place as the store that --config names. The daemon must not run. The backup is verified\n" +
			"first. A store that is there is refused; with --replace it is kept beside the new one, under another name.\n\n" +
			"What was due, pending or firing when the backup was made is held: people may have dealt with it since. The\n" +
			"daemon starts and takes alerts in as usual, and whatever fires now pages. The rest waits until the manager\n" +
			"looks at it: watchbill hold show, hold release, hold drop.",
		Example: "  watchbill restore /backup/watchbill-2026-11-29.db\n  watchbill serve\n  watchbill hold show",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, file []string) error {
			cfg, err := a.load()
			if err != nil {
				return err
			}
			copied, kept, err := daemon.Restore(c.Context(), cfg, file[0], replace)
			if err != nil {
				return err
			}
			text := func() {
				fmt.Fprintf(a.stdout, "%s is in place at %s: %d incidents, %d events\n", file[0], cfg.Store, copied.Incidents, copied.Events)
				if kept != "" {
					fmt.Fprintf(a.stdout, "the store that was there is kept as %s\n", kept)
				}
				fmt.Fprintf(a.stdout, "next: start the daemon, then look at what is held with: watchbill hold show\n")
			}
			return a.print(map[string]any{"store": cfg.Store, "kept": kept, "backup": copied}, text, text)
		},
	}
	c.Flags().BoolVar(&replace, "replace", false, "put it in the place of a store that is there, which is kept under another name")
	return c
}

func (a *app) hold() *cobra.Command {
	c := &cobra.Command{
		Use: "hold", Short: "Decide about what a restore holds back",
		Args: noVerb, RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(&cobra.Command{
		Use: "show", Short: "List what is held, by incident", Args: args(cobra.NoArgs),
		Long: "List what was due, pending or firing when the backup was made and is held since it was restored. An\n" +
			"incident of which an alert fires now is not held any more.",
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			all, err := client.Held(c.Context())
			if err != nil {
				return err
			}
			return a.print(all, func() { a.held(all, false) }, func() { a.held(all, true) })
		},
	})
	c.AddCommand(&cobra.Command{
		Use: "release [INCIDENT…]", Short: "Let held incidents go on; all of them when none is named",
		Long: "Let held incidents go on: what was due meanwhile is due at once, and pages are sent. It is recorded on\n" +
			"each incident. Only the manager may.",
		Example: "  watchbill hold release INC-7\n  watchbill hold release",
		RunE: func(c *cobra.Command, words []string) error {
			return a.decideHeld(words, "goes on", func(client *web.Client, ids []watchbill.IncidentID) ([]web.HeldView, error) {
				return client.ReleaseHeld(c.Context(), ids...)
			})
		},
	})
	c.AddCommand(&cobra.Command{
		Use: "drop INCIDENT…", Short: "End held incidents without paging for them",
		Long: "End held incidents: they are resolved in your name, and what was held of them is never sent. Should one\n" +
			"of their alerts fire after all, it reopens the incident and pages. Only the manager may.",
		Example: "  watchbill hold drop INC-7 INC-9",
		Args:    args(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, words []string) error {
			return a.decideHeld(words, "is dropped", func(client *web.Client, ids []watchbill.IncidentID) ([]web.HeldView, error) {
				return client.DropHeld(c.Context(), ids...)
			})
		},
	})
	return c
}

func (a *app) decideHeld(words []string, said string, decide func(*web.Client, []watchbill.IncidentID) ([]web.HeldView, error)) error {
	var ids []watchbill.IncidentID
	for _, word := range words {
		id, err := watchbill.ParseIncidentID(word)
		if err != nil {
			return usageError{err}
		}
		ids = append(ids, id)
	}
	client, err := a.client()
	if err != nil {
		return err
	}
	done, err := decide(client, ids)
	if err != nil {
		return err
	}
	text := func() {
		for _, v := range done {
			fmt.Fprintf(a.stdout, "%s %s: %s\n", heldName(v), said, heldWhat(v))
		}
		if len(done) == 0 {
			fmt.Fprintln(a.stdout, "nothing is held")
		}
	}
	return a.print(done, text, text)
}

// held prints what is held: a line for each incident and, extended, one for
// each of its timers and pages.
func (a *app) held(all []web.HeldView, extended bool) {
	if len(all) == 0 {
		fmt.Fprintln(a.stdout, "nothing is held")
		return
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "INCIDENT\tSTATE\tSEVERITY\tHELD\tTITLE")
	for _, v := range all {
		state, sev, title := string(v.State), v.Severity.String(), v.Title
		if v.Incident == 0 {
			state, sev, title = "-", "-", "muted alerts, decided again when released"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", heldName(v), state, sev, heldWhat(v), title)
		if !extended {
			continue
		}
		for _, tm := range v.Timers {
			fmt.Fprintf(w, "\t\t\t%s %d\tdue %s\n", tm.What, tm.Step, tm.At.UTC().Format(time.RFC3339))
		}
		for _, p := range v.Pages {
			fmt.Fprintf(w, "\t\t\tpage\t%s\n", p.Key)
		}
	}
	_ = w.Flush() // stdout's own error shows at the next write
}

func heldName(v web.HeldView) string {
	if v.Incident == 0 {
		return "-"
	}
	return v.Incident.String()
}

func heldWhat(v web.HeldView) string {
	var parts []string
	add := func(n int, what string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, what))
		}
	}
	add(len(v.Timers), "timers")
	add(len(v.Pages), "pages")
	add(v.Alerts, "alerts")
	return strings.Join(parts, ", ")
}
