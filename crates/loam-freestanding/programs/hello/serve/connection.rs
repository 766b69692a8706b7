//! One connection: a request is read, the answer is sent, and what the peer still says is drained, so that the answer
//! is not cut off by a reset.

use core::fmt::Write;
use core::net::IpAddr;

use super::say;
use crate::ground::pages::Pages;
use crate::ground::socket::{self, POLLIN, POLLOUT, Poll};
use crate::ground::start::Strings;
use crate::ground::text::{Shown, Text};
use crate::ground::{Errno, Result, call};
use crate::report;

/// How long a request's head may be, and what an answer takes at most.
const HEAD: usize = 4096;
const ANSWER: usize = report::SIZE + 512;

enum State {
    Reading,
    Sending { sent: usize },
    Draining,
}

/// A connection and where it stands.
pub struct Connection {
    socket: i32,
    peer: Option<IpAddr>,
    state: State,
    /// The request's head, and behind it the answer.
    pages: Pages,
    read: usize,
    length: usize,
}

impl Connection {
    /// A connection that was just accepted.
    pub fn new(socket: i32, peer: Option<IpAddr>) -> Result<Self> {
        let pages = Pages::new(HEAD + ANSWER).inspect_err(|_| call::close(socket))?;
        Ok(Self { socket, peer, state: State::Reading, pages, read: 0, length: 0 })
    }

    /// What it waits for.
    pub fn poll(&self) -> Poll {
        let events = if matches!(self.state, State::Sending { .. }) { POLLOUT } else { POLLIN };
        Poll { fd: self.socket, events, happened: 0 }
    }

    /// Goes on after something happened; says whether it is still alive.
    pub fn go_on(&mut self, environment: Strings) -> bool {
        let result = match self.state {
            State::Reading => self.read(environment),
            State::Sending { sent } => self.send(sent),
            State::Draining => self.drain(),
        };
        matches!(result, Ok(true) | Err(Errno::AGAIN | Errno::INTR))
    }

    fn read(&mut self, environment: Strings) -> Result<bool> {
        let count = socket::receive(self.socket, &mut self.pages[self.read..HEAD])?;
        self.read += count;
        let complete = self.pages[..self.read].windows(4).any(|window| window == b"\r\n\r\n");
        if complete {
            self.answer(environment);
            return self.send(0);
        }
        // The peer has ended, or its head is too long to be one.
        Ok(count > 0 && self.read < HEAD)
    }

    fn answer(&mut self, environment: Strings) {
        let mut client = [0; 64];
        let mut client = Text::new(&mut client);
        if let Some(peer) = self.peer {
            let _ = write!(client, "{peer}");
        }
        let (head, answer) = self.pages.split_at_mut(HEAD);
        let line = head[..self.read].split(|byte| *byte == b'\r').next().unwrap_or_default();
        let (status, has_body) = match line.split(|byte| *byte == b' ').next() {
            Some(b"GET") => ("200 OK", true),
            Some(b"HEAD") => ("200 OK", false),
            _ => ("405 Method Not Allowed", false),
        };
        let mut body = [0; report::SIZE];
        let mut body = Text::new(&mut body);
        report::write(&mut body, environment, self.peer.map(|_| client.as_bytes()));
        let length = if status.starts_with("200") { body.as_bytes().len() } else { 0 };
        let mut answer = Text::new(answer);
        let _ = write!(
            answer,
            "HTTP/1.1 {status}\r\nServer: hello\r\nContent-Type: text/plain; charset=utf-8\r\nAllow: GET, HEAD\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        if has_body {
            answer.push(body.as_bytes());
        }
        self.length = answer.as_bytes().len();
        say(1, format_args!("{} {} {}", Shown(client.as_bytes()), &status[..3], Shown(line)));
    }

    fn send(&mut self, sent: usize) -> Result<bool> {
        self.state = State::Sending { sent };
        let sent = sent + socket::send(self.socket, &self.pages[HEAD + sent..HEAD + self.length])?;
        if sent < self.length {
            self.state = State::Sending { sent };
            return Ok(true);
        }
        socket::end_sending(self.socket);
        self.state = State::Draining;
        Ok(true)
    }

    fn drain(&mut self) -> Result<bool> {
        Ok(socket::receive(self.socket, &mut self.pages)? > 0)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        call::close(self.socket);
    }
}
