//! The default profile, in the language of apparmor.d(5).
//!
//! It allows whatever capabilities, seccomp and namespaces allow, but for what reaches past a container when one of
//! those is loosened: the kernel's own switches in `/proc` and `/sys`, mounts, and processes that are no container's. It
//! includes no file of the host's, so that it is the same everywhere; what the running kernel does not mediate, the
//! parser leaves out.

/// The profile's name.
pub const DEFAULT_PROFILE: &str = "loam-default";

/// Counted up with every change of the text, so that a host that has an older one loaded gets the new one.
const REVISION: u32 = 1;

/// The name of an empty profile within it, by which the loaded text is known.
pub(super) fn revision() -> String {
    format!("{DEFAULT_PROFILE}//revision-{REVISION}")
}

/// The profile's text.
pub(super) fn text() -> String {
    RULES.replace("NAME", DEFAULT_PROFILE).replace("REVISION", &REVISION.to_string())
}

/// The rules. The container's files lie in mounts that are nowhere in the host's tree (`attach_disconnected`), and may be
/// deleted while they are open (`mediate_deleted`).
const RULES: &str = "\
profile NAME flags=(attach_disconnected,mediate_deleted) {
  # Rights come from capabilities and namespaces.
  capability,
  file,
  network,
  unix,

  # Signals: among the container's own, and from whoever runs it.
  signal (send,receive) peer=NAME,
  signal (receive) peer=unconfined,
  signal (receive) peer=crun,
  signal (receive) peer=runc,
  signal (receive) peer=loam,

  # Looking into processes: among the container's own.
  ptrace (trace,read,tracedby,readby) peer=NAME,

  # What is mounted where is settled when the container is made.
  deny mount,
  deny remount,
  deny umount,
  deny pivot_root,

  # /proc: a process's own directory may be written to, files beside them may not.
  deny /proc/* wl,
  deny /proc/[^0-9s]*/** wl,
  deny /proc/s[^y]*/** wl,
  deny /proc/sy[^s]*/** wl,
  deny /proc/sys?*/** wl,
  deny /proc/{kcore,kmem,mem,sysrq-trigger} rwklx,

  # Of the kernel's settings, those of a container's own namespaces may be changed: net, fs.mqueue, and the message
  # queues, semaphores and shared memory in kernel.
  deny /proc/sys/[^fkn]** wl,
  deny /proc/sys/fs/[^m]** wl,
  deny /proc/sys/fs/m[^q]** wl,
  deny /proc/sys/kernel/[^ms]** wl,
  deny /proc/sys/kernel/m[^s]** wl,
  deny /proc/sys/kernel/s[^eh]** wl,
  deny /proc/sys/kernel/se[^m]** wl,
  deny /proc/sys/kernel/sh[^m]** wl,

  # /sys: nothing but cgroups may be written to; firmware, tracing, power meters and security modules stay unseen.
  deny /sys/{block,bus,class,dev,devices,firmware,hypervisor,kernel,module,power}/** wkl,
  deny /sys/fs/[^c]** wkl,
  deny /sys/fs/c[^g]** wkl,
  deny /sys/firmware/** rwklx,
  deny /sys/devices/virtual/powercap/** rwklx,
  deny /sys/kernel/{debug,security,tracing}/** rwklx,

  # Says which text this is.
  profile revision-REVISION {
  }
}
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_names_the_profile_and_its_revision() {
        let text = text();
        assert!(text.starts_with("profile loam-default flags="));
        assert!(text.contains("peer=loam-default,") && text.contains("profile revision-1 {"));
        assert!(!text.contains("NAME") && !text.contains("REVISION"));
        assert_eq!(text.matches('{').count(), text.matches('}').count());
    }
}
