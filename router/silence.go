package router

import (
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/common/model"

	"watchbill"
)

// Silences is a set of silences with their matchers compiled. A nil set is
// empty.
type Silences struct {
	all []compiled
}

type compiled struct {
	watchbill.Silence
	matchers labels.Matchers
}

// NewSilences compiles silences. It fails on a regular expression that does not
// compile; [ValidateSilence] refuses such a silence before it is stored.
func NewSilences(silences []watchbill.Silence) (*Silences, error) {
	set := &Silences{}
	for _, s := range silences {
		ms, err := compile(s)
		if err != nil {
			return nil, fmt.Errorf("compile silence %s: %w", s.ID, err)
		}
		set.all = append(set.all, compiled{s, ms})
	}
	return set, nil
}

func compile(s watchbill.Silence) (labels.Matchers, error) {
	var ms labels.Matchers
	for _, m := range s.Matchers {
		kind := labels.MatchNotRegexp
		switch {
		case m.IsEqual && m.IsRegex:
			kind = labels.MatchRegexp
		case m.IsEqual:
			kind = labels.MatchEqual
		case !m.IsRegex:
			kind = labels.MatchNotEqual
		}
		c, err := labels.NewMatcher(kind, m.Name, m.Value)
		if err != nil {
			return nil, err
		}
		ms = append(ms, c)
	}
	return ms, nil
}

// mutes are the silences that mute an alert of an activity. A security alert is
// muted only by what two people agreed on, whatever the silence was made for.
func (s *Silences) mutes(set model.LabelSet, activity watchbill.ActivityID, now time.Time) []Mute {
	if s == nil {
		return nil
	}
	var mutes []Mute
	for _, c := range s.all {
		if activity == watchbill.ActivitySecurity && c.ApprovedBy == "" {
			continue
		}
		if c.Active(now) && c.matchers.Matches(set) {
			mutes = append(mutes, Mute{
				Kind: MuteSilence, ID: c.ID, Until: c.EndsAt,
				Reason: fmt.Sprintf("silenced by %s until %s: %s", c.CreatedBy, c.EndsAt.UTC().Format(time.RFC3339), c.Comment),
			})
		}
	}
	return mutes
}

// ValidateSilence returns what is wrong with a silence that somebody wants to
// create at now: all of it at once.
func ValidateSilence(s watchbill.Silence, now time.Time) error {
	var wrong []string
	if strings.TrimSpace(s.Comment) == "" {
		wrong = append(wrong, "comment: say why")
	}
	if len(s.Matchers) == 0 {
		wrong = append(wrong, "matchers: name at least one")
	}
	if !s.EndsAt.After(s.StartsAt) {
		wrong = append(wrong, "endsAt: must be after startsAt")
	}
	if !s.EndsAt.After(now) {
		wrong = append(wrong, "endsAt: is in the past")
	}
	ms, err := compile(s)
	if err != nil {
		wrong = append(wrong, "matchers: "+err.Error())
	} else if len(ms) > 0 && allEmpty(ms) {
		wrong = append(wrong, "matchers: at least one must not match the empty value, or it would mute everything")
	}
	if len(wrong) > 0 {
		return watchbill.Invalidf("correct these and send it again", "the silence is not valid: %s", strings.Join(wrong, "; "))
	}
	return nil
}

func allEmpty(ms labels.Matchers) bool {
	for _, m := range ms {
		if !m.Matches("") {
			return false
		}
	}
	return true
}
