package scenario

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"watchbill"
	"watchbill/internal/config"
	"watchbill/internal/daemon"
)

// Play plays a script in a bubble of its own and returns what happened, in
// order. dir is an empty folder for the store. env looks up the environment
// variables of the configuration.
func Play(t *testing.T, s Script, dir string, env func(string) string) (entries []Entry, err error) {
	p := &player{script: s, dir: dir, env: env, receivers: map[string]Verb{}}
	if p.cfg, err = config.Load(s.Config, env); err != nil {
		return nil, err
	}
	synctest.Test(t, func(t *testing.T) {
		entries, err = p.play(t.Context())
	})
	return entries, err
}

// player plays one script.
type player struct {
	script Script
	dir    string
	env    func(string) string
	cfg    *config.Config

	stage    *stage
	acts     []Entry
	silences []string          // ids, in the order in which they were made
	firing   []watchbill.Alert // that the script has not ended

	marks []daemon.Mark // before each step

	mu        sync.Mutex
	receivers map[string]Verb
	pages     []Entry
	phase     int // steps that have begun
}

// stage is one life of the daemon.
type stage struct {
	daemon *daemon.Rehearsal
	store  string
	dead   chan struct{} // closed when it was killed: what it still does is not seen
}

func (p *player) play(ctx context.Context) ([]Entry, error) {
	sleepUntil(p.script.Start)
	if err := p.begin(ctx, filepath.Join(p.dir, "1", "watchbill.db")); err != nil {
		return nil, err
	}
	err := p.steps(ctx)
	var entries []Entry
	if p.stage != nil {
		if err == nil {
			sleepUntil(p.script.End)
			entries, err = p.timeline(ctx)
		}
		err = errors.Join(err, p.stage.daemon.Stop())
	}
	return entries, err
}

func (p *player) steps(ctx context.Context) error {
	for _, step := range p.script.Steps {
		sleepUntil(step.At)
		if step.Verb == End {
			break
		}
		if err := p.mark(ctx); err != nil {
			return err
		}
		p.act("> " + step.Text)
		err := p.do(ctx, step)
		if e, ok := errors.AsType[*watchbill.Error](err); ok && byPerson(step) {
			p.act("refused: " + e.Message)
			err = nil
		}
		if err != nil {
			return &StepError{Line: step.Line, Text: step.Text, Err: err}
		}
		synctest.Wait()
	}
	return nil
}

// mark begins the next phase: what happened until now was before this step.
func (p *player) mark(ctx context.Context) error {
	p.mu.Lock()
	p.phase++
	p.mu.Unlock()
	if p.script.Loose {
		return nil
	}
	m, err := p.stage.daemon.Mark(ctx)
	p.marks = append(p.marks, m)
	return err
}

func (p *player) act(text string) {
	p.acts = append(p.acts, Entry{At: time.Now(), Kind: KindAct, Text: text, phase: p.phase, order: len(p.acts)})
}

// byPerson reports whether a step is something that a person does, which the
// daemon may refuse: the refusal is part of the timeline.
func byPerson(s Step) bool { return s.Person != "" }

// StepError is a step that could not be done.
type StepError struct {
	Line int
	Text string
	Err  error
}

// Error says which step it was.
func (e *StepError) Error() string { return fmt.Sprintf("line %d, %s: %v", e.Line, e.Text, e.Err) }

// Unwrap returns the cause.
func (e *StepError) Unwrap() error { return e.Err }

// sleepUntil waits for an instant of the bubble, and until everything that was
// due by then is done.
func sleepUntil(at time.Time) {
	time.Sleep(time.Until(at))
	synctest.Wait()
}

// begin starts the daemon on a store.
func (p *player) begin(ctx context.Context, path string) error {
	st := &stage{store: path, dead: make(chan struct{})}
	var err error
	st.daemon, err = daemon.Rehearse(ctx, daemon.RehearsalOptions{
		Config: p.cfg, Store: path, Logger: slog.New(slog.DiscardHandler),
		Deliver: func(ctx context.Context, d watchbill.Delivery) (watchbill.Result, string) {
			return p.deliver(ctx, st, d)
		},
	})
	if err != nil {
		return err
	}
	p.stage = st
	synctest.Wait()
	return nil
}

// deliver is all receivers.
func (p *player) deliver(ctx context.Context, st *stage, d watchbill.Delivery) (watchbill.Result, string) {
	p.mu.Lock()
	state := p.receivers[d.Page.Method]
	p.mu.Unlock()
	result, detail := watchbill.ResultDelivered, "taken"
	switch state { //nolint:exhaustive // the other verbs are not about receivers
	case Down:
		result, detail = watchbill.ResultRetry, "cannot be reached"
	case Refuse:
		result, detail = watchbill.ResultRefused, "refused"
	case Hang:
		select {
		case <-ctx.Done():
		case <-st.dead:
		}
		result, detail = watchbill.ResultRetry, "does not answer"
	}
	select {
	case <-st.dead:
		return watchbill.ResultRetry, "the daemon is gone"
	default:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	e := pageEntry(d, result, detail)
	e.phase = p.phase
	p.pages = append(p.pages, e)
	return result, detail
}

func pageEntry(d watchbill.Delivery, result watchbill.Result, detail string) Entry {
	g := d.Page
	e := Entry{
		At: time.Now(), Kind: KindPage, Person: g.Person, Role: g.Role, Method: g.Method, Key: g.Key(),
		Incident: g.Incident, Delivered: result == watchbill.ResultDelivered,
	}
	again := ""
	if d.Attempt > 1 {
		again = fmt.Sprintf(", attempt %d", d.Attempt)
	}
	for _, x := range d.Bundle {
		e.Also = append(e.Also, x.Page.Incident)
	}
	what := g.Incident.String()
	switch {
	case len(d.Bundle) > 0:
		what = "one message for several incidents"
	case g.Incident == 0:
		what = "a notice"
	}
	if !e.Delivered {
		e.Text = fmt.Sprintf("%s could not page %s (%s) by %s%s: %s", what, g.Person, g.Role, g.Method, again, detail)
		return e
	}
	if g.Incident == 0 {
		e.Text = fmt.Sprintf("%s goes to %s by %s%s: %s", what, g.Person, g.Method, again, g.Content.Title)
		return e
	}
	e.Text = fmt.Sprintf("%s pages %s (%s) by %s%s: %s, %s", what, g.Person, g.Role, g.Method, again, g.Content.Severity, g.Content.Reason)
	return e
}

// do does one step.
func (p *player) do(ctx context.Context, s Step) error {
	r := p.stage.daemon
	switch s.Verb {
	case Fire:
		a := watchbill.Alert{Labels: s.Labels, Annotations: s.Annotations, StartsAt: s.At, EndsAt: p.script.End.Add(24 * time.Hour)}
		p.firing = append(p.firing, a)
		return r.Receive(ctx, a)
	case Resolve:
		if s.Person != "" {
			return p.resolve(ctx, s)
		}
		return p.end(ctx, s)
	case Ack, Note:
		id, err := p.incident(ctx, s)
		if err != nil {
			return err
		}
		if s.Verb == Note {
			return r.Note(ctx, s.Person, id, s.Words)
		}
		return r.Acknowledge(ctx, s.Person, id, s.Words)
	case Silence:
		id, err := r.Silence(ctx, s.Person, watchbill.Silence{
			Matchers: s.Matchers, StartsAt: s.At, EndsAt: s.At.Add(s.For), Comment: s.Words,
		})
		p.silences = append(p.silences, id)
		return err
	case Approve:
		return r.Approve(ctx, s.Person, p.silences[s.Silence-1])
	case Expire:
		return r.Expire(ctx, s.Person, p.silences[s.Silence-1])
	case Kill:
		return p.kill(ctx, s)
	case Reload:
		cfg, err := config.Load(s.Config, p.env)
		if err != nil {
			return err
		}
		p.cfg = cfg
		return r.Reload(cfg)
	case Down, Refuse, Hang, Up:
		return p.receiver(s)
	case End:
	}
	return nil
}

func (p *player) resolve(ctx context.Context, s Step) error {
	id, err := p.incident(ctx, s)
	if err != nil {
		return err
	}
	quiet := time.Time{}
	if s.For > 0 {
		quiet = s.At.Add(s.For)
	}
	return p.stage.daemon.Resolve(ctx, s.Person, id, s.Words, quiet)
}

// end ends every alert that has the labels of a step.
func (p *player) end(ctx context.Context, s Step) error {
	var over, rest []watchbill.Alert
	for _, a := range p.firing {
		if a.Labels.Holds(s.Labels) && (!s.Exact || len(a.Labels) == len(s.Labels)) {
			a.EndsAt = s.At
			over = append(over, a)
		} else {
			rest = append(rest, a)
		}
	}
	p.firing = rest
	return p.stage.daemon.Receive(ctx, over...)
}

// incident is the one that a step is about.
func (p *player) incident(ctx context.Context, s Step) (watchbill.IncidentID, error) {
	if len(s.Of) == 0 {
		return s.Incident, nil
	}
	return p.stage.daemon.IncidentOf(ctx, s.Of)
}

func (p *player) receiver(s Step) error {
	known := false
	for _, person := range p.cfg.People {
		for _, c := range person.Contact {
			known = known || c.Receiver == s.Receiver
		}
	}
	if !known && s.Receiver != "email" && s.Receiver != "terminal" {
		return fmt.Errorf("nobody is reached by a receiver %q", s.Receiver)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.receivers[s.Receiver] = s.Verb
	return nil
}

// kill takes the store as a process that is killed now would leave it, and has a
// new daemon find it. The files are copied while nothing moves; the old daemon's
// goroutines are then ended, and whatever that does is not seen.
func (p *player) kill(ctx context.Context, s Step) error {
	synctest.Wait()
	old := p.stage
	next := filepath.Join(p.dir, fmt.Sprintf("after-%d", len(p.acts)), "watchbill.db")
	if err := copyStore(old.store, next); err != nil {
		return err
	}
	close(old.dead)
	p.stage = nil
	if err := old.daemon.Stop(); err != nil {
		return fmt.Errorf("end the daemon: %w", err)
	}
	sleepUntil(s.At.Add(s.For))
	if err := p.begin(ctx, next); err != nil {
		return fmt.Errorf("start again: %w", err)
	}
	if s.For > 0 {
		p.act("> the daemon starts again")
	}
	return nil
}

// copyStore copies a store's file and its log, as they are on disk.
func copyStore(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return fmt.Errorf("copy the store: %w", err)
	}
	for _, suffix := range []string{"", "-wal"} {
		if err := copyFile(from+suffix, to+suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("copy the store: %w", err)
		}
	}
	return nil
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close() // it was only read
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// Text writes a timeline as it stands in a scenario file: each entry with the
// time of day in UTC and how long after the start it was, and the date whenever
// it changes.
func Text(start time.Time, entries []Entry) string {
	var b strings.Builder
	day := ""
	for _, e := range entries {
		at := e.At.UTC()
		if d := at.Format("Mon 2006-01-02 UTC"); d != day {
			day = d
			b.WriteString(day + "\n")
		}
		fmt.Fprintf(&b, "%s  %-8s  %s\n", at.Format("15:04:05"), offset(at.Sub(start)), indented(e))
	}
	return b.String()
}

func indented(e Entry) string {
	if e.Kind == KindAct || e.Kind == KindEnd {
		return e.Text
	}
	return "  " + e.Text
}

// offset writes how long after the start something was: "+1h5m", "+2m0.05s".
func offset(d time.Duration) string {
	s := d.Round(time.Millisecond).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return "+" + s
}
