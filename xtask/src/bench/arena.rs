//! A place of its own for one engine: mount, network and cgroup namespaces, a cgroup that the kernel counts CPU time
//! for, and a directory on a fresh journalled file system.

mod cgroups;
mod disk;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::runner::{Answer, Request};
use cgroups::Cgroups;
pub(crate) use disk::Disk;

/// An engine's place.
pub(crate) struct Arena {
    /// Its directory.
    pub(crate) state: PathBuf,
    cgroups: Cgroups,
    runner: Child,
    answers: BufReader<ChildStdout>,
    beside: Vec<Child>,
}

impl Arena {
    /// Makes the place of an engine and starts the runner in it.
    pub(crate) fn make(engine: &str, disk: &Path) -> Result<Self> {
        let state = disk.join(engine);
        for directory in ["run", "cni", "addresses", "containers"] {
            std::fs::create_dir_all(state.join(directory))?;
        }
        let name = format!("loam-bench-{}/{engine}", std::process::id());
        let cgroups = Cgroups::make(&name)?;
        let join = cgroups.joining();
        let script = format!(
            "{join}exec unshare --mount --net --cgroup --propagation private sh -c '{INSIDE}' sh \"$@\""
        );
        let myself = std::env::current_exe()?;
        let mut runner = Command::new("sh")
            .args(["-c", &script, "sh"])
            .arg(&state)
            .arg(myself)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("the runner can't be started")?;
        let answers = BufReader::new(runner.stdout.take().context("the runner has an output")?);
        let mut arena = Self { state, cgroups, runner, answers, beside: Vec::new() };
        arena.sh("true")?;
        Ok(arena)
    }

    /// Runs a shell command line in the arena; it has to succeed.
    pub(crate) fn sh(&mut self, line: &str) -> Result<Answer> {
        let answer = self.ask(&Request {
            argv: vec!["sh".into(), "-c".into(), line.into()],
            parallel: 1,
            total: 1,
            background: false,
        })?;
        ensure!(answer.code == 0, "`{line}` failed with {}: {}", answer.code, answer.output.trim());
        Ok(answer)
    }

    /// Starts a daemon in the arena; it is ended with the arena.
    pub(crate) fn daemon(&mut self, argv: &[String]) -> Result<()> {
        self.ask(&Request { argv: argv.to_vec(), parallel: 1, total: 1, background: true }).map(drop)
    }

    /// Starts a process in the arena's network, outside of its cgroup, such as the registry that it pulls from.
    pub(crate) fn beside(&mut self, argv: &[String]) -> Result<()> {
        let namespaces = format!("/proc/{}/ns/net", self.runner.id());
        let child = Command::new("nsenter")
            .arg(format!("--net={namespaces}"))
            .arg("--")
            .args(argv)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        self.beside.push(child);
        Ok(())
    }

    /// Runs a command and waits for it.
    pub(crate) fn ask(&mut self, request: &Request) -> Result<Answer> {
        let stdin = self.runner.stdin.as_mut().context("the runner has an input")?;
        writeln!(stdin, "{}", serde_json::to_string(request)?)?;
        stdin.flush()?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        serde_json::from_str(&line)
            .with_context(|| format!("the runner ended while it ran {:?}", request.argv))
    }

    /// CPU time so far in microseconds, when nothing in the arena has used any for 30 ms.
    pub(crate) fn settled_cpu_us(&self) -> Result<u64> {
        self.cgroups.settled_cpu_us()
    }

    /// Ids of all processes in the arena.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.cgroups.pids()
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        drop(self.runner.stdin.take());
        let ended = self.runner.wait().is_ok();
        for child in &mut self.beside {
            let _gone = ended && child.kill().and_then(|()| child.wait()).is_ok();
        }
        self.cgroups.end();
    }
}

/// What happens inside the namespaces before the runner starts: the cgroup hierarchies are mounted again, so that the
/// arena's cgroup is their root, without an empty unified tree beside them (some peers refuse it); `/etc/cni`, `/etc/containers`
/// and `/var/lib/cni` are the arena's own, and so is `/run`, in memory as it is on every machine.
const INSIDE: &str = r#"
set -e
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  umount -R /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup
else
  hierarchies=$(cut -d: -f2 /proc/self/cgroup | grep .)
  umount -R /sys/fs/cgroup
  mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
  for options in $hierarchies; do
    name=${options#name=}
    mkdir "/sys/fs/cgroup/$name"
    case $options in name=*) mount -t cgroup -o "none,$options" cgroup "/sys/fs/cgroup/$name";; *) mount -t cgroup -o "$options" cgroup "/sys/fs/cgroup/$name";; esac
  done
fi
ip link set lo up
mount -t tmpfs -o mode=755,size=1g tmpfs "$1/run"
mount --bind "$1/run" /run
mkdir -p /etc/cni /etc/containers /var/lib/cni
mount --bind "$1/cni" /etc/cni
mount --bind "$1/addresses" /var/lib/cni
mount --bind "$1/containers" /etc/containers
exec "$2" bench-runner
"#;
