package store

import (
	"fmt"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
)

func benchStore(b *testing.B) *Store {
	b.Helper()
	s, err := Open(b.Context(), filepath.Join(b.TempDir(), "w.db"))
	require.NoError(b, err)
	b.Cleanup(func() { _ = s.Close() })
	return s
}

// BenchmarkUpdate is the rate at which callers that each wait for the disk get
// their answers.
func BenchmarkUpdate(b *testing.B) {
	for _, callers := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			s := benchStore(b)
			var n atomic.Int64
			b.SetParallelism(max(1, callers/2)) // times GOMAXPROCS
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					id := watchbill.IncidentID(n.Add(1))
					err := s.Update(b.Context(), func(tx *Tx) error {
						return tx.SetTimer(watchbill.Timer{Kind: watchbill.TimerStep, Incident: id, Due: time.Now()})
					})
					if err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "updates/s")
		})
	}
}

// BenchmarkPut is what one row costs in a transaction of many: CPU of the whole
// process, system calls and garbage collection included.
func BenchmarkPut(b *testing.B) {
	now := time.Date(2026, 11, 29, 3, 15, 0, 0, time.UTC)
	labels := func(i int) watchbill.Labels {
		return watchbill.Labels{"alertname": "CheckoutErrors", "service": "checkout", "environment": "prod", "severity": "page", "instance": "10.0.0." + strconv.Itoa(i)}
	}
	annotations := watchbill.Labels{"summary": "Customers cannot pay: 7 % of the requests fail", "runbook_url": "https://runbooks.example.com/checkout"}
	path := watchbill.Path{Name: "derived", Repeat: 15 * time.Minute, Steps: []watchbill.PathStep{
		{Roles: []watchbill.RoleID{"support"}, Reason: "first line"},
		{After: 5 * time.Minute, Roles: []watchbill.RoleID{"deployment"}, Reason: "the service's owner"},
		{After: 10 * time.Minute, Roles: []watchbill.RoleID{"manager"}, Reason: "the manager"},
	}}
	incident := func(i int) *watchbill.Incident {
		return &watchbill.Incident{
			Key: "checkout/prod/" + strconv.Itoa(i), Generation: 1, State: watchbill.StateOpen, Severity: watchbill.Sev2, Service: "checkout",
			Environment: "prod", Activity: "first-line", Title: "Customers cannot pay", Labels: labels(i), Annotations: annotations, Path: path, OpenedAt: now,
		}
	}
	event := watchbill.Event{At: now, Kind: watchbill.EventNote, Actor: "ana", Text: "rolled back, watching the rate of errors"}
	for name, put := range map[string]func(tx *Tx, i int) error{
		"incident+event": func(tx *Tx, i int) error { return tx.PutIncident(incident(i), event) },
		"alert": func(tx *Tx, i int) error {
			return tx.PutAlert(AlertRow{Alert: watchbill.Alert{Labels: labels(i), Annotations: annotations, StartsAt: now, EndsAt: now.Add(time.Hour)}, Due: now})
		},
		"timer": func(tx *Tx, i int) error {
			return tx.SetTimer(watchbill.Timer{Kind: watchbill.TimerStep, Incident: watchbill.IncidentID(i + 1), Due: now})
		},
		"page": func(tx *Tx, i int) error {
			return tx.PutPage(watchbill.Page{Incident: watchbill.IncidentID(i + 1), Generation: 1, Person: "ana", Role: "support", Method: "push", Due: now, Content: watchbill.PageContent{
				Severity: watchbill.Sev2, Service: "checkout", Environment: "prod", Title: "Customers cannot pay", Since: now, Why: "you are on duty for support",
				Actions: []watchbill.Action{{Name: "Acknowledge", How: "watchbill incident ack INC-1"}}, Labels: labels(i),
			}})
		},
	} {
		b.Run(name, func(b *testing.B) {
			s := benchStore(b)
			begun := cpu(b)
			for i := 0; i < b.N; {
				err := s.Update(b.Context(), func(tx *Tx) error {
					for n := min(i+100, b.N); i < n; i++ {
						if err := put(tx, i); err != nil {
							return err
						}
					}
					return nil
				})
				require.NoError(b, err)
			}
			b.ReportMetric(float64(cpu(b)-begun)/float64(b.N)/1e3, "cpu-µs/op")
		})
	}
}

// cpu is the time that this process has run on a processor.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
