//! Refusing wishes that make no sense, before anything is made.

use std::collections::HashSet;
use std::path::Path;

use loam_model::{
    ContainerSpec, ErrorKind, Failure, ImageConfig, Limits, MountKind, MountSpec, Network, NetworkMode,
    PortMapping, Result,
};

use crate::record::command;
use crate::signals::signal_number;

/// The longest host name that the kernel takes (sethostname(2)).
const HOSTNAME_LIMIT: usize = 64;

/// Checks what can be known from the wish, the image's part and the host's files.
pub(crate) fn check(wish: &ContainerSpec, image: &ImageConfig, network: &dyn Network) -> Result<()> {
    check_process(wish, image)?;
    check_mounts(&wish.mounts)?;
    check_limits(&wish.limits)?;
    check_network(wish, network)?;
    check_ports(&wish.ports)
}

fn invalid(message: String) -> Failure {
    Failure::new(ErrorKind::Invalid, message)
}

/// A text from outside, escaped and cut to what fits in a message.
pub(crate) fn shown(text: &str) -> String {
    text.chars()
        .take(200)
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect()
}

fn check_process(wish: &ContainerSpec, image: &ImageConfig) -> Result<()> {
    let words = command(wish, image);
    if words.first().is_none_or(String::is_empty) {
        return Err(invalid(format!("image `{}` does not say what to run", shown(&wish.image)))
            .hint("give a command"));
    }
    if let Some(word) = words.iter().chain(&wish.environment).find(|word| word.contains('\0')) {
        return Err(invalid(format!("`{}` contains a zero byte", shown(word))));
    }
    let has_key = |variable: &&String| variable.find('=').is_some_and(|index| index > 0);
    if let Some(variable) = wish.environment.iter().find(|variable| !has_key(variable)) {
        return Err(invalid(format!("environment variable `{}` is not `KEY=VALUE`", shown(variable))));
    }
    if let Some(directory) = &wish.working_directory {
        check_path("working directory", directory)?;
    }
    if let Some(hostname) = &wish.hostname {
        check_hostname(hostname)?;
    }
    let stop_signal = wish.stop_signal.as_ref().filter(|signal| signal_number(signal).is_none());
    match stop_signal {
        Some(signal) => Err(invalid(format!("no signal is called `{}`", shown(signal)))),
        None => Ok(()),
    }
}

fn check_hostname(hostname: &str) -> Result<()> {
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    if hostname.len() > HOSTNAME_LIMIT || !hostname.split('.').all(is_label) {
        return Err(invalid(format!(
            "`{}` is not a valid host name: letters, digits, `-`, `_` and `.`, at most {HOSTNAME_LIMIT}",
            shown(hostname)
        )));
    }
    Ok(())
}

fn check_path(what: &str, path: &str) -> Result<()> {
    if !path.starts_with('/') {
        return Err(invalid(format!("{what} `{}` is not an absolute path", shown(path))));
    }
    if path.contains('\0') || path.split('/').any(|component| component == "..") {
        return Err(invalid(format!("{what} `{}` contains `..` or a zero byte", shown(path))));
    }
    Ok(())
}

fn check_mounts(mounts: &[MountSpec]) -> Result<()> {
    let mut seen = HashSet::new();
    for mount in mounts {
        check_path("mount target", &mount.target)?;
        let target = mount.target.trim_end_matches('/');
        if target.is_empty() {
            return Err(invalid("nothing can be mounted over the container's root".to_owned()));
        }
        if !seen.insert(target) {
            return Err(invalid(format!("two mounts have the target `{}`", shown(target))));
        }
        if let MountKind::Bind { source, .. } = &mount.kind {
            check_source(source)?;
        }
    }
    Ok(())
}

fn check_source(source: &Path) -> Result<()> {
    let name = shown(&source.to_string_lossy());
    if !source.is_absolute() {
        return Err(invalid(format!("mount source `{name}` is not an absolute path")));
    }
    match source.metadata() {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(invalid(format!("mount source `{name}` does not exist")))
        }
        Err(error) => Err(invalid(format!("mount source `{name}` can't be used")).caused_by(error)),
    }
}

fn check_limits(limits: &Limits) -> Result<()> {
    let refuse = |text: &str| Err(invalid(text.to_owned()));
    match (limits.memory, limits.memory_swap) {
        (Some(0), _) => return refuse("a memory limit of 0 lets nothing run"),
        (None, Some(swap)) if swap != -1 => {
            return refuse("a limit of memory and swap together needs a memory limit");
        }
        (Some(memory), Some(swap)) if swap != -1 && u64::try_from(swap).is_ok_and(|swap| swap < memory) => {
            return refuse("the limit of memory and swap together is below the memory limit");
        }
        (_, Some(swap)) if swap < -1 => {
            return refuse("a limit of memory and swap is -1 or a number of bytes");
        }
        _ => {}
    }
    if limits.cpu_millis == Some(0) {
        return refuse("a limit of 0 processors lets nothing run");
    }
    if limits.cpu_shares.is_some_and(|shares| !(2..=262_144).contains(&shares)) {
        return refuse("processor shares are 2 to 262144");
    }
    if limits.pids.is_some_and(|pids| pids == 0 || pids < -1) {
        return refuse("a limit on processes is -1 or at least 1");
    }
    if limits.oom_score_adjust.is_some_and(|score| !(-1000..=1000).contains(&score)) {
        return refuse("an out-of-memory score is -1000 to 1000");
    }
    match limits.rlimits.iter().find(|(_, (soft, hard))| soft > hard) {
        Some((name, _)) => Err(invalid(format!("the soft limit of `{}` is above the hard one", shown(name)))),
        None => Ok(()),
    }
}

fn check_network(wish: &ContainerSpec, network: &dyn Network) -> Result<()> {
    let without_ports = |mode: &str| match wish.ports.is_empty() {
        true => Ok(()),
        false => Err(invalid(format!("ports can't be published with the network `{mode}`"))
            .hint("leave out the ports, or choose another network")),
    };
    match &wish.network {
        NetworkMode::Host => without_ports("host"),
        NetworkMode::None => without_ports("none"),
        NetworkMode::Networks(names) if names.is_empty() => {
            Err(invalid("no network is named".to_owned()).hint("`none` is a network without interfaces"))
        }
        NetworkMode::Networks(names) => {
            let mut seen = HashSet::new();
            for name in names {
                if !seen.insert(name) {
                    return Err(invalid(format!("the network `{name}` is named twice")));
                }
                if !network.exists(name)? {
                    return Err(Failure::new(ErrorKind::NotFound, format!("no network `{name}`")));
                }
            }
            Ok(())
        }
    }
}

fn check_ports(ports: &[PortMapping]) -> Result<()> {
    for (index, port) in ports.iter().enumerate() {
        if port.container_port == 0 {
            return Err(invalid("a container's port is 1 to 65535".to_owned()));
        }
        let clashes = |other: &PortMapping| {
            let addresses = (other.host_address, port.host_address);
            let meet = match addresses {
                (Some(one), Some(two)) => one == two,
                _ => true,
            };
            other.host_port == port.host_port && other.protocol == port.protocol && meet
        };
        if port.host_port != 0 && ports[..index].iter().any(clashes) {
            return Err(invalid(format!(
                "host port {}/{} is published twice",
                port.host_port,
                port.protocol.as_str()
            )));
        }
    }
    Ok(())
}
