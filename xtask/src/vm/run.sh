#!/bin/sh
# Runs the guest's job on the first serial line, says on the second how it ended, and switches the machine off.
export PATH=/loam/programs:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TERM=${TERM:-vt100}
# The nodes of these are not there until the module is.
modprobe -a loop fuse tun
stty -F /dev/ttyS0 sane
stty -F /dev/ttyS1 raw
echo "guest: Linux $(uname -r) under $(cat /proc/1/comm), up after $(cut -d' ' -f1 /proc/uptime) s" >/dev/ttyS0
sh /loam/programs/job </dev/ttyS0 >/dev/ttyS0 2>&1
echo "ended with $?" >/dev/ttyS1
sync
echo o >/proc/sysrq-trigger
