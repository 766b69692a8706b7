//! What can be booted: a kernel, its control groups, and what runs as process 1 on it.

use anyhow::{Context as _, Result, bail, ensure};
use loam_tests::Need;

use crate::tiers::Tier;

/// A Debian kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// Bookworm's own, 6.1.
    Stable,
    /// Of bookworm-backports, 6.12.
    #[default]
    Backported,
}

impl Kernel {
    /// All there are.
    pub(super) const ALL: [Self; 2] = [Self::Backported, Self::Stable];

    /// What it is called on the command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Stable => "6.1",
            Self::Backported => "6.12",
        }
    }

    /// What it is made of.
    pub(super) fn package(self) -> &'static str {
        match self {
            Self::Stable => "linux-image-amd64",
            Self::Backported => "linux-image-amd64/bookworm-backports",
        }
    }
}

/// What the machine is like beyond its kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// A process 1 of our own, which hands all controllers of the cgroup tree down and starts nothing else.
    #[default]
    Bare,
    /// systemd as process 1, with its cgroup tree and D-Bus.
    Systemd,
    /// As bare, but with a hierarchy of version 1 for each controller.
    V1,
}

impl Flavour {
    const ALL: [Self; 3] = [Self::Bare, Self::Systemd, Self::V1];

    fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Systemd => "systemd",
            Self::V1 => "v1",
        }
    }

    /// The kernel that it has unless one is named.
    fn kernel(self) -> Kernel {
        match self {
            Self::Bare | Self::Systemd => Kernel::default(),
            Self::V1 => Kernel::Stable,
        }
    }

    /// Whether a kernel has what it needs: the backported one is built without the memory controller of version 1.
    fn runs_on(self, kernel: Kernel) -> bool {
        self != Self::V1 || kernel == Kernel::Stable
    }

    /// What tests may count on. Debian's kernel has AppArmor switched on, so it is there under either process 1. systemd
    /// hands weights of blocks down only where a unit asks for them.
    fn provides(self) -> Vec<Need> {
        let more = match self {
            Self::Bare => [Need::CgroupV2, Need::BlockWeight],
            Self::Systemd => [Need::CgroupV2, Need::Systemd],
            Self::V1 => [Need::CgroupV1, Need::BlockWeight],
        };
        COMMON.into_iter().chain(more).collect()
    }
}

/// What every guest has.
const COMMON: [Need; 12] = [
    Need::Swap,
    Need::BlockDevice,
    Need::HugePages,
    Need::XfsProjectQuota,
    Need::Ext4ProjectQuota,
    Need::Btrfs,
    Need::AppArmor,
    Need::DummyLinks,
    Need::IpvlanLinks,
    Need::VlanLinks,
    Need::VrfLinks,
    Need::VlanBridges,
];

/// A machine to boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    pub(super) kernel: Kernel,
    pub(super) flavour: Flavour,
}

impl Target {
    /// All tiers of guests, the one that `./x test` passes first.
    pub(crate) const ALL: [Self; 4] = [
        Self { kernel: Kernel::Backported, flavour: Flavour::Bare },
        Self { kernel: Kernel::Backported, flavour: Flavour::Systemd },
        Self { kernel: Kernel::Stable, flavour: Flavour::Bare },
        Self { kernel: Kernel::Stable, flavour: Flavour::V1 },
    ];

    /// The one with this kernel and this flavour, as far as they are named.
    fn choose(kernel: Option<Kernel>, flavour: Option<Flavour>) -> Result<Self> {
        let flavour = flavour.unwrap_or_default();
        let (has, kernel) = (flavour.kernel(), kernel.unwrap_or_else(|| flavour.kernel()));
        ensure!(
            flavour.runs_on(kernel),
            "the kernel {} has no memory controller of version 1: `--flavour {}` needs `--kernel {}`",
            kernel.name(),
            flavour.name(),
            has.name()
        );
        Ok(Self { kernel, flavour })
    }

    /// What it is called, and what it offers to tests.
    pub(crate) fn tier(self) -> Tier {
        let name = format!("{} {}", self.kernel.name(), self.flavour.name());
        Tier { name, provides: self.flavour.provides() }
    }
}

/// The words of a command line.
#[derive(Debug, Default)]
pub(super) struct Options {
    /// What is to be booted.
    pub(super) target: Target,
    /// Whether every target is meant.
    pub(super) all: bool,
    /// Whether help is wanted.
    pub(super) help: bool,
    /// The other words.
    pub(super) rest: Vec<String>,
}

impl Options {
    /// Reads the words.
    pub(super) fn parse(arguments: &[String]) -> Result<Self> {
        let mut options = Self::default();
        let (mut kernel, mut flavour) = (None, None);
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--kernel" => {
                    kernel = Some(choice(word, words.next(), &Kernel::ALL, Kernel::name)?);
                }
                "--flavour" => {
                    flavour = Some(choice(word, words.next(), &Flavour::ALL, Flavour::name)?);
                }
                "--all" => options.all = true,
                "--help" | "-h" => options.help = true,
                other if other.starts_with('-') => bail!("`{other}` is not an option"),
                other => options.rest.push(other.to_owned()),
            }
        }
        if options.all && (kernel.is_some() || flavour.is_some()) {
            bail!("`--all` means every kernel and flavour, so that none can be named beside it");
        }
        options.target = Target::choose(kernel, flavour)?;
        Ok(options)
    }
}

fn choice<T: Copy>(option: &str, word: Option<&String>, all: &[T], name: fn(T) -> &'static str) -> Result<T> {
    let names = all.iter().map(|one| name(*one)).collect::<Vec<_>>().join(" or ");
    let word = word.with_context(|| format!("`{option}` needs a value: {names}"))?;
    let chosen = all.iter().copied().find(|one| name(*one) == word);
    chosen.with_context(|| format!("`{option}` is {names}, not `{word}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options> {
        Options::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn words_choose_the_target() {
        let options = parse("--kernel 6.1 --flavour systemd network run::").unwrap();
        assert_eq!(options.target, Target { kernel: Kernel::Stable, flavour: Flavour::Systemd });
        assert_eq!(options.rest, ["network", "run::"]);
        assert_eq!(parse("").unwrap().target, Target::ALL[0]);
        assert_eq!(parse("--flavour v1").unwrap().target, Target::ALL[3]);
        assert!(parse("--all exec").unwrap().all);
    }

    #[test]
    fn mistakes_are_named() {
        for (line, thing) in [
            ("--kernel", "6.12 or 6.1"),
            ("--kernel 5.10", "not `5.10`"),
            ("--flavour upstart", "bare or systemd or v1"),
            ("--kernel 6.12 --flavour v1", "`--flavour v1` needs `--kernel 6.1`"),
            ("--al", "`--al`"),
            ("--all --kernel 6.1", "`--all`"),
        ] {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.contains(thing), "{line}: {error}");
        }
    }
}
