# Control groups of version 1: each controller that the kernel has for it in a hierarchy of its own, one that only tracks, and
# beside them version 2, for which no controller is left.
# Without this scheduler version 1 has no weights of block devices.
modprobe bfq
mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
# The first line is a heading; of the columns the first is the controller's name and the last whether it is switched on.
sed 1d /proc/cgroups | while read -r controller _ _ enabled; do
  [ "$enabled" = 1 ] || continue
  mkdir "/sys/fs/cgroup/$controller"
  mount -t cgroup -o "$controller" cgroup "/sys/fs/cgroup/$controller"
done
mkdir /sys/fs/cgroup/systemd /sys/fs/cgroup/unified
mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified
