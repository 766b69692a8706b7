//! Reading logs while they are written.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use loam_engine::{LogLine, LogOptions, LogStream, StartOptions};
use loam_model::ExitStatus;

use crate::bench::Bench;

/// How long a line may take from the file to the reader.
const LIMIT: Duration = Duration::from_secs(20);

fn write(log: &Path, text: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(log).expect("opened");
    file.write_all(text.as_bytes()).expect("written");
}

fn line(second: u32, words: &str) -> String {
    format!("2026-11-26T21:00:{second:02}.000000000Z {words}\n")
}

fn text(lines: impl IntoIterator<Item = loam_model::Result<LogLine>>) -> String {
    let data =
        |line: LogLine| String::from_utf8(line.data).expect("text") + if line.partial { "+" } else { ";" };
    lines.into_iter().map(|line| data(line.expect("read"))).collect()
}

#[test]
fn a_log_is_read_whole_or_in_part() {
    let bench = Bench::new();
    let created = bench.engine.create(&bench.lasting("web")).expect("created");
    let read = |options| text(bench.engine.logs("web", options).expect("opened"));
    assert_eq!(read(LogOptions::default()), "");
    let log = bench.engine.log_path(&created.id);
    write(&log.with_extension("1"), &line(0, "stdout F old"));
    write(&log, &line(1, "stdout F one"));
    write(&log, "garbage\n");
    write(&log, &line(2, "stderr P two"));
    write(&log, &line(3, "stderr F three"));
    write(&log, "2026-11-26T21:00:04Z stdout F cut o");
    assert_eq!(read(LogOptions::default()), "old;one;two+three;cut o+");
    assert_eq!(read(LogOptions { tail: Some(2), ..LogOptions::default() }), "two+three;cut o+");
    let since = "2026-11-26T21:00:03Z".parse().ok();
    assert_eq!(read(LogOptions { since, ..LogOptions::default() }), "three;cut o+");
    let mut lines =
        bench.engine.logs("web", LogOptions { follow: true, ..LogOptions::default() }).expect("opened");
    assert_eq!(lines.nth(2).expect("a line").expect("read").stream, LogStream::Stderr);
    assert_eq!(lines.count(), 2, "what does not run is not followed");
}

/// A process that lives until it is told to end.
fn main_process() -> Child {
    Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("cat runs")
}

#[test]
fn a_log_is_followed_over_rotation_to_its_end() {
    let bench = Bench::new();
    let mut main = main_process();
    bench.world.set_pid(i32::try_from(main.id()).ok());
    let created = bench.engine.create(&bench.lasting("web")).expect("created");
    bench.engine.start("web", StartOptions::default()).expect("started");
    let log = bench.engine.log_path(&created.id);
    let lines =
        bench.engine.logs("web", LogOptions { follow: true, ..LogOptions::default() }).expect("opened");
    let (sender, receiver) = mpsc::channel();
    let reader = thread::spawn(move || lines.for_each(|line| sender.send(line).expect("somebody listens")));
    let next = || receiver.recv_timeout(LIMIT).map(|line| text([line])).expect("a line in time");

    // The file comes only now.
    write(&log, &line(1, "stdout F one"));
    assert_eq!(next(), "one;");
    write(&log, "2026-11-26T21:00:02Z stdout F tw");
    write(&log, "o\n");
    assert_eq!(next(), "two;");
    fs::rename(&log, log.with_extension("1")).expect("moved away");
    // Until the shim has opened the new one, it writes to the old one.
    write(&log.with_extension("1"), &line(3, "stdout F three"));
    assert_eq!(next(), "three;");
    write(&log, &line(4, "stdout F four"));
    assert_eq!(next(), "four;");

    drop(main.stdin.take());
    main.wait().expect("cat ends");
    // What was written last comes before the end.
    write(&log, &line(5, "stdout F five"));
    bench.world.end(&created.id, ExitStatus::Exited(0));
    assert_eq!(next(), "five;");
    reader.join().expect("the reader ends");
}

#[test]
fn a_follower_of_a_removed_container_ends() {
    let bench = Bench::new();
    let mut main = main_process();
    bench.world.set_pid(i32::try_from(main.id()).ok());
    bench.engine.create(&bench.lasting("web")).expect("created");
    bench.engine.start("web", StartOptions::default()).expect("started");
    let lines =
        bench.engine.logs("web", LogOptions { follow: true, ..LogOptions::default() }).expect("opened");
    bench.engine.remove("web", true).expect("removed");
    drop(main.stdin.take());
    main.wait().expect("cat ends");
    assert_eq!(lines.count(), 0);
}
