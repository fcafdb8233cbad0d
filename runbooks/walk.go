package runbooks

import (
	"fmt"
	"strings"

	"watchbill"
)

// Walk is how far a run of a runbook has come: the places that are still to be
// visited, the next one first. It is what follows from the answers alone.
type Walk struct {
	book  Runbook
	queue []spot
	Leads string // the runbook with which it goes on, when it has ended there
}

// spot is a question (item is its number) or an item of a section's list, from 1.
type spot struct {
	section SectionName
	item    int
}

func (s spot) String() string {
	word := map[SectionName]string{Decision: "question", Steps: "step"}[s.section]
	if word == "" {
		word = strings.ToLower(string(s.section))
	}
	return fmt.Sprintf("%s %d", word, s.item)
}

// Prompt is what a person is asked, or told to do, next.
type Prompt struct {
	At      string   // "question 2", "step 4", "escalate 1"; empty at the end
	Text    string   // the question, or what to do
	More    []string // code and further lines
	Answers []string // of a question; nil: it is done, skipped or stuck
	Change  bool     // it changes production: two people
}

// The answers that every place takes. Stuck leaves the run where it is.
const (
	AnswerDone     = "done"
	AnswerSkip     = "skip"
	AnswerStuck    = "stuck"
	AnswerCantTell = "can't tell"
)

// Begin returns a run of the runbook from its beginning: its first question,
// or, without a decision, its steps.
func (r Runbook) Begin() *Walk {
	w := &Walk{book: r}
	if len(r.Questions) > 0 {
		w.queue = []spot{{Decision, r.Questions[0].Number}}
		return w
	}
	w.queue = r.items(Steps)
	return w
}

// items are all places of a section.
func (r Runbook) items(name SectionName) []spot {
	s, _ := r.Section(name)
	out := make([]spot, len(s.Items))
	for i := range s.Items {
		out[i] = spot{name, i + 1}
	}
	return out
}

// Done reports whether the run has come to its end.
func (w *Walk) Done() bool { return len(w.queue) == 0 }

// Prompt returns what comes next.
func (w *Walk) Prompt() Prompt {
	if w.Done() {
		return Prompt{}
	}
	at := w.queue[0]
	if at.section == Decision {
		q, _ := w.book.question(at.item)
		p := Prompt{At: at.String(), Text: q.Text}
		for _, b := range q.Branches {
			p.Answers = append(p.Answers, b.Answer)
		}
		if _, ok := cantTell(q); !ok {
			p.Answers = append(p.Answers, AnswerCantTell)
		}
		return p
	}
	s, _ := w.book.Section(at.section)
	item := s.Items[at.item-1]
	return Prompt{At: at.String(), Text: item.Text, More: item.More, Change: item.Change}
}

// Answer goes on by an answer to what is at a place, and returns the answer in
// the runbook's own words. A place that is not the present one is a conflict:
// somebody else answered.
func (w *Walk) Answer(at, answer string) (string, error) {
	p := w.Prompt()
	switch {
	case p.At == "":
		return "", watchbill.Errorf(watchbill.CodeConflict, "begin it again, or resolve the incident", "the run has ended")
	case p.At != at:
		return "", watchbill.Errorf(watchbill.CodeConflict, "answer "+p.At, "the run is at %s, not at %q", p.At, clip(at, maxAnswer))
	case strings.EqualFold(answer, AnswerStuck):
		return AnswerStuck, nil
	}
	spot := w.queue[0]
	if spot.section != Decision {
		answer = strings.ToLower(answer)
		if answer != AnswerDone && answer != AnswerSkip {
			return "", watchbill.Invalidf("write done, skip or stuck", "answer: %q is no answer to %s", clip(answer, maxAnswer), p.At)
		}
		w.queue = w.queue[1:]
		return answer, nil
	}
	q, _ := w.book.question(spot.item)
	b, err := q.choose(answer)
	if err != nil {
		return "", err
	}
	w.queue = w.queue[1:]
	w.follow(b)
	return b.Answer, nil
}

// follow puts a branch's places before what is still to come.
func (w *Walk) follow(b Branch) {
	var next []spot
	for _, m := range b.Moves {
		switch _, known := w.book.question(m.Question); {
		case m.Question > 0 && known:
			next = append(next, spot{Decision, m.Question})
		case m.Section != "":
			next = append(next, w.book.items(m.Section)...)
		case m.Runbook != "":
			w.Leads = m.Runbook
		default:
			for _, n := range m.Steps {
				if s, _ := w.book.Section(Steps); n <= len(s.Items) {
					next = append(next, spot{Steps, n})
				}
			}
		}
	}
	w.queue = append(next, w.queue...)
}

// cantTell is the question's own branch for somebody who cannot tell.
func cantTell(q Question) (Branch, bool) {
	for _, b := range q.Branches {
		if s := plainAnswer(b.Answer); strings.HasPrefix(s, "cant tell") || strings.HasPrefix(s, "cannot tell") || strings.HasPrefix(s, "you cannot tell") {
			return b, true
		}
	}
	return Branch{}, false
}

// plainAnswer is an answer without what people type differently.
func plainAnswer(s string) string {
	return strings.Join(strings.Fields(strings.NewReplacer("'", "", "’", "", ",", " ", ".", " ").Replace(strings.ToLower(s))), " ")
}

// choose finds the branch of an answer: its number from 1, its words, the
// beginning of them, or y and n. Whoever cannot tell, where the runbook has no
// answer for that, escalates.
func (q Question) choose(answer string) (Branch, error) {
	said := plainAnswer(answer)
	for i, b := range q.Branches {
		if said == fmt.Sprint(i+1) || said == plainAnswer(b.Answer) {
			return b, nil
		}
	}
	switch said {
	case "y":
		said = "yes"
	case "n":
		said = "no"
	case "?", "c", "cant tell", "cannot tell":
		if b, ok := cantTell(q); ok {
			return b, nil
		}
		return Branch{Answer: AnswerCantTell, Moves: []Move{{Section: Escalate}}}, nil
	}
	var found []Branch
	for _, b := range q.Branches {
		if said != "" && (strings.HasPrefix(plainAnswer(b.Answer)+" ", said+" ") || len(said) > 3 && strings.HasPrefix(plainAnswer(b.Answer), said)) {
			found = append(found, b)
		}
	}
	if len(found) == 1 {
		return found[0], nil
	}
	options := make([]string, len(q.Branches))
	for i, b := range q.Branches {
		options[i] = fmt.Sprintf("%d (%s)", i+1, b.Answer)
	}
	hint := "write " + strings.Join(append(options, AnswerCantTell), ", ") + " or " + AnswerStuck
	if len(found) > 1 {
		return Branch{}, watchbill.Invalidf(hint, "answer: %q fits more than one answer to question %d", clip(answer, maxAnswer), q.Number)
	}
	return Branch{}, watchbill.Invalidf(hint, "answer: %q is no answer to question %d", clip(answer, maxAnswer), q.Number)
}

// Frozen reads a runbook as a run has kept it: its Markdown alone.
func Frozen(name string, source []byte) Runbook {
	p := &parser{file: name + ".md", runbook: Runbook{Name: name, Title: name, Source: source}, bodyLine: 1}
	p.markdown(source, 1)
	return p.runbook
}

// Runnable returns nil when the runbook has something to go through.
func (r Runbook) Runnable() error {
	if r.Begin().Done() {
		return watchbill.Invalidf("give it questions under ## Decision, or a list under ## Steps", "the runbook %s has neither questions nor steps", r.Name)
	}
	return nil
}
