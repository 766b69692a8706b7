# Control groups of version 2: one tree with all controllers, handed down by its root.
mount -t cgroup2 -o nsdelegate cgroup2 /sys/fs/cgroup
# Processes may only be in the leaves of a tree that hands controllers down.
mkdir /sys/fs/cgroup/init
echo $$ >/sys/fs/cgroup/init/cgroup.procs
for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
  echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control
done
# Devices are guarded from the beginning to the end, by a program that allows all: a kernel that begins or ends to guard them
# patches itself, which an emulated one does not always survive (`Oops: int3`). bpf(2): BPF_PROG_LOAD of a
# BPF_PROG_TYPE_CGROUP_DEVICE that returns 1, BPF_PROG_ATTACH as BPF_CGROUP_DEVICE with BPF_F_ALLOW_MULTI.
perl -e '
  my ($code, $license) = (pack("CCsl CCsl", 0xb7, 0, 0, 1, 0x95, 0, 0, 0), "Apache-2.0\0");
  my $load = pack("LLPPLLQLL", 15, 2, $code, $license, 0, 0, 0, 0, 0);
  my $program = syscall(321, 5, $load, length $load);
  open(my $group, "<", "/sys/fs/cgroup/init") && $program >= 0 or die "no program for devices: $!\n";
  my $attach = pack("LLLL", fileno $group, $program, 6, 2);
  syscall(321, 8, $attach, length $attach) == 0 or die "no program for devices: $!\n";
'
