package daemon

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"watchbill"
)

// codesFile holds the secret of codes and links, beside the store and not in it: who
// reads the store, or a backup of it, can act from nobody's page.
const codesFile = "pages.key"

// codes makes what people act with from their pages. Nothing of it is stored: a
// code and a link are worked out of the page and a secret each time.
type codes struct{ secret []byte }

// openCodes reads the secret, or makes it.
func openCodes(dir string) (*codes, error) {
	path := filepath.Join(dir, codesFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		b = make([]byte, sha256.Size)
		_, _ = rand.Read(b) // it never fails
		err = writeWhole(path, b)
	}
	if err == nil && len(b) < sha256.Size {
		err = errors.New("it is too short")
	}
	if err != nil {
		return nil, watchbill.Errorf(watchbill.CodeUnavailable, "make it readable and writable for this user, or delete it: codes in pages that are out then stop working",
			"the secret of pages' codes cannot be used: %s: %v", path, err)
	}
	return &codes{b}, nil
}

// writeWhole writes a file that is there whole or not at all, also after a loss of
// power: half a secret would keep the daemon from starting.
func writeWhole(path string, b []byte) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func (c *codes) sum(parts ...string) []byte {
	h := hmac.New(sha256.New, c.secret)
	for _, p := range parts {
		_, _ = fmt.Fprintf(h, "%d:%s\n", len(p), p)
	}
	return h.Sum(nil)
}

// code is what a person types to act on an incident: six digits, the same in all of
// their pages about it and in nobody else's.
func (c *codes) code(id watchbill.IncidentID, person watchbill.PersonID) string {
	n := binary.BigEndian.Uint64(c.sum("code", id.String(), string(person)))
	return fmt.Sprintf("%06d", n%1_000_000)
}

// token is the part of a page's link that nobody can guess. It only opens the page.
func (c *codes) token(key string) string {
	return base64.RawURLEncoding.EncodeToString(c.sum("link", key)[:12])
}

// typed is a code as somebody typed it, without what they put between the digits.
func typed(s string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(" -\u00a0.", r) {
			return -1
		}
		return r
	}, s)
}

// equip puts code and link into the pages that are about to be sent. Bundles and
// notices have no incident of their own to act on, and a trainee who reads along has
// nothing to act by.
func (c *codes) equip(claimed []watchbill.Delivery, external string) {
	if c == nil {
		return
	}
	for i := range claimed {
		d := &claimed[i]
		if test := d.Page.Content.Labels["contact_test"]; test != "" && d.Page.Incident == notices && d.Page.Content.Labels["alertname"] == contactTest && len(d.Bundle) == 0 {
			p := &d.Page.Content
			p.Code = c.contact(test)
			p.Actions = slices.Clone(p.Actions)
			for j := range p.Actions {
				p.Actions[j].How = strings.Replace(p.Actions[j].How, "CODE", p.Code, 1)
			}
		}
		if d.Page.Incident <= 0 || len(d.Bundle) > 0 || d.Page.Content.Copy {
			continue
		}
		p := &d.Page.Content
		p.Code = c.code(d.Page.Incident, d.Page.Person)
		how := "type the code " + p.Code
		if external != "" {
			p.ActURL = fmt.Sprintf("%s/act/%d/%s", external, d.ID, url.PathEscape(c.token(d.Page.Key())))
			how = fmt.Sprintf("open %s and %s", p.ActURL, how)
		}
		p.Actions = slices.Clone(p.Actions)
		j := slices.IndexFunc(p.Actions, func(a watchbill.Action) bool { return a.Name == "Acknowledge" })
		if j < 0 {
			p.Actions = slices.Insert(p.Actions, 0, watchbill.Action{Name: "Acknowledge", How: how})
			continue
		}
		p.Actions[j].How = how + ", or: " + p.Actions[j].How
	}
}

// Bounds on guessing a code.
const (
	guessWindow   = 15 * time.Minute
	guessesSource = 5  // wrong codes for one incident from one source, before it is locked out
	guessesWhole  = 25 // wrong codes for one incident from everywhere
	maxGuessers   = 10000
)

// guesses counts wrong codes. What it knows is forgotten at a restart, which whoever
// guesses cannot cause.
type guesses struct {
	mu sync.Mutex
	by map[string][]time.Time
}

// guesser is who tries a code for what.
type guesser struct {
	about  string // an incident
	source string // an address, or a person by text message
}

func (g guesser) keys() [2]string { return [2]string{g.about + " " + g.source, g.about} }

// locked returns for how long no code is taken.
func (s *guesses) locked(g guesser, now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	var wait time.Duration
	for i, limit := range []int{guessesSource, guessesWhole} {
		key := g.keys()[i]
		recent := slices.DeleteFunc(s.by[key], func(at time.Time) bool { return now.Sub(at) >= guessWindow })
		if len(recent) == 0 {
			delete(s.by, key)
			continue
		}
		s.by[key] = recent
		if len(recent) >= limit {
			wait = max(wait, recent[len(recent)-1].Add(guessWindow).Sub(now))
		}
	}
	return wait
}

// wrong counts a wrong code. It reports whether this one locks its source out.
func (s *guesses) wrong(g guesser, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by == nil {
		s.by = map[string][]time.Time{}
	}
	if len(s.by) >= maxGuessers { // the oldest go, and with them what was long ago
		for key, at := range s.by {
			if now.Sub(at[len(at)-1]) >= guessWindow/3 {
				delete(s.by, key)
			}
		}
		if len(s.by) >= maxGuessers {
			clear(s.by)
		}
	}
	keys := g.keys()
	s.by[keys[0]] = append(s.by[keys[0]], now)
	s.by[keys[1]] = append(s.by[keys[1]], now)
	return len(s.by[keys[0]]) == guessesSource || len(s.by[keys[1]]) == guessesWhole
}
