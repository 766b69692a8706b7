//! A contender's worker: it reads one JSON request a line, and answers each with one line.
//!
//! The first line is the [`Setup`]; its answer says whether the worker has its place. Every answer is what the request's
//! scenario gives, or a sentence that says why there is nothing to give. The worker ends when its input does.

use std::io::{self, BufRead, Write};

use loam_cni::CniResult;
use loam_cni::protocol::code;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::chain::{Chain, Way};
use crate::container::Container;
use crate::contender::Contender;
use crate::list::MeasuredList;
use crate::plan::Plan;
use crate::{orphans, place, scenario, state};

/// What a worker is for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Setup {
    pub(crate) contender: Contender,
    pub(crate) lists: Vec<MeasuredList>,
    pub(crate) plan: Plan,
    /// The arguments that make this program the caller that is killed.
    pub(crate) caller: Vec<String>,
}

/// What is to be done with one of the lists.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) list: usize,
    pub(crate) task: Task,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Task {
    /// Finds the version and what the contender lacks, and makes an attachment that stays.
    Prepare,
    /// Removes the attachment that stayed.
    Retire,
    Latency,
    Growth,
    Parallel {
        callers: usize,
    },
    Leftovers,
    Kills,
    Promises,
    DataPath,
    Rules,
}

/// How the contender is called with a list.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Prepared {
    pub(crate) version: String,
    pub(crate) lacks: Vec<String>,
    pub(crate) uncounted: Vec<String>,
}

/// An attachment that is there.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) container: Container,
    pub(crate) result: CniResult,
}

/// What scenarios stand on: a chain, and an attachment that stays, so that what a network has once for all is there.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) plan: Plan,
    pub(crate) chain: Chain,
    pub(crate) resident: Attached,
    pub(crate) caller: Vec<String>,
    name: String,
    made: u16,
}

impl Ground {
    /// A container that is not attached.
    pub(crate) fn container(&mut self) -> Result<Container, String> {
        self.made = self.made % 10_000 + 1;
        make(&format!("{}-{}", self.name, self.made), self.made)
    }

    /// A container that is attached, and holds what the plugins say.
    pub(crate) fn attach(&mut self) -> Result<Attached, String> {
        let container = self.container()?;
        match self.chain.add(&container.endpoint) {
            Ok(result) => {
                container.verify(&result)?;
                Ok(Attached { container, result })
            }
            Err(error) => Err(self.undo(&container, error.to_string())),
        }
    }

    /// Calls DEL after an ADD that failed, as a runtime has to; the message, with what DEL says when it fails too.
    pub(crate) fn undo(&self, container: &Container, message: String) -> String {
        match self.chain.del(&container.endpoint, None) {
            Ok(()) => message,
            Err(second) => format!("{message}; and then {second}"),
        }
    }

    /// Detaches, and lets the container go.
    pub(crate) fn detach(&self, mut attached: Attached) -> Result<(), String> {
        let removed = self.chain.del(&attached.container.endpoint, Some(&attached.result));
        attached.container.end().map_err(|error| format!("ending the container: {error}"))?;
        removed.map_err(|error| error.to_string())
    }
}

fn make(id: &str, number: u16) -> Result<Container, String> {
    Container::make(id, number).map_err(|error| format!("making a network namespace: {error}"))
}

/// Serves requests until the input ends. The process must have one thread yet.
pub fn serve(input: &mut dyn BufRead, output: &mut dyn Write) -> io::Result<()> {
    let mut line = String::new();
    input.read_line(&mut line)?;
    let setup: Setup = serde_json::from_str(&line)?;
    let way = match place::enter(&setup.contender) {
        Ok(way) => way,
        Err(error) => {
            let cause =
                std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            return answer(output, Err(format!("{error}{cause}")));
        }
    };
    orphans::adopt()?;
    answer(output, Ok(Value::Null))?;
    let mut ground = None;
    loop {
        line.clear();
        if input.read_line(&mut line)? == 0 {
            return orphans::end_all_but(&[]);
        }
        let request: Request = serde_json::from_str(&line)?;
        answer(output, handle(&setup, &way, request, &mut ground))?;
    }
}

fn answer(output: &mut dyn Write, answer: Result<Value, String>) -> io::Result<()> {
    serde_json::to_writer(&mut *output, &answer)?;
    writeln!(output)?;
    output.flush()
}

fn handle(setup: &Setup, way: &Way, request: Request, ground: &mut Option<Ground>) -> Result<Value, String> {
    if request.task == Task::Prepare {
        let list = setup.lists.get(request.list).ok_or("there is no such list")?;
        let (made, prepared) = prepare(setup, list, way)?;
        *ground = Some(made);
        return to_value(&prepared);
    }
    if request.task == Task::Retire {
        let Some(ground) = ground.take() else { return Ok(Value::Null) };
        let mut resident = ground.resident;
        let removed = ground.chain.del(&resident.container.endpoint, Some(&resident.result));
        resident.container.end().map_err(|error| error.to_string())?;
        return removed.map(|()| Value::Null).map_err(|error| error.to_string());
    }
    let ground = ground.as_mut().ok_or("the list was not prepared")?;
    match request.task {
        Task::Latency => to_value(&scenario::latency::cycle(ground)?),
        Task::Growth => to_value(&scenario::growth::grow(ground)),
        Task::Parallel { callers } => to_value(&scenario::parallel::together(ground, callers)?),
        Task::Leftovers => to_value(&scenario::leftovers::look(ground)),
        Task::Kills => to_value(&scenario::kills::kill(ground)?),
        Task::Promises => to_value(&scenario::promises::hold(ground)),
        Task::DataPath => to_value(&scenario::data_path::measure(ground)?),
        Task::Rules => to_value(&scenario::rules::set(ground)?),
        Task::Prepare | Task::Retire => Ok(Value::Null),
    }
}

fn to_value(value: &impl Serialize) -> Result<Value, String> {
    serde_json::to_value(value).map_err(|error| format!("writing the answer: {error}"))
}

/// Tries the versions of a list, the newest first, until the plugins take one.
pub(crate) fn prepare(setup: &Setup, list: &MeasuredList, way: &Way) -> Result<(Ground, Prepared), String> {
    let mut refused = String::from("no version of the list is known");
    for version in list.versions().iter().copied() {
        let chain = Chain::new(list, way.clone(), version, setup.plan.time_limit)?;
        let container = make(&format!("{}-resident", list.name()), 0)?;
        match chain.add(&container.endpoint) {
            Ok(result) => {
                container.verify(&result)?;
                let prepared = Prepared {
                    version: version.as_str().to_owned(),
                    lacks: chain.lacks.clone(),
                    uncounted: state::uncounted().into_iter().map(str::to_owned).collect(),
                };
                let ground = Ground {
                    plan: setup.plan.clone(),
                    chain,
                    resident: Attached { container, result },
                    caller: setup.caller.clone(),
                    name: list.name().to_owned(),
                    made: 0,
                };
                return Ok((ground, prepared));
            }
            Err(error) => {
                refused = error.to_string();
                // Some plugins of the chain may have taken the version; what they did is undone.
                let undone = chain.del(&container.endpoint, None);
                if error.error.code != code::INCOMPATIBLE_VERSION {
                    let second =
                        undone.err().map(|second| format!("; and then {second}")).unwrap_or_default();
                    return Err(format!("{refused}{second}"));
                }
            }
        }
    }
    Err(refused)
}
