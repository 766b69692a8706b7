//! Networks in memory: every name but `missing` exists.

use std::fs::File;

use loam_model::{
    AttachRequest, AttachedInterface, Attachment, ContainerId, DetachRequest, ErrorKind, Failure, Network,
    NetworkName, PortMapping, Result,
};

use super::{Step, World};

/// The first port that is taken when any will do.
const FIRST_FREE_PORT: u16 = 40_000;

impl Network for World {
    fn attach(&self, request: &AttachRequest<'_>) -> Result<Attachment> {
        self.call(Step::Attach, |state| {
            let mut ports: Vec<PortMapping> = Vec::new();
            let taken: Vec<PortMapping> = state.attachments.values().flatten().copied().collect();
            for port in request.ports {
                let is_taken =
                    |number: u16| taken.iter().chain(&ports).any(|other| other.host_port == number);
                let host_port = match port.host_port {
                    0 => (FIRST_FREE_PORT..).find(|number| !is_taken(*number)).expect("a free port"),
                    number if is_taken(number) => {
                        let message = format!("host port {number} is taken");
                        return Err(Failure::new(ErrorKind::AlreadyExists, message));
                    }
                    number => number,
                };
                ports.push(PortMapping { host_port, ..*port });
            }
            let attached = state.attachments.insert(request.container.clone(), ports.clone());
            assert!(attached.is_none(), "`{}` is attached twice", request.container);
            let number = state.attachments.len() + 1;
            Ok(Attachment {
                interfaces: request
                    .networks
                    .iter()
                    .enumerate()
                    .map(|(index, network)| AttachedInterface {
                        network: network.clone(),
                        name: format!("eth{index}"),
                        mac: None,
                        addresses: vec![format!("10.88.{index}.{number}/24").parse().expect("an address")],
                        gateways: vec![format!("10.88.{index}.1").parse().expect("an address")],
                    })
                    .collect(),
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

    fn attached(&self) -> Result<Vec<ContainerId>> {
        Ok(self.lock().attachments.keys().cloned().collect())
    }

    fn exists(&self, name: &NetworkName) -> Result<bool> {
        self.call(Step::NetworkExists, |_| Ok(name.as_str() != "missing"))
    }
}
