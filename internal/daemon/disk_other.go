//go:build !linux && !darwin

package daemon

// diskSpace is not known on this platform.
func diskSpace(string) (free, size uint64, ok bool) { return 0, 0, false }
