//! `./x demo`: the main job, shown step by step in a state directory and a network namespace of its own, so that
//! nothing is left behind and nothing of the machine's is touched.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use crate::packages::{self, DEMO, RUN};
use crate::programs::{self, Profile};
use crate::shell::{is_root, note, output, print};

/// One step: a sentence, then a shell command line.
struct Step {
    sentence: &'static str,
    line: &'static str,
}

const fn step(sentence: &'static str, line: &'static str) -> Step {
    Step { sentence, line }
}

const TOUR: &[Step] = &[
    step(
        "A first container, from the image that the program carries: it prints what it sees of itself.",
        "loam run --rm hello",
    ),
    step(
        "The same program as a web server, in the background, with its port 80 published as the host's 8080.",
        "loam run -d --name web -p 8080:80 -m 64m --cpus 0.5 hello serve",
    ),
    step(
        "It answers on the host.",
        "curl --silent --show-error --max-time 10 http://127.0.0.1:8080/ | head -n 12",
    ),
    step("The containers that run.", "loam ps"),
    step(
        "A second process inside the first one's namespaces and limits.",
        "loam exec web /hello | head -n 12",
    ),
    step("What it wrote, kept in a log.", "loam logs web"),
    step("What the kernel counts for it.", "loam stats --no-stream web"),
    step(
        "A root file system of one's own: Debian's static busybox, packed by tar, becomes an image.",
        "tar -C $DEMO_ROOTFS -c . | loam import - busybox && loam images",
    ),
    step(
        "A shell in it, with a terminal: root inside is an ordinary number outside.",
        "loam run --rm -t busybox sh -c 'id; cat /proc/self/uid_map; ip -brief addr 2>/dev/null || ip addr show eth0'",
    ),
    step(
        "The exit code is the process's own.",
        "loam run --rm busybox sh -c 'exit 42'; echo \"exit code $?\"",
    ),
    step("A mistake gets one sentence.", "loam run --rm busybox no-such-program; echo \"exit code $?\""),
    step("Stop and remove.", "loam stop web && loam rm web && loam ps -a"),
];

/// Builds what is needed and shows the tour.
pub(crate) fn demo(_arguments: &[String]) -> Result<()> {
    packages::require(&[RUN, DEMO])?;
    note("building the release programs; the first time this takes 5 to 15 minutes on two processors");
    let programs = programs::build(Profile::Release)?;
    if !is_root() {
        bail!("the programs are in {}; running containers needs root: sudo ./x demo", programs.display());
    }
    let state = output(Command::new("mktemp").args(["--directory", "--tmpdir", "loam-demo.XXXXXX"]))?;
    let state = Path::new(state.trim());
    let shown = show(&programs, state);
    let cleaned = remove(state);
    shown?;
    cleaned?;
    print("\nThat was the tour; nothing of it is left. `loam --help` tells what else there is.\n")
}

fn show(programs: &Path, state: &Path) -> Result<()> {
    let rootfs = state.join("rootfs");
    std::fs::create_dir_all(rootfs.join("bin"))?;
    for directory in ["etc", "proc", "sys", "dev", "tmp", "root"] {
        std::fs::create_dir(rootfs.join(directory))?;
    }
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
    std::fs::copy(busybox.context("Debian's busybox-static has no busybox")?, rootfs.join("bin/busybox"))?;
    link_applets(&rootfs)?;

    // One script for all steps, because the namespaces end with the process that entered them.
    let mut script = String::from("set -u\nip link set lo up 2>/dev/null || true\n");
    for Step { sentence, line } in TOUR {
        script.push_str(&format!(
            "printf '\\n\\033[1m# %s\\033[0m\\n$ %s\\n' {} {}\n",
            quote(sentence),
            quote(line)
        ));
        script.push_str(&format!("{line} || {{ echo \"the demo stopped here\" >&2; exit 1; }}\n"));
    }
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default());
    let status = Command::new("unshare")
        .args(["--net", "--mount", "--propagation", "slave", "sh", "-c", &script])
        .env("PATH", path)
        .env("LOAM_ROOT", state.join("state"))
        .env("LOAM_RUN", state.join("run"))
        .env("DEMO_ROOTFS", &rootfs)
        .stdin(Stdio::null())
        .status()
        .context("`unshare` (Debian package util-linux) can't be run")?;
    ensure!(status.success(), "the demo failed: {status}");
    Ok(())
}

/// Makes a name in `bin` for each of busybox's programs.
fn link_applets(rootfs: &Path) -> Result<()> {
    let list = output(Command::new(rootfs.join("bin/busybox")).arg("--list"))?;
    for applet in list.lines().filter(|applet| *applet != "busybox") {
        let link = rootfs.join("bin").join(applet);
        if !link.is_symlink() {
            std::os::unix::fs::symlink("busybox", link)?;
        }
    }
    Ok(())
}

fn remove(state: &Path) -> Result<()> {
    std::fs::remove_dir_all(state).with_context(|| format!("`{}` can't be removed", state.display()))
}

fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
