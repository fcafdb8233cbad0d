package web

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"watchbill"
)

// Contacts is how people are reached.
type Contacts interface {
	Contacts(ctx context.Context, person watchbill.PersonID) (ContactsView, error)
}

// ContactActs is what people do to their own contacts.
type ContactActs interface {
	AddContact(ctx context.Context, who Actor, c ContactRequest) (watchbill.OwnContact, error)
	TestContact(ctx context.Context, who Actor, id int64) (watchbill.OwnContact, error)
	ConfirmContact(ctx context.Context, who Actor, id int64, code string) (watchbill.OwnContact, error)
	RemoveContact(ctx context.Context, who Actor, id int64) error
}

// ContactsView is how a person is reached.
type ContactsView struct {
	Person     watchbill.PersonID        `json:"person"`
	Configured []ConfiguredContact       `json:"configured"`
	Own        []watchbill.OwnContact    `json:"own"`
	Log        []watchbill.ContactChange `json:"log"` // the newest first
}

// ConfiguredContact is a contact of the configuration. One whose receiver is also
// among the person's own and confirmed is left out.
type ConfiguredContact struct {
	Receiver   string               `json:"receiver"`
	After      time.Duration        `json:"after"`
	Severities []watchbill.Severity `json:"severities,omitempty"`
	Line       string               `json:"line"`
}

// ContactRequest is the body of a new contact.
type ContactRequest struct {
	Receiver   string
	Address    string
	After      time.Duration
	Severities []watchbill.Severity
}

// contactBody is a [ContactRequest] as JSON, in the words of the configuration.
type contactBody struct {
	Receiver   string   `json:"receiver"`
	Address    string   `json:"address,omitempty"`
	After      string   `json:"after,omitempty"`
	Severities []string `json:"severities,omitempty"`
}

// ConfirmRequest is the body of a confirmation.
type ConfirmRequest struct {
	Code string `json:"code"`
}

func (s *Server) contactRoutes() []Route {
	return []Route{
		{"GET", "/api/ops/v1/contacts", Need{}, "How a person is reached, and what they changed about it: ?person=ana; without, the caller", s.listContacts},
		{"POST", "/api/ops/v1/contacts", Need{}, "Add a way to be reached yourself; it counts once it is confirmed", s.addContact},
		{"POST", "/api/ops/v1/contacts/{contact}/test", Need{}, "Send yourself a test with a code", s.testContact},
		{"POST", "/api/ops/v1/contacts/{contact}/confirm", Need{}, "Confirm a test with its code", s.confirmContact},
		{"DELETE", "/api/ops/v1/contacts/{contact}", Need{}, "Remove a way to be reached that you added", s.removeContact},
	}
}

func (s *Server) listContacts(w http.ResponseWriter, c call) error {
	person := watchbill.PersonID(c.FormValue("person"))
	if person == "" {
		person = c.id.Person.ID
	}
	v, err := s.o.Contacts.Contacts(c.Context(), person)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, v)
}

func (s *Server) addContact(w http.ResponseWriter, c call) error {
	var body contactBody
	if err := read(c, &body); err != nil {
		return err
	}
	in := ContactRequest{Receiver: body.Receiver, Address: body.Address}
	if body.After != "" {
		var err error
		if in.After, err = time.ParseDuration(body.After); err != nil {
			return watchbill.Invalidf("write it as 2m", "after: %q is not a duration", body.After)
		}
	}
	for _, text := range body.Severities {
		sev, err := watchbill.ParseSeverity(text)
		if err != nil {
			return watchbill.Invalidf("write sev1, sev2 or sev3", "severities: %q is not a severity", text)
		}
		in.Severities = append(in.Severities, sev)
	}
	made, err := s.o.ContactActs.AddContact(c.Context(), c.actor(), in)
	if err != nil {
		return err
	}
	return reply(w, http.StatusCreated, made)
}

func contactID(c call) (int64, error) {
	id, err := strconv.ParseInt(c.PathValue("contact"), 10, 64)
	if err != nil || id <= 0 {
		return 0, watchbill.Invalidf("list them with: watchbill contact list", "%q is not the number of a contact", c.PathValue("contact"))
	}
	return id, nil
}

func (s *Server) testContact(w http.ResponseWriter, c call) error {
	id, err := contactID(c)
	if err != nil {
		return err
	}
	made, err := s.o.ContactActs.TestContact(c.Context(), c.actor(), id)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, made)
}

func (s *Server) confirmContact(w http.ResponseWriter, c call) error {
	id, err := contactID(c)
	if err != nil {
		return err
	}
	var body ConfirmRequest
	if err := read(c, &body); err != nil {
		return err
	}
	made, err := s.o.ContactActs.ConfirmContact(c.Context(), c.actor(), id, body.Code)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, made)
}

func (s *Server) removeContact(w http.ResponseWriter, c call) error {
	id, err := contactID(c)
	if err != nil {
		return err
	}
	if err := s.o.ContactActs.RemoveContact(c.Context(), c.actor(), id); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// Contacts asks how a person is reached; the caller if it is empty.
func (c *Client) Contacts(ctx context.Context, person watchbill.PersonID) (v ContactsView, err error) {
	err = c.do(ctx, http.MethodGet, "/api/ops/v1/contacts?"+url.Values{"person": {string(person)}}.Encode(), nil, &v)
	return v, err
}

// AddContact adds a way to reach the caller.
func (c *Client) AddContact(ctx context.Context, in ContactRequest) (made watchbill.OwnContact, err error) {
	body := contactBody{Receiver: in.Receiver, Address: in.Address, After: in.After.String()}
	for _, s := range in.Severities {
		body.Severities = append(body.Severities, s.String())
	}
	err = c.do(ctx, http.MethodPost, "/api/ops/v1/contacts", body, &made)
	return made, err
}

// TestContact sends a test to the caller.
func (c *Client) TestContact(ctx context.Context, id int64) (made watchbill.OwnContact, err error) {
	err = c.do(ctx, http.MethodPost, fmt.Sprintf("/api/ops/v1/contacts/%d/test", id), nil, &made)
	return made, err
}

// ConfirmContact confirms the last test.
func (c *Client) ConfirmContact(ctx context.Context, id int64, code string) (made watchbill.OwnContact, err error) {
	err = c.do(ctx, http.MethodPost, fmt.Sprintf("/api/ops/v1/contacts/%d/confirm", id), ConfirmRequest{code}, &made)
	return made, err
}

// RemoveContact removes a contact that the caller added.
func (c *Client) RemoveContact(ctx context.Context, id int64) error {
	return c.do(ctx, http.MethodDelete, fmt.Sprintf("/api/ops/v1/contacts/%d", id), nil, nil)
}

// Text is the list for a person to read.
func (v ContactsView) Text() string {
	var b strings.Builder
	when := func(after time.Duration, sev []watchbill.Severity) string {
		s := "at once"
		if after > 0 {
			s = "after " + after.String()
		}
		names := make([]string, len(sev))
		for i := range sev {
			names[i] = sev[i].String()
		}
		if len(names) > 0 {
			s += ", for " + strings.Join(names, ", ")
		}
		return s
	}
	for _, c := range v.Configured {
		fmt.Fprintf(&b, "%-4s %-20s %s [%s]\n", "-", c.Receiver, when(c.After, c.Severities), c.Line)
	}
	for _, c := range v.Own {
		state := "not confirmed: it reaches nobody yet"
		if !c.Confirmed.IsZero() {
			state = "confirmed " + c.Confirmed.UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(&b, "%-4d %-20s %s; %s\n", c.ID, strings.TrimSpace(c.Receiver+" "+c.Address), when(c.After, c.Severities), state)
	}
	if b.Len() == 0 {
		return "no contact\n"
	}
	return b.String()
}
