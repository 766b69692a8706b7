//! Lines of flags, and the specs that they make.

use clap::Parser;

use super::*;

#[derive(Parser)]
#[command(disable_help_flag = true)]
struct Line {
    #[command(flatten)]
    flags: ContainerFlags,
}

fn spec(line: &[&str]) -> ContainerSpec {
    let line = Line::try_parse_from([&["run"], line].concat()).expect("parses");
    line.flags.spec().expect("makes sense")
}

#[test]
fn flags_after_the_image_belong_to_the_command() {
    let spec = spec(&["-it", "--rm", "debian", "ls", "-l", "--rm", "-h"]);
    assert_eq!(spec.image, "debian");
    assert_eq!(spec.command, Some(["ls", "-l", "--rm", "-h"].map(str::to_owned).to_vec()));
    assert!(spec.terminal && spec.open_stdin && spec.auto_remove);
    let spec = self::spec(&["hello", "--flag"]);
    assert_eq!(spec.command, Some(vec!["--flag".to_owned()]));
    assert_eq!(self::spec(&["hello"]).command, None);
}

#[test]
fn flags_make_a_spec() {
    let spec = spec(&[
        "-h",
        "box",
        "-m",
        "64m",
        "--cpus",
        "1.5",
        "--pids-limit=-1",
        "--memory-swap",
        "-1",
        "-p",
        "8080:80",
        "-p",
        "90-91",
        "-l",
        "a=b",
        "--ulimit",
        "nofile=1:2",
        "--oom-score-adj",
        "-5",
        "--storage-opt",
        "size=1g",
        "--entrypoint",
        "",
        "--userns",
        "host",
        "--net",
        "none",
        "--security-opt",
        "no-new-privileges:false",
        "--init",
        "x",
    ]);
    assert_eq!(spec.hostname.as_deref(), Some("box"));
    assert_eq!((spec.limits.memory, spec.limits.memory_swap), (Some(64 << 20), Some(-1)));
    assert_eq!((spec.limits.cpu_millis, spec.limits.pids), (Some(1500), Some(-1)));
    assert_eq!((spec.limits.oom_score_adjust, spec.limits.disk), (Some(-5), Some(1 << 30)));
    assert_eq!(spec.limits.rlimits["nofile"], (1, 2));
    assert_eq!(spec.ports.iter().map(|port| port.container_port).collect::<Vec<_>>(), [80, 90, 91]);
    assert_eq!(spec.labels["a"], "b");
    assert_eq!(spec.entrypoint, Some(vec![]));
    assert_eq!(spec.user_namespace, UserNamespace::Host);
    assert_eq!(spec.network, loam_model::NetworkMode::None);
    assert!(spec.init && spec.security.allow_new_privileges);
}

#[test]
fn memory_may_be_without_limit() {
    let line = ["-m", "-1", "--memory-swap", "-1", "x"];
    let limits = spec(&line).limits;
    assert_eq!((limits.memory, limits.memory_swap), (None, Some(-1)));
    assert!(Line::try_parse_from(["run", "-m", "--rm", "x"]).is_err(), "a flag is no size");
}

#[test]
fn capabilities_are_dropped_before_they_are_added_when_all_are_dropped() {
    use loam_model::CapabilityChange::{Add, Drop};
    let changes = |line: &[&str]| spec(&[line, &["x"]].concat()).security.capabilities;
    let (all, chown) = ("ALL".to_owned(), "CHOWN".to_owned());
    let line = ["--cap-add", "chown", "--cap-drop", "all"];
    assert_eq!(changes(&line), [Drop(all.clone()), Add(chown.clone())]);
    assert_eq!(changes(&["--cap-drop", "chown", "--cap-add", "all"]), [Add(all), Drop(chown)]);
}

#[test]
fn exposed_ports_are_published_once() {
    let line = Line::try_parse_from(["run", "-P", "-p", "8080:80", "x"]).expect("parses");
    let mut spec = line.flags.spec().expect("makes sense");
    let exposed_ports = ["80/tcp", "53/udp"].map(str::to_owned).to_vec();
    let image = ImageConfig { exposed_ports, ..ImageConfig::default() };
    line.flags.complete(&mut spec, &image).expect("valid ports");
    let ports: Vec<_> = spec.ports.iter().map(|port| (port.host_port, port.container_port)).collect();
    assert_eq!(ports, [(8080, 80), (0, 53)]);
}

#[test]
fn a_bad_volume_is_named() {
    let line = Line::try_parse_from(["run", "-v", "data:/x", "x"]).expect("parses");
    let failure = line.flags.spec().expect_err("no named volumes");
    assert!(
        failure.to_string().starts_with("`--volume data:/x` can't be used: the source `data`"),
        "{failure}"
    );
}
