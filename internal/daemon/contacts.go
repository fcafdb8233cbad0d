package daemon

import (
	"context"
	"crypto/hmac"
	"encoding/binary"
	"fmt"
	"net/mail"
	"slices"
	"strings"
	"time"

	"watchbill"
	"watchbill/internal/config"
	"watchbill/internal/notify"
	"watchbill/internal/store"
	"watchbill/internal/web"
)

const (
	// maxOwn is how many contacts a person may add.
	maxOwn = 10
	// maxOwnAfter is how late one of them may be used.
	maxOwnAfter = time.Hour
	// testValid is for how long the code of a test is taken, and testPause how long
	// a person waits before they send the next one.
	testValid = time.Hour
	testPause = 30 * time.Second
	// maxContactLog is how much of what was done is shown.
	maxContactLog = 50
)

// contactTest is the alertname of a test.
const contactTest = "WatchbillContactTest"

// contactsChanged puts in force what people changed.
func (f *flow) contactsChanged(ctx context.Context) error {
	f.installing.Lock()
	defer f.installing.Unlock()
	own, err := f.ownContacts(ctx)
	if err == nil {
		f.rooms.Store(f.rooms.Load().with(own))
	}
	return err
}

// ownContacts are everybody's. Whoever puts them in force holds the lock meanwhile.
func (f *flow) ownContacts(ctx context.Context) (own []watchbill.OwnContact, err error) {
	err = f.store.View(ctx, func(tx *store.Tx) error {
		own, err = tx.Contacts()
		return err
	})
	return own, err
}

// with returns the rooms with what people added and confirmed themselves: in the place
// of their contact by the same receiver, or at the end of their list.
func (r *rooms) with(own []watchbill.OwnContact) *rooms {
	out := *r
	out.people = make(map[watchbill.PersonID]watchbill.Person, len(r.people))
	for id, p := range r.people {
		p.Contact = slices.Clone(r.configured[id])
		for _, c := range own {
			if c.Person != id || c.Confirmed.IsZero() {
				continue
			}
			if i := slices.IndexFunc(p.Contact, func(x watchbill.Contact) bool { return x.Receiver == c.Receiver }); i >= 0 {
				p.Contact[i] = c.Contact()
			} else {
				p.Contact = append(p.Contact, c.Contact())
			}
		}
		out.people[id] = p
	}
	return &out
}

// address is where a page by a method goes, if the person named a place of their own.
func address(c *watchbill.PageContent, m notify.Method) {
	switch {
	case strings.HasPrefix(m.Address, "+"):
		c.ToPhone = m.Address
	case m.Address != "":
		c.ToEmail = m.Address
	}
}

// Contacts returns the ways to reach a person.
func (f *flow) Contacts(ctx context.Context, person watchbill.PersonID) (v web.ContactsView, err error) {
	r := f.rooms.Load()
	p, ok := r.people[person]
	if !ok {
		return v, watchbill.Errorf(watchbill.CodeNotFound, "name somebody of people: in the configuration", "there is no person %q", person)
	}
	v.Person = person
	for i, c := range p.Contact {
		if !c.Own {
			v.Configured = append(v.Configured, web.ConfiguredContact{Receiver: c.Receiver, After: c.After, Severities: c.Severities, Line: r.at(fmt.Sprintf("people.%s.contact.%d", person, i))})
		}
	}
	err = f.store.View(ctx, func(tx *store.Tx) error {
		all, err := tx.Contacts()
		if err != nil {
			return err
		}
		v.Own = slices.DeleteFunc(all, func(c watchbill.OwnContact) bool { return c.Person != person })
		v.Log, err = tx.ContactLog(person, maxContactLog)
		return err
	})
	return v, err
}

// checkContact refuses what could reach nobody.
func (r *rooms) checkContact(c web.ContactRequest) error {
	if !slices.Contains(r.notifier.Receivers(), c.Receiver) || c.Receiver == notify.TerminalReceiver {
		return watchbill.Invalidf("use one of: "+strings.Join(slices.DeleteFunc(r.notifier.Receivers(), func(n string) bool { return n == notify.TerminalReceiver }), ", "),
			"receiver: there is no receiver %q", c.Receiver)
	}
	switch {
	case r.notifier.Texts(c.Receiver):
		if !config.IsPhone(c.Address) {
			return watchbill.Invalidf("write it with the country and without spaces, as in +34600111222", "address: %q is not a phone number", c.Address)
		}
	case c.Receiver == notify.EmailReceiver:
		if a, err := mail.ParseAddress(c.Address); err != nil || a.Address != c.Address {
			return watchbill.Invalidf("write name@example.com", "address: %q is not an e-mail address", c.Address)
		}
	case c.Address != "":
		return watchbill.Invalidf("leave it out", "address: the receiver %s has one of its own", c.Receiver)
	}
	if c.After < 0 || c.After > maxOwnAfter {
		return watchbill.Invalidf("write 0s to "+short(maxOwnAfter), "after: %s is not a delay", c.After)
	}
	for i, s := range c.Severities {
		if s < watchbill.Sev1 || s > watchbill.Sev3 || slices.Contains(c.Severities[:i], s) {
			return watchbill.Invalidf("write sev1, sev2 and sev3 at most, each once", "severities: %s", s)
		}
	}
	return nil
}

// AddContact stores a way to reach a person, which counts once it is confirmed.
func (f *flow) AddContact(ctx context.Context, who web.Actor, c web.ContactRequest) (watchbill.OwnContact, error) {
	out := watchbill.OwnContact{}
	r := f.rooms.Load()
	if err := r.checkContact(c); err != nil {
		return out, err
	}
	for id, p := range r.people {
		if id == who.Person || c.Address == "" {
			continue
		}
		if p.Phone == c.Address || slices.ContainsFunc(p.Contact, func(x watchbill.Contact) bool { return x.Address == c.Address }) {
			return out, watchbill.Errorf(watchbill.CodeConflict, "name one that is yours alone", "address: it is somebody else's")
		}
	}
	err := f.update(ctx, func(w *work) error {
		all, err := w.tx.Contacts()
		if err != nil {
			return err
		}
		mine := slices.DeleteFunc(all, func(x watchbill.OwnContact) bool { return x.Person != who.Person })
		if len(mine) >= maxOwn {
			return watchbill.Errorf(watchbill.CodeConflict, "remove one with: watchbill contact remove", "you have %d contacts of your own", len(mine))
		}
		if i := slices.IndexFunc(mine, func(x watchbill.OwnContact) bool { return x.Receiver == c.Receiver }); i >= 0 {
			return watchbill.Errorf(watchbill.CodeConflict, fmt.Sprintf("remove it first with: watchbill contact remove %d", mine[i].ID), "you have a contact by %s of your own", c.Receiver)
		}
		out = watchbill.OwnContact{Person: who.Person, Receiver: c.Receiver, Address: c.Address, After: c.After, Severities: c.Severities, AddedAt: w.now}
		if err := w.tx.PutContact(&out); err != nil {
			return err
		}
		return w.logContact(who, "added %s", described(out))
	})
	return out, err
}

func described(c watchbill.OwnContact) string {
	return strings.TrimSpace(fmt.Sprintf("%d, by %s %s", c.ID, c.Receiver, c.Address))
}

func (w *work) logContact(who web.Actor, format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	verb, detail, _ := strings.Cut(what, " ") // an address is a detail, which can be erased
	if err := w.audit(who, watchbill.AuditEntry{Kind: watchbill.AuditContact, Object: string(who.Person), Text: verb + " a contact of their own", Detail: detail}); err != nil {
		return err
	}
	return w.tx.LogContact(who.Person, watchbill.ContactChange{At: w.now, Via: who.Via, What: what})
}

// ownContact returns a contact that a person added.
func (w *work) ownContact(who watchbill.PersonID, id int64) (watchbill.OwnContact, error) {
	all, err := w.tx.Contacts()
	if err != nil {
		return watchbill.OwnContact{}, err
	}
	i := slices.IndexFunc(all, func(c watchbill.OwnContact) bool { return c.ID == id && c.Person == who })
	if i < 0 {
		return watchbill.OwnContact{}, watchbill.Errorf(watchbill.CodeNotFound, "list them with: watchbill contact list", "you have no contact %d of your own", id)
	}
	return all[i], nil
}

// TestContact sends a test through a contact. Its code stands in the message only.
func (f *flow) TestContact(ctx context.Context, who web.Actor, id int64) (c watchbill.OwnContact, err error) {
	err = f.update(ctx, func(w *work) error {
		if c, err = w.ownContact(who.Person, id); err != nil {
			return err
		}
		if wait := c.TestedAt.Add(testPause).Sub(w.now); wait > 0 {
			return &watchbill.Error{Code: watchbill.CodeTooMany, Message: "a test was sent just now", Hint: "wait for it, then try again", RetryAfter: wait}
		}
		c.TestedAt = w.now
		if err := w.tx.PutContact(&c); err != nil {
			return err
		}
		person := w.people[who.Person]
		content := watchbill.PageContent{
			Severity: watchbill.Sev4, Service: "watchbill", Title: "This is a test of how you are reached",
			FirstAction: "Confirm it with its code", Why: "you asked for it",
			Actions: []watchbill.Action{{Name: "Confirm", How: fmt.Sprintf("watchbill contact confirm %d CODE", c.ID)}},
			Since:   w.now, At: w.now, LocalAt: w.now.In(person.Zone()).Format("Mon 15:04 MST"),
			Reason: "a test", To: who.Person, ToName: person.Name, ToEmail: person.Email,
			Labels: watchbill.Labels{"alertname": contactTest, "contact_test": c.TestKey()},
		}
		address(&content, notify.Method{Address: c.Address})
		err := w.tx.PutPage(watchbill.Page{
			Incident: notices, Generation: int(w.now.Unix()), Step: int(c.ID), Person: who.Person, Method: c.Receiver, Due: w.now, Content: content,
		})
		if err != nil {
			return err
		}
		return w.logContact(who, "tested %s", described(c))
	})
	return c, err
}

// ConfirmContact has a contact count from now on, if the code is that of its last
// test.
func (f *flow) ConfirmContact(ctx context.Context, who web.Actor, id int64, code string) (c watchbill.OwnContact, err error) {
	now := time.Now()
	g := guesser{fmt.Sprintf("contact %d", id), string(who.Person)}
	if wait := f.guesses.locked(g, now); wait > 0 {
		return c, tooManyCodes(wait)
	}
	wrong := false
	err = f.update(ctx, func(w *work) error {
		if c, err = w.ownContact(who.Person, id); err != nil {
			return err
		}
		if c.TestedAt.IsZero() || w.now.Sub(c.TestedAt) > testValid {
			return watchbill.Errorf(watchbill.CodeConflict, fmt.Sprintf("send one with: watchbill contact test %d", id), "no test was sent within the last hour")
		}
		if wrong = !hmac.Equal([]byte(typed(code)), []byte(f.codes.contact(c.TestKey()))); wrong {
			return watchbill.Errorf(watchbill.CodeDenied, "type the six digits of the newest test", "this is not the code")
		}
		c.Confirmed, c.TestedAt = w.now, time.Time{} // the code is used up
		if err := w.tx.PutContact(&c); err != nil {
			return err
		}
		return w.logContact(who, "confirmed %s", described(c))
	})
	if wrong {
		f.guesses.wrong(g, now)
	}
	if err != nil {
		return c, err
	}
	return c, f.contactsChanged(ctx)
}

// RemoveContact removes a contact that a person added. What the configuration says
// is in force again.
func (f *flow) RemoveContact(ctx context.Context, who web.Actor, id int64) error {
	err := f.update(ctx, func(w *work) error {
		c, err := w.ownContact(who.Person, id)
		if err != nil {
			return err
		}
		if err := w.tx.DeleteContact(id); err != nil {
			return err
		}
		return w.logContact(who, "removed %s", described(c))
	})
	if err != nil {
		return err
	}
	return f.contactsChanged(ctx)
}

// contact is the code of a test.
func (c *codes) contact(test string) string {
	return fmt.Sprintf("%06d", binary.BigEndian.Uint64(c.sum("contact", test))%1_000_000)
}
