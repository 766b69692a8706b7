//! A conversation: calls one after the other, and the signals that come of them.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use crate::body::Body;
use crate::error::{BusError, shown};
use crate::message::{self, FIXED, Kind, Message};
use crate::socket::Socket;

/// The most signals that are kept while something else is waited for.
const MOST_SIGNALS: usize = 1024;

/// The bus itself.
const BUS: Address<'static> = Address {
    name: "org.freedesktop.DBus",
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
};

/// Who is called, or heard.
#[derive(Clone, Copy, Debug)]
pub struct Address<'a> {
    /// The name on the bus.
    pub name: &'a str,
    /// The object.
    pub path: &'a str,
    /// The interface of the object.
    pub interface: &'a str,
}

/// Whose signals are heard.
#[derive(Debug)]
struct Source {
    address: Address<'static>,
    member: &'static str,
    /// The connection that has the name now.
    connection: String,
}

impl Source {
    /// Anybody can send any signal to one connection, and the rule that the bus is given does not stop it.
    fn sent(&self, message: &Message) -> bool {
        message.kind == Kind::Signal
            && message.sender == self.connection
            && message.path == self.address.path
            && message.interface == self.address.interface
            && message.member == self.member
    }
}

/// A connection.
#[derive(Debug)]
pub struct Bus {
    socket: Socket,
    serial: u32,
    source: Option<Source>,
    /// Signals that came while something else was waited for.
    signals: VecDeque<Message>,
}

impl Bus {
    /// Connects to a bus and says who we are: the kernel vouches for it ("EXTERNAL"). The whole conversation may take so
    /// long, connecting included.
    pub fn connect(path: &Path, patience: Duration) -> Result<Self, BusError> {
        let mut socket = Socket::connect(path, patience)?;
        let user = rustix::process::geteuid().as_raw().to_string();
        let user: String = user.bytes().map(|byte| format!("{byte:02x}")).collect();
        socket.send(format!("\0AUTH EXTERNAL {user}\r\n").as_bytes())?;
        let answer = socket.line()?;
        if !answer.starts_with("OK ") {
            return Err(BusError::Unknown(shown(&answer)));
        }
        socket.send(b"BEGIN\r\n")?;
        let mut bus = Self { socket, serial: 0, source: None, signals: VecDeque::new() };
        bus.call(&BUS, "Hello", &Body::default())?;
        Ok(bus)
    }

    /// Whether somebody has a name.
    pub fn has_owner(&mut self, name: &str) -> Result<bool, BusError> {
        self.call(&BUS, "NameHasOwner", &Body::default().text(name))?.values().flag()
    }

    /// Calls a method and waits for its answer. The bus hands on answers of those alone that were called, so their senders
    /// need no look; a signal or a call is no answer, whatever its fields say.
    pub fn call(&mut self, to: &Address<'_>, method: &str, body: &Body) -> Result<Message, BusError> {
        self.serial += 1;
        // What comes of this call is told after it.
        self.signals.clear();
        self.socket.send(&message::call(self.serial, to, method, body))?;
        loop {
            let message = self.receive()?;
            let answers = message.answers == Some(self.serial);
            match message.kind {
                Kind::Answer if answers => return Ok(message),
                Kind::Failure if answers => return Err(message.failure()),
                Kind::Signal => self.keep(message),
                // Nobody has a reason to call us, and an answer to nothing is no harm.
                Kind::Call | Kind::Answer | Kind::Failure => {}
            }
        }
    }

    /// Hears a signal of an object from now on, if it comes from the connection that has the object's name now.
    pub fn listen(&mut self, address: Address<'static>, member: &'static str) -> Result<(), BusError> {
        let Address { name, path, interface } = address;
        let owner = self.call(&BUS, "GetNameOwner", &Body::default().text(name))?;
        self.source = Some(Source { address, member, connection: owner.values().text()? });
        let rule =
            format!("type='signal',sender='{name}',path='{path}',interface='{interface}',member='{member}'");
        self.call(&BUS, "AddMatch", &Body::default().text(&rule)).map(drop)
    }

    /// Waits for the signal that is heard, which may have come with the answer to the last call.
    pub fn signal(&mut self) -> Result<Message, BusError> {
        loop {
            if let Some(message) = self.signals.pop_front() {
                return Ok(message);
            }
            let message = self.receive()?;
            self.keep(message);
        }
    }

    /// Keeps a signal that is heard, with an end to how many.
    fn keep(&mut self, message: Message) {
        if self.source.as_ref().is_some_and(|source| source.sent(&message)) {
            if self.signals.len() == MOST_SIGNALS {
                self.signals.pop_front();
            }
            self.signals.push_back(message);
        }
    }

    fn receive(&mut self) -> Result<Message, BusError> {
        let mut bytes = vec![0; FIXED];
        self.socket.receive(&mut bytes)?;
        bytes.resize(message::length(&bytes)?, 0);
        self.socket.receive(&mut bytes[FIXED..])?;
        Message::parse(&bytes)
    }
}
