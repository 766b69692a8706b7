#!/bin/sh
# Process 1 of the guests without systemd: makes the machine that the tests expect, and runs the job.
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /dev/pts /dev/shm /dev/mqueue
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t mqueue mqueue /dev/mqueue
mount -t securityfs securityfs /sys/kernel/security
. /loam/cgroups
hostname guest
ip link set lo up
sh /loam/run
sleep 60
