// Package heartbeat knows when something that reports by itself has stopped to:
// a job that pings after each run, or a Prometheus whose Watchdog alert comes
// again and again.
//
// It decides and does nothing else: [Decide] is a pure function of the
// configuration, of what was heard and of an instant, and says with its answer
// when it is worth asking again. What was heard is a [Record], to which
// [Record.After] adds a ping; keeping it is the caller's, who must store it before
// the ping is answered.
//
// # Pings
//
// The kinds are those of healthchecks.io, with its meaning
// (https://healthchecks.io/docs/http_api/): success says that a run ended well,
// fail that it did not, an exit status is one of the two, start says that a run
// began, and log says nothing about health.
//
// # States
//
//	new       nothing was heard yet, and nothing is overdue
//	up        the last run ended well, and the next is not due
//	started   a run began and has its grace to end
//	late      overdue, and within the grace
//	down      overdue for longer than the grace
//	never     nothing was heard since it was configured, for longer than that
//	unfinished  a run began and did not end within the grace
//	failed    the last run ended badly
//
// The last four are alerts, which end with the next success. As with
// healthchecks.io, a start alone ends none of them.
package heartbeat
