// Package targets is described here soon.
package targets

// Target is a service target.
type Target struct{ ID string }

// Windows is a catalogue of burn-rate windows.
type Windows struct{}
