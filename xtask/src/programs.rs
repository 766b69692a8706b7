//! Building Loam's programs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::shell::{output, print, run, workspace};

/// Loam's programs.
pub(crate) const PROGRAMS: [&str; 4] = ["loam", "loam-shim", "loam-cni", "loam-unpack"];

/// How a program is linked for people (docs/decisions/0024-linking.md).
struct Linking {
    package: &'static str,
    program: &'static str,
    /// Whether it does without shared libraries: it starts a millisecond earlier and has fewer pages of its own.
    without_libraries: bool,
    /// Whether it lies at a fixed address, so that nothing of it is changed and copied when it starts.
    fixed: bool,
}

const RELEASED: [Linking; 4] = [
    // It looks names up by the C library's modules.
    Linking { package: "loam", program: "loam", without_libraries: false, fixed: true },
    Linking { package: "loam-cni", program: "loam-cni", without_libraries: true, fixed: true },
    // These two live beside what is strange to them.
    Linking { package: "loam-shim", program: "loam-shim", without_libraries: true, fixed: false },
    Linking { package: "loam-unpack", program: "loam-unpack", without_libraries: true, fixed: false },
];

/// How the programs are built.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Profile {
    /// For tests.
    Dev,
    /// For people.
    Release,
}

/// Builds all programs and gives the directory that they lie in.
pub(crate) fn build(profile: Profile) -> Result<PathBuf> {
    let directory = target_directory();
    match profile {
        // Everything at once, so that the tests that follow find all of it built with the same features.
        Profile::Dev => {
            run(cargo().args(["build", "--quiet", "--locked", "--workspace", "--all-targets"]))?;
            Ok(directory.join("debug"))
        }
        Profile::Release => {
            let libraries = static_libraries();
            for helper in &RELEASED {
                let mut cargo = cargo();
                // Not quiet: the first time it takes minutes, and a person wants to see that it goes on.
                cargo.args([
                    "rustc",
                    "--locked",
                    "--release",
                    "-p",
                    helper.package,
                    "--bin",
                    helper.program,
                    "--",
                ]);
                if helper.fixed {
                    cargo.args(["-C", "relocation-model=static"]);
                }
                // What unwinds stacks need not be looked for at each start.
                if !helper.without_libraries && has_archive("libgcc_eh.a") {
                    cargo.args(["-l", "static:-bundle=gcc_eh"]);
                }
                if let Some(libraries) = &libraries {
                    cargo.env("LIBSECCOMP_LINK_TYPE", "static").env("LIBSECCOMP_LIB_PATH", libraries);
                    if helper.without_libraries {
                        cargo.args(["-C", "target-feature=+crt-static"]);
                    }
                }
                run(&mut cargo)?;
            }
            Ok(directory.join("release"))
        }
    }
}

/// Where the archives of the C library and of libseccomp lie, when this machine has both. Some distributions keep them in
/// packages of their own; a shim with shared libraries does the same.
fn static_libraries() -> Option<String> {
    let directory = output(Command::new("pkg-config").args(["--variable=libdir", "libseccomp"])).ok()?;
    let directory = directory.trim();
    let both = has_archive("libc.a") && Path::new(directory).join("libseccomp.a").is_file();
    both.then(|| directory.to_owned())
}

/// Whether the C compiler finds an archive.
fn has_archive(name: &str) -> bool {
    // It prints the bare name of what it does not find.
    output(Command::new("cc").arg(format!("-print-file-name={name}")))
        .is_ok_and(|path| Path::new(path.trim()).is_absolute())
}

/// What a tier tests.
pub(crate) struct Build {
    /// The directory of Loam's programs.
    pub(crate) programs: PathBuf,
    /// The end-to-end tests' program.
    pub(crate) tests: PathBuf,
    /// The digest of all of them.
    pub(crate) digest: String,
}

impl Build {
    /// Builds the programs and the end-to-end tests.
    pub(crate) fn make() -> Result<Self> {
        let programs = build(Profile::Dev)?;
        let tests = end_to_end_tests()?;
        let files = PROGRAMS.map(|name| programs.join(name));
        let mut sum = Command::new("sh");
        sum.args(["-c", "cat \"$@\" | sha256sum", "sh"]).args(files).arg(&tests);
        let sum = output(&mut sum)?;
        let digest = sum.split_whitespace().next().context("`sha256sum` printed nothing")?.to_owned();
        Ok(Self { programs, tests, digest })
    }

    /// The names of the end-to-end tests that have one of these words in them.
    pub(crate) fn list(&self, filters: &[String]) -> Result<Vec<String>> {
        let list = output(Command::new(&self.tests).args(["--list", "--format", "terse"]).args(filters))?;
        Ok(list.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
    }
}

/// Builds the end-to-end tests as [`build`] does for tests, and gives the program.
fn end_to_end_tests() -> Result<PathBuf> {
    let messages = output(cargo().args([
        "test",
        "--quiet",
        "--locked",
        "--workspace",
        "--test",
        "e2e",
        "--no-run",
        "--message-format",
        "json",
    ]))?;
    let program = messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_it = message["target"]["name"] == "e2e" && message["profile"]["test"] == true;
        message["executable"].as_str().filter(|_| is_it).map(PathBuf::from)
    });
    program.context("cargo built no end-to-end tests")
}

/// Builds the floor that benchmarks measure against, beside the release programs.
pub(crate) fn build_floor() -> Result<()> {
    run(cargo().args(["build", "--quiet", "--locked", "--release", "-p", "loam-floor"]))
}

/// `./x build`.
pub(crate) fn build_release(_arguments: &[String]) -> Result<()> {
    let directory = build(Profile::Release)?;
    print(&format!("{}\n", directory.join("loam").display()))
}

/// Cargo, in the workspace.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
    cargo.current_dir(workspace());
    cargo
}

/// Where cargo builds.
pub(crate) fn target_directory() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}
