package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"text/template"
	"time"

	"github.com/spf13/cobra"

	"watchbill"
	"watchbill/internal/auth"
	"watchbill/internal/config"
	"watchbill/internal/daemon"
	"watchbill/internal/web"
)

//go:embed demo
var demoFiles embed.FS

// The times of the demo.
const (
	demoWarmUp  = 6 * time.Second  // before the service breaks: rates need samples
	demoStage   = 45 * time.Second // the longest that one stage may take
	demoLook    = 2 * time.Second  // a person reads before they act
	demoRepair  = 20 * time.Second // from acknowledgement to repair, when a person plays
	demoPollFor = 200 * time.Millisecond
)

func (a *app) demo() *cobra.Command {
	once := false
	c := &cobra.Command{
		Use:   "demo",
		Short: "See a service break, the page, the escalation and the end of it",
		Long: "Start three small services and a daemon that watches them, break one of them, and print each page as\n" +
			"its reader would see it. Everything listens on loopback and lives in a temporary folder, which is\n" +
			"removed at the end. With --once it plays the person too and exits, with 1 if any stage did not happen.",
		Args: args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			dir, err := os.MkdirTemp("", "watchbill-demo-")
			if err != nil {
				return fmt.Errorf("make a folder for the demo: %w", err)
			}
			defer func() { _ = os.RemoveAll(dir) }() // a left-over in the temporary folder is no failure of the demo
			d := &demo{app: a, dir: dir, once: once}
			return d.run(c.Context())
		},
	}
	c.Flags().BoolVar(&once, "once", false, "act as the person on duty too, and exit when the incident is over")
	return c
}

// demo is one run of the demonstration.
type demo struct {
	*app
	dir      string
	once     bool
	services []*demoService
	daemon   *daemon.Daemon
	url      string
	out      sync.Mutex // pages and stages are printed whole
	start    time.Time
}

// Write prints pages between the stages, never inside a line of them.
func (d *demo) Write(b []byte) (int, error) {
	d.out.Lock()
	defer d.out.Unlock()
	return d.stdout.Write(b)
}

func (d *demo) say(format string, args ...any) {
	fmt.Fprintf(d, "%4.0fs  %s\n", time.Since(d.start).Seconds(), fmt.Sprintf(format, args...))
}

func (d *demo) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	d.start = time.Now()
	if err := d.setUp(ctx); err != nil {
		return err
	}
	var parts sync.WaitGroup
	defer parts.Wait()
	defer cancel(nil)
	for _, s := range d.services {
		parts.Go(func() {
			if err := s.run(ctx); err != nil {
				cancel(err)
			}
		})
	}
	parts.Go(func() {
		if err := d.daemon.Run(ctx); err != nil {
			cancel(err)
		}
	})
	err := d.play(ctx)
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause // a part failed: that says more than the stage that waited for it
	}
	if errors.Is(err, context.Canceled) { // the person ended the demo
		return nil
	}
	return err
}

// setUp writes the configuration, and makes the services and the daemon.
func (d *demo) setUp(ctx context.Context) error {
	for _, name := range []string{"checkout", "payments", "catalog"} {
		s, err := newDemoService(ctx, name)
		if err != nil {
			return err
		}
		d.services = append(d.services, s)
	}
	listen, err := freePort(ctx)
	if err != nil {
		return err
	}
	d.url = "http://" + listen.Addr().String()
	if err := d.writeFiles(listen.Addr().String()); err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(d.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	load := func() (*config.Config, error) { return config.Load(filepath.Join(d.dir, "watchbill.yaml"), d.getenv) }
	d.daemon, err = daemon.New(ctx, daemon.Options{Load: load, Logger: logger, Terminal: d, Listener: listen, Version: buildVersion()})
	if err != nil {
		return err
	}
	windows, err := demoFiles.ReadFile("demo/windows.yaml")
	if err != nil {
		return err
	}
	fmt.Fprintf(d, "Three services run: checkout, payments, catalog. Watchbill watches them at %s\n", d.url)
	fmt.Fprintf(d, "with these burn windows instead of the usual days:\n\n%s\n", indent(string(windows)))
	return nil
}

func indent(s string) string {
	return "    " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n    ") + "\n"
}

func (d *demo) writeFiles(listen string) error {
	page, err := template.ParseFS(demoFiles, "demo/watchbill.yaml.tmpl")
	if err != nil {
		return err
	}
	var b strings.Builder
	if err := page.Execute(&b, map[string]any{"URL": d.url, "Listen": listen, "Services": d.services}); err != nil {
		return err
	}
	files := map[string][]byte{"watchbill.yaml": []byte(b.String())}
	for _, name := range []string{"targets.yaml", "windows.yaml"} {
		if files[name], err = demoFiles.ReadFile("demo/" + name); err != nil {
			return err
		}
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(d.dir, name), content, 0o600); err != nil {
			return fmt.Errorf("write the demo's configuration: %w", err)
		}
	}
	return nil
}

// as returns a client that acts as a person.
func (d *demo) as(ctx context.Context, person watchbill.PersonID) (*web.Client, error) {
	made, _, err := d.daemon.CreateToken(ctx, auth.Spec{Name: "demo", Person: person, TTL: time.Hour, CreatedBy: "demo"})
	if err != nil {
		return nil, err
	}
	secret := made.Reveal()
	file := filepath.Join(d.dir, string(person)+".token")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("write a token: %w", err)
	}
	return &web.Client{URL: d.url, Token: secret, HTTP: &http.Client{Timeout: 5 * time.Second}}, nil
}

// play breaks checkout and follows the incident to its end.
func (d *demo) play(ctx context.Context) error {
	watcher, err := d.as(ctx, "frank")
	if err != nil {
		return err
	}
	d.say("all is well; checkout breaks in %s", demoWarmUp)
	if err := pause(ctx, demoWarmUp); err != nil {
		return err
	}
	checkout := d.services[0]
	checkout.broken.Store(true)
	d.say("BROKEN: checkout now fails %d %% of its requests, its target is 1 %%", int(failing*100))

	v, err := d.until(ctx, watcher, "the first page", func(v web.IncidentView) bool { return has(v, watchbill.EventPageSent, 1) })
	if err != nil {
		return err
	}
	if !d.once {
		return d.watch(ctx, watcher, v.Incident.ID, checkout)
	}
	d.say("nobody answers, so that you see it climb")
	v, err = d.until(ctx, watcher, "the escalation", func(v web.IncidentView) bool { return has(v, watchbill.EventStepFired, 2) && delivered(v, 1) })
	if err != nil {
		return err
	}
	who := lastPaged(v)
	if err := pause(ctx, demoLook); err != nil {
		return err
	}
	if err := d.acknowledge(ctx, who, v.Incident.ID); err != nil {
		return err
	}
	if err := pause(ctx, demoLook); err != nil {
		return err
	}
	checkout.broken.Store(false)
	d.say("HEALED: checkout answers again")
	return d.ending(ctx, watcher)
}

func (d *demo) acknowledge(ctx context.Context, who watchbill.PersonID, id watchbill.IncidentID) error {
	client, err := d.as(ctx, who)
	if err != nil {
		return err
	}
	inc, err := client.Acknowledge(ctx, id, "rolling back the last release")
	if err != nil {
		return err
	}
	d.say("ACKNOWLEDGED: %s took %s, until %s; all pages stop", who, id, inc.AckDeadline.UTC().Format("15:04:05 UTC"))
	return nil
}

// ending waits for the resolution and prints what happened.
func (d *demo) ending(ctx context.Context, watcher *web.Client) error {
	v, err := d.until(ctx, watcher, "the resolution", func(v web.IncidentView) bool { return v.Incident.State == watchbill.StateResolved })
	if err != nil {
		return err
	}
	d.say("RESOLVED: %s, all its alerts ended", v.Incident.ID)
	if err := watchbill.VerifyChain(v.Timeline, v.Incident.Head); err != nil {
		return fmt.Errorf("the timeline does not verify: %w", err)
	}
	fmt.Fprintf(d, "\n%s\nThe timeline's hash chain verifies: %d events.\n", v.Text(), len(v.Timeline))
	return nil
}

// watch lets a person play: it says how to act, repairs the service some time
// after somebody acknowledged, and follows the incident to its end.
func (d *demo) watch(ctx context.Context, watcher *web.Client, id watchbill.IncidentID, checkout *demoService) error {
	for _, p := range []watchbill.PersonID{"ana", "ben"} {
		if _, err := d.as(ctx, p); err != nil {
			return err
		}
	}
	fmt.Fprintf(d, "\nYou are on call. In a second terminal, in this folder:\n\n"+
		"    export WATCHBILL_URL=%s WATCHBILL_TOKEN_FILE=%s/ana.token\n"+
		"    go run ./cmd/watchbill incident ack %s\n\n"+
		"or wait and see who is paged next. The service is repaired %s after somebody acknowledges. Ctrl-C ends the demo.\n\n",
		d.url, d.dir, id, demoRepair)
	for {
		v, err := watcher.Incident(ctx, id)
		if err != nil {
			return err
		}
		if v.Incident.State == watchbill.StateAcknowledged {
			d.say("ACKNOWLEDGED by %s; the repair takes %s", v.Incident.AcknowledgedBy, demoRepair)
			break
		}
		if err := pause(ctx, demoPollFor); err != nil {
			return err
		}
	}
	if err := pause(ctx, demoRepair); err != nil {
		return err
	}
	checkout.broken.Store(false)
	d.say("HEALED: checkout answers again")
	return d.ending(ctx, watcher)
}

// until polls the newest incident until it is as wanted.
func (d *demo) until(ctx context.Context, client *web.Client, what string, wanted func(web.IncidentView) bool) (web.IncidentView, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, demoStage, fmt.Errorf("the demo waited %s in vain for %s", demoStage, what))
	defer cancel()
	for {
		all, err := client.Incidents(ctx, "", 1)
		if err == nil && len(all) > 0 {
			var v web.IncidentView
			if v, err = client.Incident(ctx, all[0].ID); err == nil && wanted(v) {
				return v, nil
			}
		}
		if err := pause(ctx, demoPollFor); err != nil {
			return web.IncidentView{}, err
		}
	}
}

// pause waits, or returns why it could not.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

func has(v web.IncidentView, kind watchbill.EventKind, n int) bool {
	for _, e := range v.Timeline {
		if e.Kind == kind {
			n--
		}
	}
	return n <= 0
}

// delivered reports whether a step paged somebody, and every page of it arrived.
func delivered(v web.IncidentView, step int) bool {
	paged := false
	for _, p := range v.Pages {
		if p.Page.Step != step {
			continue
		}
		if p.State != "delivered" {
			return false
		}
		paged = true
	}
	return paged
}

// lastPaged is who was paged by the latest step.
func lastPaged(v web.IncidentView) watchbill.PersonID {
	return v.Pages[len(v.Pages)-1].Page.Person
}

var _ io.Writer = (*demo)(nil)
