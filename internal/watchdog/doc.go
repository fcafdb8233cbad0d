// Package watchdog watches the watcher: it finds out that watchbill itself does
// not do what it promises, and says so on ways that do not need watchbill.
//
// # The parts
//
// The [Auditor] asks every ten seconds whether something is left behind that a
// correct daemon never leaves behind: an incident without a next step, a timer
// that is overdue, a page that nobody sends. It has its own loop and asks its own
// questions, so that whatever is broken in the loops that page does not break it.
//
// The [Alarm] is the second notifier. It shares nothing with the one that pages:
// its own section of the configuration, its own addresses and credentials, no
// database, no templates, plain text by one POST or one mail. It sends at most one
// message a minute; what comes meanwhile is gathered, and counted beyond twenty
// lines, in the next. A condition that lasts is repeated every hour, and its end
// is told.
//
// The [Deadman] pings monitors elsewhere, but only after a self-test went the
// whole way: an alert taken in, on disk, decided, fired by the timers, sent by the
// page worker and recorded, while the auditor found nothing. When watchbill or its
// machine dies, or hangs, or lies, the pings stop and the other side tells you.
//
// The [Pulse] tells systemd that the loops themselves go round.
//
// # The daily test
//
// A way that is never used is broken when it is needed. Once a day the alarm sends
// a test, and somebody confirms that it arrived with "watchbill alarm confirm".
// After two days without, watchbill_alarm_last_confirmed_timestamp_seconds is old,
// the log warns, and a rule that comes with watchbill pages. When it was last
// confirmed is kept in a small file beside the store.
//
// # systemd
//
// The daemon speaks systemd's protocol when NOTIFY_SOCKET is set. It says READY=1
// when it serves, STOPPING=1 when it ends, and WATCHDOG=1 from the loop that
// fires timers and from those that send pages, only while both go round. In the
// unit:
//
//	[Service]
//	Type=notify
//	NotifyAccess=main
//	ExecStart=/usr/bin/watchbill serve --config /etc/watchbill/watchbill.yaml
//	ExecReload=/bin/kill -HUP $MAINPID
//	WatchdogSec=30
//	Restart=always
//	RestartSec=2
//
// WatchdogSec must not be less than 30: an idle loop goes round every ten seconds.
//
// # What it does not find
//
// A daemon that is dead cannot raise the alarm: only the dead man's switch tells
// of that, so configure at least one, at a provider that does not stand or fall
// with this machine. Nothing here watches that provider.
package watchdog
