//! A contender's worker: it reads one JSON request a line, and answers each with one line.
//!
//! The first line is the [`Setup`]; its answer says whether the worker has its place. Every answer is what the request's
//! scenario gives, or a sentence that says why there is nothing to give. The worker ends when its input does.

mod ground;
mod message;

use std::io::{self, BufRead, Write};

use serde::Serialize;
use serde_json::Value;

use crate::chain::Way;
use crate::{orphans, place, scenario};
pub(crate) use ground::{Attached, Ground, prepare};
pub(crate) use message::{Prepared, Request, Setup, Task};

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
        return ground.take().map_or(Ok(()), Ground::retire).map(|()| Value::Null);
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
