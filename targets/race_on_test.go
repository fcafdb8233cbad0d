//go:build race

package targets_test

// raced says that the race detector is on, under which evaluating rules takes
// eight times as long: properties are tried less often. make check also runs this
// package without it.
const raced = true
