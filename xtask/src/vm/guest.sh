#!/bin/sh
# Process 1 of the guest: makes the machine that the tests expect, runs the job, says how it ended, and switches off.
export PATH=/loam/programs:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TERM=${TERM:-vt100}
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /dev/pts /dev/shm /dev/mqueue
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t mqueue mqueue /dev/mqueue
mount -t securityfs securityfs /sys/kernel/security
mount -t cgroup2 -o nsdelegate cgroup2 /sys/fs/cgroup
# Processes may only be in the leaves of a tree that hands controllers down.
mkdir /sys/fs/cgroup/init
echo $$ >/sys/fs/cgroup/init/cgroup.procs
for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
  echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control
done
# The nodes of these are not there until the module is.
modprobe -a loop fuse tun
chmod 1777 /tmp
hostname guest
ip link set lo up
stty -F /dev/ttyS0 sane
echo "guest: Linux $(uname -r), up after $(cut -d' ' -f1 /proc/uptime) s"
sh /loam/programs/job </dev/ttyS0 >/dev/ttyS0 2>&1
echo "ended with $?" >/dev/ttyS1
sync
echo o >/proc/sysrq-trigger
sleep 60
