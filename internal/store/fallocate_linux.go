package store

import (
	"os"
	"syscall"
)

// allocate gives a file its blocks without writing them, where the file system
// can.
func allocate(f *os.File, size int64) error { return syscall.Fallocate(int(f.Fd()), 0, 0, size) }
