package watchdog

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"
)

// alarmState is what the alarm remembers over restarts.
type alarmState struct {
	Confirmed time.Time `json:"confirmed"`
	Sent      time.Time `json:"sent,omitzero"`     // the last message
	Farewell  time.Time `json:"farewell,omitzero"` // the last message of a process that ended
}

// loadState reads the state. Without one, counting begins now.
func (a *Alarm) loadState(now time.Time) {
	a.state.Confirmed = now
	if a.o.State != "" {
		var s alarmState
		b, err := os.ReadFile(a.o.State)
		if err == nil && json.Unmarshal(b, &s) == nil && !s.Confirmed.IsZero() && !s.Confirmed.After(now) {
			a.state = s
		} else if err := a.saveState(a.state); err != nil {
			a.log.Warn("when the alarm was last confirmed will be forgotten by a restart", "err", err)
		}
	}
	a.metrics.confirmed.Set(float64(a.state.Confirmed.Unix()))
}

// remember writes the state in the background: what raises the alarm may be the
// disk. While a write hangs there is no other. It is called with mu held.
func (a *Alarm) remember() {
	s := a.state
	select {
	case a.saving <- struct{}{}:
	default:
		return
	}
	go func() {
		if err := a.saveState(s); err != nil {
			a.log.Warn("when the alarm last spoke will be forgotten by a restart", "err", err)
		}
		<-a.saving
	}()
}

// sleepUnless waits until a token can be put into ch, at most for some time, and
// reports whether it was.
func sleepUnless(ch chan<- struct{}, most time.Duration) bool {
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case ch <- struct{}{}:
		return true
	case <-t.C:
		return false
	}
}

// saveState writes the state. It replaces the file whole, so that a crash leaves
// the old one or the new one.
func (a *Alarm) saveState(s alarmState) error {
	if a.o.State == "" {
		return nil
	}
	b, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode the alarm's state: %w", err)
	}
	if err := os.WriteFile(a.o.State+".new", append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("write the alarm's state: %w", err)
	}
	if err := os.Rename(a.o.State+".new", a.o.State); err != nil {
		return fmt.Errorf("write the alarm's state: %w", err)
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// maxLine bounds one line of a message, in characters.
const maxLine = 500

// oneLine takes line breaks and control characters out of a text.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
	return short(strings.Join(strings.Fields(text), " "), maxLine)
}

// short cuts a text to n characters.
func short(text string, n int) string {
	if r := []rune(text); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return text
}
