//! What a process reads: from every attached client.

use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::OFlags;

use super::{Buffer, Pollable};

/// The standard input of a process: the writing end of its pipe, or its terminal.
#[derive(Debug, Default)]
pub(crate) struct Input {
    /// `None` when the process has no input, or has it no more.
    sink: Option<Pollable>,
    /// A terminal stays open when the clients' streams end.
    terminal: bool,
    clients: Vec<Client>,
    /// What the process has not taken yet.
    pending: Vec<u8>,
}

#[derive(Debug)]
struct Client {
    source: Pollable,
    ready: bool,
}

impl Input {
    pub(crate) fn new(sink: Pollable, terminal: bool) -> Self {
        Self { sink: Some(sink), terminal, clients: Vec::new(), pending: Vec::new() }
    }

    /// Attaches a client; one that the process can't read is let go at once.
    pub(crate) fn attach(&mut self, source: OwnedFd) {
        if self.sink.is_none() {
            return;
        }
        if let Ok(source) = Pollable::shared(source, OFlags::RDONLY) {
            self.clients.push(Client { source, ready: false });
        }
    }

    /// Adds what to poll.
    pub(crate) fn interest<'a>(&'a self, polls: &mut Vec<PollFd<'a>>) {
        match &self.sink {
            Some(sink) if !self.pending.is_empty() => polls.push(PollFd::new(sink, PollFlags::OUT)),
            Some(_) => {
                polls.extend(self.clients.iter().map(|client| PollFd::new(&client.source, PollFlags::IN)));
            }
            None => {}
        }
    }

    /// Takes note of what was polled, in the order of [`Self::interest`].
    pub(crate) fn polled(&mut self, events: &mut impl Iterator<Item = PollFlags>) {
        if self.sink.is_none() {
            return;
        }
        if !self.pending.is_empty() {
            let _ready = events.next();
            return;
        }
        for client in &mut self.clients {
            client.ready = events.next().is_some_and(|event| !event.is_empty());
        }
    }

    /// Moves what can be moved.
    pub(crate) fn work(&mut self, buffer: &mut Buffer) {
        if !self.flush() {
            return self.close();
        }
        let mut index = 0;
        while index < self.clients.len() && self.pending.is_empty() {
            if !std::mem::take(&mut self.clients[index].ready) {
                index += 1;
                continue;
            }
            match self.clients[index].source.read(buffer.get()) {
                Ok(Some(count)) if count > 0 => {
                    self.pending.extend_from_slice(&buffer.get()[..count]);
                    if !self.flush() {
                        return self.close();
                    }
                    index += 1;
                }
                Ok(None) => index += 1,
                Ok(Some(_)) | Err(_) => self.client_ended(index),
            }
        }
    }

    /// Writes what is pending; false when the process does not read any more.
    fn flush(&mut self) -> bool {
        if self.pending.is_empty() {
            return true;
        }
        let Some(Ok(count)) = self.sink.as_ref().map(|sink| sink.write(&self.pending)) else { return false };
        if count == self.pending.len() {
            self.pending = Vec::new();
        } else {
            self.pending.drain(..count);
        }
        true
    }

    fn client_ended(&mut self, index: usize) {
        self.clients.swap_remove(index);
        if self.clients.is_empty() && !self.terminal {
            self.close();
        }
    }

    /// Gives the input up. Clients learn it when they write.
    pub(crate) fn close(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipe() -> (OwnedFd, OwnedFd) {
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap()
    }

    fn work(input: &mut Input) {
        for client in &mut input.clients {
            client.ready = true;
        }
        input.work(&mut Buffer::default());
    }

    #[test]
    fn the_last_clients_end_closes_a_pipe_but_not_a_terminal() {
        for terminal in [false, true] {
            let (process, sink) = pipe();
            let mut input = Input::new(Pollable::own(sink).unwrap(), terminal);
            let (first_read, first) = pipe();
            let (second_read, second) = pipe();
            input.attach(first_read);
            input.attach(second_read);
            rustix::io::write(&first, b"one").unwrap();
            work(&mut input);
            drop(first);
            work(&mut input);
            assert!(input.sink.is_some() && input.clients.len() == 1);
            rustix::io::write(&second, b"two").unwrap();
            drop(second);
            work(&mut input);
            work(&mut input);
            assert_eq!(input.sink.is_some(), terminal);
            let mut seen = [0; 16];
            assert_eq!(rustix::io::read(&process, &mut seen).unwrap(), 6);
            assert_eq!(&seen[..6], b"onetwo");
        }
    }

    #[test]
    fn a_process_that_reads_no_more_ends_the_clients() {
        let (process, sink) = pipe();
        let mut input = Input::new(Pollable::own(sink).unwrap(), false);
        let (read, client) = pipe();
        input.attach(read);
        drop(process);
        rustix::io::write(&client, b"x").unwrap();
        work(&mut input);
        assert!(input.sink.is_none() && input.clients.is_empty());
        assert_eq!(rustix::io::write(&client, b"x"), Err(rustix::io::Errno::PIPE));
    }
}
