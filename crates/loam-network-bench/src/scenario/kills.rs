//! What is left when a caller was killed within ADD, with everything that it had started, and somebody else cleans up.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use crate::caller::{DONE, Errand, READY};
use crate::chain::Endpoint;
use crate::container::Container;
use crate::measure::{Samples, milliseconds};
use crate::orphans;
use crate::random::Random;
use crate::scenario::leftovers::Left;
use crate::state::Snapshot;
use crate::worker::Ground;

/// How many ADDs are let through to learn how long one takes.
const TRIALS: usize = 3;
/// Kills are spread over this multiple of a usual ADD.
const SPREAD: f64 = 1.1;

/// Kills callers and cleans up by DEL; then kills callers and cleans up by GC.
pub(crate) fn kill(ground: &mut Ground) -> Result<Vec<Left>, String> {
    let span = usual(ground)? * SPREAD;
    let mut random = Random::new(ground.plan.seed);
    let by_del = then_del(ground, span, &mut random)?;
    let by_gc = match ground.chain.has_gc() {
        true => then_gc(ground, span, &mut random)?,
        false => {
            let mut row = Left::new("kill -9, then GC", 0);
            row.first_error = Some(format!("version {} has no GC", ground.chain.version.as_str()));
            row
        }
    };
    Ok(vec![by_del, by_gc])
}

/// How many milliseconds an ADD of a caller usually takes.
fn usual(ground: &mut Ground) -> Result<f64, String> {
    let mut times = Samples::default();
    for _ in 0..TRIALS {
        let container = ground.container()?;
        let (mut child, mut output) = start(ground, &container.endpoint)?;
        let begun = Instant::now();
        let mut said = String::new();
        output.read_to_string(&mut said).map_err(|error| format!("listening to the caller: {error}"))?;
        times.push(milliseconds(begun.elapsed()));
        child.wait().map_err(|error| format!("waiting for the caller: {error}"))?;
        if said.trim() != DONE {
            return Err(ground.undo(&container, said.trim().to_owned()));
        }
        ground.chain.del(&container.endpoint, None).map_err(|error| error.to_string())?;
    }
    Ok(times.median().unwrap_or_default())
}

fn then_del(ground: &mut Ground, span: f64, random: &mut Random) -> Result<Left, String> {
    let rounds = ground.plan.rounds;
    let mut left = Left::new("kill -9, then DEL", rounds);
    let before = Snapshot::before()?;
    let mut killed = 0;
    for round in 0..rounds {
        let mut container = ground.container()?;
        killed += usize::from(kill_one(ground, &container, span * random.share())?);
        let mut endpoint = container.endpoint.clone();
        // By turns: some runtimes let the namespace go first.
        if round % 2 == 1 {
            container.end().map_err(|error| format!("ending the container: {error}"))?;
            endpoint = endpoint.gone();
        }
        // Whoever was killed can't have kept a result.
        if let Err(error) = ground.chain.del(&endpoint, None) {
            left.failed(error.to_string());
        }
    }
    left.killed = Some(killed);
    left.look(&before)?;
    Ok(left)
}

fn then_gc(ground: &mut Ground, span: f64, random: &mut Random) -> Result<Left, String> {
    let rounds = ground.plan.rounds;
    let mut left = Left::new("kill -9, then GC", rounds);
    let before = Snapshot::before()?;
    let mut killed = 0;
    for _ in 0..rounds {
        let mut container = ground.container()?;
        killed += usize::from(kill_one(ground, &container, span * random.share())?);
        container.end().map_err(|error| format!("ending the container: {error}"))?;
    }
    if let Err(error) = ground.chain.gc(&[&ground.resident.container.endpoint]) {
        left.failed(error.to_string());
    }
    left.killed = Some(killed);
    left.look(&before)?;
    Ok(left)
}

/// Starts a caller and kills it, and all that it started, so many milliseconds after ADD began; whether it was killed
/// before ADD had ended.
fn kill_one(ground: &Ground, container: &Container, after: f64) -> Result<bool, String> {
    let others = orphans::children();
    let (mut child, mut output) = start(ground, &container.endpoint)?;
    std::thread::sleep(Duration::from_secs_f64(after / 1000.0));
    child.kill().map_err(|error| format!("killing the caller: {error}"))?;
    child.wait().map_err(|error| format!("waiting for the caller: {error}"))?;
    // What it had started goes with it; what an earlier attachment has running stays.
    orphans::end_all_but(&others).map_err(|error| format!("ending what the caller had started: {error}"))?;
    let mut said = String::new();
    output.read_to_string(&mut said).map_err(|error| format!("listening to the caller: {error}"))?;
    Ok(said.trim().is_empty())
}

/// Starts a caller; it is about to call ADD.
fn start(ground: &Ground, endpoint: &Endpoint) -> Result<(Child, BufReader<ChildStdout>), String> {
    let failed = |error: std::io::Error| format!("starting a caller: {error}");
    let mut child = Command::new("/proc/self/exe")
        .args(&ground.caller)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let errand = Errand::new(&ground.chain, endpoint);
    let line = serde_json::to_string(&errand).map_err(|error| error.to_string())? + "\n";
    let told = child.stdin.take().map(|mut input| input.write_all(line.as_bytes()));
    told.transpose().map_err(failed)?;
    let mut output = BufReader::new(child.stdout.take().ok_or("the caller has no output")?);
    let mut first = String::new();
    output.read_line(&mut first).map_err(failed)?;
    if first.trim() == READY {
        return Ok((child, output));
    }
    child.wait().map_err(failed)?;
    Err("the caller ended early".into())
}
