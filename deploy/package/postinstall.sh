#!/bin/sh
# Makes the user, gives it the configuration to read, and tells systemd. The
# daemon is not started: the shipped configuration pages nobody yet.
set -e

if ! getent passwd watchbill >/dev/null; then
	useradd --system --user-group --home-dir /var/lib/watchbill --no-create-home --shell /usr/sbin/nologin watchbill
fi
chgrp watchbill /etc/watchbill /etc/watchbill/watchbill.yaml
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	# After an upgrade, go on with the new binary.
	if [ "$1" = configure ] && [ -n "$2" ]; then
		systemctl try-restart watchbill.service
	fi
fi
