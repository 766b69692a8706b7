//! The suite of the network seam: CNI plugins, an external networker, and a subnet for each container.

use std::path::PathBuf;

use loam_model::conformance::network::{Container, Ground, run};
use loam_model::{ErrorKind, Network, NetworkName, NetworkRules, NetworkSource, NetworkSpec};
use loam_testkit::lab::{Sandbox, eventually, inside, succeed};

use crate::bench::Engine;
use crate::networker;

#[derive(Debug)]
struct Inside(Sandbox);

impl Container for Inside {
    fn namespace(&self) -> PathBuf {
        self.0.path()
    }
}

/// An engine, and the networks that its containers are on.
struct Machine {
    engine: Engine,
    names: [&'static str; 2],
    taken_port: ErrorKind,
}

impl Ground for Machine {
    fn network(&self) -> &dyn Network {
        &self.engine.network
    }

    fn rules(&self) -> Option<&dyn NetworkRules> {
        Some(&self.engine.network)
    }

    fn names(&self) -> [NetworkName; 2] {
        self.names.map(|name| name.parse().expect("a name"))
    }

    fn container(&self) -> Box<dyn Container> {
        Box::new(Inside(Sandbox::new()))
    }

    fn taken_port(&self) -> ErrorKind {
        self.taken_port
    }

    fn assert_nothing_left(&self, when: &str) {
        self.engine.assert_nothing_left(when);
        let links = || succeed(&["ip", "-o", "link"]);
        let is_host_s = |line: &str| line.contains(": lo:") || line.contains(": loam");
        eventually(&format!("{when}: no link of a container's is left"), || links().lines().all(is_host_s));
        for directory in ["given", "ports"] {
            assert_eq!(self.engine.files(directory), Vec::<String>::new(), "{when}: {directory}");
        }
    }
}

fn create(engine: &Engine, name: &str, spec: NetworkSpec) {
    let source = NetworkSource::Spec(name.parse().expect("a name"), Box::new(spec));
    engine.network.create_network(&source).expect("made");
}

#[test]
fn plugins_pass_the_suite_of_the_seam() {
    inside("conformance::plugins_pass_the_suite_of_the_seam", || {
        let engine = Engine::new();
        create(&engine, "other", NetworkSpec::default());
        run(&Machine { engine, names: ["loam", "other"], taken_port: ErrorKind::AlreadyExists });
    });
}

#[test]
fn ports_of_a_pool_pass_the_suite_of_the_seam() {
    inside("conformance::ports_of_a_pool_pass_the_suite_of_the_seam", || {
        let mut engine = Engine::new();
        let pool = Some(61_001..=61_009);
        let config =
            loam_network::NetworkConfig { port_pool: pool, ..Engine::config(engine.directory.path()) };
        engine.network = loam_network::CniNetwork::new(config);
        create(&engine, "other", NetworkSpec::default());
        run(&Machine { engine, names: ["loam", "other"], taken_port: ErrorKind::AlreadyExists });
    });
}

#[test]
fn a_subnet_for_each_container_passes_the_suite_of_the_seam() {
    inside("conformance::a_subnet_for_each_container_passes_the_suite_of_the_seam", || {
        let engine = Engine::new();
        let subnet = "10.254.0.0/22".parse().expect("a subnet");
        let subnets = vec![loam_model::SubnetSpec { subnet, gateway: None, range: None }];
        create(
            &engine,
            "garden",
            NetworkSpec { subnet_per_container: true, subnets, ..NetworkSpec::default() },
        );
        run(&Machine { engine, names: ["garden", "loam"], taken_port: ErrorKind::AlreadyExists });
    });
}

/// A networker that keeps addresses and ports as directories, which are made by one at a time.
const KEEPER: &str = r#"case $action in
    up) pid=$(jq .Pid $HERE/stdin-$handle); n=2
        mkdir -p $HERE/given $HERE/ports
        while ! mkdir $HERE/given/$n 2> /dev/null; do n=$((n+1)); done
        echo $handle > $HERE/given/$n/handle
        mapped=
        for port in $(jq -r '.netin[]? | "\(.host_port):\(.container_port)"' $HERE/stdin-$handle); do
            number=${port%:*}
            if [ $number = 0 ]; then
                number=61001
                while ! mkdir $HERE/ports/$number 2> /dev/null; do number=$((number+1)); done
            else
                mkdir $HERE/ports/$number 2> /dev/null || { echo "port $number is taken" >&2; exit 1; }
            fi
            echo $handle > $HERE/ports/$number/handle
            mapped="$mapped${mapped:+,}{\\\"HostPort\\\":$number,\\\"ContainerPort\\\":${port#*:}}"
        done
        ip link add nw$n type veth peer name eth7 netns $pid || exit 1
        nsenter --net=/proc/$pid/ns/net ip addr add 10.7.0.$n/24 dev eth7
        echo "{\"properties\":{\"garden.network.container-ip\":\"10.7.0.$n\",\"garden.network.mapped-ports\":\"[$mapped]\"}}";;
    down) for place in $(grep -l -x $handle $HERE/given/*/handle $HERE/ports/*/handle 2> /dev/null); do
            case $place in */given/*) n=${place%/handle}; ip link del nw${n##*/} 2> /dev/null;; esac
            rm -r ${place%/handle}
        done; exit 0;;
    net-in) number=$(jq .HostPort $HERE/stdin-$handle)
        mkdir -p $HERE/ports
        if [ $number = 0 ]; then number=61001; while ! mkdir $HERE/ports/$number 2> /dev/null; do number=$((number+1)); done
        else mkdir $HERE/ports/$number || exit 1; fi
        echo $handle > $HERE/ports/$number/handle
        echo "{\"host_port\":$number,\"container_port\":80}";;
    esac"#;

#[test]
fn an_external_networker_passes_the_suite_of_the_seam() {
    inside("conformance::an_external_networker_passes_the_suite_of_the_seam", || {
        let engine = Engine::new();
        networker::configure(&engine, "theirs");
        // What each is asked lies in a file of its container's.
        let asked =
            networker::ASKED.replace("stdin-$action", "stdin-$handle").replace("args-$action", "args");
        engine.plugin("theirs", &format!("{asked}\n{KEEPER}"));
        // The contract has no word for what went wrong.
        run(&Machine { engine, names: ["cf", "loam"], taken_port: ErrorKind::Internal });
    });
}
