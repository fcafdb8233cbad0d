// Package bench measures the daemon beside Alertmanager, on the same machine, in
// the same run, with the same client: `make bench` prints the table that
// docs/performance.md shows. It holds test files only.
//
// The peers are Debian's prometheus-alertmanager, and the newest Alertmanager's
// own API, alert provider, pipeline and dispatcher, wired in this package's test
// binary because its command cannot be built from its module. Both keep alerts
// in memory; the daemon answers after an fsync.
//
// Each figure is taken from runs of the programs in turn, so that a slow moment
// of the machine hits all of them. CPU time is the operating system's account of
// each server process, without the client.
package bench
