//go:build linux || darwin

package daemon

import "syscall"

// diskSpace returns how large the disk of a folder is and how much of it this
// process may still use, in bytes.
func diskSpace(dir string) (free, size uint64, ok bool) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, 0, false
	}
	block := uint64(st.Bsize)
	return st.Bavail * block, st.Blocks * block, st.Blocks > 0
}
