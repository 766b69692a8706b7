#!/bin/sh
# The first process of the guest, in the kernel's first root: finds the disks and goes on to the real root.
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs devtmpfs /dev
for module in /modules/*.ko; do $b insmod "$module"; done
tries=100
until [ -b /dev/vdd ]; do
  tries=$((tries - 1))
  [ $tries -gt 0 ] || { echo "the guest's disks did not appear"; $b poweroff -f; }
  $b sleep 0.1
done
$b mount -t ext4 -o ro,noload /dev/vda /lower
$b mount -t tmpfs -o mode=755 tmpfs /upper
$b mkdir /upper/upper /upper/work
$b mount -t overlay -o lowerdir=/lower,upperdir=/upper/upper,workdir=/upper/work overlay /root
$b mkdir -p /root/loam/programs /root/loam/fixtures
$b mount -t ext4 -o ro,noload /dev/vdb /root/loam/programs
$b mount -t ext4 -o ro,noload /dev/vdc /root/loam/fixtures
$b mount -t ext4 /dev/vdd /root/tmp
$b chmod 1777 /root/tmp
$b cp -a /files/. /root/
for mount in dev proc sys; do $b mount --move /$mount /root/$mount; done
exec $b switch_root /root $($b cat /next)
