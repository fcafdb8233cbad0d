package faults_test

import "testing"

// TestFaults plays the scenarios. Without WATCHBILL_FAULTS it plays the quick
// ones, small.
func TestFaults(t *testing.T) {
	for _, s := range []struct {
		name   string
		quick  bool // part of go test
		beside bool // another one may run beside it: it sleeps or waits for the disk most of the time, or its time is virtual
		play   func(*testing.T)
	}{
		{"power loss", true, false, powerLoss},
		{"ack while hanging", true, false, ackWhileHanging},
		{"on time", true, false, onTime},
		{"storm", false, false, storm},
		{"two senders", true, false, twoSenders},
		{"clock steps", false, false, clockSteps},
		{"reloads", false, false, reloads},
		{"crash matrix", true, true, crashMatrix},
		{"soak", false, true, soak},
		{"many incidents", false, true, manyIncidents},
		{"full disk", false, true, fullDisk},
		{"failing disk", true, true, failingDisk},
		{"planned restarts", false, true, restarts},
		{"troubled receivers", true, true, troubledReceivers},
	} {
		if !s.quick && !long() {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			if s.beside {
				t.Parallel()
			}
			s.play(t)
		})
	}
}
