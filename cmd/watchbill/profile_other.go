//go:build !unix

package main

import "syscall"

// profileSignal asks for profiles. Where there are no such signals, nobody does.
const profileSignal = syscall.SIGHUP
