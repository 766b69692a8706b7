//! What a process writes: to the log and to every attached client.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use loam_model::OnStall;
use rustix::event::{PollFd, PollFlags};
use rustix::fs::OFlags;

use super::{Buffer, Pollable};
use crate::log::{Log, StreamName};

/// How long an onlooker may take nothing before it is let go.
pub(crate) const STALL_LIMIT: Duration = Duration::from_secs(10);

/// How many pieces are moved before the loop looks at others.
const PIECES_AT_ONCE: usize = 16;

/// One output stream of a process: the reading end of its pipe, or its terminal.
#[derive(Debug)]
pub(crate) struct Output {
    /// `None` when the stream has ended.
    source: Option<Pollable>,
    name: StreamName,
    clients: Vec<Client>,
    /// Whether there may be something to read.
    ready: bool,
    /// Whether the process has ended and nothing more was there then.
    drained: bool,
}

#[derive(Debug)]
struct Client {
    sink: Pollable,
    /// What it has not taken yet.
    pending: Vec<u8>,
    on_stall: OnStall,
    progress: Instant,
}

impl Output {
    pub(crate) fn new(source: Pollable, name: StreamName) -> Self {
        Self { source: Some(source), name, clients: Vec::new(), ready: false, drained: false }
    }

    /// Attaches a client. When the stream has ended, the client learns it by its pipe's end.
    pub(crate) fn attach(&mut self, sink: OwnedFd, on_stall: OnStall) {
        if self.source.is_none() || self.drained {
            return;
        }
        // A client whose reader is gone already is no client.
        if let Ok(sink) = Pollable::shared(sink, OFlags::WRONLY) {
            self.clients.push(Client { sink, pending: Vec::new(), on_stall, progress: Instant::now() });
        }
    }

    /// Whether every byte that the process wrote has come and gone.
    pub(crate) fn is_settled(&self) -> bool {
        (self.source.is_none() || self.drained) && !self.is_held_back()
    }

    fn is_held_back(&self) -> bool {
        self.clients.iter().any(|client| !client.pending.is_empty())
    }

    /// Whether there may be more to move at once, without a poll.
    pub(crate) fn has_work(&self) -> bool {
        self.ready && self.source.is_some() && !self.is_held_back()
    }

    /// Whether somebody may still write to the stream.
    pub(crate) fn is_open(&self) -> bool {
        self.source.is_some()
    }

    /// Adds what to poll. The source comes first when it is polled.
    pub(crate) fn interest<'a>(&'a self, started: bool, polls: &mut Vec<PollFd<'a>>) {
        if let Some(source) = &self.source
            && started
            && !self.is_held_back()
        {
            polls.push(PollFd::new(source, PollFlags::IN));
        }
        for client in &self.clients {
            let wanted = if client.pending.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
            polls.push(PollFd::new(&client.sink, wanted));
        }
    }

    /// Takes note of what was polled, in the order of [`Self::interest`].
    pub(crate) fn polled(&mut self, started: bool, events: &mut impl Iterator<Item = PollFlags>) {
        if self.source.is_some() && started && !self.is_held_back() {
            self.ready |= events.next().is_some_and(|event| !event.is_empty());
        }
        // An idle client whose reader is gone shows as an error.
        self.clients.retain(|client| {
            let event = events.next().unwrap_or(PollFlags::empty());
            !(client.pending.is_empty() && event.intersects(PollFlags::ERR | PollFlags::NVAL))
        });
    }

    /// Notes that the process has ended: what it wrote is there now or never.
    pub(crate) fn process_ended(&mut self) {
        self.ready = true;
    }

    /// Moves what can be moved. `ended` says whether the process has.
    pub(crate) fn work(&mut self, ended: bool, buffer: &mut Buffer, log: &mut Option<Log>) {
        for _ in 0..PIECES_AT_ONCE {
            self.clients.retain_mut(Client::flush);
            if self.is_held_back() || !self.ready || !self.read_piece(ended, buffer, log) {
                break;
            }
        }
        if self.is_settled() {
            self.clients.clear();
        }
    }

    /// Reads one piece and hands it on; whether there may be more.
    fn read_piece(&mut self, ended: bool, buffer: &mut Buffer, log: &mut Option<Log>) -> bool {
        let Some(source) = &self.source else { return false };
        match source.read(buffer.get()) {
            Ok(Some(count)) if count > 0 => {
                let piece = &buffer.get()[..count];
                if let Some(log) = log {
                    log.write(self.name, piece);
                }
                self.clients.retain_mut(|client| client.give(piece));
                true
            }
            Ok(None) => {
                self.ready = false;
                self.drained |= ended;
                false
            }
            // A terminal says with an error that nobody has it open any more.
            Ok(Some(_)) | Err(_) => {
                self.source = None;
                false
            }
        }
    }

    /// Lets onlookers go that have taken nothing for too long, and says when to look again.
    pub(crate) fn drop_stalled(&mut self, now: Instant) -> Option<Instant> {
        self.clients.retain(|client| client.deadline().is_none_or(|deadline| deadline > now));
        self.clients.iter().filter_map(Client::deadline).min()
    }
}

impl Client {
    /// Writes a piece and keeps what is not taken; false when the client is gone.
    fn give(&mut self, piece: &[u8]) -> bool {
        let Ok(count) = self.sink.write(piece) else { return false };
        self.pending.extend_from_slice(&piece[count..]);
        self.progress = Instant::now();
        true
    }

    fn flush(&mut self) -> bool {
        if self.pending.is_empty() {
            return true;
        }
        let Ok(count) = self.sink.write(&self.pending) else { return false };
        if count == self.pending.len() {
            self.pending = Vec::new();
        } else {
            self.pending.drain(..count);
        }
        if count > 0 {
            self.progress = Instant::now();
        }
        true
    }

    fn deadline(&self) -> Option<Instant> {
        let stalled = self.on_stall == OnStall::Drop && !self.pending.is_empty();
        stalled.then(|| self.progress + STALL_LIMIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipe() -> (OwnedFd, OwnedFd) {
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap()
    }

    fn output() -> (Output, OwnedFd) {
        let (read, write) = pipe();
        (Output::new(Pollable::own(read).unwrap(), StreamName::Stdout), write)
    }

    /// Lets the output work as if everything were ready.
    fn work(output: &mut Output, ended: bool) {
        output.ready = true;
        output.work(ended, &mut Buffer::default(), &mut None);
    }

    #[test]
    fn a_client_that_takes_nothing_holds_the_process_back_and_loses_nothing() {
        let (mut output, process) = output();
        let (client_read, client_write) = pipe();
        output.attach(client_write, OnStall::Block);
        let process = Pollable::own(process).unwrap();
        let mut written = 0;
        loop {
            let count = process.write(&[b'x'; 4096]).unwrap();
            written += count;
            work(&mut output, false);
            if count < 4096 {
                break;
            }
        }
        assert!(written < 4 * 64 * 1024, "{written}");
        drop(process);
        let client = Pollable::own(client_read).unwrap();
        let mut seen = 0;
        let mut piece = [0; 4096];
        while let Some(count) = client.read(&mut piece).unwrap() {
            seen += count;
            work(&mut output, true);
            if count == 0 {
                break;
            }
        }
        assert_eq!(seen, written);
        assert!(output.is_settled());
    }

    #[test]
    fn an_onlooker_that_stalls_is_let_go_after_ten_seconds() {
        let (mut output, process) = output();
        let (_client_read, client_write) = pipe();
        output.attach(client_write, OnStall::Drop);
        for _ in 0..3 {
            Pollable::own(process.try_clone().unwrap()).unwrap().write(&[0; 65536]).unwrap();
            work(&mut output, false);
        }
        let now = Instant::now();
        let deadline = output.drop_stalled(now).expect("it is stalled");
        assert!(deadline <= now + STALL_LIMIT && output.is_held_back());
        assert_eq!(output.drop_stalled(deadline), None);
        assert!(!output.is_held_back());
    }

    #[test]
    fn output_is_settled_when_others_keep_the_pipe_after_the_end() {
        let (mut output, process) = output();
        rustix::io::write(&process, b"last words").unwrap();
        let (client_read, client_write) = pipe();
        output.attach(client_write, OnStall::Block);
        work(&mut output, false);
        assert!(!output.is_settled());
        output.process_ended();
        output.work(true, &mut Buffer::default(), &mut None);
        assert!(output.is_settled());
        let mut seen = [0; 64];
        assert_eq!(rustix::io::read(&client_read, &mut seen).unwrap(), 10);
        assert_eq!(rustix::io::read(&client_read, &mut seen).unwrap(), 0);
    }

    #[test]
    fn a_client_that_died_does_not_disturb_the_others() {
        let (mut output, process) = output();
        let (dead_read, dead_write) = pipe();
        let (live_read, live_write) = pipe();
        output.attach(dead_write, OnStall::Block);
        output.attach(live_write, OnStall::Block);
        drop(dead_read);
        rustix::io::write(&process, b"hello").unwrap();
        work(&mut output, false);
        assert_eq!(output.clients.len(), 1);
        assert_eq!(rustix::io::read(&live_read, &mut [0; 64]).unwrap(), 5);
    }
}
