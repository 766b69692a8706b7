//! The shim process itself.
//!
//! One thread, one loop: it polls its socket, its connections, the streams of its processes and the signal of ended
//! children, lets each do what it can without waiting, and then looks whether something is to be answered or to be
//! ended. Only the runtime's own work (creating, starting, deleting) holds the loop up; a further process is waited for
//! by the loop itself, because the container's processes can hold it up.
//!
//! Files: `shim.sock` and `exit.json` in the container's run directory, made by this process alone. `exit.json` is
//! written beside and renamed, before anyone is told. A shim that is killed leaves the socket, to which nobody answers
//! then, and the container, which the engine kills by its cgroup.

mod config;
mod connection;
mod container;
mod exit;
mod life;
mod open_files;
mod process;
mod requests;
mod start_up;

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use loam_model::oci_spec::runtime::Process as ProcessSettings;
use loam_model::{ErrorKind, Failure, Result, Runtime, ShimLaunch};
use loam_sys::ChildSignal;
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::protocol::{Reply, WireFailure};
use crate::relay::Buffer;
use crate::socket::Listener;
use connection::Connection;
use container::Container;
use exit::OnExit;
use life::Life;
use open_files::OpenFiles;

pub use start_up::serve;

/// What the shim's program brings along.
pub struct Equipment {
    /// The OCI runtime.
    pub runtime: Box<dyn Runtime>,
    /// Looks the user up in a root file system, given by a descriptor, and completes the process with it.
    pub finish_process: FinishProcess,
}

/// See [`Equipment::finish_process`].
pub type FinishProcess = fn(&OwnedFd, Option<&str>, &mut ProcessSettings) -> Result<()>;

impl std::fmt::Debug for Equipment {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Equipment")
    }
}

/// How long memory for streams is kept after they fell silent.
const BUFFER_LINGER: Duration = Duration::from_secs(1);

/// How long the listener is left alone after a client could not be accepted: it would stay ready all the time.
const DEAFNESS: Duration = Duration::from_millis(100);

/// All that the shim holds.
struct Shim {
    launch: ShimLaunch,
    children: ChildSignal,
    listener: Listener,
    /// Until when nobody is accepted, because no descriptor was free for a client.
    deaf_until: Option<Instant>,
    files: OpenFiles,
    connections: Vec<Connection>,
    container: Container,
    on_exit: OnExit,
    buffer: Buffer,
    life: Life,
    /// Set when the loop shall end.
    finished: bool,
}

impl Shim {
    /// Serves until the container is shut down.
    fn run(&mut self) {
        while !self.finished {
            let now = Instant::now();
            let wake = self.next_wake(now);
            let events = self.poll(wake.map(|wake| wake.saturating_duration_since(now)));
            self.dispatch(&events);
        }
    }

    fn poll(&mut self, timeout: Option<Duration>) -> Vec<PollFlags> {
        let timeout =
            if self.container.has_work() || self.has_request() { Some(Duration::ZERO) } else { timeout };
        let holds_buffer = self.buffer.is_held();
        let timeout = if holds_buffer { Some(timeout.unwrap_or(BUFFER_LINGER)) } else { timeout };
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: timeout.as_secs().cast_signed(),
            tv_nsec: timeout.subsec_nanos().into(),
        });
        let mut polls = self.polls();
        let count = match rustix::event::poll(&mut polls, timeout.as_ref()) {
            Ok(count) => count,
            Err(_) => return Vec::new(),
        };
        let events: Vec<PollFlags> = polls.iter().map(PollFd::revents).collect();
        drop(polls);
        if count == 0 && holds_buffer && timeout.is_some_and(|timeout| timeout.tv_sec > 0) {
            self.buffer.release();
            self.container.release_memory();
            loam_sys::release_free_memory();
        }
        events
    }

    fn polls(&self) -> Vec<PollFd<'_>> {
        let listening = if self.deaf_until.is_none() { PollFlags::IN } else { PollFlags::empty() };
        let mut polls = vec![
            PollFd::new(&self.children, PollFlags::IN),
            PollFd::from_borrowed_fd(self.listener.as_fd(), listening),
        ];
        polls.extend(self.connections.iter().map(Connection::interest));
        self.container.interest(&mut polls);
        polls
    }

    fn dispatch(&mut self, events: &[PollFlags]) {
        let mut events = events.iter().copied();
        let listens_again = self.deaf_until.take_if(|until| *until <= Instant::now()).is_some();
        let children = events.next().is_some_and(|event| !event.is_empty());
        let listener = events.next().is_some_and(|event| !event.is_empty());
        for connection in &mut self.connections {
            connection.events = events.next().unwrap_or(PollFlags::empty());
        }
        self.container.polled(&mut events);
        if children {
            self.children.clear();
            self.reap();
        }
        self.container.work(&mut self.buffer);
        self.serve_connections();
        if listener || listens_again {
            self.accept();
        }
        self.answer_waiters();
        self.look_at_life();
    }

    fn accept(&mut self) {
        loop {
            match self.listener.accept() {
                Ok(Some(socket)) => self.add_connection(socket),
                Ok(None) => return,
                Err(_) => {
                    self.deaf_until = Some(Instant::now() + DEAFNESS);
                    return;
                }
            }
        }
    }

    fn add_connection(&mut self, socket: OwnedFd) {
        let mut connection = Connection::new(socket);
        if self.connections.len() >= self.files.most_clients() {
            let message = "the shim serves as many clients of the container as it can";
            let failure = Failure::new(ErrorKind::Exhausted, message);
            connection.send(&Reply::Failed(WireFailure::new(&failure)));
            return;
        }
        self.connections.push(connection);
    }
}
