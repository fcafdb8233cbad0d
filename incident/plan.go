package incident

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"watchbill"
)

// Bounds of a plan.
const (
	maxSteps    = 100
	maxStepText = 1000
)

// PlanFacts are what a plan must know besides its incident.
type PlanFacts struct {
	Next       int                // the step of the path that is due next by itself
	Production bool               // the incident's environment is one
	Change     *watchbill.Change  // that the act names, or its step
	Runbook    string             // its name, for an import
	Lines      []string           // of its checklist
	Default    watchbill.PersonID // who owns a step of whom nobody says whose it is
}

// planning is one act on a plan.
type planning struct {
	now time.Time
	who Actor
	act watchbill.PlanAct
	f   PlanFacts
	e   *Effect
}

// Plan does one act to an incident's plan. What changes nothing has no events, so
// that an act can be repeated.
func (l *Life) Plan(now time.Time, inc watchbill.Incident, who Actor, act watchbill.PlanAct, f PlanFacts) (Effect, error) {
	switch {
	case inc.State == watchbill.StateClosed:
		return Effect{}, watchbill.Errorf(watchbill.CodeConflict, "record what is left with: watchbill action add "+inc.ID.String()+" …", "%s is closed: its plan is kept as it was", inc.ID)
	case inc.Drill != nil:
		return Effect{}, watchbill.Errorf(watchbill.CodeConflict, "acknowledge it", "%s is a drill: there is nothing to plan", inc.ID)
	}
	e := Effect{Incident: inc}
	e.Incident.Plan = slices.Clone(inc.Plan)
	p := planning{now, who, act, f, &e}
	if err := p.do(); err != nil || len(e.Events) == 0 {
		return Effect{Incident: inc}, err
	}
	return l.afterPlan(now, e, who, f.Next)
}

// afterPlan is what follows from any act on a plan: the acknowledgement is renewed,
// a plan that was owed is there, a step that is blocked escalates, and the timer of
// what is due next is set.
func (l *Life) afterPlan(now time.Time, e Effect, who Actor, next int) (Effect, error) {
	answers(&e.Incident, who.Person)
	for _, c := range e.Calls { // who was just asked has not answered by that
		for _, p := range c.People {
			e.Incident.Awaited = including(e.Incident.Awaited, p)
		}
	}
	if e.Incident.PlannedAt.IsZero() {
		e.Incident.PlannedAt = now
		if l.cfg.Reminders.on() {
			e.Cancel = append(e.Cancel, watchbill.TimerPlan)
		}
	}
	if e.blocked != "" && e.Incident.State.Live() {
		x, err := l.Escalate(now, e.Incident, who, next, e.blocked)
		if err != nil {
			return Effect{}, err
		}
		x.Events = append(e.Events, x.Events...)
		x.Cancel = append(e.Cancel, x.Cancel...)
		x.Calls = append(e.Calls, x.Calls...)
		e = x
	} else if e.Incident.State == watchbill.StateAcknowledged {
		l.promise(now, &e, e.Incident.AcknowledgedBy)
	}
	l.timePlan(now, &e)
	return e, nil
}

func (p planning) do() error {
	if p.act.Act == "add" {
		return p.add(p.act.Kind, p.act.Text)
	}
	if p.act.Act == "import" {
		return p.imports()
	}
	i := slices.IndexFunc(p.e.Incident.Plan, func(s watchbill.PlanStep) bool { return s.N == p.act.Step })
	if i < 0 {
		return watchbill.Errorf(watchbill.CodeNotFound, "list them with: watchbill plan show "+p.e.Incident.ID.String(), "step: %s has no step %d", p.e.Incident.ID, p.act.Step)
	}
	s := &p.e.Incident.Plan[i]
	switch p.act.Act {
	case "edit":
		return p.edit(s)
	case "move":
		return p.move(i)
	case "do":
		return p.turn(s, watchbill.PlanDoing)
	case "done":
		return p.turn(s, watchbill.PlanDone)
	case "skip":
		return p.turn(s, watchbill.PlanSkipped)
	case "block":
		return p.turn(s, watchbill.PlanBlocked)
	case "handover":
		return p.handOver(s)
	}
	return watchbill.Invalidf("use add, import, edit, move, do, done, skip, block or handover", "act: %q is not an act on a plan", p.act.Act)
}

// record writes what happened to a step, with the step as it is now.
func (p planning) record(s watchbill.PlanStep, format string, args ...any) error {
	ev := by(p.now, p.who, watchbill.EventPlan, fmt.Sprintf("step %d %s", s.N, fmt.Sprintf(format, args...)))
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode a step: %w", err)
	}
	ev.Data = data
	p.e.Events = append(p.e.Events, ev)
	return nil
}

func checkStep(kind watchbill.PlanKind, text string) error {
	switch {
	case !slices.Contains(watchbill.PlanKinds(), kind):
		return watchbill.Invalidf("use check, communicate, change, deploy, rollback or verify", "kind: %q is not a kind of step", kind)
	case strings.TrimSpace(text) == "":
		return watchbill.Invalidf("say what is done", "text: is empty")
	case len(text) > maxStepText:
		return watchbill.Errorf(watchbill.CodeTooLarge, "shorten it, and write the rest as a note", "text: is over %d bytes", maxStepText)
	}
	return nil
}

func (p planning) add(kind watchbill.PlanKind, text string) error {
	inc := &p.e.Incident
	kind = cmp.Or(kind, watchbill.PlanCheck)
	if err := checkStep(kind, text); err != nil {
		return err
	}
	if len(inc.Plan) >= maxSteps {
		return watchbill.Errorf(watchbill.CodeConflict, "put several things into one step", "the plan of %s has %d steps already", inc.ID, maxSteps)
	}
	s := watchbill.PlanStep{
		N: len(inc.Plan) + 1, Kind: kind, Text: strings.TrimSpace(text), Due: p.act.Due.UTC(), State: watchbill.PlanTodo,
		Owner: cmp.Or(p.act.Owner, p.f.Default),
	}
	if err := p.link(&s); err != nil {
		return err
	}
	inc.Plan = append(inc.Plan, s)
	return p.record(s, "added: %s: %s%s", s.Kind, s.Text, whose(s))
}

// whose says whose a step is, and until when.
func whose(s watchbill.PlanStep) string {
	text := ""
	if s.Owner != "" {
		text = "; it is " + string(s.Owner) + "'s"
	}
	if !s.Due.IsZero() {
		text += ", due " + s.Due.UTC().Format("2006-01-02 15:04 UTC")
	}
	return text
}

// imports adds the steps of a runbook that the plan does not have yet.
func (p planning) imports() error {
	if len(p.f.Lines) == 0 {
		return watchbill.Errorf(watchbill.CodeNotFound, "write steps with: watchbill plan add "+p.e.Incident.ID.String()+" …", "the runbook %q has no section Steps", p.f.Runbook)
	}
	for _, line := range p.f.Lines {
		line = strings.TrimSpace(strings.TrimPrefix(strings.TrimPrefix(strings.TrimSpace(line), "[ ]"), "[x]"))
		if r := []rune(line); len(line) > maxStepText {
			line = string(r[:min(len(r), maxStepText/4)]) + "…"
		}
		kind, text := watchbill.PlanKindOf(line)
		if text == "" || slices.ContainsFunc(p.e.Incident.Plan, func(s watchbill.PlanStep) bool { return s.Text == text }) {
			continue
		}
		if err := p.add(kind, text); err != nil {
			return err
		}
	}
	return nil
}

func (p planning) edit(s *watchbill.PlanStep) error {
	was := *s
	if s.Over() {
		return p.isOver(s)
	}
	if err := checkStep(cmp.Or(p.act.Kind, s.Kind), cmp.Or(p.act.Text, s.Text)); err != nil {
		return err
	}
	if k := p.act.Kind; k != "" && p.f.Production && s.Kind.Touches() && !k.Touches() {
		return watchbill.Errorf(watchbill.CodeConflict, "skip it with a reason, and add another one",
			"step %d touches production: it cannot become a %s", s.N, k)
	}
	s.Kind, s.Text = cmp.Or(p.act.Kind, s.Kind), cmp.Or(strings.TrimSpace(p.act.Text), s.Text)
	s.Owner = cmp.Or(p.act.Owner, s.Owner)
	if !p.act.Due.IsZero() {
		s.Due, s.Late, s.LateAt = p.act.Due.UTC(), 0, time.Time{}
	}
	if err := p.link(s); err != nil {
		return err
	}
	if *s == was {
		return nil
	}
	return p.record(*s, "is now: %s: %s%s", s.Kind, s.Text, whose(*s))
}

func (p planning) isOver(s *watchbill.PlanStep) error {
	return watchbill.Errorf(watchbill.CodeConflict, "add another one with: watchbill plan add "+p.e.Incident.ID.String()+" …", "step %d is %s", s.N, s.State)
}

func (p planning) move(i int) error {
	inc := &p.e.Incident
	s := inc.Plan[i]
	if p.act.To < 1 || p.act.To > len(inc.Plan) {
		return watchbill.Invalidf(fmt.Sprintf("use 1 to %d", len(inc.Plan)), "to: there is no place %d", p.act.To)
	}
	if i == p.act.To-1 {
		return nil
	}
	inc.Plan = slices.Insert(slices.Delete(inc.Plan, i, i+1), p.act.To-1, s)
	return p.record(s, "moved to place %d", p.act.To)
}

// link ties a step to the change through which it is done.
func (p planning) link(s *watchbill.PlanStep) error {
	if p.act.Change == "" {
		return nil
	}
	c := p.f.Change
	switch {
	case !s.Kind.Touches():
		return watchbill.Invalidf("leave it out, or make the step a change, a deploy or a rollback", "change: step %d is a %s", s.N, s.Kind)
	case c.Incident != p.e.Incident.ID:
		return watchbill.Invalidf("ask for it with: watchbill change request --incident "+p.e.Incident.ID.String()+" …", "change: %s does not belong to %s", c.ID, p.e.Incident.ID)
	}
	s.Change = c.ID
	return nil
}

// turn brings a step into another state.
func (p planning) turn(s *watchbill.PlanStep, to watchbill.PlanState) error {
	note := strings.TrimSpace(p.act.Note)
	was := *s
	if err := p.link(s); err != nil {
		return err
	}
	switch {
	case was.State == to && was.Change == s.Change && (note == "" || note == was.Reason || note == was.Evidence):
		return nil
	case was.Over():
		return p.isOver(s)
	case note == "" && (to == watchbill.PlanSkipped || to == watchbill.PlanBlocked):
		return watchbill.Invalidf("say why", "note: is empty")
	case to == watchbill.PlanDone:
		if err := p.throughChange(*s); err != nil {
			return err
		}
	}
	s.State, s.By, s.At = to, p.who.Person, p.now
	s.Reason, s.Evidence = "", ""
	switch to {
	case watchbill.PlanDone:
		s.Evidence = note
	case watchbill.PlanSkipped, watchbill.PlanBlocked:
		s.Reason = note
	case watchbill.PlanDoing:
		s.Owner = cmp.Or(s.Owner, p.who.Person)
	case watchbill.PlanTodo:
	}
	if to == watchbill.PlanBlocked {
		p.e.blocked = fmt.Sprintf("step %d of the plan is blocked: %s", s.N, note)
	}
	return p.record(*s, "is %s", with(string(to), note))
}

// throughChange refuses to call a step done that touches production and was not
// done through a change.
func (p planning) throughChange(s watchbill.PlanStep) error {
	if !p.f.Production || !s.Kind.Touches() {
		return nil
	}
	id := p.e.Incident.ID
	switch c := p.f.Change; {
	case s.Change == 0 || c == nil:
		return watchbill.Errorf(watchbill.CodeConflict, fmt.Sprintf("ask for one with: watchbill change request --incident %s …, then: watchbill plan do %s %d --change CHG-n", id, id, s.N),
			"step %d is a %s in production, which is done through a change", s.N, s.Kind)
	case c.State != watchbill.ChangeDone:
		return watchbill.Errorf(watchbill.CodeConflict, "see who acts next with: watchbill change show "+c.ID.String(),
			"step %d is done when %s is, and that is %s", s.N, c.ID, c.State)
	}
	return nil
}

func (p planning) handOver(s *watchbill.PlanStep) error {
	switch {
	case s.Over():
		return p.isOver(s)
	case p.act.Owner == "":
		return watchbill.Invalidf("name a person", "owner: is empty")
	case p.act.Owner == s.Owner && (p.act.Due.IsZero() || p.act.Due.Equal(s.Due)):
		return nil
	}
	s.Owner, s.From = p.act.Owner, p.who.Person
	if !p.act.Due.IsZero() {
		s.Due = p.act.Due.UTC()
	}
	s.Late, s.LateAt = 0, time.Time{}
	if s.Owner != p.who.Person && p.e.Incident.State.Live() { // a page of one that is over would not be sent
		p.e.Calls = append(p.e.Calls, Call{
			People: []watchbill.PersonID{s.Owner}, Kind: watchbill.CallPlan,
			Reason: with(fmt.Sprintf("%s hands you step %d of the plan: %s", p.who.Person, s.N, s.Text), p.act.Note),
		})
	}
	return p.record(*s, "%s", with("is handed over"+whose(*s), p.act.Note))
}

// ChangeEnded brings the steps that are done through a change into the state that
// follows from its end. next is as for [Life.Escalate].
func (l *Life) ChangeEnded(now time.Time, inc watchbill.Incident, who Actor, c watchbill.Change, next int) (Effect, error) {
	e := Effect{Incident: inc}
	if !c.State.Performed() || inc.State == watchbill.StateClosed {
		return e, nil
	}
	e.Incident.Plan = slices.Clone(inc.Plan)
	p := planning{now: now, who: who, f: PlanFacts{Change: &c, Production: true}, e: &e}
	for i := range e.Incident.Plan {
		s := &e.Incident.Plan[i]
		if s.Change != c.ID || s.Over() {
			continue
		}
		to := watchbill.PlanDone
		if c.State != watchbill.ChangeDone {
			to = watchbill.PlanBlocked
		}
		p.act.Note = with(fmt.Sprintf("%s is %s", c.ID, strings.ReplaceAll(string(c.State), "_", " ")), c.Outcome)
		if err := p.turn(s, to); err != nil {
			return e, err
		}
	}
	if len(e.Events) == 0 {
		return Effect{Incident: inc}, nil
	}
	return l.afterPlan(now, e, who, next)
}

// timePlan sets when a step is overdue next.
func (l *Life) timePlan(now time.Time, e *Effect) {
	var next time.Time
	for _, s := range e.Incident.Plan {
		at := l.lateAt(s)
		if !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	if next.IsZero() {
		e.Cancel = append(e.Cancel, watchbill.TimerPlanStep)
		return
	}
	if next.Before(now) {
		next = now
	}
	e.Set = append(e.Set, watchbill.Timer{Kind: watchbill.TimerPlanStep, Generation: e.Incident.Generation, Due: next})
}

func (l *Life) grace() time.Duration { return cmp.Or(l.cfg.Reminders.Grace, 10*time.Minute) }

// lateAt is when somebody is told that a step is overdue; zero is never.
func (l *Life) lateAt(s watchbill.PlanStep) time.Time {
	switch {
	case s.Over() || s.State == watchbill.PlanBlocked || s.Due.IsZero() || s.Late > 1:
		return time.Time{}
	case s.Late == 1:
		return s.LateAt.Add(l.grace())
	}
	return s.Due
}

// StepsDue acts on steps that are overdue: the owner of each is paged, and if
// nothing comes of that, the path starts again. known says who can be paged.
func (l *Life) StepsDue(now time.Time, inc watchbill.Incident, known func(watchbill.PersonID) bool) Effect {
	e := Effect{Incident: inc}
	switch inc.State {
	case watchbill.StateClosed:
		return e
	case watchbill.StateResolved: // it may come back, and its plan with it
		if len(inc.Plan) > 0 {
			e.Set = []watchbill.Timer{{Kind: watchbill.TimerPlanStep, Generation: inc.Generation, Due: now.Add(time.Hour)}}
		}
		return e
	case watchbill.StateOpen, watchbill.StateAcknowledged:
	}
	e.Incident.Plan = slices.Clone(inc.Plan)
	path := ""
	for i := range e.Incident.Plan {
		s := &e.Incident.Plan[i]
		if at := l.lateAt(*s); at.IsZero() || at.After(now) {
			continue
		}
		what := fmt.Sprintf("step %d of the plan is overdue since %s: %s", s.N, s.Due.Format("15:04 UTC"), s.Text)
		s.LateAt = now
		if s.Late == 0 && s.Owner != "" && known(s.Owner) {
			s.Late = 1
			e.Incident.Awaited = including(e.Incident.Awaited, s.Owner)
			e.Calls = append(e.Calls, Call{
				People: []watchbill.PersonID{s.Owner}, Kind: watchbill.CallPlan,
				Reason: fmt.Sprintf("%s; say how it stands with: watchbill plan done %s %d, or block, skip, handover", what, inc.ID, s.N),
			})
			e.Events = append(e.Events, self(now, watchbill.EventReminded, "reminded %s: %s", s.Owner, what))
			continue
		}
		s.Late = 2
		path = cmp.Or(path, what)
		e.Events = append(e.Events, self(now, watchbill.EventReminded, "%s; nobody said how it stands: the path hears of it", what))
	}
	if path != "" && inc.State == watchbill.StateAcknowledged {
		restart(now, &e, "re-paged: "+path)
		l.forget(&e)
	}
	l.timePlan(now, &e)
	return e
}
