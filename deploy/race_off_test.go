//go:build !race

package deploy

// raced says that the race detector is on.
const raced = false
