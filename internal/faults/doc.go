// Package faults holds nothing but tests: it does to the daemon what disks,
// networks, receivers, operators and load do to it, and holds what is left
// against what was promised.
//
// # Run
//
//	make faults            all scenarios and the negative controls, under ten minutes
//	make faults FULL=1     600 crash points, 4000 images of power losses, longer soaks
//	go test ./internal/faults    the quick scenarios, small
//
// The seed of each random scenario is printed. The scenarios on the real binary
// need strace; the one that fills a disk needs the right to mount a tmpfs.
//
// # Parts
//
// A rig is a configuration on loopback and the real binary; a world is the same
// daemon inside a testing/synctest bubble, for hours that pass in seconds. A
// pagesim is a webhook receiver that misbehaves on demand and logs every request
// by the key of its page. The ledger holds everything that was answered 2xx. A
// dump is the store's content, read by SQL of its own.
//
// # Invariants
//
// One pure function, check, holds ledger, receiver's log and dump against these
// after every scenario, and names the one that broke:
//
//	I1  every alert answered 2xx has its incident
//	I2  every due step reached its people, or is a row that is due
//	I3  a page is one row, a step fires once
//	I4  pages are on time
//	I5  nobody is paged twice without a crash or a lie of the receiver; repetitions are numbered
//	I6  an acknowledgement that was answered is kept, and stops every page
//	I7  nothing arrives before it is due
//	I8  the store is sound and its chains of events verify
//	I9  memory, goroutines and open files are bounded
//
// # Negative controls
//
// A test that cannot fail proves nothing. Each control changes one promise in a
// copy of the source (go build -overlay), plays the same scenario on it, and
// demands that the checker names the invariant which that breaks.
package faults
