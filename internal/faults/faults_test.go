package faults_test

import "testing"

// TestFaults plays the scenarios. Without WATCHBILL_FAULTS it plays the quick
// ones, small.
func TestFaults(t *testing.T) {
	for _, s := range []struct {
		name  string
		quick bool // part of go test
		play  func(*testing.T)
	}{
		{"crash matrix", true, crashMatrix},
		{"power loss", true, powerLoss},
		{"troubled receivers", true, troubledReceivers},
		{"ack while hanging", true, ackWhileHanging},
		{"on time", true, onTime},
		{"storm", false, storm},
		{"reloads", false, reloads},
		{"soak", false, soak},
		{"two senders", true, twoSenders},
		{"full disk", false, fullDisk},
		{"failing disk", true, failingDisk},
		{"clock steps", false, clockSteps},
		{"many incidents", false, manyIncidents},
		{"planned restarts", false, restarts},
	} {
		if s.quick || long() {
			t.Run(s.name, s.play)
		}
	}
}
