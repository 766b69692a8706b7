//! A case: what a plugin is called with, and what is looked at.

use loam_testkit::lab::Sandbox;
use serde_json::{Value, json};

use super::lab::{CONTAINER, Lab};
use super::observation::Observation;
use super::service::{Running, Service};

/// One step of a case.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// ADD of the whole chain.
    Add,
    /// CHECK of the whole chain, with the result of the last ADD that succeeded.
    Check,
    /// DEL of the whole chain in reverse order, with that result.
    Del,
    /// DEL as after an ADD that never gave a result.
    DelWithoutResult,
    /// DEL as after the loss of everything: no namespace, no result.
    DelBlind,
    /// GC that keeps these containers. For cases of version 1.1.0.
    Gc(&'static [&'static str]),
    /// STATUS of the whole chain. For cases of version 1.1.0.
    Status,
    /// A shell script on the host.
    Host(&'static str),
    /// A shell script in the container.
    Container(&'static str),
}

impl Step {
    fn title(self) -> &'static str {
        match self {
            Step::Add => "ADD",
            Step::Check => "CHECK",
            Step::Del => "DEL",
            Step::DelWithoutResult => "DEL without result",
            Step::DelBlind => "DEL without namespace",
            Step::Gc(_) => "GC",
            Step::Status => "STATUS",
            Step::Host(_) => "host",
            Step::Container(_) => "container",
        }
    }
}

/// A difference from the reference plugins: the lines of the observation that it accounts for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Difference {
    /// Its name in the table of `docs/cni-plugins.md`.
    pub(crate) name: &'static str,
    /// Whether a line is part of it.
    pub(crate) covers: fn(&str) -> bool,
}

/// A configuration or chain, and what is done with it. In configurations and scripts `{DIR}` stands for a directory of the
/// host's own.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) title: &'static str,
    chain: Vec<Value>,
    version: &'static str,
    arguments: &'static str,
    host: Vec<&'static str>,
    container: Vec<&'static str>,
    steps: Vec<Step>,
    observe: Option<fn(&Lab) -> Vec<String>>,
    link_types: Vec<&'static str>,
    services: Vec<Service>,
    pub(crate) differences: Vec<Difference>,
}

impl Case {
    /// A case of one plugin, at version 1.0.0, with ADD, CHECK and DEL twice. `name` and `cniVersion` are filled in.
    pub(crate) fn new(title: &'static str, config: Value) -> Self {
        Self {
            title,
            chain: vec![config],
            version: "1.0.0",
            arguments: "",
            host: Vec::new(),
            container: Vec::new(),
            steps: vec![Step::Add, Step::Check, Step::Del, Step::Del],
            observe: None,
            link_types: Vec::new(),
            services: Vec::new(),
            differences: Vec::new(),
        }
    }

    /// Adds a plugin to the chain.
    pub(crate) fn then(mut self, config: Value) -> Self {
        self.chain.push(config);
        self
    }

    /// Sets the specification's version; the reference is left out for 1.1.0, which Debian's does not speak.
    pub(crate) fn version(mut self, version: &'static str) -> Self {
        self.version = version;
        self
    }

    /// Sets `CNI_ARGS`.
    pub(crate) fn arguments(mut self, arguments: &'static str) -> Self {
        self.arguments = arguments;
        self
    }

    /// Adds a shell script that prepares the host.
    pub(crate) fn on_host(mut self, script: &'static str) -> Self {
        self.host.push(script);
        self
    }

    /// Adds a shell script that prepares the container.
    pub(crate) fn in_container(mut self, script: &'static str) -> Self {
        self.container.push(script);
        self
    }

    /// Sets the steps.
    pub(crate) fn steps(mut self, steps: &[Step]) -> Self {
        self.steps = steps.to_vec();
        self
    }

    /// The steps of an ADD that was killed after it had made the link: DEL takes it away all the same, also without result.
    pub(crate) fn killed(self) -> Self {
        self.version("1.1.0").steps(&[
            Step::Add,
            Step::Container("ip link set eth0 down; ip addr flush dev eth0"),
            Step::DelWithoutResult,
            Step::Container("! ip link show dev eth0 2>/dev/null"),
            Step::Host("! ls {DIR}/addresses/net 2>/dev/null | grep -v -e lock -e last_reserved"),
        ])
    }

    /// Looks at more after each ADD that succeeded, such as what passes.
    pub(crate) fn observe(mut self, observe: fn(&Lab) -> Vec<String>) -> Self {
        self.observe = Some(observe);
        self
    }

    /// Runs a program on the host during the case, once the host's scripts are through.
    pub(crate) fn with(mut self, service: Service) -> Self {
        self.services.push(service);
        self
    }

    /// Says that the case needs a link type.
    pub(crate) fn needs(mut self, link_type: &'static str) -> Self {
        self.link_types.push(link_type);
        self
    }

    /// Names a difference from the reference, and the lines that it accounts for.
    pub(crate) fn differs(mut self, name: &'static str, covers: fn(&str) -> bool) -> Self {
        self.differences.push(Difference { name, covers });
        self
    }

    /// Whether Debian's plugins speak the version.
    pub(crate) fn is_for_the_reference(&self) -> bool {
        self.version != "1.1.0"
    }

    /// The first link type that the kernel lacks.
    pub(crate) fn missing_link_type(&self) -> Option<&'static str> {
        self.link_types.iter().copied().find(|kind| {
            let script = format!(
                "ip link add probe0 type veth peer name probe1 && for how in \"\" \"link probe0\"; do \
                 for with in \"\" \"id 9\" \"table 9\"; do \
                 ip link add $how name probe2 type {kind} $with 2>/dev/null && echo known && exit; done; done; true"
            );
            !Sandbox::new().command(&["sh", "-c", &script]).contains("known")
        })
    }

    /// Runs the case on a host.
    pub(crate) fn run(&self, lab: &Lab) -> Observation {
        for script in &self.host {
            lab.host_script(script);
        }
        for script in &self.container {
            lab.container_script(script);
        }
        let _services: Vec<Running> =
            self.services.iter().filter_map(|service| lab.start(*service)).collect();
        let mut observation = Observation::default();
        let mut result = Value::Null;
        for step in &self.steps {
            let outcome = self.step(lab, *step, &mut result);
            observation.outcome(step.title(), &outcome);
            let added = matches!(step, Step::Add) && outcome.is_ok();
            if added || matches!(step, Step::Del | Step::DelWithoutResult | Step::DelBlind | Step::Gc(_)) {
                observation.state(step.title(), lab);
            }
            if let Some(observe) = self.observe.filter(|_| added) {
                observation.lines(step.title(), observe(lab));
            }
        }
        observation
    }

    fn config(&self, lab: &Lab, config: &Value, previous: &Value) -> Value {
        let text = config.to_string().replace("{DIR}", &lab.directory.path().display().to_string());
        let mut config: Value = serde_json::from_str(&text).expect("JSON");
        config["name"] = json!("net");
        config["cniVersion"] = json!(self.version);
        if !previous.is_null() {
            config["prevResult"] = previous.clone();
        }
        config
    }

    /// What the runtime does for a step. ADD of the whole chain goes from the first to the last, DEL back.
    fn step(&self, lab: &Lab, step: Step, result: &mut Value) -> Result<Value, Value> {
        // Before 0.4.0, only ADD hands results over.
        let known = if self.version < "0.4.0" { Value::Null } else { result.clone() };
        let namespace = lab.container.path().display().to_string();
        let call = |verb: &str, container: &str, namespace: &str, config: Value| {
            lab.call(verb, container, namespace, self.arguments, &config)
        };
        match step {
            Step::Add => {
                let mut passed = Value::Null;
                for config in &self.chain {
                    passed = call("ADD", CONTAINER, &namespace, self.config(lab, config, &passed))?;
                }
                *result = passed.clone();
                Ok(passed)
            }
            Step::Check => {
                for config in &self.chain {
                    call("CHECK", CONTAINER, &namespace, self.config(lab, config, &known))?;
                }
                Ok(Value::Null)
            }
            Step::Del => {
                for config in self.chain.iter().rev() {
                    call("DEL", CONTAINER, &namespace, self.config(lab, config, &known))?;
                }
                Ok(Value::Null)
            }
            Step::DelWithoutResult => {
                for config in self.chain.iter().rev() {
                    call("DEL", CONTAINER, &namespace, self.config(lab, config, &Value::Null))?;
                }
                Ok(Value::Null)
            }
            Step::DelBlind => {
                for config in self.chain.iter().rev() {
                    call("DEL", CONTAINER, "", self.config(lab, config, &Value::Null))?;
                }
                Ok(Value::Null)
            }
            Step::Gc(valid) => {
                let valid: Vec<Value> =
                    valid.iter().map(|id| json!({ "containerID": id, "ifname": "eth0" })).collect();
                for config in &self.chain {
                    let mut config = self.config(lab, config, &Value::Null);
                    config["cni.dev/valid-attachments"] = json!(valid);
                    call("GC", "", "", config)?;
                }
                Ok(Value::Null)
            }
            Step::Status => {
                for config in &self.chain {
                    call("STATUS", "", "", self.config(lab, config, &Value::Null))?;
                }
                Ok(Value::Null)
            }
            Step::Host(script) => Ok(json!(lab.host_script(script))),
            Step::Container(script) => Ok(json!(lab.container_script(script))),
        }
    }
}
