package watchbill

import (
	"strconv"
	"time"
)

// OwnContact is a way to reach a person that they added themselves. It counts from
// when they confirmed a test of it.
type OwnContact struct {
	ID         int64         `json:"id"`
	Person     PersonID      `json:"person"`
	Receiver   string        `json:"receiver"`
	Address    string        `json:"address,omitempty"` // a phone or a mail address, where the receiver needs one
	After      time.Duration `json:"after"`
	Severities []Severity    `json:"severities,omitempty"` // empty: all
	AddedAt    time.Time     `json:"added_at"`
	TestedAt   time.Time     `json:"tested_at,omitzero"` // when the last test was sent
	Confirmed  time.Time     `json:"confirmed,omitzero"` // zero: it reaches nobody yet
}

// Contact is it as one of the person's list.
func (c OwnContact) Contact() Contact {
	return Contact{Receiver: c.Receiver, After: c.After, Severities: c.Severities, Address: c.Address, Own: true}
}

// TestKey names the last test, for its code.
func (c OwnContact) TestKey() string {
	return strconv.FormatInt(c.ID, 10) + "/" + c.TestedAt.UTC().Format(time.RFC3339Nano)
}

// ContactChange is something that was done to a person's contacts.
type ContactChange struct {
	At   time.Time `json:"at"`
	Via  string    `json:"via"`
	What string    `json:"what"`
}
