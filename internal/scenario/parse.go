package scenario

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/common/model"
	"golang.org/x/tools/txtar"

	"watchbill"
	"watchbill/internal/config"
)

// Names of the files in an archive.
const (
	scriptFile   = "script"
	timelineFile = "timeline"
	configFile   = "watchbill.yaml"
)

// Bounds of a scenario.
const (
	maxFile  = 1 << 20
	maxSteps = 2000
	maxSpan  = 400 * 24 * time.Hour
	maxWord  = 4096

	// afterwards is how long a scenario goes on after its last line if that is not
	// end.
	afterwards = 30 * time.Minute
)

// Scenario is a scenario file.
type Scenario struct {
	Path    string
	Promise string // the first paragraph of the comment, on one line
	Want    string // the timeline
	HasWant bool
	Script  Script

	archive *txtar.Archive
}

// ReadFile reads a scenario file. The error is [config.Problems]: every mistake
// with its place.
func ReadFile(path string) (*Scenario, error) {
	info, err := os.Stat(path)
	if err == nil && info.Size() > maxFile {
		err = fmt.Errorf("it has %d bytes, and at most %d can be read", info.Size(), maxFile)
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, config.Problems{{File: path, Message: "cannot be read: " + err.Error(), Advice: "name scenario files, as in scenarios/*.txtar"}}
	}
	return Parse(path, text)
}

// Parse reads the text of a scenario file. path says where it stands: relative
// paths in it start from its folder.
func Parse(path string, text []byte) (*Scenario, error) {
	p := &parser{s: &Scenario{Path: path, archive: txtar.Parse(text)}, text: string(text)}
	name := filepath.Base(path)
	p.s.Script.Name = strings.TrimSuffix(name, filepath.Ext(name))
	p.s.Promise = promise(string(p.s.archive.Comment))
	script, found := "", false
	seen := map[string]bool{}
	for _, f := range p.s.archive.Files {
		switch {
		case seen[f.Name]:
			p.file("the file "+f.Name+" is there twice", "remove one of them")
		case !filepath.IsLocal(f.Name):
			p.file("the file "+f.Name+" would be written outside of the scenario's own folder", "give it a relative name without ..")
		case f.Name == scriptFile:
			script, found = string(f.Data), true
		case f.Name == timelineFile:
			p.s.Want, p.s.HasWant = string(f.Data), true
		}
		seen[f.Name] = true
	}
	if !found {
		p.file("there is no script", "add a line `-- script --`, and below it what happens, as docs/scenarios.md shows")
		return nil, p.problems
	}
	p.script(script, seen[configFile])
	if len(p.problems) > 0 {
		return nil, p.problems
	}
	return p.s, nil
}

// promise is the first paragraph of a comment on one line.
func promise(comment string) string {
	var lines []string
	for line := range strings.SplitSeq(strings.TrimSpace(comment), "\n") {
		line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "#"))
		if line == "" {
			break
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, " ")
}

type parser struct {
	s        *Scenario
	text     string
	problems config.Problems

	line   int // in the file, from 1
	source string
	firing []watchbill.Labels // alerts that fire at this point
	quiets int                // silences made so far
	over   bool
}

func (p *parser) file(message, advice string) {
	p.problems = append(p.problems, config.Problem{File: p.s.Path, Message: message, Advice: advice})
}

func (p *parser) at(col int, advice, format string, args ...any) {
	p.problems = append(p.problems, config.Problem{
		File: p.s.Path, Line: p.line, Col: col, Source: p.source, Message: fmt.Sprintf(format, args...), Advice: advice,
	})
}

// script reads the lines of the script.
func (p *parser) script(script string, hasConfig bool) {
	first := markerLine(p.text, scriptFile)
	for i, line := range strings.Split(script, "\n") {
		line = strings.TrimSuffix(line, "\r")
		p.line, p.source = first+1+i, line
		words, err := split(line)
		if q, ok := errors.AsType[quoteError](err); ok {
			p.at(q.col, "end it on the same line", "a quote without an end")
			continue
		}
		switch {
		case len(words) == 0 || strings.HasPrefix(words[0].text, "#"):
		case words[0].text == "config":
			p.config(words)
		case len(p.s.Script.Steps) >= maxSteps:
			p.at(1, "split the scenario", "a script may have %d acts", maxSteps)
			return
		default:
			p.act(words)
		}
	}
	sc := &p.s.Script
	if sc.Config == "" && hasConfig {
		sc.Config = configFile
	}
	if sc.Config == "" {
		p.file("no configuration is named", "begin the script with: config ../watchbill.yaml, or put the file "+configFile+" into the archive")
	}
	if len(sc.Steps) == 0 {
		if len(p.problems) == 0 {
			p.file("nothing happens in the script", "add a line such as: 2026-11-29T03:15:00Z fire DiskFull service=db severity=page")
		}
		return
	}
	sc.Start = sc.Steps[0].At
	last := sc.Steps[len(sc.Steps)-1]
	sc.End = last.At
	if last.Verb != End {
		sc.End = last.At.Add(afterwards)
	}
	if sc.End.Sub(sc.Start) > maxSpan {
		p.file(fmt.Sprintf("it lasts %s, and at most %s can be played", sc.End.Sub(sc.Start), maxSpan), "make it shorter")
	}
}

// markerLine returns the line, counted from 1, on which a file of an archive is
// announced.
func markerLine(text, name string) int {
	n := 0
	for line := range strings.SplitSeq(text, "\n") {
		n++
		inner, ok := strings.CutPrefix(strings.TrimRight(line, "\r"), "-- ")
		if inner, end := strings.CutSuffix(inner, " --"); ok && end && strings.TrimSpace(inner) == name {
			return n
		}
	}
	return 0
}

func (p *parser) config(words []word) {
	switch {
	case len(words) != 2:
		p.at(words[0].col, "write: config ../watchbill.yaml", "config names one file")
	case p.s.Script.Config != "":
		p.at(words[0].col, "name one", "the configuration is named twice")
	case len(p.s.Script.Steps) > 0:
		p.at(words[0].col, "move it to the beginning; to change it in the middle write: reload FILE", "config stands after the first act")
	default:
		p.s.Script.Config = filepath.FromSlash(words[1].text)
	}
}

// act reads "TIME VERB ARGUMENTS".
func (p *parser) act(words []word) {
	at, ok := p.time(words[0])
	if !ok {
		return
	}
	if len(words) < 2 {
		p.at(words[0].col+len(words[0].text), verbAdvice, "nothing happens at this time")
		return
	}
	if p.over {
		p.at(words[0].col, "end is the last line", "this comes after the end")
		return
	}
	rest := []rune(p.source)[words[1].col-1:]
	step := Step{At: at, Verb: Verb(words[1].text), Line: p.line, Text: strings.TrimSpace(string(rest))}
	read, known := p.verbs()[step.Verb]
	if !known {
		p.at(words[1].col, verbAdvice, "there is no act %q", words[1].text)
		return
	}
	for _, w := range words[2:] {
		if len(w.text) > maxWord {
			p.at(w.col, "shorten it", "a word may have %d bytes", maxWord)
			return
		}
	}
	if read(&step, words[2:], words[1].col+len(words[1].text)) {
		p.s.Script.Steps = append(p.s.Script.Steps, step)
	}
}

const verbAdvice = "use fire, resolve, ack, note, silence, approve, expire, kill, reload, down, refuse, hang, up or end"

// time reads an instant: RFC 3339, or +DURATION after the first line.
func (p *parser) time(w word) (time.Time, bool) {
	var last, start time.Time
	if steps := p.s.Script.Steps; len(steps) > 0 {
		start, last = steps[0].At, steps[len(steps)-1].At
	}
	at, err := time.Parse(time.RFC3339, w.text)
	if offset, ok := strings.CutPrefix(w.text, "+"); ok {
		if start.IsZero() {
			p.at(w.col, "begin with a time such as 2026-11-29T03:15:00Z; the others count from it", "the first line has no time of its own")
			return at, false
		}
		var d time.Duration
		d, err = duration(offset)
		at = start.Add(d)
	}
	switch {
	case err != nil:
		p.at(w.col, "write 2026-11-29T03:15:00Z, or +5m after the first line", "%q is not a time", w.text)
	case at.Year() < 2001 || at.Year() > 2200:
		p.at(w.col, "choose a year from 2001 to 2200", "%s cannot be played", at.Format(time.RFC3339))
	case at.Before(last):
		p.at(w.col, "sort the lines by time", "this is before the line above")
	default:
		return at.UTC(), true
	}
	return at, false
}

// duration reads "90s", "1h30m" or "2d".
func duration(s string) (time.Duration, error) {
	if d, err := model.ParseDuration(s); err == nil {
		return time.Duration(d), nil
	}
	return time.ParseDuration(s)
}

// readAct reads the arguments of an act, which begin after column col, and
// reports whether they are right.
type readAct func(step *Step, args []word, col int) bool

func (p *parser) verbs() map[Verb]readAct {
	receiver := p.receiver
	return map[Verb]readAct{
		Fire: p.fire, Resolve: p.resolve, Ack: p.byPerson, Note: p.byPerson, Silence: p.silence, Approve: p.ofSilence, Expire: p.ofSilence,
		Kill: p.kill, Reload: p.reload, Down: receiver, Refuse: receiver, Hang: receiver, Up: receiver, End: p.end,
	}
}

// labels reads NAME=VALUE words; a word without = is the alert's name.
func (p *parser) labels(args []word) (watchbill.Labels, bool) {
	set := watchbill.Labels{}
	for _, w := range args {
		name, value, ok := strings.Cut(w.text, "=")
		if !ok {
			name, value = "alertname", w.text
		}
		switch {
		case name == "" || strings.HasPrefix(value, "~") || strings.HasSuffix(name, "!"):
			p.at(w.col, "write name=value", "%q is not a label", w.text)
			return nil, false
		case set[name] != "":
			p.at(w.col, "give it once", "the label %s is given twice", name)
			return nil, false
		}
		set[name] = value
	}
	return set, true
}

func (p *parser) fire(step *Step, args []word, col int) bool {
	split := slices.IndexFunc(args, func(w word) bool { return w.text == "with" })
	notes := []word(nil)
	if split >= 0 {
		args, notes = args[:split], args[split+1:]
	}
	if len(args) == 0 {
		p.at(col, "write: fire DiskFull service=db severity=page", "an alert without labels")
		return false
	}
	var ok, right bool
	step.Labels, ok = p.labels(args)
	step.Annotations, right = p.labels(notes)
	if !ok || !right {
		return false
	}
	p.firing = append(p.firing, step.Labels)
	return true
}

func (p *parser) resolve(step *Step, args []word, col int) bool {
	if len(args) > 0 && strings.HasPrefix(args[0].text, "INC-") {
		return p.byPerson(step, args, col)
	}
	if len(args) == 0 {
		p.at(col, "write: resolve DiskFull, or: resolve INC-1 ana it is over", "nothing says what ends")
		return false
	}
	var ok bool
	if step.Labels, ok = p.labels(args); !ok {
		return false
	}
	n := len(p.firing)
	p.firing = slices.DeleteFunc(p.firing, func(l watchbill.Labels) bool { return l.Holds(step.Labels) })
	if len(p.firing) == n {
		p.at(args[0].col, "name labels of an alert that was fired before", "no alert with these labels fires at this time")
		return false
	}
	return true
}

// byPerson reads "INC-1 PERSON WORDS…".
func (p *parser) byPerson(step *Step, args []word, col int) bool {
	how := fmt.Sprintf("write: %s INC-1 ana and what they say", step.Verb)
	if len(args) < 2 {
		p.at(col, how, "%s needs an incident and a person", step.Verb)
		return false
	}
	id, err := watchbill.ParseIncidentID(args[0].text)
	if err != nil {
		p.at(args[0].col, how, "%q is not an incident", args[0].text)
		return false
	}
	step.Incident, step.Person, step.Words = id, watchbill.PersonID(args[1].text), joined(args[2:])
	if step.Words == "" && step.Verb != Ack {
		p.at(args[1].col+len(args[1].text), how, "nothing is said")
		return false
	}
	return true
}

func joined(words []word) string {
	s := make([]string, len(words))
	for i, w := range words {
		s[i] = w.text
	}
	return strings.Join(s, " ")
}

// silence reads "PERSON DURATION MATCHER… because WORDS…".
func (p *parser) silence(step *Step, args []word, col int) bool {
	const how = `write: silence ana 2h service=db because the disk is replaced`
	why := slices.IndexFunc(args, func(w word) bool { return w.text == "because" })
	if why < 3 || why == len(args)-1 {
		p.at(col, how, "a silence needs a person, a duration, matchers and a reason")
		return false
	}
	d, err := duration(args[1].text)
	if err != nil || d <= 0 {
		p.at(args[1].col, how, "%q is not a duration", args[1].text)
		return false
	}
	step.Person, step.For, step.Words = watchbill.PersonID(args[0].text), d, joined(args[why+1:])
	for _, w := range args[2:why] {
		m, err := matcher(w.text)
		if err != nil {
			p.at(w.col, "use label=value, !=, =~ or !~", "%q is not a matcher: %v", w.text, err)
			return false
		}
		step.Matchers = append(step.Matchers, m)
	}
	p.quiets++
	return true
}

// matcher reads LABEL OPERATOR VALUE. The value may stand in quotes of its own, as
// it does in a configuration.
func matcher(text string) (watchbill.Matcher, error) {
	i := strings.IndexAny(text, "=!")
	if i < 1 {
		return watchbill.Matcher{}, errors.New("it compares nothing")
	}
	name, rest := text[:i], text[i:]
	for _, op := range []labels.MatchType{labels.MatchRegexp, labels.MatchNotRegexp, labels.MatchNotEqual, labels.MatchEqual} {
		value, ok := strings.CutPrefix(rest, op.String())
		if !ok {
			continue
		}
		if strings.HasPrefix(value, `"`) {
			var err error
			if value, err = strconv.Unquote(value); err != nil {
				return watchbill.Matcher{}, errors.New("its quotes are not right")
			}
		}
		_, err := labels.NewMatcher(op, name, value)
		return watchbill.Matcher{
			Name: name, Value: value, IsEqual: op == labels.MatchEqual || op == labels.MatchRegexp,
			IsRegex: op == labels.MatchRegexp || op == labels.MatchNotRegexp,
		}, err
	}
	return watchbill.Matcher{}, errors.New("it has no operator")
}

// ofSilence reads "PERSON NUMBER", which names a silence of the script.
func (p *parser) ofSilence(step *Step, args []word, col int) bool {
	if len(args) != 2 {
		p.at(col, fmt.Sprintf("write: %s ana 1, for the first silence of the script", step.Verb), "%s needs a person and the number of a silence", step.Verb)
		return false
	}
	n, err := strconv.Atoi(args[1].text)
	if err != nil || n < 1 || n > p.quiets {
		p.at(args[1].col, "count the silences of the script from 1", "there is no silence %s before this line", args[1].text)
		return false
	}
	step.Person, step.Silence = watchbill.PersonID(args[0].text), n
	return true
}

func (p *parser) kill(step *Step, args []word, col int) bool {
	if len(args) > 1 {
		p.at(args[1].col, "write: kill, or: kill 10m", "kill takes at most how long the daemon is gone")
		return false
	}
	if len(args) == 0 {
		return true
	}
	d, err := duration(args[0].text)
	if err != nil || d < 0 {
		p.at(col, "write: kill 10m, for a daemon that is started ten minutes later", "%q is not a duration", args[0].text)
		return false
	}
	step.For = d
	return true
}

func (p *parser) reload(step *Step, args []word, col int) bool {
	if len(args) != 1 {
		p.at(col, "write: reload other.yaml", "reload names one configuration")
		return false
	}
	step.Config = filepath.FromSlash(args[0].text)
	return true
}

func (p *parser) receiver(step *Step, args []word, col int) bool {
	if len(args) != 1 {
		p.at(col, fmt.Sprintf("write: %s ana-push", step.Verb), "%s names one receiver", step.Verb)
		return false
	}
	step.Receiver = args[0].text
	return true
}

func (p *parser) end(_ *Step, args []word, _ int) bool {
	if len(args) > 0 {
		p.at(args[0].col, "write end alone", "end takes nothing")
		return false
	}
	p.over = true
	return true
}
