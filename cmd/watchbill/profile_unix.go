//go:build unix

package main

import "syscall"

// profileSignal asks for profiles.
const profileSignal = syscall.SIGUSR1
