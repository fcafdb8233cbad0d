#!/bin/sh
# Stops the daemon when the package goes, not when it is replaced. What it wrote
# under /var/lib/watchbill stays.
set -e

if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
	systemctl disable --now watchbill.service
fi
