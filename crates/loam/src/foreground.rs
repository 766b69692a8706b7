//! A process of a container in the foreground: its streams are those of this command, signals that come here go to
//! it, and its exit code becomes ours.
//!
//! Threads: the caller's waits for signals and for what the others report; one waits for the process to end; and one
//! for each standard stream that is not a pipe copies. A standard stream that is a pipe is handed to the shim as it
//! is, and one that is `/dev/null` is left out, so that in a pipeline or a script nothing is copied twice.

mod attendant;
mod connect;
mod detach;
mod relay;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use loam_engine::Engine;
use loam_model::{ErrorKind, Failure, ProcessTarget, Streams};
use loam_sys::SignalQueue;
use rustix::event::{EventfdFlags, eventfd};
use rustix::stdio::stdout;

use crate::exit::Exit;
use crate::flags::DetachKeys;
use crate::render;
use crate::terminal::{self, RawTerminal};
use attendant::Attendant;
use connect::Relays;

/// Signals that go to the process: all that would end this command and can be caught. Those of job control keep their
/// usual meaning.
const FORWARDED: [i32; 12] = [1, 2, 3, 10, 12, 14, 15, 24, 26, 27, 29, 30];

/// The terminal has another size.
const WINDOW_CHANGED: i32 = 28;

/// How a process is to be brought to the foreground.
#[derive(Clone, Debug)]
pub(crate) struct ForegroundOptions {
    /// Whether standard input goes to it.
    pub(crate) stdin: bool,
    /// Whether it has a terminal.
    pub(crate) terminal: bool,
    /// The keys that let it go on alone, when it has a terminal.
    pub(crate) keys: DetachKeys,
    /// Whether signals go to it.
    pub(crate) proxy: bool,
}

/// What happens to the process when nobody reads our standard output any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhenUnread {
    /// The container is stopped: it was run for its output.
    Stop,
    /// It gets `SIGPIPE`, as in any pipeline.
    Signal,
    /// It goes on: we were only looking.
    Leave,
}

/// The process in the foreground.
#[derive(Debug)]
pub(crate) struct Subject<'a> {
    /// The engine.
    pub(crate) engine: &'a Engine,
    /// Its container's id.
    pub(crate) container: String,
    /// Which process of the container.
    pub(crate) target: ProcessTarget,
    /// See there.
    pub(crate) when_unread: WhenUnread,
}

/// How the time in the foreground came to its end.
#[derive(Debug)]
pub(crate) enum Outcome<T> {
    /// The process has ended.
    Ended(T),
    /// We go, with this exit code, and the process goes on.
    Left(Exit),
}

/// A foreground that is made ready, and then attended.
#[derive(Debug)]
pub(crate) struct Foreground {
    options: ForegroundOptions,
    signals: SignalQueue,
    relays: Relays,
}

/// What other threads report.
enum Event<T> {
    Ended(T),
    Detached,
    Unread,
}

/// Where they report it.
struct Reports<T> {
    sender: mpsc::Sender<Event<T>>,
    wake: Arc<OwnedFd>,
}

impl<T> Reports<T> {
    fn send(&self, event: Event<T>) {
        // When the attending thread is gone already, nobody needs to know.
        drop(self.sender.send(event));
        rustix::io::write(&self.wake, &1_u64.to_ne_bytes()).ok();
    }

    fn another(&self) -> Self {
        Self { sender: self.sender.clone(), wake: Arc::clone(&self.wake) }
    }
}

impl Foreground {
    /// Makes ready: from now on signals wait until there is a process to send them to. The streams are for the engine.
    pub(crate) fn open(options: ForegroundOptions) -> Result<(Self, Streams), Failure> {
        let mut signals = FORWARDED.to_vec();
        if options.terminal {
            signals.push(WINDOW_CHANGED);
        }
        let signals = SignalQueue::block(&signals).map_err(internal("signals can't be waited for"))?;
        let (streams, relays) = connect::connect(options.stdin, options.terminal)
            .map_err(internal("the standard streams can't be connected"))?;
        Ok((Self { options, signals, relays }, streams))
    }

    /// Stays with a process that was started with the streams, while `wait`, on a thread of its own, waits for its
    /// end.
    pub(crate) fn attend<T: Send + 'static>(
        self,
        subject: &Subject<'_>,
        wait: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Outcome<T>, Failure> {
        let Self { options, signals, relays } = self;
        let raw = match options.terminal && options.stdin && terminal::is_interactive() {
            true => Some(RawTerminal::enter().map_err(internal("the terminal can't be made raw"))?),
            false => None,
        };
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let wake = Arc::new(wake.map_err(|error| internal("an event can't be waited for")(error.into()))?);
        let (sender, receiver) = mpsc::channel();
        let reports = Reports { sender, wake: Arc::clone(&wake) };

        let watch = relays.watch;
        let outputs = start_relays(relays, &reports, raw.is_some().then(|| options.keys.clone()))?;
        let ended = reports.another();
        start(move || ended.send(Event::Ended(wait())))?;

        let mut attendant = Attendant {
            subject,
            signals: &signals,
            proxy: options.proxy && raw.is_none(),
            control: None,
            watch,
            interrupts: 0,
        };
        let outcome = attendant.run(&wake, &receiver)?;
        if let Outcome::Ended(_) = outcome {
            // Their pipes end with the process.
            for output in outputs {
                drop(output.join());
            }
        }
        let left_raw = raw.is_some() && matches!(outcome, Outcome::Left(_));
        drop(raw);
        if left_raw {
            // The process left the cursor wherever it was.
            render::note("");
        }
        Ok(outcome)
    }
}

/// Starts the threads that copy; gives those of the outputs.
fn start_relays<T: Send + 'static>(
    relays: Relays,
    reports: &Reports<T>,
    keys: Option<DetachKeys>,
) -> Result<Vec<JoinHandle<()>>, Failure> {
    if let Some(pipe) = relays.stdin {
        let reports = reports.another();
        start(move || {
            if relay::input(pipe, keys) == relay::InputEnd::Detached {
                reports.send(Event::Detached);
            }
        })?;
    }
    let mut threads = Vec::new();
    if let Some(pipe) = relays.stdout {
        let reports = reports.another();
        threads.push(start(move || {
            if relay::output(pipe, stdout()).is_err() {
                reports.send(Event::Unread);
            }
        })?);
    }
    if let Some(pipe) = relays.stderr {
        // Standard error that nobody reads is no reason to end.
        threads.push(start(move || relay::output(pipe, rustix::stdio::stderr()).unwrap_or_default())?);
    }
    Ok(threads)
}

/// Starts a thread; a process may have reached how many it may have.
fn start(work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Failure> {
    thread::Builder::new().spawn(work).map_err(internal("a thread can't be started"))
}

fn internal(what: &'static str) -> impl Fn(io::Error) -> Failure {
    move |error| Failure::new(ErrorKind::Internal, what).caused_by(error)
}
