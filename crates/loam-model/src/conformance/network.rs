//! The suite of the network seam: what [`Network`] and [`NetworkRules`] promise, whoever keeps the promise.
//!
//! What comes in: a [`Ground`], which makes containers and says what is left of them. Each of the [`CASES`] begins and ends
//! with nothing attached.

mod attaching;
mod ports;
mod rules;
mod themselves;

use std::fmt::Debug;
use std::path::PathBuf;

use crate::{
    AttachExtras, AttachRequest, Attachment, ConnectRequest, ContainerId, DetachRequest, ErrorKind, Network,
    NetworkChoice, NetworkName, NetworkRules, PortMapping, Result,
};

/// A container that can be attached. It ends with this, and its network namespace with it.
pub trait Container: Debug + Send {
    /// A path to its network namespace.
    fn namespace(&self) -> PathBuf;
}

/// An implementation and the machine that it stands on.
pub trait Ground: Sync {
    /// The implementation.
    fn network(&self) -> &dyn Network;

    /// The rules of attached containers, if the implementation has them.
    fn rules(&self) -> Option<&dyn NetworkRules>;

    /// Two networks that one container can be on at once.
    fn names(&self) -> [NetworkName; 2];

    /// Starts a container.
    fn container(&self) -> Box<dyn Container>;

    /// What a host port that another container has is refused with on the first network: what the seam says, unless whoever
    /// publishes there has no word for it.
    fn taken_port(&self) -> ErrorKind {
        ErrorKind::AlreadyExists
    }

    /// Fails when anything is left of containers that were detached.
    fn assert_nothing_left(&self, when: &str);
}

/// A case: its name, and what it does.
pub type Case = (&'static str, fn(&dyn Ground));

/// All cases.
pub const CASES: &[Case] = &[
    ("a container is attached, known, checked and detached", attaching::comes_and_goes),
    ("what was never attached is detached", attaching::was_never_there),
    ("a container whose namespace is gone is detached, and lives again", attaching::lost_its_namespace),
    ("an attachment that fails leaves nothing", attaching::fails),
    ("a container is on one network more, and on one less", attaching::moves),
    ("containers come and go at once", attaching::at_once),
    ("host ports have one owner", ports::have_one_owner),
    ("free host ports are chosen", ports::are_chosen),
    ("networks are made, described and removed", themselves::are_made),
    ("a network that is in use stays", themselves::stay_in_use),
    ("what is attached is no garbage", themselves::are_collected),
    ("rules are set for who is attached, and end with that", rules::end_with_the_attachment),
    ("rules that can't be are refused", rules::are_refused),
];

/// Puts an implementation through all cases.
pub fn run(ground: &dyn Ground) {
    for (name, case) in CASES {
        case(ground);
        assert_eq!(ground.network().attached().expect("readable"), [], "{name}");
        ground.assert_nothing_left(name);
    }
}

fn id(number: u8) -> ContainerId {
    ContainerId::from_random([number; 32])
}

fn missing() -> NetworkName {
    "missing".parse().expect("a name")
}

/// Attaches a container to networks, with ports.
fn attach(
    ground: &dyn Ground,
    container: &ContainerId,
    at: &dyn Container,
    networks: &[NetworkName],
    ports: &[PortMapping],
) -> Result<Attachment> {
    let choices: Vec<NetworkChoice> = networks.iter().cloned().map(NetworkChoice::from).collect();
    ground.network().attach(&AttachRequest {
        container,
        name: "suite",
        namespace: at.namespace(),
        networks: &choices,
        ports,
        extras: AttachExtras::default(),
    })
}

fn connect(
    ground: &dyn Ground,
    container: &ContainerId,
    at: &dyn Container,
    network: &NetworkName,
) -> Result<Attachment> {
    ground.network().connect(&ConnectRequest {
        container,
        name: "suite",
        namespace: at.namespace(),
        network: &NetworkChoice::from(network.clone()),
        extras: AttachExtras::default(),
    })
}

fn detach(ground: &dyn Ground, container: &ContainerId, at: Option<&dyn Container>) {
    let namespace = at.map(Container::namespace);
    ground.network().detach(&DetachRequest { container, namespace }).expect("it is detached");
}

fn check(ground: &dyn Ground, container: &ContainerId, at: &dyn Container) {
    let request = DetachRequest { container, namespace: Some(at.namespace()) };
    ground.network().check(&request).expect("it is as it was made");
}

/// The kind of a failure that must be one.
fn kind<T: Debug>(result: Result<T>) -> ErrorKind {
    result.expect_err("it fails").kind()
}

/// The containers on a network.
fn on(ground: &dyn Ground, network: &NetworkName) -> Vec<ContainerId> {
    let known = ground.network().attachments(network).expect("readable");
    known.into_iter().map(|known| known.container).collect()
}
