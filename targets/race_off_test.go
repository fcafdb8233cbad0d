//go:build !race

package targets_test

// raced says that the race detector is on.
const raced = false
