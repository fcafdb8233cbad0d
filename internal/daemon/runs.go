package daemon

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"watchbill"
	"watchbill/incident"
	"watchbill/internal/config"
	"watchbill/internal/web"
	"watchbill/runbooks"
)

// maxRunSource bounds a runbook that is run: the incident keeps its text.
const maxRunSource = 64 << 10

// runRecord is the data of an event of a run. The first one of a run has the
// runbook's text, so that the run keeps to it whatever becomes of the file.
type runRecord struct {
	Runbook  string `json:"runbook"`
	Version  string `json:"version"`
	Source   string `json:"source,omitempty"`
	At       string `json:"at,omitempty"`
	Answer   string `json:"answer,omitempty"`
	Evidence string `json:"evidence,omitempty"`
}

// run is a run as the events of an incident have it.
type run struct {
	book    runbooks.Runbook
	walk    *runbooks.Walk
	version string
	answers []web.RunbookStep
}

// begin starts a run of a runbook.
func begin(book runbooks.Runbook) *run {
	return &run{book: book, walk: book.Begin(), version: book.Version()}
}

// answer goes on with it.
func (r *run) answer(s web.RunbookStep) (web.RunbookStep, error) {
	s.Text = r.walk.Prompt().Text
	var err error
	if s.Answer, err = r.walk.Answer(s.At, s.Answer); err != nil {
		return s, err
	}
	r.answers = append(r.answers, s)
	return s, nil
}

func (r *run) view() web.RunbookRun {
	v := web.RunbookRun{Runbook: r.book.Name, Title: r.book.Title, Version: r.version, Ended: r.walk.Done(), Leads: r.walk.Leads, Answers: r.answers}
	if v.Answers == nil {
		v.Answers = []web.RunbookStep{}
	}
	if p := r.walk.Prompt(); p.At != "" {
		next := web.RunbookNext(p)
		v.Next = &next
	}
	return v
}

// runOf returns the last run of a runbook that is not at its end, and nil if
// there is none. Without a name it is the last one of any.
func runOf(events []watchbill.Event, name string) (*run, error) {
	runs, last := map[string]*run{}, ""
	for _, e := range events {
		if e.Kind != watchbill.EventRunbook {
			continue
		}
		var rec runRecord
		if err := json.Unmarshal(e.Data, &rec); err != nil {
			return nil, fmt.Errorf("event %d of %s: read the run of a runbook: %w", e.Seq, e.Incident, err)
		}
		if rec.Source != "" {
			runs[rec.Runbook] = begin(runbooks.Frozen(rec.Runbook, []byte(rec.Source)))
		} else if r := runs[rec.Runbook]; r != nil {
			_, err := r.answer(web.RunbookStep{At: rec.At, Answer: rec.Answer, By: e.Actor, When: e.At, Evidence: rec.Evidence})
			if err != nil {
				return nil, fmt.Errorf("event %d of %s: %w", e.Seq, e.Incident, err)
			}
		}
		last = rec.Runbook
	}
	if r := runs[cmp.Or(name, last)]; r != nil && !r.walk.Done() {
		return r, nil
	}
	return nil, nil //nolint:nilnil // none is an answer
}

// runEvent is what the timeline says of a run.
func runEvent(r *run, s web.RunbookStep) (watchbill.Event, error) {
	rec := runRecord{Runbook: r.book.Name, Version: r.version, At: s.At, Answer: s.Answer, Evidence: s.Evidence}
	text := fmt.Sprintf("%s, %s: %s: %s", r.book.Name, s.At, s.Text, s.Answer)
	if line, _, _ := strings.Cut(strings.TrimSpace(s.Evidence), "\n"); line != "" {
		text += " (" + line + ")"
	}
	if s.At == "" {
		rec.Source = string(r.book.Source)
		text = fmt.Sprintf("begins the runbook %s, version %.8s", r.book.Name, r.version)
	} else if r.walk.Done() {
		text += "; that was the last of it"
		if r.walk.Leads != "" {
			text += ", go on with the runbook " + r.walk.Leads
		}
	}
	data, err := json.Marshal(rec)
	return watchbill.Event{Text: text, Data: data}, err
}

// RunRunbook begins a runbook on an incident, goes on with it, or answers it.
// Whoever is stuck has the incident escalated in the same transaction.
func (f *flow) RunRunbook(ctx context.Context, id watchbill.IncidentID, who web.Actor, q web.RunRequest) (web.RunbookRun, error) {
	var v web.RunbookRun
	err := f.update(ctx, func(w *work) error {
		inc, err := w.incident(id)
		if err != nil {
			return err
		}
		events, err := w.tx.Events(id)
		if err != nil {
			return err
		}
		r, err := runOf(events, q.Runbook)
		if err != nil {
			return err
		}
		var said []watchbill.Event
		if r == nil {
			book, err := w.bookToRun(cmp.Or(q.Runbook, inc.Runbook))
			if err != nil {
				return err
			}
			r = begin(book)
			e, err := runEvent(r, web.RunbookStep{})
			if err != nil {
				return err
			}
			said = append(said, e)
		}
		stuck := false
		if q.At != "" {
			s, err := r.answer(web.RunbookStep{At: q.At, Answer: q.Answer, By: string(who.Person), When: w.now, Evidence: q.Evidence})
			if err != nil {
				return err
			}
			e, err := runEvent(r, s)
			if err != nil {
				return err
			}
			said, stuck = append(said, e), s.Answer == runbooks.AnswerStuck
		}
		v = r.view()
		if len(said) == 0 {
			return nil
		}
		effect, err := w.life.Runbook(w.now, inc, incident.Actor(who), said...)
		if err != nil {
			return err
		}
		if err := w.apply(effect, nil, nil); err != nil || !stuck {
			return err
		}
		return w.escalate(id, who, fmt.Sprintf("stuck at %s of the runbook %s", q.At, r.book.Name))
	})
	return v, err
}

// escalate has the next step of an incident fire now.
func (w *work) escalate(id watchbill.IncidentID, who web.Actor, note string) error {
	inc, err := w.incident(id)
	if err != nil {
		return err
	}
	next, err := w.nextStep(id)
	if err != nil {
		return err
	}
	e, err := w.life.Escalate(w.now, inc, incident.Actor(who), next, note)
	if err != nil {
		return err
	}
	return w.apply(e, nil, nil)
}

func (w *work) bookToRun(name string) (runbooks.Runbook, error) {
	const hint = "list them with: watchbill runbook list"
	if name == "" {
		return runbooks.Runbook{}, watchbill.Invalidf(hint, "runbook: the incident has none of its own, and none is named")
	}
	book, ok := w.runbooks.Get(strings.TrimSuffix(name, ".md"))
	switch {
	case !ok:
		return book, watchbill.Errorf(watchbill.CodeNotFound, hint, "runbook: there is no runbook %q here", name)
	case len(book.Source) > maxRunSource:
		return book, watchbill.Errorf(watchbill.CodeTooLarge, "split it", "runbook: %s is over %d KB and cannot be run", name, maxRunSource>>10)
	}
	return book, book.Runnable()
}

// LocalRun is a run that nothing records.
type LocalRun struct{ run *run }

// BeginRun starts a run without an incident.
func BeginRun(cfg *config.Config, name string) (*LocalRun, error) {
	var from runbooks.Config
	if cfg != nil {
		from = cfg.Runbooks
	}
	library, _, err := runbooks.New(from)
	if err != nil {
		return nil, err
	}
	book, ok := library.Get(strings.TrimSuffix(name, ".md"))
	if !ok {
		return nil, watchbill.Errorf(watchbill.CodeNotFound, "list them with: watchbill runbook list", "there is no runbook %q", name)
	}
	if err := book.Runnable(); err != nil {
		return nil, err
	}
	return &LocalRun{begin(book)}, nil
}

// Answer answers what the run is at, if at is given.
func (l *LocalRun) Answer(q web.RunRequest, now time.Time) (web.RunbookRun, error) {
	if q.At != "" {
		if _, err := l.run.answer(web.RunbookStep{At: q.At, Answer: q.Answer, When: now, Evidence: q.Evidence}); err != nil {
			return web.RunbookRun{}, err
		}
	}
	return l.run.view(), nil
}
