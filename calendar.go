package watchbill

import (
	"fmt"
	"time"
)

// CalendarFeed is an address at which a calendar shows who is on duty: for a role, or
// when a person is. Whoever knows the address can read it.
type CalendarFeed struct {
	ID     int64     `json:"id"`
	Owner  PersonID  `json:"owner"` // who made it
	Role   RoleID    `json:"role,omitempty"`
	Person PersonID  `json:"person,omitempty"` // exactly one of the two is set
	MadeAt time.Time `json:"made_at"`
}

// About says whose duty the feed shows.
func (f CalendarFeed) About() string {
	if f.Role != "" {
		return "role " + string(f.Role)
	}
	return "person " + string(f.Person)
}

// String is the feed in a line.
func (f CalendarFeed) String() string {
	return fmt.Sprintf("%d  %s  %s  made by %s", f.ID, f.MadeAt.UTC().Format(time.RFC3339), f.About(), f.Owner)
}
