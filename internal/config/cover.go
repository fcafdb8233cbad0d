package config

import (
	"fmt"
	"time"

	"watchbill"
	"watchbill/router"
	"watchbill/runbooks"
)

// RunbookCover is the runbook that an alert to come, or an activity, gets.
type RunbookCover struct {
	What     string               `json:"what"`  // "the rule DiskFull"
	Place    string               `json:"place"` // where it stands
	Activity watchbill.ActivityID `json:"activity"`
	Runbook  string               `json:"runbook,omitempty"`  // name or link; empty: none
	FoundBy  string               `json:"found_by,omitempty"` // runbook_url, labels, or activity: the last resort
}

// runbookCover looks up the runbook of everything that can alert, as it will be
// looked up live, and doubts a configuration in which something has none.
func (b *builder) runbookCover() {
	if len(b.problems.Errors()) > 0 || b.untrusted || b.guessing {
		return
	}
	books, _, err := runbooks.New(b.cfg.Runbooks)
	if err != nil {
		return // a problem says so
	}
	r, err := router.New(b.cfg.Router)
	if err != nil {
		return
	}
	without := 0
	add := func(c RunbookCover, labels, annotations watchbill.Labels, alerts bool) {
		if book, ok := books.Find(labels, annotations, c.Activity); ok {
			c.Runbook, c.FoundBy = book.Name, book.How()
			if c.Runbook == "" {
				c.Runbook = book.URL
			}
		} else if alerts {
			without++
		}
		b.cfg.RunbookCover = append(b.cfg.RunbookCover, c)
	}
	seen := map[string]bool{}
	for _, o := range b.alertsToCome() {
		v := r.Decide(router.Input{Alert: watchbill.Alert{Labels: o.labels, Annotations: o.annotations}, Now: time.Unix(0, 0).UTC()})
		c := RunbookCover{What: o.what, Activity: v.Activity}
		if o.src != nil {
			c.Place = fmt.Sprintf("%s:%d", o.src.name, o.line)
		} else if o.node != b.root {
			c.Place = b.line(o.node)
		}
		if key := c.What + c.Place; !seen[key] {
			seen[key] = true
			add(c, o.labels, o.annotations, true)
		}
	}
	for _, row := range b.cfg.Matrix.Activities {
		add(RunbookCover{What: "the activity " + string(row.ID), Activity: row.ID}, nil, nil, false)
	}
	if without > 0 {
		b.warn(b.root, "see which with: watchbill runbook coverage; a runbook with activities: is the last resort",
			"%d rules, targets, heartbeats or services have no runbook", without)
	}
}
