//! The recipes: shell scripts, with the files they need, and how they are run.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::Fixture;
use crate::hostile::digest;
use crate::program;

/// Where Debian is had when the machine's own sources can't be told.
const USUAL_SOURCES: &str = "deb http://deb.debian.org/debian bookworm main";
/// The release of Debian that goes with it.
const USUAL_SUITE: &str = "bookworm";

/// A recipe: its script, and files for it by name.
pub(super) struct Recipe {
    script: &'static str,
    files: &'static [(&'static str, &'static str)],
    needs_system: bool,
}

impl Recipe {
    /// The recipe of a fixture.
    pub(super) fn of(fixture: Fixture) -> Self {
        match fixture {
            Fixture::Small => {
                Self { script: include_str!("../../recipes/small.sh"), files: &[], needs_system: false }
            }
            Fixture::Many => {
                Self { script: include_str!("../../recipes/many.sh"), files: &[], needs_system: false }
            }
            Fixture::Python => Self {
                script: include_str!("../../recipes/python.sh"),
                files: &[
                    ("server.py", include_str!("../../recipes/python/server.py")),
                    ("index.html", include_str!("../../recipes/python/index.html")),
                ],
                needs_system: true,
            },
        }
    }

    /// Names the recipe as it is: another text, another digest.
    pub(super) fn digest(&self) -> String {
        let files = self.files.iter().flat_map(|(name, text)| [*name, *text]);
        digest([self.script].into_iter().chain(files).collect::<Vec<_>>().join("\0").as_bytes())
    }

    /// Makes the layout `out`, with `work` for everything in between. Both are made.
    pub(super) fn run(&self, out: &Path, work: &Path) -> Result<()> {
        let (scratch, files) = (work.join("scratch"), work.join("files"));
        for directory in [&scratch, &files] {
            fs::create_dir_all(directory)
                .with_context(|| format!("`{}` can't be made", directory.display()))?;
        }
        for (name, text) in self.files {
            fs::write(files.join(name), text)?;
        }
        let script = work.join("recipe.sh");
        fs::write(&script, self.script)?;
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh"]).arg(&script);
        command.env("OUT", out).env("WORK", &scratch).env("RECIPE", &files);
        if self.needs_system {
            let (suite, sources) = sources();
            command.env("SUITE", suite).env("SOURCES", sources);
            if let Some(proxy) = proxy() {
                command.env("http_proxy", &proxy).env("https_proxy", proxy);
            }
        }
        program::run(&mut command).map(drop)
    }
}

/// The release that the machine has, and the lines of its sources, as apt itself reads them.
fn sources() -> (String, String) {
    let usual = || (USUAL_SUITE.to_owned(), USUAL_SOURCES.to_owned());
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let Some(suite) = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME=")) else {
        return usual();
    };
    let format = "$(REPO_URI) $(RELEASE) $(COMPONENT)";
    let Ok(targets) =
        program::words("apt-get", &["indextargets", "--format", format, "Created-By: Packages"])
    else {
        return usual();
    };
    let lines = source_lines(&targets, suite);
    if lines.is_empty() { usual() } else { (suite.to_owned(), lines.join("\n")) }
}

/// Lines of `sources.list` for a release with its updates, without backports and foreign repositories.
fn source_lines(targets: &str, suite: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for target in targets.lines() {
        let mut words = target.split(' ');
        let (Some(uri), Some(release), Some(component)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let pocket = release.strip_prefix(suite);
        let wanted =
            matches!(pocket, Some("" | "-updates" | "-security")) && matches!(component, "main" | "universe");
        let line = format!("deb {uri} {release} {component}");
        if wanted && !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines
}

/// The proxy that apt was told to use.
fn proxy() -> Option<String> {
    let told = program::words("apt-config", &["shell", "PROXY", "Acquire::http::Proxy"]).ok()?;
    let proxy = told.trim().strip_prefix("PROXY='")?.strip_suffix('\'')?;
    (!proxy.is_empty()).then(|| proxy.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_and_its_updates_are_taken() {
        let targets = "http://d.example/debian/ bookworm main\n\
                       http://d.example/debian/ bookworm main\n\
                       http://d.example/debian/ bookworm-updates main\n\
                       http://d.example/debian/ bookworm-backports main\n\
                       http://d.example/debian/ bookworm non-free\n\
                       http://foreign.example/ nodistro main\n";
        assert_eq!(
            source_lines(targets, "bookworm"),
            [
                "deb http://d.example/debian/ bookworm main",
                "deb http://d.example/debian/ bookworm-updates main"
            ]
        );
    }

    #[test]
    fn recipes_have_names_of_their_own() {
        let digests =
            [Fixture::Small, Fixture::Python, Fixture::Many].map(|fixture| Recipe::of(fixture).digest());
        assert!(digests[0] != digests[1] && digests[1] != digests[2] && digests[0] != digests[2]);
    }
}
