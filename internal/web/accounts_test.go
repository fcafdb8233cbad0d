package web_test

import (
	"context"
	"maps"
	"slices"
	"time"

	"watchbill"
	"watchbill/internal/auth"
)

// accounts are the sessions and passwords of a world.
type accounts struct {
	sessions  map[string]auth.Session // by hash
	passwords map[watchbill.PersonID]auth.Password
	invited   map[string]auth.Invitation // by hash
}

func (w *world) SessionByHash(_ context.Context, hash string) (auth.Session, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s, ok := w.accounts.sessions[hash]
	return s, ok, w.fail
}

func (w *world) PutSession(_ context.Context, s auth.Session, _ bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.accounts.sessions[s.Hash] = s
	return w.fail
}

func (w *world) ListSessions(_ context.Context, person watchbill.PersonID) ([]auth.Session, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := slices.SortedFunc(maps.Values(w.accounts.sessions), func(a, b auth.Session) int { return b.CreatedAt.Compare(a.CreatedAt) })
	return slices.DeleteFunc(all, func(s auth.Session) bool { return person != "" && s.Person != person }), w.fail
}

func (w *world) EndSessions(_ context.Context, _ time.Time, ended []auth.Session, _ auth.Ending) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range ended {
		delete(w.accounts.sessions, s.Hash)
	}
	return w.fail
}

func (w *world) Password(_ context.Context, person watchbill.PersonID) (auth.Password, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p, ok := w.accounts.passwords[person]
	return p, ok, w.fail
}

func (w *world) PutPassword(_ context.Context, p auth.Password, invitation string, _ auth.Ending) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, there := w.accounts.invited[invitation]; invitation != "" && !there {
		return false, w.fail
	}
	delete(w.accounts.invited, invitation)
	maps.DeleteFunc(w.accounts.sessions, func(_ string, s auth.Session) bool { return s.Person == p.Person })
	w.accounts.passwords[p.Person] = p
	return true, w.fail
}

func (w *world) Invitation(_ context.Context, hash string) (auth.Invitation, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i, ok := w.accounts.invited[hash]
	return i, ok, w.fail
}

func (w *world) PutInvitation(_ context.Context, i auth.Invitation) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.accounts.invited[i.Hash] = i
	return w.fail
}

// staff are the people of a world, to whoever signs in.
type staff map[watchbill.PersonID]watchbill.Person

func (s staff) Person(id watchbill.PersonID) (watchbill.Person, bool) {
	p, ok := s[id]
	return p, ok
}

func (s staff) Identified(claim, value string) (watchbill.Person, bool) {
	for _, p := range s {
		if p.HasIdentity(claim, value) {
			return p, true
		}
	}
	return watchbill.Person{}, false
}
