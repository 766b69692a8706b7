//! A place of its own for one engine: mount, network and cgroup namespaces, a cgroup that the kernel counts CPU time
//! for, and a directory on a fresh journalled file system.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::runner::{Answer, Request};
use crate::shell::{output, run};

/// A journalled file system in a loop file, unmounted and deleted at the end.
pub(crate) struct Disk {
    file: PathBuf,
    /// Where it is mounted.
    pub(crate) mount: PathBuf,
}

impl Disk {
    /// Makes and mounts it. Sparse: it takes what is written to it.
    pub(crate) fn make(directory: &Path) -> Result<Self> {
        let disk = Self { file: directory.join("disk.img"), mount: directory.join("disk") };
        std::fs::create_dir_all(&disk.mount)?;
        std::fs::File::create(&disk.file)?.set_len(24 << 30)?;
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&disk.file))?;
        run(Command::new("mount").args(["-o", "loop"]).arg(&disk.file).arg(&disk.mount))?;
        Ok(disk)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = run(Command::new("umount").args(["--lazy", "--recursive"]).arg(&self.mount));
        if unmounted.and_then(|()| Ok(std::fs::remove_file(&self.file)?)).is_err() {
            crate::shell::note(&format!("`{}` was left behind", self.file.display()));
        }
    }
}

/// An engine's place.
pub(crate) struct Arena {
    /// Its directory.
    pub(crate) state: PathBuf,
    cgroups: Vec<PathBuf>,
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
        let cgroups = make_cgroups(&name)?;
        let join: String =
            cgroups.iter().map(|dir| format!("echo $$ > '{}/cgroup.procs'\n", dir.display())).collect();
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
        let limit = Instant::now() + Duration::from_secs(5);
        let mut last = self.cpu_us()?;
        let mut quiet = 0;
        while quiet < 3 && Instant::now() < limit {
            std::thread::sleep(Duration::from_millis(10));
            let now = self.cpu_us()?;
            quiet = if now.saturating_sub(last) < 60 { quiet + 1 } else { 0 };
            last = now;
        }
        Ok(last)
    }

    fn cpu_us(&self) -> Result<u64> {
        for cgroup in &self.cgroups {
            if let Ok(text) = std::fs::read_to_string(cgroup.join("cpuacct.usage")) {
                return Ok(text.trim().parse::<u64>()? / 1000);
            }
            if let Ok(text) = std::fs::read_to_string(cgroup.join("cpu.stat"))
                && let Some(usage) = text.lines().find_map(|line| line.strip_prefix("usage_usec "))
            {
                return Ok(usage.trim().parse()?);
            }
        }
        anyhow::bail!("the kernel counts no CPU time for cgroups here")
    }

    /// Ids of all processes in the arena.
    pub(crate) fn pids(&self) -> Vec<u32> {
        fn collect(directory: &Path, pids: &mut Vec<u32>) {
            let text = std::fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
            pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
            for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
                if entry.path().is_dir() {
                    collect(&entry.path(), pids);
                }
            }
        }
        let mut pids = Vec::new();
        if let Some(cgroup) = self.cgroups.iter().find(|dir| dir.join("cgroup.procs").exists()) {
            collect(cgroup, &mut pids);
        }
        pids.sort_unstable();
        pids.dedup();
        pids
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        drop(self.runner.stdin.take());
        let ended = self.runner.wait().is_ok();
        for child in &mut self.beside {
            let _gone = ended && child.kill().and_then(|()| child.wait()).is_ok();
        }
        // What an engine left running is in the arena's cgroups and nowhere else.
        let limit = Instant::now() + Duration::from_secs(10);
        while !self.pids().is_empty() && Instant::now() < limit {
            for pid in self.pids() {
                let _killed = output(Command::new("kill").args(["-9", &pid.to_string()])).is_ok();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        for cgroup in &self.cgroups {
            remove_cgroups(cgroup);
            let _shared_with_others = cgroup.parent().map(std::fs::remove_dir);
        }
    }
}

fn remove_cgroups(directory: &Path) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove_cgroups(&entry.path());
        }
    }
    let _still_used = std::fs::remove_dir(directory).is_err();
}

/// Makes a cgroup of this name in every hierarchy below `/sys/fs/cgroup`.
fn make_cgroups(name: &str) -> Result<Vec<PathBuf>> {
    let root = Path::new("/sys/fs/cgroup");
    if root.join("cgroup.controllers").exists() {
        let directory = root.join(name);
        std::fs::create_dir_all(&directory)?;
        return Ok(vec![directory]);
    }
    let mut made = Vec::new();
    for hierarchy in std::fs::read_dir(root)? {
        let hierarchy = hierarchy?.path();
        if !hierarchy.join("cgroup.procs").exists() || hierarchy.join("cgroup.controllers").exists() {
            continue;
        }
        let mut directory = hierarchy.clone();
        for part in name.split('/') {
            // A new cpuset has no processors until it is given some.
            let parent = directory.clone();
            directory.push(part);
            std::fs::create_dir_all(&directory)?;
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if let Ok(value) = std::fs::read(parent.join(file)) {
                    std::fs::write(directory.join(file), value)?;
                }
            }
        }
        made.push(directory);
    }
    Ok(made)
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
