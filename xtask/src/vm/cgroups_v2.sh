# Control groups of version 2: one tree with all controllers, handed down by its root.
mount -t cgroup2 -o nsdelegate cgroup2 /sys/fs/cgroup
# Processes may only be in the leaves of a tree that hands controllers down.
mkdir /sys/fs/cgroup/init
echo $$ >/sys/fs/cgroup/init/cgroup.procs
for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
  echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control
done
