//! Networks in memory: every name but `missing` exists, until it is removed.

use std::fs::File;

use loam_model::{
    AttachRequest, AttachedInterface, Attachment, Collected, ConnectRequest, ContainerId, DetachRequest,
    DisconnectRequest, ErrorKind, Failure, KnownAttachment, Network, NetworkDescription, NetworkListing,
    NetworkName, NetworkSource, PortMapping, Result,
};

use super::{Attached, State, Step, World};

/// The first port that is taken when any will do.
const FIRST_FREE_PORT: u16 = 40_000;

impl Network for World {
    fn attach(&self, request: &AttachRequest<'_>) -> Result<Attachment> {
        self.call(Step::Attach, |state| {
            request.networks.iter().try_for_each(|choice| state.known(&choice.name))?;
            let ports = take_ports(state, request.ports)?;
            let networks: Vec<NetworkName> =
                request.networks.iter().map(|choice| choice.name.clone()).collect();
            let number = state.free_number();
            let attached = Attached { number, ports: ports.clone(), networks: networks.clone() };
            let before = state.attachments.insert(request.container.clone(), attached);
            assert!(before.is_none(), "`{}` is attached twice", request.container);
            let interfaces = networks.into_iter().enumerate();
            Ok(Attachment {
                interfaces: interfaces.map(|(index, network)| interface(index, network, number)).collect(),
                ports,
                reservations: vec![File::open("/dev/null").expect("there is /dev/null").into()],
                ..Attachment::default()
            })
        })
    }

    fn detach(&self, request: &DetachRequest<'_>) -> Result<()> {
        self.call(Step::Detach, |state| {
            state.attachments.remove(request.container);
            Ok(())
        })
    }

    fn connect(&self, request: &ConnectRequest<'_>) -> Result<Attachment> {
        self.call(Step::ConnectNetwork, |state| {
            state.known(&request.network.name)?;
            let number = state.free_number();
            let attached = state.attachments.entry(request.container.clone());
            let attached = attached.or_insert_with(|| Attached { number, ..Attached::default() });
            let name = &request.network.name;
            if attached.networks.contains(name) {
                let message = format!("container `{}` is on network `{name}` already", request.name);
                return Err(Failure::new(ErrorKind::AlreadyExists, message));
            }
            attached.networks.push(name.clone());
            let made = interface(attached.networks.len() - 1, name.clone(), attached.number);
            Ok(Attachment { interfaces: vec![made], ..Attachment::default() })
        })
    }

    fn disconnect(&self, request: &DisconnectRequest<'_>) -> Result<()> {
        self.call(Step::DisconnectNetwork, |state| {
            if let Some(attached) = state.attachments.get_mut(request.container) {
                attached.networks.retain(|network| network != request.network);
                if attached.networks.is_empty() {
                    state.attachments.remove(request.container);
                }
            }
            Ok(())
        })
    }

    fn check(&self, _request: &DetachRequest<'_>) -> Result<()> {
        self.call(Step::CheckNetwork, |_| Ok(()))
    }

    fn attached(&self) -> Result<Vec<ContainerId>> {
        Ok(self.lock().attachments.keys().cloned().collect())
    }

    fn exists(&self, name: &NetworkName) -> Result<bool> {
        self.call(Step::NetworkExists, |state| Ok(state.known(name).is_ok()))
    }

    fn networks(&self) -> Result<NetworkListing> {
        let made = self.lock().networks.clone();
        let names = made.into_iter().chain([NetworkName::default_network()]);
        Ok(NetworkListing { networks: names.map(description).collect(), problems: Vec::new() })
    }

    fn network(&self, name: &NetworkName) -> Result<NetworkDescription> {
        self.lock().known(name).map(|()| description(name.clone()))
    }

    fn attachments(&self, name: &NetworkName) -> Result<Vec<KnownAttachment>> {
        let state = self.lock();
        let all = state.attachments.iter().filter(|(_, attached)| attached.networks.contains(name));
        let known = all
            .map(|(container, _)| KnownAttachment { container: container.clone(), interface: "eth0".into() });
        Ok(known.collect())
    }

    fn status(&self, name: &NetworkName) -> Result<()> {
        self.lock().known(name)
    }

    fn create_network(&self, source: &NetworkSource) -> Result<NetworkDescription> {
        let NetworkSource::Spec(name, _) = source else {
            return Err(Failure::new(ErrorKind::Unsupported, "a simulated network has no configuration"));
        };
        let mut state = self.lock();
        state.removed.remove(name);
        match state.networks.insert(name.clone()) {
            true => Ok(description(name.clone())),
            false => Err(Failure::new(ErrorKind::AlreadyExists, format!("network `{name}` exists already"))),
        }
    }

    fn remove_network(&self, name: &NetworkName) -> Result<()> {
        if name.is_default() {
            return Err(Failure::new(ErrorKind::Conflict, "the default network stays"));
        }
        self.lock().known(name)?;
        if !self.attachments(name)?.is_empty() {
            return Err(Failure::new(ErrorKind::Conflict, format!("network `{name}` is in use")));
        }
        let mut state = self.lock();
        state.networks.remove(name);
        state.removed.insert(name.clone());
        Ok(())
    }

    fn collect(&self, name: Option<&NetworkName>) -> Result<Collected> {
        self.call(Step::CollectNetworks, |state| {
            name.map_or(Ok(()), |name| state.known(name)).map(|()| Collected::default())
        })
    }

    fn reload(&self) -> Result<()> {
        Ok(())
    }

    fn watch(&self, restored: &mut dyn FnMut()) -> Result<()> {
        restored();
        Err(Failure::new(ErrorKind::Internal, "nothing more happens to a simulated network"))
    }
}

impl State {
    /// Fails when there is no such network.
    fn known(&self, name: &NetworkName) -> Result<()> {
        match name.as_str() == "missing" || self.removed.contains(name) {
            true => Err(Failure::new(ErrorKind::NotFound, format!("network `{name}` does not exist"))),
            false => Ok(()),
        }
    }

    /// The first number that no container has in its addresses.
    fn free_number(&self) -> u8 {
        let is_taken = |number: &u8| self.attachments.values().any(|attached| attached.number == *number);
        (2..=u8::MAX).find(|number| !is_taken(number)).expect("few containers at a time")
    }
}

fn take_ports(state: &State, wanted: &[PortMapping]) -> Result<Vec<PortMapping>> {
    let mut ports: Vec<PortMapping> = Vec::new();
    let taken: Vec<PortMapping> = state.attachments.values().flat_map(|one| one.ports.clone()).collect();
    for port in wanted {
        let is_taken = |number: u16| taken.iter().chain(&ports).any(|other| other.host_port == number);
        let host_port = match port.host_port {
            0 => (FIRST_FREE_PORT..).find(|number| !is_taken(*number)).expect("a free port"),
            number if is_taken(number) => {
                return Err(Failure::new(ErrorKind::AlreadyExists, format!("host port {number} is taken")));
            }
            number => number,
        };
        ports.push(PortMapping { host_port, ..*port });
    }
    Ok(ports)
}

fn interface(index: usize, network: NetworkName, number: u8) -> AttachedInterface {
    AttachedInterface {
        network,
        name: format!("eth{index}"),
        mac: None,
        addresses: vec![format!("10.88.{index}.{number}/24").parse().expect("an address")],
        gateways: vec![format!("10.88.{index}.1").parse().expect("an address")],
    }
}

fn description(name: NetworkName) -> NetworkDescription {
    NetworkDescription {
        name,
        driver: "bridge".to_owned(),
        plugins: vec!["bridge".to_owned()],
        cni_version: "1.1.0".to_owned(),
        interface: None,
        subnets: Vec::new(),
        internal: false,
        capabilities: Vec::new(),
        labels: Default::default(),
        file: None,
        configuration: Default::default(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use loam_model::NetworkRules;
    use loam_model::conformance::network::{Container, Ground, run};

    use super::*;

    struct Simulated(Arc<World>);

    #[derive(Debug)]
    struct Nobody;

    impl Container for Nobody {
        fn namespace(&self) -> PathBuf {
            "/proc/1/ns/net".into()
        }
    }

    impl Ground for Simulated {
        fn network(&self) -> &dyn Network {
            &*self.0
        }

        fn rules(&self) -> Option<&dyn NetworkRules> {
            None
        }

        fn names(&self) -> [NetworkName; 2] {
            [NetworkName::default_network(), "other".parse().expect("a name")]
        }

        fn container(&self) -> Box<dyn Container> {
            Box::new(Nobody)
        }

        fn assert_nothing_left(&self, when: &str) {
            assert_eq!(self.0.left(), super::super::Left::default(), "{when}");
        }
    }

    #[test]
    fn the_simulated_network_passes_the_suite_of_the_seam() {
        run(&Simulated(World::with_images(&[])));
    }
}
