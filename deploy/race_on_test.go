//go:build race

package deploy

// raced says that the race detector is on, which makes virtual hours cost real
// minutes: tests that play many of them play fewer. make check also runs this
// package without it, whole.
const raced = true
