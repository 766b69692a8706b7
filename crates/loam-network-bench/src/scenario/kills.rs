//! What is left when a caller was killed within ADD, with everything that it had started, and somebody else cleans up.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, waitpid};

use crate::caller::{DONE, Errand, READY};
use crate::chain::Endpoint;
use crate::container::Container;
use crate::measure::{Samples, milliseconds};
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
    // Orphans become children of this process, so that they can be found.
    set_child_subreaper(Some(getpid())).map_err(|error| format!("becoming the orphans' parent: {error}"))?;
    let rows = kill_as_parent(ground);
    set_child_subreaper(None).map_err(|error| format!("being the orphans' parent no more: {error}"))?;
    rows
}

fn kill_as_parent(ground: &mut Ground) -> Result<Vec<Left>, String> {
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
    let before = Snapshot::take()?;
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
    let before = Snapshot::take()?;
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
    let (mut child, mut output) = start(ground, &container.endpoint)?;
    std::thread::sleep(Duration::from_secs_f64(after / 1000.0));
    child.kill().map_err(|error| format!("killing the caller: {error}"))?;
    child.wait().map_err(|error| format!("waiting for the caller: {error}"))?;
    end_orphans()?;
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

/// Kills whatever a dead caller has left running, its children's children too, until there is nothing to wait for.
fn end_orphans() -> Result<(), String> {
    loop {
        for orphan in children() {
            // It may have ended meanwhile; it has not been waited for, so its id is nobody else's.
            kill_process(orphan, Signal::KILL).unwrap_or_default();
        }
        match waitpid(None, WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => std::thread::sleep(Duration::from_millis(1)),
            Err(Errno::CHILD) => return Ok(()),
            Err(error) => return Err(format!("waiting for orphans: {error}")),
        }
    }
}

fn children() -> Vec<Pid> {
    let own = getpid().as_raw_nonzero().get();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw));
    ids.filter(|pid| loam_sys::process_stat(*pid).is_some_and(|stat| stat.parent == own)).collect()
}
